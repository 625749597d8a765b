import type { Clock } from '../base/clock.ts';
import { OperationError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { PLACEMENT_INTERVAL_MS } from './limits.ts';
import type { Command, CommandResult } from './state/commands.ts';
import type { ClusterState } from './state/model.ts';
import { planPlacement } from './state/placement-plan.ts';

/** The leader's part in bringing portal groups to where they ought to be: one step of the plan after another. */
export class PlacementKeeper {
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #propose: (command: Command) => Promise<CommandResult>;
  #nextAtMs = 0;
  #underWay = false;

  constructor(context: {
    readonly clock: Clock;
    readonly logger: Logger;
    readonly propose: (command: Command) => Promise<CommandResult>;
  }) {
    this.#clock = context.clock;
    this.#logger = context.logger;
    this.#propose = context.propose;
  }

  /** To be called often, on the leader only. */
  tick(state: ClusterState): void {
    const nowMs = this.#clock.monotonicMs();
    if (this.#underWay || nowMs < this.#nextAtMs) return;
    this.#nextAtMs = nowMs + PLACEMENT_INTERVAL_MS;
    const step = planPlacement(state, this.#clock.wallMs());
    if (step === undefined) return;
    this.#underWay = true;
    this.#logger.info('cluster.placement', { ...step });
    this.#propose(step)
      .then((result) => {
        // The state has moved on; so will the plan.
        if (!result.ok) this.#logger.warn('cluster.placement-refused', { ...result.error });
      })
      .catch((error: unknown) => {
        if (!(error instanceof OperationError)) throw error;
        this.#logger.warn('cluster.placement-failed', { message: error.message });
      })
      .finally(() => {
        this.#underWay = false;
      });
  }
}
