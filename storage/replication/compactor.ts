import { describeError, ProtocolError } from '../../base/errors.ts';
import { LogCorruptionError, type LogRecord, type RecordLog } from '../../base/record-log.ts';
import { DeviceError } from '../block-device.ts';
import { STORED_BLOCK_BYTES } from '../lun/limits.ts';
import { liveParts } from '../lun/live-parts.ts';
import { decodeGroupRecord, type LoggedRecord } from '../lun/log-record.ts';
import type { LunTable } from '../lun/lun-table.ts';
import type { CompactionTurns } from './compaction-turns.ts';
import { COMPACT_RATIO, COMPACT_RATIO_LOW, COMPACT_RESCAN_MS, COMPACT_RETRY_MS } from './limits.ts';

export interface CompactorPorts {
  readonly log: Pick<RecordLog, 'scan'>;
  readonly table: LunTable;
  /** Records below are gone already. */
  readonly baseIndex: () => number;
  /** The log may be longer than its live blocks ask for by this much in any case. */
  readonly slackBytes: number;
  /** Whether records can be given a place now. */
  readonly isServing: () => boolean;
  /** Whether the disk is so full that only this may still write. */
  readonly isDiskLow: () => boolean;
  readonly recordEpoch: () => number;
  /** Gives records a place at once; `done` settles once they are committed. @throws DeviceError */
  readonly submit: (records: readonly LoggedRecord[]) => { readonly done: Promise<void> };
  /** Shared with the other groups of the node. */
  readonly turns: CompactionTurns;
  /** The head of the log is no longer needed as far as it was. */
  readonly onProgress: (carriedBytes: number) => void;
  readonly onTrouble: (reason: string) => void;
  readonly onFailure: (error: unknown) => void;
}

/**
 * Frees the head of a log in which little is still in use: what is, is written once more at the end, as a write
 * like any other, so that all members can let the head go.
 *
 * A pass frees log that is at least COMPACT_RATIO times as long as all live blocks together, and carries each of
 * these at most once. So for every byte that clients write at most 1 / (COMPACT_RATIO - 1) bytes are carried.
 */
export class Compactor {
  readonly #ports: CompactorPorts;
  #running: Promise<void> | undefined;
  #nextPassMs = 0;
  /** Up to where the log has been gone through; it is let go of in its own time. */
  #done: { readonly index: number; readonly position: number; readonly atMs: number } | undefined;
  #stopped = false;

  constructor(ports: CompactorPorts) {
    this.#ports = ports;
  }

  /** To be called often: begins a pass where one is due. */
  tick(nowMs: number): void {
    if (this.#running !== undefined || this.#stopped || nowMs < this.#nextPassMs) return;
    if (!this.#ports.isServing()) {
      this.#done = undefined;
      return;
    }
    const done = this.#done;
    // Something in it may still have been needed after all.
    const isStuck = done !== undefined && nowMs - done.atMs >= COMPACT_RESCAN_MS;
    if (isStuck || (done !== undefined && this.#ports.baseIndex() >= done.index)) this.#done = undefined;
    if (this.#excessBytes() <= 0) return;
    this.#running = this.#pass(nowMs).then(
      () => {
        this.#running = undefined;
      },
      (error: unknown) => this.#failed(error, nowMs),
    );
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  #failed(error: unknown, nowMs: number): void {
    this.#running = undefined;
    this.#nextPassMs = nowMs + COMPACT_RETRY_MS;
    const isExpected =
      error instanceof DeviceError || error instanceof LogCorruptionError || error instanceof ProtocolError;
    if (isExpected) this.#ports.onTrouble(describeError(error));
    else if (!this.#stopped) this.#ports.onFailure(error);
  }

  /** How much longer the log is than it may be. */
  #excessBytes(): number {
    const { table, slackBytes, isDiskLow } = this.#ports;
    let liveBlocks = 0;
    for (const { blocks } of table.all()) liveBlocks += blocks.writtenBlocks;
    const isLow = isDiskLow();
    const ratio = isLow ? COMPACT_RATIO_LOW : COMPACT_RATIO;
    const logBytes = this.#done === undefined ? table.logBytes : table.bytesFrom(this.#done.position);
    return logBytes - ratio * liveBlocks * STORED_BLOCK_BYTES - (isLow ? 0 : slackBytes);
  }

  async #pass(nowMs: number): Promise<void> {
    const { log, table, baseIndex, onProgress, turns } = this.#ports;
    const excessBytes = this.#excessBytes();
    const waiting: { readonly done: Promise<void>; readonly lengthBytes: number }[] = [];
    let inFlightBytes = 0;
    let carriedBytes = 0;
    let firstPosition: number | undefined;
    let reached: { index: number; position: number } | undefined;
    turns.begin();
    try {
      for await (const scanned of log.scan(this.#done?.index ?? baseIndex())) {
        if (this.#stopped || !this.#ports.isServing() || scanned.index >= table.appliedIndex) break;
        firstPosition ??= scanned.position;
        reached = { index: scanned.index, position: scanned.position };
        // What is carried lengthens the log by as much.
        if (scanned.position - firstPosition >= excessBytes + carriedBytes) break;
        const carried = this.#carry(scanned);
        if (carried === undefined) continue;
        waiting.push(carried);
        inFlightBytes += carried.lengthBytes;
        carriedBytes += carried.lengthBytes;
        while (inFlightBytes > turns.shareBytes) {
          const oldest = waiting.shift();
          if (oldest === undefined) break;
          await oldest.done;
          inFlightBytes -= oldest.lengthBytes;
        }
      }
    } finally {
      const ends = await Promise.allSettled(waiting.map(({ done }) => done));
      turns.end();
      onProgress(carriedBytes);
      const failed = ends.find((end) => end.status === 'rejected');
      if (failed === undefined && reached !== undefined) this.#done = { ...reached, atMs: nowMs };
      else if (failed !== undefined) this.#ports.onTrouble(describeError(failed.reason));
    }
  }

  /** Writes again what of a record is still in use. From looking to being given a place, nothing waits. */
  #carry({ position, payload }: LogRecord): { done: Promise<void>; lengthBytes: number } | undefined {
    const record = decodeGroupRecord(payload);
    const records = liveParts(this.#ports.table, position, record, this.#ports.recordEpoch());
    if (records.length === 0) return undefined;
    const { done } = this.#ports.submit(records);
    // Its failure is looked at in its turn; until then it must not count as unhandled.
    done.catch(() => {});
    return { done, lengthBytes: records.reduce((sum, record) => sum + record.payload.length, 0) };
  }
}
