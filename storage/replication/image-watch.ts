import type { LunTable } from '../lun/lun-table.ts';
import { IMAGE_CHECK_MS, TICK_MS } from './limits.ts';

/** Finds out, again and again, whether this node holds the base images of all LUNs of the group. */
export class ImageWatch {
  readonly #table: LunTable;
  #nextCheckMs = 0;
  #isChecking = false;
  #isReady = false;

  constructor(table: LunTable) {
    this.#table = table;
  }

  /** Calls `onChange` if the answer is another than the last time. */
  check(nowMs: number, onChange: (ready: boolean) => void): void {
    if (this.#isChecking || nowMs < this.#nextCheckMs) return;
    this.#isChecking = true;
    const luns = Array.from(this.#table.all());
    const answers = luns.map((lun) => lun.image().then((image) => image !== undefined));
    void Promise.allSettled(answers).then((settled) => {
      this.#isChecking = false;
      const ready = settled.every((answer) => answer.status === 'fulfilled' && answer.value);
      // One that is about to join is asked often; one that has all seldom.
      this.#nextCheckMs = nowMs + (ready ? IMAGE_CHECK_MS : 2 * TICK_MS);
      if (ready === this.#isReady) return;
      this.#isReady = ready;
      onChange(ready);
    });
  }

  /** The LUNs are others now. */
  invalidate(): void {
    this.#nextCheckMs = 0;
    this.#isReady = false;
  }
}
