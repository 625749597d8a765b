/**
 * RESERVE(6) and RELEASE(6) (SPC-2 §7.21): one initiator may hold a logical unit for itself until it releases
 * it, its session ends, or the unit is reset. One instance per logical unit, shared by the initiators' views.
 */
export class Reservation {
  #holder: object | undefined;

  get isHeld(): boolean {
    return this.#holder !== undefined;
  }

  /** @returns false when another initiator holds the unit */
  reserve(by: object): boolean {
    if (this.#holder !== undefined && this.#holder !== by) return false;
    this.#holder = by;
    return true;
  }

  /** Does nothing unless `by` is the holder, which is not an error. */
  release(by: object): void {
    if (this.#holder === by) this.#holder = undefined;
  }

  reset(): void {
    this.#holder = undefined;
  }

  excludes(who: object): boolean {
    return this.#holder !== undefined && this.#holder !== who;
  }
}
