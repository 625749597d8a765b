/**
 * Lets the writes of a logical unit pass side by side, and a command that reads, decides and writes as one
 * (COMPARE AND WRITE, ORWRITE) all by itself. One that waits goes before writes that come after it.
 */
export class WriteGate {
  #writing = 0;
  #alone = false;
  readonly #waiting: { readonly alone: boolean; readonly go: () => void }[] = [];

  /** A write begins, if it may go on at once. */
  enterNow(): boolean {
    if (this.#alone || this.#waiting.length > 0) return false;
    this.#writing++;
    return true;
  }

  /** A write begins. @returns undefined when it may go on at once */
  enter(): Promise<void> | undefined {
    if (this.enterNow()) return undefined;
    return new Promise((go) => this.#waiting.push({ alone: false, go }));
  }

  /** A write that entered has ended. */
  leave(): void {
    this.#writing--;
    this.#admit();
  }

  async beside<T>(write: () => Promise<T>): Promise<T> {
    const waiting = this.enter();
    if (waiting !== undefined) await waiting;
    try {
      return await write();
    } finally {
      this.leave();
    }
  }

  async alone<T>(work: () => Promise<T>): Promise<T> {
    if (this.#alone || this.#writing > 0 || this.#waiting.length > 0) {
      await new Promise<void>((go) => this.#waiting.push({ alone: true, go }));
    } else {
      this.#alone = true;
    }
    try {
      return await work();
    } finally {
      this.#alone = false;
      this.#admit();
    }
  }

  #admit(): void {
    while (!this.#alone) {
      const next = this.#waiting[0];
      if (next === undefined || (next.alone && this.#writing > 0)) return;
      this.#waiting.shift();
      if (next.alone) this.#alone = true;
      else this.#writing++;
      next.go();
    }
  }
}
