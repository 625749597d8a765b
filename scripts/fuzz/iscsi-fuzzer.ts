import fc from 'fast-check';
import { Initiator, type InitiatorOptions } from '../simulator/iscsi-initiator.ts';
import { login } from '../simulator/iscsi-wire.ts';
import { heapGrowth, usedHeapBytes } from './heap.ts';
import { playSequence } from './iscsi-sequence.ts';
import { BYSTANDER_BLOCKS, HEAP_SAMPLES, PARALLEL_SEQUENCES } from './limits.ts';
import { everyCombination, LENGTHS, OPCODES, type Sequence, STATES, sequence } from './malformed-pdus.ts';

export interface FuzzOptions {
  readonly host: string;
  readonly port: number;
  /** The session that must not notice: of a target that the malformed PDUs do not name. */
  readonly bystander: Pick<InitiatorOptions, 'initiatorName' | 'targetName'>;
  /** Malformed PDUs to send, at least. */
  readonly count: number;
  readonly seed: number;
  /** Resolves once the target has let go of all sessions but the bystander's. */
  readonly settled: () => Promise<void>;
  readonly onProgress?: (sent: number, heapBytes: number) => void;
  /** Whether to begin with one PDU of every opcode, length and state. */
  readonly exhaustive: boolean;
}

export interface FuzzReport {
  readonly pdus: number;
  readonly connections: number;
  /** PDUs by opcode, length and state, of all there are. */
  readonly combinations: number;
  readonly allCombinations: number;
  /** Answers by opcode. */
  readonly answers: Readonly<Record<number, number>>;
  readonly bystanderChecks: number;
  readonly heapSamples: readonly number[];
}

/**
 * Sends malformed PDUs to a target on many connections, while one healthy session writes stamped blocks and reads
 * them back.
 * @throws Error when the bystander sees an error or a wrong block, a connection hangs, the target says something
 *   malformed itself, or the heap of this process, which is to hold the target, keeps growing
 */
export async function fuzzIscsi(options: FuzzOptions): Promise<FuzzReport> {
  const bystander = await Bystander.start(options);
  const tally = new Tally();
  const heapSamples: number[] = [];
  try {
    const sequences = options.exhaustive ? everyCombination() : [][Symbol.iterator]();
    let round = 0;
    do {
      const until = Math.max(1, Math.ceil((options.count * (heapSamples.length + 1)) / HEAP_SAMPLES));
      while (tally.pdus < until) {
        await playAll(options, tally, nextBatch(sequences, options.seed * MAX_ROUNDS + round++));
        bystander.check();
      }
      await options.settled();
      heapSamples.push(usedHeapBytes());
      options.onProgress?.(tally.pdus, heapSamples.at(-1) ?? 0);
    } while (heapSamples.length < HEAP_SAMPLES);
  } finally {
    await bystander.stop();
  }
  const growth = heapGrowth(heapSamples);
  if (growth !== undefined) throw new Error(growth);
  return { ...tally.report(), bystanderChecks: bystander.checks, heapSamples };
}

const BATCH_SEQUENCES = 64;
/** More than any run has, so that no two seeds share a round. */
const MAX_ROUNDS = 100_000;

function nextBatch(exhaustive: Iterator<Sequence>, seed: number): Sequence[] {
  const batch: Sequence[] = [];
  while (batch.length < BATCH_SEQUENCES) {
    const next = exhaustive.next();
    if (next.done === true) break;
    batch.push(next.value);
  }
  return batch.length > 0 ? batch : fc.sample(sequence, { seed, numRuns: BATCH_SEQUENCES });
}

async function playAll(options: FuzzOptions, tally: Tally, batch: readonly Sequence[]): Promise<void> {
  const queue = [...batch];
  const lane = async (): Promise<void> => {
    for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
      tally.add(next, await playSequence(options, next));
    }
  };
  await Promise.all(Array.from({ length: PARALLEL_SEQUENCES }, lane));
}

/** What was sent and answered. */
class Tally {
  pdus = 0;
  #connections = 0;
  readonly #combinations = new Set<string>();
  readonly #answers: Record<number, number> = {};

  add({ state, pdus }: Sequence, answers: readonly number[]): void {
    this.#connections++;
    this.pdus += pdus.length;
    for (const { opcode, length } of pdus) this.#combinations.add(`${state} ${length} ${opcode}`);
    for (const code of answers) this.#answers[code] = (this.#answers[code] ?? 0) + 1;
  }

  report(): Omit<FuzzReport, 'bystanderChecks' | 'heapSamples'> {
    return {
      pdus: this.pdus,
      connections: this.#connections,
      combinations: this.#combinations.size,
      allCombinations: STATES.length * LENGTHS.length * OPCODES,
      answers: this.#answers,
    };
  }
}

/** A healthy session that writes and reads as long as the rest goes on. */
class Bystander {
  checks = 0;
  readonly #initiator: Initiator;
  #failure: Error | undefined;
  #stopping = false;
  #running: Promise<void> = Promise.resolve();

  private constructor(initiator: Initiator) {
    this.#initiator = initiator;
  }

  static async start({ host, port, bystander }: FuzzOptions): Promise<Bystander> {
    const options: InitiatorOptions = { host, port, ...bystander, keys: { HeaderDigest: 'CRC32C' } };
    const initiator = new Initiator(await login(options), options);
    await initiator.awaitReady();
    const made = new Bystander(initiator);
    made.#running = made.#run().catch((error: Error) => {
      made.#failure = error;
    });
    return made;
  }

  async #run(): Promise<void> {
    for (let stamp = 1; !this.#stopping; stamp++) {
      const lba = stamp % BYSTANDER_BLOCKS;
      const block = Buffer.alloc(512, `stamp ${stamp} `);
      await this.#initiator.write(lba, block, { forceUnitAccess: stamp % 16 === 0 });
      const read = await this.#initiator.read(lba, 1);
      if (Buffer.compare(block, read) !== 0) throw new Error(`block ${lba} is not what was written to it`);
      this.checks++;
    }
  }

  /** @throws Error with what the healthy session has seen */
  check(): void {
    if (this.#failure === undefined) return;
    throw new Error(`the healthy session was disturbed: ${this.#failure.message}`);
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#running;
    this.#initiator.destroy();
    this.check();
  }
}
