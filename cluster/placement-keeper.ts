import type { Clock } from '../base/clock.ts';
import { OperationError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { BALANCE_PAUSE_MS, PLACEMENT_GAP_MS, PLACEMENT_INTERVAL_MS } from './limits.ts';
import type { Command, CommandResult } from './state/commands.ts';
import { DEFAULT_REBALANCE_DELAY_MS, DEFAULT_REPLACE_AFTER_MS } from './state/limits.ts';
import type { ClusterState, NodeId, PortalGroupId } from './state/model.ts';
import { rackOf, weightOf } from './state/node-placement.ts';
import { isMoving, type PlacementStep, planStep, unsettledReason } from './state/placement-plan.ts';
import { versionOf } from './state/versions.ts';

/**
 * The leader's part in bringing portal groups to where they ought to be: one step of the plan after another. What is
 * only for balance waits until the cluster has been calm for a while, as this leader has seen it.
 */
export class PlacementKeeper {
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #propose: (command: Command) => Promise<CommandResult>;
  #nextAtMs = 0;
  #underWay = false;
  #lastTickMs = Number.NEGATIVE_INFINITY;
  #calmSinceMs = 0;
  #nextBalanceMs = 0;
  /** The nodes, as they were at the last tick. */
  #nodesSeen = '';
  /** Who led each group at the last tick. */
  #leadsSeen: ReadonlyMap<PortalGroupId, NodeId | undefined> = new Map();
  /** The last group that was moved for the plan, and where to. */
  #ownMove: { readonly group: PortalGroupId; readonly to: NodeId } | undefined;
  /** Since when each node has been down. */
  readonly #downSinceMs = new Map<NodeId, number>();

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
    if (nowMs < this.#nextAtMs) return;
    this.#nextAtMs = nowMs + PLACEMENT_INTERVAL_MS;
    this.#watch(state, nowMs);
    if (this.#underWay) return;
    const terms = { mayBalance: this.#mayBalance(state, nowMs), givenUp: this.#givenUp(state, nowMs) };
    const step = planStep(state, this.#clock.wallMs(), terms);
    if (step !== undefined) this.#take(step, state, nowMs);
  }

  /**
   * How much longer nothing is moved for balance, in milliseconds; 0: not for this reason. Undefined: this node has not
   * led of late and does not know.
   */
  calmNeededMs(state: ClusterState): number | undefined {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#lastTickMs > PLACEMENT_GAP_MS) return undefined;
    return Math.max(0, this.#calmSinceMs + delayMs(state) - nowMs);
  }

  #watch(state: ClusterState, nowMs: number): void {
    if (nowMs - this.#lastTickMs > PLACEMENT_GAP_MS) {
      this.#downSinceMs.clear();
      this.#calmSinceMs = nowMs;
    }
    this.#lastTickMs = nowMs;
    const nodes = Object.values(state.nodes);
    const seen = JSON.stringify(
      nodes.map((n) => [n.nodeId, n.incarnation, n.status, n.draining, weightOf(n), rackOf(n)]),
    );
    // A copy that moves is not in sync for a time; that is no trouble.
    const isTroubled = unsettledReason(state) !== undefined && !isMoving(state);
    if (seen !== this.#nodesSeen || isTroubled || this.#othersMoved(state)) this.#calmSinceMs = nowMs;
    this.#nodesSeen = seen;
    for (const id of this.#downSinceMs.keys()) {
      if (state.nodes[id]?.status !== 'fenced') this.#downSinceMs.delete(id);
    }
    for (const { nodeId, status } of nodes) {
      if (status === 'fenced' && !this.#downSinceMs.has(nodeId)) this.#downSinceMs.set(nodeId, nowMs);
    }
  }

  /** Whether a group is led elsewhere than before, and not for the plan: an administrator's move is not taken back at once. */
  #othersMoved({ portalGroups }: ClusterState): boolean {
    const before = this.#leadsSeen;
    this.#leadsSeen = new Map(Object.values(portalGroups).map(({ id, primary }) => [id, primary]));
    const moved = [...this.#leadsSeen].filter(([id, to]) => before.has(id) && before.get(id) !== to);
    const ofOthers = moved.filter(([id, to]) => id !== this.#ownMove?.group || to !== this.#ownMove.to);
    if (ofOthers.length < moved.length) this.#ownMove = undefined;
    return ofOthers.length > 0;
  }

  #mayBalance(state: ClusterState, nowMs: number): boolean {
    if (state.settings.rebalance === 'off') return false;
    return nowMs >= this.#nextBalanceMs && nowMs - this.#calmSinceMs >= delayMs(state);
  }

  #givenUp(state: ClusterState, nowMs: number): ReadonlySet<NodeId> {
    const { replaceAfterMs = DEFAULT_REPLACE_AFTER_MS } = state.settings;
    const long = [...this.#downSinceMs].filter(([, sinceMs]) => nowMs - sinceMs >= replaceAfterMs);
    return new Set(long.map(([nodeId]) => nodeId));
  }

  #take({ command, why }: PlacementStep, state: ClusterState, nowMs: number): void {
    this.#underWay = true;
    this.#nextBalanceMs = nowMs + BALANCE_PAUSE_MS;
    if (command.type === 'moveGroup') this.#ownMove = command;
    this.#logger.info('cluster.placement', { ...command, why });
    this.#propose(this.#remembered(command, why, state))
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

  #remembered(command: PlacementStep['command'], why: string, state: ClusterState): Command {
    if (command.type === 'removeNode' || versionOf(state) < 2) return command;
    return { ...command, atMs: this.#clock.wallMs(), why };
  }
}

function delayMs({ settings }: ClusterState): number {
  return settings.rebalanceDelayMs ?? DEFAULT_REBALANCE_DELAY_MS;
}
