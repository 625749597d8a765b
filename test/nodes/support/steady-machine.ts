import { setTimeout as sleep } from 'node:timers/promises';
import type { Initiator } from '../../../scripts/simulator/iscsi-initiator.ts';

const BLOCK_BYTES = 4096;
const SECTORS_PER_BLOCK = BLOCK_BYTES / 512;
const PAUSE_MS = 5;

/** A machine that keeps using its disk and minds every error and every long wait. */
export class SteadyMachine {
  readonly #initiator: Initiator;
  readonly #blocks: number;
  #stopped = false;
  #running: Promise<void> | undefined;
  rounds = 0;
  longestMs = 0;
  problem: unknown;

  constructor(initiator: Initiator, blocks: number) {
    this.#initiator = initiator;
    this.#blocks = blocks;
  }

  start(): void {
    this.#running = this.#run().catch((error: unknown) => {
      this.problem = error;
    });
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      const lba = (this.rounds % this.#blocks) * SECTORS_PER_BLOCK;
      const data = Buffer.alloc(BLOCK_BYTES, `round ${this.rounds} `);
      const startedMs = performance.now();
      await this.#initiator.write(lba, data);
      const read = await this.#initiator.read(lba, SECTORS_PER_BLOCK);
      this.longestMs = Math.max(this.longestMs, performance.now() - startedMs);
      if (Buffer.compare(read, data) !== 0) throw new Error(`block ${lba} does not hold what was written`);
      this.rounds++;
      await sleep(PAUSE_MS);
    }
  }
}
