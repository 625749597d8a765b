import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/logger.ts';
import type { ReplicaCore } from './core.ts';
import { Lapse } from './lapse.ts';
import { isServing, type PrimaryState } from './primary-state.ts';

export interface ServiceWatchPorts {
  readonly groupId: string;
  readonly logger: Logger;
  readonly clock: Pick<Clock, 'monotonicMs'>;
  readonly core: Pick<ReplicaCore, 'epoch'>;
  /** This member's office, while it has one as far as it knows. */
  readonly primary: () => PrimaryState | undefined;
  /** Whoever waits for the lease waits in vain. */
  readonly leaseLost: () => void;
  readonly onServingChange: (serving: boolean) => void;
  readonly onLapseEnd: () => void;
}

/** Tells of the changes between serving, waiting for a lapsed lease to come back, and neither. */
export class ServiceWatch {
  readonly #ports: ServiceWatchPorts;
  #wasServing = false;
  #lapse: Lapse | undefined;

  constructor(ports: ServiceWatchPorts) {
    this.#ports = ports;
  }

  /** To be called with every step, and every TICK_MS at least. */
  look(): void {
    const { groupId, logger, clock, core, onServingChange } = this.#ports;
    const primary = this.#ports.primary();
    const nowMs = clock.monotonicMs();
    const serving = primary !== undefined && isServing(primary, nowMs);
    if (serving === this.#wasServing) {
      if (!serving) this.#awaitLease(primary !== undefined, nowMs);
      return;
    }
    this.#wasServing = serving;
    this.#lapse = !serving && primary !== undefined ? new Lapse(nowMs) : undefined;
    logger.info('replication.serving', { group: groupId, serving, epoch: core.epoch });
    onServingChange(serving);
  }

  #awaitLease(isInOffice: boolean, nowMs: number): void {
    const { groupId, logger, core, leaseLost, onLapseEnd } = this.#ports;
    if (this.#lapse !== undefined) {
      if (isInOffice && !this.#lapse.isOver(nowMs)) return;
      this.#lapse = undefined;
      logger.warn('replication.lapse-ended', { group: groupId, isInOffice, epoch: core.epoch });
      onLapseEnd();
    }
    leaseLost();
  }

  /** The member stops. */
  end(): void {
    if (this.#wasServing) this.#ports.onServingChange(false);
    if (this.#lapse !== undefined) this.#ports.onLapseEnd();
    this.#wasServing = false;
    this.#lapse = undefined;
  }
}
