import type { RandomSource } from '../../base/random.ts';
import { PersistentInitiator } from '../simulator/persistent-initiator.ts';
import { ScsiStatusError } from '../simulator/scsi-exchange.ts';
import { BLOCK_BYTES, BlockLedger } from './block-ledger.ts';

const SECTORS_PER_BLOCK = BLOCK_BYTES / 512;
const LOGIN_PAUSE_MS = 10;
const LOGIN_TIMEOUT_MS = 1_000;
const PING_EVERY_MS = 200;
const PING_TIMEOUT_MS = 600;
/** Commands answered sooner are how a busy machine works, and not worth telling. */
const SHORTEST_PAUSE_TOLD_MS = 100;
/** Of a hundred steps of a lane; what is left are writes, a few of them forced. */
const SHARES = { read: 12, sweep: 13, flush: 1, unmap: 2, forcedWrite: 2 };
/** So many in a hundred commands are for several blocks, up to the number below. */
const LONG_IN_100 = 15;
const LONGEST_BLOCKS = 16;
/** DATA PROTECT, SPACE ALLOCATION FAILED WRITE PROTECT (SBC-3): what a full disk gives. */
const NO_SPACE = 'sense 07/27/07';
const NO_SPACE_PAUSE_MS = 100;
/** So many writes in a hundred are read while they are under way. */
const OVERLAPPING_READS_IN_100 = 10;

export interface DiskOptions {
  readonly client: number;
  readonly host: string;
  readonly port: number;
  readonly targetName: string;
  readonly initiatorName: string;
  /** Blocks of 4 KiB it uses, from the first on. */
  readonly blocks: number;
  /** Commands outstanding at once; each lane has blocks of its own. */
  readonly lanes: number;
  /** Steps a second of all lanes together. */
  readonly stepsPerSecond: number;
}

/** What one disk has to tell. Times are of the machine's monotonic clock, in milliseconds. */
export type DiskEvent =
  /** How long one command waited for its answer, logins in between included. */
  | { readonly kind: 'pause'; readonly client: number; readonly fromMs: number; readonly toMs: number }
  | { readonly kind: 'violation'; readonly client: number; readonly what: string };

interface Span {
  readonly first: number;
  readonly count: number;
}

/** The blocks of one lane, and how far it is. */
interface Lane extends Span {
  /** The block to be swept next. */
  sweepAt: number;
  sweeps: number;
  /** When it was last answered, or began. */
  answeredAtMs: number;
}

/**
 * One initiator at work on its disk. Each block is changed by one lane, one change after the other, so what a read may
 * give is known exactly: the last change acknowledged or, while one is under way, that one; and never an older one than
 * a read has given before. Beside what is drawn by chance, every block is read in turn, over and over.
 */
export class StampedDisk {
  readonly #options: DiskOptions;
  readonly #random: RandomSource;
  readonly #tell: (event: DiskEvent) => void;
  readonly #initiator: PersistentInitiator;
  readonly #ledger: BlockLedger;
  readonly #lanes: readonly Lane[];
  #stopped = false;
  #running: Promise<void>[] = [];
  /** Writes and unmaps. */
  acknowledgedWrites = 0;
  refusedForSpace = 0;
  checkedBlocks = 0;
  /** Of the blocks checked: those read at the end, when nothing was under way any more. */
  checkedAtEnd = 0;

  constructor(options: DiskOptions, random: RandomSource, tell: (event: DiskEvent) => void) {
    this.#options = options;
    this.#random = random;
    this.#tell = tell;
    this.#ledger = new BlockLedger(options.client, options.blocks);
    const count = Math.floor(options.blocks / options.lanes);
    this.#lanes = Array.from({ length: options.lanes }, (_, lane) => ({
      ...{ first: lane * count, count, sweepAt: lane * count, sweeps: 0, answeredAtMs: 0 },
    }));
    const { host, port, targetName, initiatorName } = options;
    this.#initiator = new PersistentInitiator(
      { host, port, targetName, initiatorName, timeoutMs: LOGIN_TIMEOUT_MS },
      LOGIN_PAUSE_MS,
      { everyMs: PING_EVERY_MS, timeoutMs: PING_TIMEOUT_MS },
    );
  }

  get reconnects(): number {
    return this.#initiator.reconnects;
  }

  /** When the lane that has waited longest was last answered. */
  get oldestAnswerMs(): number {
    return Math.min(...this.#lanes.map((lane) => lane.answeredAtMs));
  }

  /** How often every block was read while faults went on. */
  get sweeps(): number {
    return Math.min(...this.#lanes.map((lane) => lane.sweeps));
  }

  async start(): Promise<void> {
    await this.#initiator.capacityBlocks();
    this.#running = this.#lanes.map((lane) => this.#run(lane));
  }

  /** Stops the lanes, then reads every block, written or not. */
  async finish(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#running);
    const before = this.checkedBlocks;
    await Promise.all(
      this.#lanes.map(async (lane) => {
        for (const end = lane.sweepAt; ; ) {
          await this.#check(this.#nextToSweep(lane));
          if (lane.sweepAt === end) return;
        }
      }),
    );
    this.checkedAtEnd = this.checkedBlocks - before;
    await this.#initiator.stop();
  }

  async #run(lane: Lane): Promise<void> {
    const stepMs = (1000 * this.#options.lanes) / this.#options.stepsPerSecond;
    lane.answeredAtMs = monotonicMs();
    while (!this.#stopped) {
      const startedMs = monotonicMs();
      await this.#step(lane);
      lane.answeredAtMs = monotonicMs();
      const restMs = startedMs + stepMs - lane.answeredAtMs;
      if (restMs > 0) await new Promise((resolve) => setTimeout(resolve, restMs));
    }
  }

  async #step(lane: Lane): Promise<void> {
    let dice = this.#random.below(100);
    const falls = (share: number): boolean => {
      dice -= share;
      return dice < 0;
    };
    if (falls(SHARES.read)) await this.#check(this.#someOf(lane));
    else if (falls(SHARES.sweep)) await this.#check(this.#nextToSweep(lane));
    else if (falls(SHARES.flush)) await this.#unlessFull(() => this.#initiator.flush());
    else if (falls(SHARES.unmap)) await this.#unmap(this.#someOf(lane));
    else await this.#write(this.#someOf(lane), falls(SHARES.forcedWrite));
  }

  #someOf(lane: Lane): Span {
    const offset = this.#random.below(lane.count);
    const wanted = this.#random.below(100) < LONG_IN_100 ? 2 + this.#random.below(LONGEST_BLOCKS - 1) : 1;
    return { first: lane.first + offset, count: Math.min(wanted, lane.count - offset) };
  }

  #nextToSweep(lane: Lane): Span {
    const first = lane.sweepAt;
    const end = lane.first + lane.count;
    const count = Math.min(LONGEST_BLOCKS, end - first);
    lane.sweepAt += count;
    if (lane.sweepAt === end) {
      lane.sweepAt = lane.first;
      lane.sweeps++;
    }
    return { first, count };
  }

  async #unmap({ first, count }: Span): Promise<void> {
    this.#ledger.beginUnmap(first, count);
    const unmap = (): Promise<void> =>
      this.#initiator.unmap(first * SECTORS_PER_BLOCK, count * SECTORS_PER_BLOCK);
    if (!(await this.#unlessFull(unmap))) return;
    this.#ledger.acknowledge(first, count);
    this.acknowledgedWrites++;
  }

  async #write(span: Span, forceUnitAccess: boolean): Promise<void> {
    const { first, count } = span;
    const oldest = this.#acknowledgedOf(span);
    const data = this.#ledger.beginWrite(first, count);
    const write = (): Promise<void> =>
      this.#initiator.write(first * SECTORS_PER_BLOCK, data, { forceUnitAccess });
    const outcome = this.#unlessFull(write);
    if (this.#random.below(100) < OVERLAPPING_READS_IN_100) {
      const seen = await this.#check(span, oldest);
      await this.#check(span, seen);
    }
    if (!(await outcome)) return;
    this.#ledger.acknowledge(first, count);
    this.acknowledgedWrites++;
  }

  /** @returns false when the disk had no space for it */
  async #unlessFull(command: () => Promise<void>): Promise<boolean> {
    try {
      await this.#timed(command);
      return true;
    } catch (error) {
      if (!(error instanceof ScsiStatusError) || !error.message.includes(NO_SPACE)) throw error;
      this.refusedForSpace++;
      await new Promise((resolve) => setTimeout(resolve, NO_SPACE_PAUSE_MS));
      return false;
    }
  }

  /**
   * Reads blocks and holds each against what may be there.
   * @param oldest what each must have at least
   * @returns the change that was read of each
   */
  async #check(
    span: Span,
    oldest: readonly number[] = this.#acknowledgedOf(span),
  ): Promise<readonly number[]> {
    const { first, count } = span;
    const read = (): Promise<Uint8Array> =>
      this.#initiator.read(first * SECTORS_PER_BLOCK, count * SECTORS_PER_BLOCK);
    const bytes = await this.#timed(read);
    this.checkedBlocks += count;
    return oldest.map((least, i) => {
      const block = first + i;
      const content = bytes.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES);
      const verdict = this.#ledger.judge(block, content, least, this.#ledger.attempted(block));
      if (typeof verdict === 'number') return verdict;
      this.#tell({ kind: 'violation', client: this.#options.client, what: `block ${block}: ${verdict}` });
      return least;
    });
  }

  #acknowledgedOf({ first, count }: Span): readonly number[] {
    return Array.from({ length: count }, (_, i) => this.#ledger.acknowledged(first + i));
  }

  async #timed<T>(command: () => Promise<T>): Promise<T> {
    const fromMs = monotonicMs();
    try {
      return await command();
    } finally {
      const toMs = monotonicMs();
      if (toMs - fromMs >= SHORTEST_PAUSE_TOLD_MS) {
        this.#tell({ kind: 'pause', client: this.#options.client, fromMs, toMs });
      }
    }
  }
}

/** Milliseconds of a clock that all processes of this machine share. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint() / 1000n) / 1000;
}
