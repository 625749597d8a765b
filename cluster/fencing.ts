import type { Clock } from '../base/clock.ts';
import { OperationError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { PeerIdentity, PeerTransport } from '../base/peer-transport.ts';
import type { Contacts } from './contacts.ts';
import {
  ABSENT_FENCE_AFTER_MS,
  FENCE_RETRY_MS,
  FIRST_START_GRACE_MS,
  IDLE_FENCE_AFTER_MS,
  STARTING_FENCE_AFTER_MS,
} from './limits.ts';
import { Newcomers } from './newcomers.ts';
import type { Command } from './state/commands.ts';
import type { ClusterState, NodeId, NodeRecord } from './state/model.ts';

/**
 * The nodes a leader is to fence: those it has not heard from for too long. Pure.
 * @param silentMs for how long; see Contacts.silentMs
 * @param isAbsent whether its own host says that no such process is there
 * @param hasEnded whether that process has surely ended
 * @param isStarting whether that process may still be starting; see Newcomers
 */
export function nodesToFence(
  state: ClusterState,
  self: string,
  silentMs: (nodeId: string, incarnation: string | undefined) => number | undefined,
  isAbsent: (nodeId: string) => boolean,
  hasEnded: (nodeId: string, incarnation: string) => boolean = () => false,
  isStarting: (nodeId: string, incarnation: string) => boolean = () => false,
): readonly NodeRecord[] {
  return Object.values(state.nodes).filter((node) => {
    if (node.nodeId === self || node.status === 'fenced') return false;
    const isNew = node.status === 'new';
    // Before its first start a node has no incarnation to be known by.
    const silent = silentMs(node.nodeId, isNew ? undefined : node.incarnation);
    if (silent !== undefined && hasEnded(node.nodeId, node.incarnation)) return true;
    const { fenceAfterMs } = state.settings;
    let limitMs = isNew ? Math.max(FIRST_START_GRACE_MS, fenceAfterMs) : fenceAfterMs;
    if (!othersTakeOver(state, node.nodeId)) limitMs = Math.max(limitMs, IDLE_FENCE_AFTER_MS);
    if (isStarting(node.nodeId, node.incarnation)) limitMs = Math.max(limitMs, STARTING_FENCE_AFTER_MS);
    if (!isNew && isAbsent(node.nodeId)) limitMs = Math.min(limitMs, ABSENT_FENCE_AFTER_MS);
    return silent !== undefined && silent > limitMs;
  });
}

/**
 * Whether anything goes on without the node that stands still with it. Where it is the only member in sync, others wait
 * for it in any case, and where it is none, it is still starting or catching up: fencing it would only begin that anew,
 * and again, for as long as it has too little of its host to be heard in time.
 */
function othersTakeOver(state: ClusterState, nodeId: NodeId): boolean {
  return Object.values(state.portalGroups).some(
    ({ inSync }) => inSync.length > 1 && inSync.some((member) => member.nodeId === nodeId),
  );
}

interface FencingContext {
  readonly nodeId: string;
  readonly contacts: Contacts;
  readonly transport: PeerTransport;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly propose: (command: Command) => Promise<unknown>;
}

/** The leader's part in having nodes fenced that have fallen silent. */
export class Fencing {
  readonly #context: FencingContext;
  /** When each was proposed, by node and incarnation. */
  readonly #proposedMs = new Map<string, number>();
  /** By node: a process that has surely ended. */
  readonly #ended = new Map<string, string>();
  readonly #newcomers: Newcomers;

  constructor(context: FencingContext) {
    this.#context = context;
    this.#newcomers = new Newcomers(context.contacts);
  }

  ended({ nodeId, incarnation }: PeerIdentity): void {
    this.#ended.set(nodeId, incarnation);
  }

  #hasEnded(nodeId: string, incarnation: string): boolean {
    return this.#ended.get(nodeId) === incarnation;
  }

  /** To be called often; has nobody fenced where this node does not lead. */
  tick(state: ClusterState): void {
    const { nodeId: self, contacts, transport, clock } = this.#context;
    this.#newcomers.look(state);
    const nowMs = clock.monotonicMs();
    const silent = nodesToFence(
      state,
      self,
      (id, incarnation) => contacts.silentMs(id, incarnation),
      (id) => transport.isAbsent(id),
      (id, incarnation) => this.#hasEnded(id, incarnation),
      (id, incarnation) => this.#newcomers.isStarting(id, incarnation),
    );
    for (const node of silent) {
      const key = `${node.nodeId} ${node.incarnation}`;
      if (nowMs - (this.#proposedMs.get(key) ?? Number.NEGATIVE_INFINITY) < FENCE_RETRY_MS) continue;
      this.#proposedMs.set(key, nowMs);
      this.#fence(node);
    }
    // Fencings of incarnations gone by are of no further use.
    if (silent.length === 0) this.#proposedMs.clear();
  }

  #fence({ nodeId, incarnation }: NodeRecord): void {
    const { contacts, transport, logger, propose } = this.#context;
    const silentMs = Math.round(contacts.silentMs(nodeId, incarnation || undefined) ?? 0);
    const silence = `not heard from for ${silentMs} ms${transport.isAbsent(nodeId) ? ', its process is gone' : ''}`;
    const reason = this.#hasEnded(nodeId, incarnation) ? 'its guardian has seen it end' : silence;
    logger.warn('cluster.fencing', { nodeId, incarnation, reason });
    propose({ type: 'fenceNode', nodeId, incarnation, reason }).catch((error: unknown) => {
      if (!(error instanceof OperationError)) throw error;
      logger.warn('cluster.fencing-failed', { nodeId, message: error.message });
    });
  }
}
