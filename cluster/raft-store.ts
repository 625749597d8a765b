import { invariant } from '../base/errors.ts';
import { LogFullError, type RecordLog } from '../base/record-log.ts';
import {
  LOG_TAIL_ENTRIES,
  MAX_ABANDONED_PART_BYTES,
  MAX_LOG_BYTES,
  MAX_LOG_ENTRIES,
  MAX_LOG_OVERRUN,
} from './limits.ts';
import {
  type ConfState,
  confStateAfter,
  decodeConfChange,
  type Entry,
  type HardState,
  MemoryStorage,
  type RaftStorage,
  type Snapshot,
  type SnapshotMetadata,
} from './raft/index.ts';
import { encodeRecord, inRecords, type RaftRecord, sizeOf } from './raft-records.ts';
import { corruption, decodeStored, type LocatedEntries, RaftReplay } from './raft-replay.ts';
import { inParts, type SnapshotPart, SnapshotSpool, type SpooledSnapshot } from './snapshot-spool.ts';

/** One step of what Raft wants kept; carried out in the order hard state, snapshot, entries. */
export interface StorageWrite {
  readonly hardState?: HardState;
  readonly snapshot?: Snapshot;
  readonly entries: readonly Entry[];
}

/** When the log is compacted, and how much of it is kept all the same. */
export interface LogBounds {
  readonly maxEntries: number;
  readonly maxBytes: number;
  readonly tailEntries: number;
}

const LOG_BOUNDS: LogBounds = {
  maxEntries: MAX_LOG_ENTRIES,
  maxBytes: MAX_LOG_BYTES,
  tailEntries: LOG_TAIL_ENTRIES,
};

/**
 * Raft's term, vote and log: on disk in a RecordLog, and as much of it as Raft may ask for in memory. The
 * memory follows the disk, never the other way round.
 */
export class RaftStore implements RaftStorage {
  readonly #log: RecordLog;
  readonly #bounds: LogBounds;
  readonly #memory = new MemoryStorage();
  #located: LocatedEntries[];
  #hardState: HardState;
  /** What a reader of the disk would find: only the commit index may be behind. */
  #recordedHardState: HardState;
  /** Records were added that no sync has covered yet. */
  #hasUnsynced = false;
  /** Writes and compactions, one after another: each says what all before it add up to. */
  #lane: Promise<unknown> = Promise.resolve();
  /** Of the entry before the first one kept. */
  #baseConfState: ConfState;
  /** Where Raft starts from. */
  #startConfState: ConfState;
  #entryBytes = 0;
  #snapshotSource: () => Snapshot | undefined = () => undefined;
  /** Content of a snapshot received before the last stop, until the consumer has it. */
  #received: { readonly index: number; readonly data: Uint8Array } | undefined;
  #spool: SnapshotSpool | undefined;
  #lost: string | undefined;
  /** What records hold of snapshots that never became whole, since such were trimmed last. */
  #abandonedBytes = 0;

  private constructor(log: RecordLog, recovered: ReturnType<RaftReplay['finish']>, bounds: LogBounds) {
    this.#log = log;
    this.#bounds = bounds;
    this.#located = [...recovered.located];
    this.#memory.applySnapshot({ metadata: recovered.base, data: new Uint8Array(0) });
    this.#memory.append(recovered.entries);
    this.#baseConfState = recovered.base.confState;
    this.#startConfState = recovered.base.confState;
    // A torn write may have left the commit index without the entries it speaks of.
    const commit = Math.min(recovered.hardState.commit, this.lastIndex());
    this.#hardState = { ...recovered.hardState, commit };
    this.#recordedHardState = recovered.hardState;
    this.#memory.setHardState(this.#hardState);
    this.#entryBytes = sizeOf(recovered.entries);
    this.#spool = recovered.spool;
    this.#lost = recovered.lost;
    if (recovered.snapshot !== undefined) {
      this.#received = { index: recovered.base.index, data: recovered.snapshot.content() };
    }
  }

  /**
   * Reads the log back, or begins one.
   * @param initial the members of a new cluster
   * @param bounds default: those of limits.ts
   * @param lost why what was there before has been lost; only a log that is empty takes note of it
   * @throws LogCorruptionError; the node must then not take part
   * @throws OperationError code "newer-format"
   */
  static async open(
    log: RecordLog,
    initial: ConfState,
    bounds: LogBounds = LOG_BOUNDS,
    lost?: string,
  ): Promise<RaftStore> {
    if (log.nextIndex === log.firstIndex) {
      const start: RaftRecord = {
        kind: 'snapshot',
        metadata: { index: 0, term: 0, confState: initial },
        hardState: { term: 0, vote: 0, commit: 0 },
      };
      // In this order: torn apart, the second alone would be the log of a node that has lost nothing.
      const records: RaftRecord[] = lost === undefined ? [start] : [{ kind: 'lost', reason: lost }, start];
      await log.append(records.map(encodeRecord));
      await log.sync();
    }
    const replay = new RaftReplay();
    for await (const { index, payload } of log.scan(log.firstIndex)) {
      replay.add(decodeStored(payload, index), index);
    }
    return new RaftStore(log, replay.finish(), bounds);
  }

  /**
   * Accounts for what the consumer has applied, which is committed whether or not the commit index got to
   * disk.
   * @returns the snapshot the consumer still has to be given
   * @throws LogCorruptionError when log and consumer cannot belong together
   */
  resumeAt(applied: number): { readonly index: number; readonly data: Uint8Array } | undefined {
    const received = this.#received;
    this.#received = undefined;
    const baseIndex = this.firstIndex() - 1;
    if (applied > this.lastIndex()) {
      throw corruption(`it ends at ${this.lastIndex()}, but entries up to ${applied} have been applied`);
    }
    const start = Math.max(applied, baseIndex);
    if (this.#hardState.commit < start) {
      this.#hardState = { ...this.#hardState, commit: start };
      this.#memory.setHardState(this.#hardState);
    }
    this.#startConfState = this.confStateAt(start);
    if (applied >= baseIndex) return undefined;
    if (received === undefined || received.index === 0) {
      throw corruption(`it begins after ${baseIndex}, but entries have been applied only up to ${applied}`);
    }
    return received;
  }

  /** The configuration in force when everything up to `index`, which is committed, has been applied. */
  confStateAt(index: number): ConfState {
    const entries = this.#memory.entries(this.firstIndex(), index + 1, Number.MAX_SAFE_INTEGER);
    invariant(typeof entries !== 'string', `entries up to ${index} are kept`);
    const changes = entries.filter((entry) => entry.type !== 'normal').map(decodeConfChange);
    return confStateAfter(this.#baseConfState, changes);
  }

  /** Where snapshots for peers come from. */
  setSnapshotSource(source: () => Snapshot | undefined): void {
    this.#snapshotSource = source;
  }

  /**
   * Keeps the writes, in order. Raft sees them when this resolves. A commit index that comes alone waits for the
   * next record: it is a promise to nobody, and after a crash the leader tells it again.
   * @param durable resolves only once they are on stable storage
   * @returns whether that took an fsync: it takes none where everything has been made durable already
   * @throws LogFullError with nothing kept, LogFailure which is final
   */
  persist(writes: readonly StorageWrite[], durable: boolean): Promise<boolean> {
    return this.#inTurn(() => this.#persist(writes, durable));
  }

  #inTurn<T>(run: () => Promise<T>): Promise<T> {
    const turn = this.#lane.then(run);
    this.#lane = turn.catch(() => {});
    return turn;
  }

  async #persist(writes: readonly StorageWrite[], durable: boolean): Promise<boolean> {
    const records: RaftRecord[] = [];
    let contentRecord: number | undefined;
    let recorded = this.#recordedHardState;
    let hardState = this.#hardState;
    for (const write of writes) {
      hardState = write.hardState ?? hardState;
      const { snapshot, entries } = write;
      // The term comes before the entries of that term, so that a torn write cannot leave only these. Nor may it leave
      // a commit index that speaks of them, for there may be others in their places that they were to replace.
      const commit = Math.min(hardState.commit, (entries[0]?.index ?? Number.POSITIVE_INFINITY) - 1);
      const safe = { ...hardState, commit: Math.max(commit, recorded.commit) };
      if (isPromise(recorded, hardState) || (entries.length > 0 && recorded.commit !== safe.commit)) {
        records.push({ kind: 'hardState', hardState: safe });
        recorded = safe;
      }
      if (snapshot !== undefined) {
        contentRecord = this.#isKept(snapshot) ? this.#spool?.firstRecord : undefined;
        if (contentRecord === undefined) {
          contentRecord = this.#log.nextIndex + records.length;
          for (const part of inParts(snapshot)) records.push({ kind: 'snapshotPart', part });
        }
        records.push({ kind: 'snapshot', metadata: snapshot.metadata, hardState });
        recorded = hardState;
      }
      for (const group of inRecords(entries)) records.push({ kind: 'entries', entries: group });
      // Whoever acknowledges what follows a change of members is counted on to remember that the change is in force.
      const change = entries.findLast(({ type, index }) => type !== 'normal' && index <= hardState.commit);
      if (change !== undefined) {
        recorded = { ...hardState, commit: change.index };
        records.push({ kind: 'hardState', hardState: recorded });
      }
    }
    if (records.length > 0) {
      const { firstIndex } = await this.#log.append(records.map(encodeRecord));
      this.#recordedHardState = recorded;
      this.#hasUnsynced = true;
      this.#locate(records, firstIndex);
    }
    let tookSync = false;
    if (durable && this.#hasUnsynced) {
      await this.#log.sync();
      this.#hasUnsynced = false;
      tookSync = true;
    }
    for (const write of writes) this.#remember(write);
    // What was there before a snapshot is needed no more.
    if (durable && contentRecord !== undefined) await this.#log.trimBefore(contentRecord);
    return tookSync;
  }

  /** Why this node may not take part before a snapshot has taken the place of what it has. */
  get lost(): string | undefined {
    return this.#lost;
  }

  /** Notes durably that something has been lost. */
  markLost(reason: string): Promise<void> {
    return this.#inTurn(async () => {
      await this.#log.append([encodeRecord({ kind: 'lost', reason })]);
      await this.#log.sync();
      this.#lost = reason;
    });
  }

  /** What has come of the snapshot that is being received. */
  get spool(): SnapshotSpool | undefined {
    return this.#spool;
  }

  /** From now on this snapshot is being received, and none that came before it. */
  beginSpool({ metadata, totalBytes, sha256 }: SpooledSnapshot): void {
    this.dropSpool();
    this.#spool = new SnapshotSpool({ metadata, totalBytes, sha256 }, undefined);
  }

  dropSpool(): void {
    if (this.#spool?.firstRecord !== undefined) this.#abandonedBytes += this.#spool.filledBytes;
    this.#spool = undefined;
  }

  /**
   * Keeps the next part of the snapshot that is being received, on disk where there is room. It need not be durable
   * before it is all there.
   * @throws LogFailure
   */
  keepPart(part: SnapshotPart): Promise<void> {
    return this.#inTurn(async () => {
      const spool = this.#spool;
      if (spool?.isOf(part) !== true || !spool.takes(part.offsetBytes, part.bytes.length)) return;
      const record = await this.#recordPart(spool, part);
      if (part.offsetBytes === 0) this.#spool = new SnapshotSpool(spool.snapshot, record);
      this.#spool?.add(part.bytes);
    });
  }

  /** @returns undefined when it is not on disk */
  async #recordPart(spool: SnapshotSpool, part: SnapshotPart): Promise<number | undefined> {
    if (part.offsetBytes > 0 && spool.firstRecord === undefined) return undefined;
    if (this.#abandonedBytes > MAX_ABANDONED_PART_BYTES) return undefined;
    try {
      const { firstIndex } = await this.#log.append([encodeRecord({ kind: 'snapshotPart', part })]);
      this.#hasUnsynced = true;
      return firstIndex;
    } catch (error) {
      if (error instanceof LogFullError) return undefined;
      throw error;
    }
  }

  #isKept({ metadata, data }: Snapshot): boolean {
    const spool = this.#spool;
    if (spool?.firstRecord === undefined || !spool.isWhole) return false;
    const { index, term } = spool.snapshot.metadata;
    return index === metadata.index && term === metadata.term && spool.snapshot.totalBytes === data.length;
  }

  #locate(records: readonly RaftRecord[], firstRecord: number): void {
    for (const [i, record] of records.entries()) {
      if (record.kind === 'snapshot') this.#located = [];
      const last = record.kind === 'entries' ? record.entries.at(-1) : undefined;
      if (last !== undefined) this.#located.push({ record: firstRecord + i, lastIndex: last.index });
    }
  }

  #remember({ hardState, snapshot, entries }: StorageWrite): void {
    if (hardState !== undefined) {
      this.#hardState = hardState;
      this.#memory.setHardState(hardState);
    }
    if (snapshot !== undefined) {
      this.#memory.applySnapshot({ ...snapshot, data: new Uint8Array(0) });
      this.#baseConfState = snapshot.metadata.confState;
      this.#entryBytes = 0;
      this.#spool = undefined;
      this.#abandonedBytes = 0;
      this.#lost = undefined;
    }
    this.#memory.append(entries);
    this.#entryBytes += sizeOf(entries);
  }

  /** Whether the log has grown past its bounds. */
  get isLong(): boolean {
    const { maxEntries, maxBytes } = this.#bounds;
    return this.lastIndex() - this.firstIndex() >= maxEntries || this.#entryBytes > maxBytes;
  }

  /**
   * Forgets entries up to `applied`, but for a tail of a log that is long only in entries.
   * @param applied the consumer's state up to here is on stable storage
   * @param keepAfter entries after this are wanted still; they go all the same once the log is far too long
   */
  compact(applied: number, keepAfter = Number.POSITIVE_INFINITY): Promise<void> {
    return this.#inTurn(() => this.#compact(applied, keepAfter));
  }

  async #compact(applied: number, keepAfter: number): Promise<void> {
    const { maxBytes, maxEntries, tailEntries } = this.#bounds;
    const tail = this.#entryBytes > maxBytes ? 0 : tailEntries;
    const isFarTooLong =
      this.#entryBytes > MAX_LOG_OVERRUN * maxBytes ||
      this.lastIndex() - this.firstIndex() > MAX_LOG_OVERRUN * maxEntries;
    const wanted = isFarTooLong ? Number.POSITIVE_INFINITY : keepAfter;
    const index = Math.min(applied, this.lastIndex() - tail, wanted);
    if (index < this.firstIndex()) return;
    const term = this.#memory.term(index);
    invariant(typeof term === 'number', `entry ${index} has a term`);
    const confState = this.confStateAt(index);
    const metadata: SnapshotMetadata = { index, term, confState };
    const record = encodeRecord({ kind: 'compacted', metadata, hardState: this.#hardState });
    const { firstIndex: compacted } = await this.#log.append([record]);
    // Nothing may go before it is certain that it is not missed.
    await this.#log.sync();
    this.#memory.compact(index);
    // A snapshot may have arrived meanwhile and begun further on.
    if (this.firstIndex() === index + 1) this.#baseConfState = confState;
    const kept = this.#memory.entries(this.firstIndex(), this.lastIndex() + 1, Number.MAX_SAFE_INTEGER);
    this.#entryBytes = typeof kept === 'string' ? 0 : sizeOf(kept);
    this.#located = this.#located.filter((l) => l.lastIndex > index);
    const needed = [compacted, this.#located[0]?.record, this.#spool?.firstRecord];
    await this.#log.trimBefore(Math.min(...needed.filter((record) => record !== undefined)));
  }

  initialState(): { hardState: HardState; confState: ConfState } {
    return { ...this.#memory.initialState(), confState: this.#startConfState };
  }

  entries(lo: number, hi: number, maxSizeBytes: number): readonly Entry[] | 'compacted' | 'unavailable' {
    return this.#memory.entries(lo, hi, maxSizeBytes);
  }

  term(index: number): number | 'compacted' | 'unavailable' {
    return this.#memory.term(index);
  }

  firstIndex(): number {
    return this.#memory.firstIndex();
  }

  lastIndex(): number {
    return this.#memory.lastIndex();
  }

  snapshot(): Snapshot | undefined {
    return this.#snapshotSource();
  }
}

/** Whether others are told something that the state recorded does not say. */
function isPromise(recorded: HardState, next: HardState): boolean {
  return recorded.term !== next.term || recorded.vote !== next.vote;
}
