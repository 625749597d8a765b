import type { Counters } from '../../base/counters.ts';
import { describeError, invariant } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import {
  type AppendedRecords,
  type LocatedRecords,
  type LogFailure,
  LogFullError,
  type LogRecord,
  type MendableLog,
  type VerifiedPart,
} from '../../base/record-log.ts';
import type { DurableMarker } from './durable-marker.ts';
import type { OpenFile } from './file-system.ts';
import { FirstFailure } from './first-failure.ts';
import { LaneProgress } from './lane-progress.ts';
import { MAX_APPEND_BYTES, MAX_WAITING_CALLS, MAX_WRITE_BYTES } from './limits.ts';
import { LogCare, type LogCareOptions } from './log-care.ts';
import { LogTail } from './log-tail.ts';
import { recordsSizeBytes } from './segment-codec.ts';
import { logRecords } from './segment-reader.ts';
import type { SegmentSet } from './segment-set.ts';
import { SyncLane } from './sync-lane.ts';
import { nextIndexAfterAll, type WaitingAppend, type WaitingTask } from './waiting-calls.ts';

export interface SegmentedLogParts {
  readonly segments: SegmentSet;
  /** The last segment's file. */
  readonly file: OpenFile;
  readonly marker: DurableMarker;
  readonly segmentSizeBytes: number;
  readonly care: LogCareOptions;
  readonly logger: Logger;
  readonly counters: Counters;
}

/**
 * A RecordLog over a directory of segment files; made by openSegmentedLog. Two lanes run beside each other:
 * the write lane, which is here, carries out appends, truncations and resets in the order of the calls, the
 * sync lane makes what is written durable.
 */
export class SegmentedLog implements MendableLog {
  readonly #segments: SegmentSet;
  readonly #tail: LogTail;
  readonly #sync: SyncLane;
  readonly #marker: DurableMarker;
  readonly #segmentSizeBytes: number;
  readonly #care: LogCare;
  readonly #logger: Logger;

  readonly #waiting: (WaitingAppend | WaitingTask)[] = [];
  #writing: Promise<void> | undefined;
  /** Truncations and resets called and not done: until then a read cannot tell which record it means. */
  #pendingTasks = 0;
  #nextIndex: number;
  #writtenNextIndex: number;
  /** Of the write lane, to know what a sync and a read must wait for. */
  readonly #calls = new LaneProgress();
  readonly #first: FirstFailure;
  #closed: Promise<void> | undefined;

  constructor(parts: SegmentedLogParts) {
    this.#segments = parts.segments;
    this.#tail = new LogTail(parts.segments, parts.file, parts.counters);
    this.#marker = parts.marker;
    this.#segmentSizeBytes = parts.segmentSizeBytes;
    this.#care = new LogCare(parts.care, {
      segments: parts.segments,
      inTurn: (run) => this.#enterTask({ run, nextIndexAfter: (before) => before }),
      beginSegment: () => this.#beginSegment(this.#writtenNextIndex, false),
      fail: (doing, error) => this.#fail(doing, error),
    });
    this.#logger = parts.logger;
    this.#first = new FirstFailure(parts.logger, parts.counters);
    // Opening has made all of it durable.
    this.#sync = new SyncLane(this.#tail, parts.marker, this.#first, {
      calls: this.#calls,
      writtenNextIndex: () => this.#writtenNextIndex,
    });
    parts.segments.onSyncFailed((failure) => this.#fail('removing a segment', failure));
    this.#nextIndex = this.#tail.nextIndex;
    this.#writtenNextIndex = this.#nextIndex;
  }

  get #failure(): LogFailure | undefined {
    return this.#first.known;
  }

  get firstIndex(): number {
    return this.#segments.first.firstIndex;
  }

  /** Counts appends that were called and are not yet written. */
  get nextIndex(): number {
    return this.#nextIndex;
  }

  get durableNextIndex(): number {
    return this.#sync.durableNextIndex;
  }

  /** When it fails with LogFullError, so do all appends called before it was known. */
  append(
    records: readonly Uint8Array[],
    checksums: readonly (number | undefined)[] = records.map(() => undefined),
  ): Promise<AppendedRecords> {
    const sizeBytes = recordsSizeBytes(records);
    invariant(sizeBytes <= MAX_APPEND_BYTES, `an append of ${sizeBytes} bytes; ${MAX_APPEND_BYTES} at most`);
    return new Promise((resolve, reject) => {
      if (!this.#mayEnter(reject)) return;
      this.#nextIndex += records.length;
      this.#enter({ kind: 'append', records, checksums, sizeBytes, resolve, reject });
    });
  }

  appendNow(
    records: readonly Uint8Array[],
    checksums: readonly (number | undefined)[] = [],
  ): AppendedRecords | undefined {
    // Every call has left the write lane. That a sync is under way does not matter: it began with what there was.
    const isIdle = this.#closed === undefined && this.#failure === undefined && this.#waiting.length === 0;
    if (!isIdle || records.length === 0) return undefined;
    if (this.#segments.last.endOffset + recordsSizeBytes(records) > this.#segmentSizeBytes) return undefined;
    const firstIndex = this.#writtenNextIndex;
    try {
      const positions = this.#tail.writeNow(records, checksums, this.#sync.durableNextIndex);
      if (positions === undefined) return undefined;
      this.#writtenNextIndex = this.#tail.nextIndex;
      this.#nextIndex = this.#writtenNextIndex;
      return { firstIndex, positions };
    } catch (error) {
      throw this.#first.errorFor('writing the log', error);
    }
  }

  sync(): Promise<void> {
    return new Promise((resolve, reject) => {
      if (!this.#mayEnter(reject)) return;
      this.#sync.enter({ afterCalls: this.#calls.entered, resolve, reject });
    });
  }

  async read(index: number): Promise<Uint8Array> {
    await this.#settleFor(index);
    return this.#segments.readRecord(index);
  }

  async *scan(fromIndex: number): AsyncGenerator<LogRecord> {
    const untilIndex = this.#nextIndex;
    await this.#settleFor(untilIndex - 1);
    const kept = fromIndex >= this.firstIndex && fromIndex <= this.#writtenNextIndex;
    invariant(kept, `scan from ${fromIndex}; kept are ${this.firstIndex} to ${this.#writtenNextIndex - 1}`);
    const ranges = this.#segments.retain(fromIndex, untilIndex);
    try {
      for (const range of ranges) {
        for await (const batch of this.#segments.readRange(range)) yield* logRecords(range.segment, batch);
      }
    } finally {
      for (const range of ranges) this.#segments.release(range);
    }
  }

  async readAt(position: number, lengthBytes: number): Promise<Uint8Array> {
    this.#throwIfUnusable();
    return this.#segments.readPosition(position, lengthBytes);
  }

  readAtNow(position: number, into: Uint8Array): boolean {
    if (this.#failure !== undefined || this.#closed !== undefined) return false;
    return this.#segments.readPositionNow(position, into);
  }

  async verify(fromIndex: number, untilIndex: number, maxBytes: number): Promise<VerifiedPart> {
    this.#throwIfUnusable();
    return await this.#care.verify(fromIndex, untilIndex, maxBytes);
  }

  async locate(position: number): Promise<LocatedRecords | undefined> {
    this.#throwIfUnusable();
    return await this.#care.locate(position);
  }

  async mend(firstIndex: number, payloads: readonly Uint8Array[]): Promise<boolean> {
    this.#throwIfUnusable();
    return await this.#care.mend(firstIndex, payloads);
  }

  /**
   * Needs room for one new segment's header.
   * @throws LogFullError when there is none; nothing was removed
   */
  truncateFrom(index: number): Promise<void> {
    return this.#enterTask({
      nextIndexAfter: (before) => Math.min(before, index),
      run: async () => {
        invariant(index >= this.firstIndex, `truncation at ${index}, before ${this.firstIndex}`);
        if (index < this.#writtenNextIndex) await this.#beginSegment(index, false);
      },
    });
  }

  trimBefore(index: number): Promise<void> {
    return this.#enterTask({
      nextIndexAfter: (before) => before,
      run: () => {
        this.#segments.trimBefore(index);
        return Promise.resolve();
      },
    });
  }

  /** @throws LogFullError as truncateFrom does */
  resetTo(index: number): Promise<void> {
    return this.#enterTask({ nextIndexAfter: () => index, run: () => this.#beginSegment(index, true) });
  }

  onFailure(handler: (failure: LogFailure) => void): void {
    this.#first.onFailure(handler);
  }

  /** Makes everything durable first, unless the log has failed. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    // The caller of close() has this.#closed set only after the first await, so sync still enters.
    const synced = this.sync();
    const cared = this.#care.close();
    try {
      await synced;
    } catch (error) {
      this.#logger.warn('log.close.unsynced', { error: describeError(error) });
    }
    await this.#writing;
    await this.#sync.ended();
    await cared;
    await this.#segments.close();
    await this.#marker.close();
  }

  #mayEnter(reject: (error: Error) => void): boolean {
    invariant(this.#closed === undefined, 'the log was closed');
    const calls = this.#waiting.length + this.#sync.waitingCalls;
    invariant(calls < MAX_WAITING_CALLS, `${calls} calls of the log are waiting`);
    if (this.#failure !== undefined) reject(this.#failure);
    return this.#failure === undefined;
  }

  #throwIfUnusable(): void {
    invariant(this.#closed === undefined, 'the log was closed');
    if (this.#failure !== undefined) throw this.#failure;
  }

  #enter(call: WaitingAppend | WaitingTask): void {
    this.#waiting.push(call);
    this.#calls.enter();
    this.#writing ??= this.#runWriteLane();
  }

  #enterTask(task: Pick<WaitingTask, 'run' | 'nextIndexAfter'>): Promise<void> {
    return new Promise((resolve, reject) => {
      if (!this.#mayEnter(reject)) return;
      this.#nextIndex = task.nextIndexAfter(this.#nextIndex);
      this.#pendingTasks++;
      this.#enter({ kind: 'task', ...task, resolve, reject });
    });
  }

  /** Waits until `index` means the record that the calls so far give it. */
  async #settleFor(index: number): Promise<void> {
    this.#throwIfUnusable();
    if (this.#pendingTasks === 0 && index < this.#writtenNextIndex) return;
    await this.#calls.settled();
    this.#throwIfUnusable();
  }

  async #runWriteLane(): Promise<void> {
    // Calls made one after another in the same turn are to share a write.
    await Promise.resolve();
    for (let call = this.#waiting[0]; call !== undefined; call = this.#waiting[0]) {
      if (this.#failure !== undefined) {
        this.#rejectWaiting(this.#failure);
        break;
      }
      if (call.kind === 'append') await this.#runAppends(call);
      else await this.#runTask(call);
      this.#sync.begin();
    }
    this.#writing = undefined;
    this.#sync.begin();
  }

  async #runTask(task: WaitingTask): Promise<void> {
    try {
      await this.#segments.withSpareRoom(task.run);
      this.#leave([task]);
      task.resolve();
    } catch (error) {
      const failure = this.#first.errorFor('writing the log', error);
      this.#leave([task]);
      this.#recountNextIndex();
      task.reject(failure);
    }
  }

  async #runAppends(first: WaitingAppend): Promise<void> {
    let group: WaitingAppend[] = [first];
    const attempt = async (): Promise<void> => {
      const isFull = this.#segments.last.endOffset + first.sizeBytes > this.#segmentSizeBytes;
      if (isFull && this.#segments.last.recordCount > 0)
        await this.#beginSegment(this.#writtenNextIndex, false);
      group = this.#takeGroup(first);
      await this.#write(group);
    };
    try {
      await this.#segments.withSpareRoom(attempt);
    } catch (error) {
      const failure = this.#first.errorFor('writing the log', error);
      this.#leave(group);
      for (const append of group) append.reject(failure);
      if (failure instanceof LogFullError) this.#rejectWaitingAppends(failure);
    }
  }

  /** The appends at the head of the queue that go into one write. */
  #takeGroup(first: WaitingAppend): WaitingAppend[] {
    const group: WaitingAppend[] = [first];
    let sizeBytes = first.sizeBytes;
    const roomBytes = Math.min(MAX_WRITE_BYTES, this.#segmentSizeBytes - this.#tail.used.bytes);
    for (let i = 1; i < this.#waiting.length; i++) {
      const call = this.#waiting[i];
      if (call?.kind !== 'append' || sizeBytes + call.sizeBytes > roomBytes) break;
      group.push(call);
      sizeBytes += call.sizeBytes;
    }
    return group;
  }

  async #write(group: readonly WaitingAppend[]): Promise<void> {
    let firstIndex = this.#writtenNextIndex;
    const records = group.flatMap((append) => append.records);
    const checksums = group.flatMap((append) => append.checksums);
    const positions = await this.#tail.write(records, checksums, this.#sync.durableNextIndex);
    this.#writtenNextIndex = this.#tail.nextIndex;
    this.#leave(group);
    let at = 0;
    for (const append of group) {
      const count = append.records.length;
      append.resolve({ firstIndex, positions: positions.slice(at, at + count) });
      at += count;
      firstIndex += count;
    }
  }

  /** Goes on in a new segment from `index`. All before it is made durable, so that only the last can be torn. */
  async #beginSegment(index: number, startsOver: boolean): Promise<void> {
    await this.#sync.whileHeld(async () => {
      this.#throwIfUnusable();
      if (!startsOver) await this.#tail.seal();
      await this.#tail.begin(index, startsOver);
      this.#writtenNextIndex = index;
      this.#sync.begun(index);
    });
  }

  #leave(calls: readonly (WaitingAppend | WaitingTask)[]): void {
    const left = this.#waiting.splice(0, calls.length);
    invariant(left[0] === calls[0], 'calls leave the write lane in order');
    this.#pendingTasks -= calls.filter((call) => call.kind === 'task').length;
    this.#calls.leave(calls.length);
  }

  #fail(doing: string, error: unknown): LogFailure {
    return this.#first.note(doing, error);
  }

  #rejectWaiting(failure: LogFailure): void {
    const calls = this.#waiting.slice();
    this.#leave(calls);
    for (const call of calls) call.reject(failure);
  }

  /** Their callers counted on the one that failed: with it gone, their records would take its numbers. */
  #rejectWaitingAppends(full: LogFullError): void {
    const rejected = this.#waiting.filter((call) => call.kind === 'append');
    const kept = this.#waiting.filter((call) => call.kind === 'task');
    this.#waiting.splice(0, this.#waiting.length, ...kept);
    for (const append of rejected) append.reject(full);
    this.#recountNextIndex();
    this.#calls.leave(rejected.length);
  }

  #recountNextIndex(): void {
    this.#nextIndex = nextIndexAfterAll(this.#waiting, this.#writtenNextIndex);
  }
}
