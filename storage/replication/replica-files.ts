import { ProtocolError } from '../../base/errors.ts';
import type { RecordLog } from '../../base/record-log.ts';
import type { LunDescription } from '../lun/lun-table.ts';
import type { LogView } from './core.ts';
import { type EpochEntry, epochsBefore } from './epoch-table.ts';
import { decodeGroupMeta, encodeGroupMeta, type GroupMeta, type MetaStore } from './group-meta.ts';

/** What one member has on disk: its log, and beside it the meta file. */
export class ReplicaFiles {
  readonly log: RecordLog;
  readonly #groupId: string;
  readonly #store: MetaStore;
  #meta: GroupMeta;
  /** Whether there was a meta file when this was opened: the member has been here before. */
  readonly wasKnown: boolean;

  private constructor(groupId: string, store: MetaStore, log: RecordLog, meta: GroupMeta, wasKnown: boolean) {
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
    openLog: (groupId: string, mustExist: boolean) => Promise<RecordLog>,
  ): Promise<ReplicaFiles> {
    const bytes = await store.load(groupId);
    const known = bytes === undefined ? undefined : decodeGroupMeta(bytes);
    // The log comes to be before the meta file, so where there is one there is the other.
    const log = await openLog(groupId, known !== undefined);
    const meta: GroupMeta =
      known === undefined
        ? { epoch: 0, leaseMs: 0, baseIndex: log.firstIndex, luns: [], epochs: [], resetting: false }
        : known;
    const files = new ReplicaFiles(groupId, store, log, meta, bytes !== undefined);
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

  /** The log as found: nothing of it is known to be committed. */
  view(): LogView {
    const { log } = this;
    const { baseIndex, epochs } = this.#meta;
    return {
      baseIndex,
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

  async saveBase(baseIndex: number, luns: readonly LunDescription[]): Promise<void> {
    await this.#save({ ...this.#meta, baseIndex, luns });
  }

  /** Replaces all there is, by `emptyLog`; a crash on the way leaves the new base or is finished at open. */
  async replace(
    given: { baseIndex: number; luns: readonly LunDescription[]; epochs: readonly EpochEntry[] },
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
