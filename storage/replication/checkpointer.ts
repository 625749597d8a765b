import type { Timers } from '../../base/clock.ts';
import { crc32c } from '../../base/crc32c.ts';
import { describeError } from '../../base/errors.ts';
import { LogFailure, type RecordLog } from '../../base/record-log.ts';
import { isDeviceFailure } from '../log/file-system.ts';
import { encodeCheckpoint } from '../lun/index-checkpoint.ts';
import type { LunTable } from '../lun/lun-table.ts';
import type { TableSnapshot } from '../lun/table-snapshot.ts';
import type { CheckpointStore, CheckpointWriter } from './checkpoint-store.ts';
import { type EpochEntry, epochsBefore } from './epoch-table.ts';
import { CHECKPOINT_BYTES_PER_SECOND, CHECKPOINT_LOG_RATIO, CHECKPOINT_RETRY_MS } from './limits.ts';

export interface CheckpointerPorts {
  readonly groupId: string;
  readonly store: CheckpointStore;
  readonly log: RecordLog;
  readonly table: LunTable;
  readonly timers: Timers;
  readonly epochs: () => readonly EpochEntry[];
  /** What the log may grow by before the next one, however small it would be. */
  readonly growthBytes: number;
  /** Whether what is left of the disk is kept for more important things. */
  readonly isDiskLow: () => boolean;
  readonly onWritten: (sizeBytes: number) => void;
  readonly onTrouble: (reason: string) => void;
  /** The log failed, or the disk that the checkpoint was to go to. Final. */
  readonly onFailure: (error: unknown) => void;
}

/** The last checkpoint: where it left off, and what it took. */
export interface CheckpointMark {
  readonly lastPosition: number;
  readonly sizeBytes: number;
}

/**
 * Writes the table of LUNs into a checkpoint from time to time, beside all other work and slowly, so that a start has
 * to read only what the log has grown by since.
 */
export class Checkpointer {
  readonly #ports: CheckpointerPorts;
  #mark: CheckpointMark | undefined;
  #running: Promise<void> | undefined;
  #notBeforeMs = 0;
  /** Rises when what is being written would no longer fit the log. */
  #era = 0;
  #stopped = false;

  constructor(ports: CheckpointerPorts, mark: CheckpointMark | undefined) {
    this.#ports = ports;
    this.#mark = mark;
  }

  /** To be called often: begins one where it is due. */
  tick(nowMs: number): void {
    if (this.#running !== undefined || this.#stopped || nowMs < this.#notBeforeMs || !this.#isDue()) return;
    this.#running = this.#run(this.#era).then(
      () => {
        this.#running = undefined;
      },
      (error: unknown) => {
        this.#running = undefined;
        this.#notBeforeMs = nowMs + CHECKPOINT_RETRY_MS;
        if (error instanceof LogFailure || isDeviceFailure(error)) this.#ports.onFailure(error);
        else if (!this.#stopped) this.#ports.onTrouble(describeError(error));
      },
    );
  }

  /** The log was emptied or cut below what has taken effect. */
  forget(): void {
    this.#era++;
    this.#mark = undefined;
  }

  /** What has been written knows disks otherwise than the list of LUNs does from now on: nothing of it stays. */
  async remove(): Promise<void> {
    this.forget();
    await this.#running;
    await this.#ports.store.remove(this.#ports.groupId);
  }

  /** One that is under way is given up. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  #isDue(): boolean {
    const { table, growthBytes, isDiskLow } = this.#ports;
    const sinceBytes = this.#mark === undefined ? table.logBytes : table.bytesFrom(this.#mark.lastPosition);
    const dueBytes = Math.max(growthBytes, CHECKPOINT_LOG_RATIO * (this.#mark?.sizeBytes ?? 0));
    return sinceBytes >= dueBytes && !isDiskLow();
  }

  async #run(era: number): Promise<void> {
    const { table, onWritten } = this.#ports;
    const snapshot = table.snapshot();
    try {
      const sizeBytes = await this.#write(snapshot, era);
      if (sizeBytes === undefined) return;
      if (era === this.#era) this.#mark = { lastPosition: snapshot.lastPosition, sizeBytes };
      onWritten(sizeBytes);
    } finally {
      snapshot.release();
    }
  }

  /** @returns its size; undefined when it was given up */
  async #write(snapshot: TableSnapshot, era: number): Promise<number | undefined> {
    const { groupId, store, log, epochs } = this.#ports;
    const { index, lastPosition } = snapshot;
    const lastEpochs = epochsBefore(epochs(), index);
    const logId = await store.logId(groupId);
    // The record it is recognised by. Where the log has let go of it, the next checkpoint will do.
    if (index - 1 < log.firstIndex || !this.#isWanted(era)) return undefined;
    const lastCrc = crc32c(await log.read(index - 1));
    const origin = { groupId, logId, index, lastPosition, lastCrc, epochs: lastEpochs };
    const writer = await store.begin(groupId);
    let sizeBytes = 0;
    try {
      for (const parts of encodeCheckpoint(origin, snapshot)) {
        if (!this.#isWanted(era)) break;
        const lengthBytes = parts.reduce((sum, { length }) => sum + length, 0);
        await writer.write(parts);
        sizeBytes += lengthBytes;
        await this.#pause((lengthBytes / CHECKPOINT_BYTES_PER_SECOND) * 1_000);
      }
      // What it tells of must not be lost while it stays: the places of lost records are given again.
      if (this.#isWanted(era)) await log.sync();
    } catch (error) {
      await giveUp(writer);
      throw error;
    }
    if (!this.#isWanted(era)) {
      await giveUp(writer);
      return undefined;
    }
    await writer.commit();
    return sizeBytes;
  }

  #isWanted(era: number): boolean {
    return !this.#stopped && era === this.#era;
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#ports.timers.setTimer(ms, resolve);
    });
  }
}

/** What led to this counts, not whether the remains could be removed: the next one begins over them. */
async function giveUp(writer: CheckpointWriter): Promise<void> {
  await writer.abandon().catch(() => {});
}
