import type { RandomSource } from '../../base/random.ts';
import { readStamp, stampedBlock } from '../demo/block-stamp.ts';
import { PersistentInitiator } from '../simulator/persistent-initiator.ts';
import { ScsiStatusError } from '../simulator/scsi-exchange.ts';

const BLOCK_BYTES = 4096;
const SECTORS_PER_BLOCK = BLOCK_BYTES / 512;
const LOGIN_PAUSE_MS = 10;
const LOGIN_TIMEOUT_MS = 1_000;
const PING_EVERY_MS = 200;
const PING_TIMEOUT_MS = 600;
/** Shorter gaps between two acknowledgements are how a busy machine works, and not worth telling. */
const SHORTEST_PAUSE_TOLD_MS = 100;
/** Of a hundred steps of a lane. */
const READS_IN_100 = 25;
const FLUSHES_IN_100 = 1;
const FORCED_WRITES_IN_100 = 3;
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
  /** Writes or reads outstanding at once; each lane has blocks of its own. */
  readonly lanes: number;
  /** Steps a second of all lanes together. */
  readonly stepsPerSecond: number;
}

/** What one disk has to tell. Times are of the machine's monotonic clock, in milliseconds. */
export type DiskEvent =
  | { readonly kind: 'pause'; readonly client: number; readonly fromMs: number; readonly toMs: number }
  | { readonly kind: 'violation'; readonly client: number; readonly what: string };

/**
 * One initiator at work on its disk. Each block is written by one lane, one write after the other, so what a read may
 * give is known exactly: the last write acknowledged or, while one is under way, that one; and never an older one than
 * a read has given before.
 */
export class StampedDisk {
  readonly #options: DiskOptions;
  readonly #random: RandomSource;
  readonly #tell: (event: DiskEvent) => void;
  readonly #initiator: PersistentInitiator;
  /** Of each block: the last write acknowledged. */
  readonly #acknowledged: Uint32Array;
  /** Of each block: the last write sent. One that was refused for want of space may be there or not. */
  readonly #attempted: Uint32Array;
  #stopped = false;
  #lanes: Promise<void>[] = [];
  #lastAckMs = 0;
  acknowledgedWrites = 0;
  refusedForSpace = 0;
  checkedReads = 0;

  constructor(options: DiskOptions, random: RandomSource, tell: (event: DiskEvent) => void) {
    this.#options = options;
    this.#random = random;
    this.#tell = tell;
    this.#acknowledged = new Uint32Array(options.blocks);
    this.#attempted = new Uint32Array(options.blocks);
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

  /** When something was last acknowledged. */
  get lastAckMs(): number {
    return this.#lastAckMs;
  }

  async start(): Promise<void> {
    await this.#initiator.capacityBlocks();
    this.#lastAckMs = monotonicMs();
    this.#lanes = Array.from({ length: this.#options.lanes }, (_, lane) => this.#run(lane));
  }

  /** Stops the lanes, then reads every block that was ever written. */
  async finish(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#lanes);
    for (const [block, attempted] of this.#attempted.entries()) {
      if (attempted > 0) await this.#check(block, this.#acknowledged[block] ?? 0, attempted);
    }
    await this.#initiator.stop();
  }

  async #run(lane: number): Promise<void> {
    const stepMs = (1000 * this.#options.lanes) / this.#options.stepsPerSecond;
    while (!this.#stopped) {
      const startedMs = monotonicMs();
      await this.#step(lane);
      const restMs = startedMs + stepMs - monotonicMs();
      if (restMs > 0) await new Promise((resolve) => setTimeout(resolve, restMs));
    }
  }

  async #step(lane: number): Promise<void> {
    const { lanes, blocks } = this.#options;
    const block = this.#random.below(Math.floor(blocks / lanes)) * lanes + lane;
    const dice = this.#random.below(100);
    if (dice < READS_IN_100) {
      await this.#check(block, this.#acknowledged[block] ?? 0, this.#attempted[block] ?? 0);
    } else if (dice < READS_IN_100 + FLUSHES_IN_100) {
      await this.#unlessFull(this.#initiator.flush());
    } else {
      await this.#write(block, dice < READS_IN_100 + FLUSHES_IN_100 + FORCED_WRITES_IN_100);
    }
    this.#acknowledgedAt(monotonicMs());
  }

  async #write(block: number, forceUnitAccess: boolean): Promise<void> {
    const { client } = this.#options;
    const oldest = this.#acknowledged[block] ?? 0;
    const sequence = (this.#attempted[block] ?? 0) + 1;
    this.#attempted[block] = sequence;
    const data = stampedBlock({ client, block, sequence });
    const written = this.#initiator.write(block * SECTORS_PER_BLOCK, data, { forceUnitAccess });
    const outcome = this.#unlessFull(written);
    if (this.#random.below(100) < OVERLAPPING_READS_IN_100) {
      const first = await this.#check(block, oldest, sequence);
      await this.#check(block, first, sequence);
    }
    if (!(await outcome)) return;
    this.#acknowledged[block] = sequence;
    this.acknowledgedWrites++;
  }

  /** @returns false when the disk had no space for it */
  async #unlessFull(command: Promise<void>): Promise<boolean> {
    try {
      await command;
      return true;
    } catch (error) {
      if (!(error instanceof ScsiStatusError) || !error.message.includes(NO_SPACE)) throw error;
      this.refusedForSpace++;
      await new Promise((resolve) => setTimeout(resolve, NO_SPACE_PAUSE_MS));
      return false;
    }
  }

  /** @returns the sequence read */
  async #check(block: number, oldest: number, newest: number): Promise<number> {
    const bytes = await this.#initiator.read(block * SECTORS_PER_BLOCK, SECTORS_PER_BLOCK);
    const { client } = this.#options;
    const stamp =
      readStamp(bytes) ?? (bytes.every((byte) => byte === 0) ? unwritten(client, block) : undefined);
    this.checkedReads++;
    const isRight = stamp?.client === client && stamp.block === block;
    if (stamp !== undefined && isRight && stamp.sequence >= oldest && stamp.sequence <= newest) {
      return stamp.sequence;
    }
    const got = stamp === undefined ? 'no whole stamp' : JSON.stringify(stamp);
    const expected = oldest === newest ? `${newest}` : `${oldest} or ${newest}`;
    this.#tell({ kind: 'violation', client, what: `block ${block}: ${got}, not write ${expected}` });
    return oldest;
  }

  #acknowledgedAt(nowMs: number): void {
    if (nowMs - this.#lastAckMs >= SHORTEST_PAUSE_TOLD_MS) {
      this.#tell({ kind: 'pause', client: this.#options.client, fromMs: this.#lastAckMs, toMs: nowMs });
    }
    this.#lastAckMs = nowMs;
  }
}

function unwritten(client: number, block: number): { client: number; block: number; sequence: number } {
  return { client, block, sequence: 0 };
}

/** Milliseconds of a clock that all processes of this machine share. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint() / 1000n) / 1000;
}
