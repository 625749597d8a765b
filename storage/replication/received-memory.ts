import type { LentMemory } from '../../base/peer-transport.ts';
import type { LoggedRecord } from '../lun/log-record.ts';
import type { LunTable } from '../lun/lun-table.ts';
import type { ReplicaCore } from './core.ts';

/**
 * Memory of messages whose records a backup has taken into its log, until they have taken effect: by then they are in
 * the file, and of their blocks the table of LUNs has positions and checksums only.
 */
export class ReceivedMemory {
  readonly #core: Pick<ReplicaCore, 'log'>;
  readonly #table: Pick<LunTable, 'appliedIndex'>;
  /** In the order of the log. */
  #lent: { readonly endIndex: number; readonly memory: LentMemory }[] = [];
  #cut = 0;

  constructor(core: Pick<ReplicaCore, 'log'>, table: Pick<LunTable, 'appliedIndex'>) {
    this.#core = core;
    this.#table = table;
  }

  /** What a message brought has been decided on; it is kept in mind only where all of it is in the log, and is blocks. */
  took(firstIndex: number, records: readonly LoggedRecord[], memory: LentMemory): void {
    const { log } = this.#core;
    const endIndex = firstIndex + records.length;
    const isBlocks = records.every(({ record }) => record.kind === 'write');
    if (this.#lent.length === 0) this.#cut = log.cut;
    if (isBlocks && endIndex <= log.nextIndex) this.#lent.push({ endIndex, memory });
  }

  /**
   * Gives back what nobody looks at any more.
   * @param isBackup a primary may have to send them to others; then they are left to the garbage collector, as they are
   *   when their numbers may be given anew
   */
  settle(isBackup: boolean): void {
    if (this.#lent.length === 0) return;
    if (!isBackup || this.#cut !== this.#core.log.cut) {
      this.#lent = [];
      return;
    }
    const { appliedIndex } = this.#table;
    let count = 0;
    while (count < this.#lent.length && (this.#lent[count]?.endIndex ?? 0) <= appliedIndex) count++;
    if (count === 0) return;
    for (const { memory } of this.#lent.splice(0, count)) memory.giveBack();
  }
}
