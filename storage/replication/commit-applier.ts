import { invariant } from '../../base/errors.ts';
import type { RecordLog } from '../../base/record-log.ts';
import type { LunTable } from '../lun/lun-table.ts';
import type { LogView } from './core.ts';
import { epochAt } from './epoch-table.ts';

/**
 * Lets committed records take effect in the table of LUNs: at once where they are held in memory, as in all
 * normal running, and by reading them back from the log after a restart.
 */
export class CommitApplier {
  readonly #log: Pick<RecordLog, 'scan'>;
  readonly #view: LogView;
  readonly #table: LunTable;
  readonly #onApplied: () => void;
  readonly #onFailure: (error: unknown) => void;
  #scan: Promise<void> | undefined;
  #stop = false;

  constructor(
    log: Pick<RecordLog, 'scan'>,
    view: LogView,
    table: LunTable,
    events: { onApplied: () => void; onFailure: (error: unknown) => void },
  ) {
    this.#log = log;
    this.#view = view;
    this.#table = table;
    this.#onApplied = events.onApplied;
    this.#onFailure = events.onFailure;
  }

  get isScanning(): boolean {
    return this.#scan !== undefined;
  }

  /** Goes as far as the view says is committed; calls onApplied where that took reading. */
  apply(): void {
    if (this.#scan !== undefined) return;
    this.#table.applyHeld(this.#view.commitIndex);
    if (this.#table.appliedIndex >= this.#view.commitIndex || this.#stop) return;
    this.#scan = this.#scanCommitted().then(
      () => {
        this.#scan = undefined;
        this.apply();
        this.#onApplied();
      },
      (error: unknown) => {
        this.#scan = undefined;
        if (!this.#stop) this.#onFailure(error);
      },
    );
  }

  async #scanCommitted(): Promise<void> {
    const held = this.#table.firstHeldIndex ?? Number.POSITIVE_INFINITY;
    for await (const scanned of this.#log.scan(this.#table.appliedIndex)) {
      if (this.#stop || scanned.index >= Math.min(this.#view.commitIndex, held)) break;
      const record = this.#table.applyScanned(scanned);
      const epoch = epochAt(this.#view.epochs, scanned.index);
      invariant(
        record === undefined || record.epoch === epoch,
        `record ${scanned.index} is of epoch ${record?.epoch}, by the table it is of ${epoch}`,
      );
    }
  }

  /** Waits until the log is no longer being read; apply() does nothing until resume(). */
  async pause(): Promise<void> {
    this.#stop = true;
    await this.#scan;
  }

  resume(): void {
    this.#stop = false;
  }
}
