/** How many calls have come into a lane and how many have left it, done or failed; and who waits for that. */
export class LaneProgress {
  #entered = 0;
  #left = 0;
  #waiters: { afterCalls: number; resolve: () => void }[] = [];

  get entered(): number {
    return this.#entered;
  }

  get left(): number {
    return this.#left;
  }

  enter(): void {
    this.#entered++;
  }

  leave(calls: number): void {
    this.#left += calls;
    if (this.#waiters.length === 0) return;
    const settled = this.#waiters.filter((waiter) => waiter.afterCalls <= this.#left);
    this.#waiters = this.#waiters.filter((waiter) => waiter.afterCalls > this.#left);
    for (const waiter of settled) waiter.resolve();
  }

  /** Resolves once all have left that have entered by now. */
  async settled(): Promise<void> {
    const afterCalls = this.#entered;
    if (this.#left >= afterCalls) return;
    await new Promise<void>((resolve) => {
      this.#waiters.push({ afterCalls, resolve });
    });
  }
}
