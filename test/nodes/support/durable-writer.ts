import type { ClientDocument } from '../../../api/contract/clients.ts';
import { PersistentInitiator } from '../../../scripts/simulator/persistent-initiator.ts';
import { FILLED_BLOCKS, until } from './cluster-fixture.ts';

const BLOCK_BYTES = 4096;
const SECTORS_PER_BLOCK = BLOCK_BYTES / 512;
const RETRY_MS = 50;
const MORE_WITHIN_MS = 30_000;

/** A machine that waits for each write to be on disks before it writes the next one, and takes the time. */
export class DurableWriter {
  readonly #initiator: PersistentInitiator;
  /** How long each took. */
  readonly #tookMs: number[] = [];
  /** Of each block: which write was acknowledged last. */
  readonly #acknowledged = new Map<number, number>();
  readonly #running: Promise<void>;
  #stopped = false;
  #problem: unknown;

  constructor({ portal, targetName, initiatorName }: ClientDocument) {
    const [host = '', port = ''] = portal.split(':');
    this.#initiator = new PersistentInitiator(
      { host, port: Number(port), targetName, initiatorName },
      RETRY_MS,
    );
    this.#running = this.#run().catch((error: unknown) => {
      if (!this.#stopped) this.#problem = error;
    });
  }

  /** Writes acknowledged so far. */
  get answers(): number {
    return this.#tookMs.length;
  }

  slowestMs(): number {
    return Math.max(...this.#tookMs);
  }

  /** Of all writes acknowledged since `answers` were. */
  medianMs(answers: number): number {
    const since = this.#tookMs.slice(answers).sort((a, b) => a - b);
    return since[Math.floor(since.length / 2)] ?? Number.NaN;
  }

  /** @throws Error when so many writes more are not acknowledged in time, or one has failed */
  async more(writes: number): Promise<void> {
    const goal = this.answers + writes;
    await until(
      `${writes} writes more`,
      () => {
        if (this.#problem !== undefined) throw this.#problem;
        return Promise.resolve(this.answers >= goal);
      },
      MORE_WITHIN_MS,
    );
  }

  /** @throws Error when a block has not what was acknowledged last, or what has been written since */
  async readBack(): Promise<void> {
    for (const [block, least] of [...this.#acknowledged]) {
      const read = await this.#initiator.read(block * SECTORS_PER_BLOCK, SECTORS_PER_BLOCK);
      const found = Buffer.from(read).readUInt32LE();
      if (Buffer.compare(read, contentOf(found)) !== 0 || found < least || found % FILLED_BLOCKS !== block)
        throw new Error(`block ${block} holds write ${found}, and write ${least} was acknowledged`);
    }
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#initiator.stop();
    await this.#running;
  }

  async #run(): Promise<void> {
    for (let write = 0; !this.#stopped; write++) {
      const block = write % FILLED_BLOCKS;
      const sinceMs = performance.now();
      await this.#initiator.write(block * SECTORS_PER_BLOCK, contentOf(write), { forceUnitAccess: true });
      this.#tookMs.push(performance.now() - sinceMs);
      this.#acknowledged.set(block, write);
    }
  }
}

function contentOf(write: number): Buffer {
  return Buffer.alloc(BLOCK_BYTES, Buffer.from(Uint32Array.of(write).buffer));
}
