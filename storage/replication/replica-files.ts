import { crc32c } from '../../base/crc32c.ts';
import { describeError, ProtocolError } from '../../base/errors.ts';
import type { MendableLog } from '../../base/record-log.ts';
import { decodeCheckpoint, type LoadedCheckpoint } from '../lun/index-checkpoint.ts';
import type { CheckpointStore } from './checkpoint-store.ts';
import type { LogView } from './core.ts';
import { type EpochEntry, epochsBefore } from './epoch-table.ts';
import {
  decodeGroupMeta,
  encodeGroupMeta,
  type GroupMeta,
  type LunList,
  type MetaStore,
} from './group-meta.ts';

/**
 * @param mustExist it was here before: that nothing of it is found is damage
 * @param verifyFrom records below need not be read: their content is known, with checksums
 */
export type OpenLog = (groupId: string, mustExist: boolean, verifyFrom?: number) => Promise<MendableLog>;

/** Checkpoints of the index, and what to do about one that cannot be used. */
export interface CheckpointSource {
  readonly store: CheckpointStore;
  readonly onIgnored: (reason: string) => void;
}

/** What one member has on disk: its log, and beside it the meta file. */
export class ReplicaFiles {
  readonly log: MendableLog;
  /** The index as of some record of this log, to start from; gone once it has been taken. */
  #checkpoint: LoadedCheckpoint | undefined;
  readonly #groupId: string;
  readonly #store: MetaStore;
  #meta: GroupMeta;
  /** Whether there was a meta file when this was opened: the member has been here before. */
  readonly wasKnown: boolean;

  private constructor(
    groupId: string,
    store: MetaStore,
    log: MendableLog,
    meta: GroupMeta,
    wasKnown: boolean,
  ) {
    this.#groupId = groupId;
    this.#store = store;
    this.log = log;
    this.#meta = meta;
    this.wasKnown = wasKnown;
  }

  /**
   * Opens both and finishes a replacement of the log that was cut short.
   * @throws ProtocolError code "bad-meta"; what openLog throws
   */
  static async open(
    groupId: string,
    store: MetaStore,
    openLog: OpenLog,
    checkpoints?: CheckpointSource,
  ): Promise<ReplicaFiles> {
    const bytes = await store.load(groupId);
    const known = bytes === undefined ? undefined : decodeGroupMeta(bytes);
    const isUsable = checkpoints !== undefined && known !== undefined && !known.resetting;
    let checkpoint = isUsable ? await loadCheckpoint(groupId, checkpoints, known) : undefined;
    // The log comes to be before the meta file, so where there is one there is the other.
    let log = await openLog(groupId, known !== undefined, checkpoint?.origin.index);
    const misfit = checkpoint === undefined ? undefined : await whyOfAnotherLog(checkpoint, log);
    if (misfit !== undefined) {
      checkpoints?.onIgnored(misfit);
      checkpoint = undefined;
      await log.close();
      log = await openLog(groupId, true);
    }
    const meta: GroupMeta =
      known === undefined
        ? {
            epoch: 0,
            leaseMs: 0,
            baseIndex: log.firstIndex,
            luns: [],
            lunsIndex: log.firstIndex,
            epochs: [],
            resetting: false,
          }
        : known;
    const files = new ReplicaFiles(groupId, store, log, meta, bytes !== undefined);
    files.#checkpoint = checkpoint;
    if (meta.resetting) {
      await log.resetTo(meta.baseIndex);
      await files.#save({ ...meta, resetting: false });
    }
    if (log.firstIndex > meta.baseIndex || meta.baseIndex > log.nextIndex) {
      await log.close();
      throw new ProtocolError(`the log of group ${groupId} does not reach where it should begin`, {
        code: 'bad-meta',
        got: `records ${log.firstIndex} to ${log.nextIndex - 1}`,
        limit: `record ${meta.baseIndex}`,
      });
    }
    return files;
  }

  get meta(): GroupMeta {
    return this.#meta;
  }

  /** The checkpoint, once: it may be large. */
  takeCheckpoint(): LoadedCheckpoint | undefined {
    const checkpoint = this.#checkpoint;
    this.#checkpoint = undefined;
    return checkpoint;
  }

  /** The log as found: nothing of it is known to be committed. */
  view(): LogView {
    const { log } = this;
    const { baseIndex, lunsIndex, epochs } = this.#meta;
    return {
      baseIndex,
      lunsIndex,
      nextIndex: log.nextIndex,
      appendedIndex: log.nextIndex,
      durableIndex: log.durableNextIndex,
      commitIndex: baseIndex,
      // An epoch is recorded before its first record is appended, which may not have come to pass.
      epochs: epochsBefore(epochs, log.nextIndex),
      persistedEpochs: epochs,
      cut: 0,
    };
  }

  async saveEpoch(epoch: number, leaseMs: number, epochs: readonly EpochEntry[]): Promise<void> {
    await this.#save({ ...this.#meta, epoch, leaseMs, epochs });
  }

  async saveBase(baseIndex: number, list: LunList): Promise<void> {
    await this.#save({ ...this.#meta, baseIndex, ...list });
  }

  /** Replaces all there is, by `emptyLog`; a crash on the way leaves the new base or is finished at open. */
  async replace(
    given: LunList & { readonly baseIndex: number; readonly epochs: readonly EpochEntry[] },
    emptyLog: () => Promise<void>,
  ): Promise<void> {
    await this.#save({ ...this.#meta, ...given, resetting: true });
    await emptyLog();
    await this.#save({ ...this.#meta, resetting: false });
  }

  async #save(meta: GroupMeta): Promise<void> {
    this.#meta = meta;
    await this.#store.save(this.#groupId, encodeGroupMeta(meta));
  }
}

/** The checkpoint, if it is sound and could be of this group's log by all that is known beside the log. */
async function loadCheckpoint(
  groupId: string,
  { store, onIgnored }: CheckpointSource,
  meta: GroupMeta,
): Promise<LoadedCheckpoint | undefined> {
  try {
    const loaded = await store.read(groupId, decodeCheckpoint);
    if (loaded === undefined) return undefined;
    const reason = whyForeign(loaded.origin, groupId, await store.logId(groupId), meta);
    if (reason === undefined) return loaded;
    onIgnored(reason);
  } catch (error) {
    onIgnored(describeError(error));
  }
  return undefined;
}

function whyForeign(
  origin: LoadedCheckpoint['origin'],
  groupId: string,
  logId: string,
  meta: GroupMeta,
): string | undefined {
  if (origin.groupId !== groupId) return `it is of group ${origin.groupId}`;
  if (origin.logId !== logId) return `it is of the log ${origin.logId}, and this one is ${logId}`;
  if (origin.index < meta.baseIndex) return `the log begins at ${meta.baseIndex}, after ${origin.index}`;
  const here = epochsBefore(meta.epochs, origin.index);
  // Old entries are forgotten in time: those that both still have must agree.
  const count = Math.min(here.length, origin.epochs.length);
  const isSame = (count > 0 || origin.epochs.length === here.length) && sameEnd(here, origin.epochs, count);
  return isSame ? undefined : 'other primaries wrote the records of this log';
}

function sameEnd(a: readonly EpochEntry[], b: readonly EpochEntry[], count: number): boolean {
  for (let i = 1; i <= count; i++) {
    const [x, y] = [a.at(-i) as EpochEntry, b.at(-i) as EpochEntry];
    if (x.epoch !== y.epoch || x.startIndex !== y.startIndex) return false;
  }
  return true;
}

/**
 * Why a checkpoint is not of this log as it now is. A log loses records only from its ends, and never gives the place
 * of a durable record to another one. So if the last record of the checkpoint is where it was, all before it are.
 */
async function whyOfAnotherLog({ origin }: LoadedCheckpoint, log: MendableLog): Promise<string | undefined> {
  const lastIndex = origin.index - 1;
  if (lastIndex < log.firstIndex || lastIndex >= log.nextIndex) return `the log has no record ${lastIndex}`;
  try {
    for await (const { position, payload } of log.scan(lastIndex)) {
      if (position !== origin.lastPosition) return `record ${lastIndex} lies elsewhere`;
      if (crc32c(payload) !== origin.lastCrc) return `record ${lastIndex} is another one`;
      break;
    }
  } catch (error) {
    return `record ${lastIndex} cannot be read: ${describeError(error)}`;
  }
  return undefined;
}
