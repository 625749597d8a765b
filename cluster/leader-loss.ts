import type { Timers } from '../base/clock.ts';
import type { PeerIdentity, PeerTransport } from '../base/peer-transport.ts';
import type { Contacts } from './contacts.ts';
import { CAMPAIGN_TURN_MS, ENDED_CAMPAIGN_MS, FORGET_ABSENT_LEADER_MS, TICK_MS } from './limits.ts';
import { NO_NODE, type RawNode } from './raft/index.ts';
import type { RaftMembers } from './raft-members.ts';

interface LeaderLossContext {
  readonly raw: RawNode;
  readonly members: Pick<RaftMembers, 'nodeIdOf'>;
  readonly contacts: Contacts;
  readonly transport: PeerTransport;
  readonly timers: Timers;
  /** Raft has been told something, beside the ticks. */
  readonly stepped: () => void;
}

/**
 * Has a leader replaced sooner whose own host says that its process is gone, once it is silent as well. Anyone may
 * ask for votes at any time, so this can do no harm to the log; that it disturbs no leader who is alive is
 * the pre-vote's part, and the silence's: a leader is heard several times within the time asked for here.
 */
export class LeaderLoss {
  readonly #context: LeaderLossContext;
  /** Whom this node has given up. */
  #lost: string | undefined;
  #nextCampaignMs = 0;
  /** A process that has surely ended. */
  #ended: PeerIdentity | undefined;
  #isStopped = false;

  constructor(context: LeaderLossContext) {
    this.#context = context;
  }

  /**
   * That process has ended, as whoever saw it says to all members alike. If it led, then the first whose turn it is campaigns
   * as soon as the others should have heard of it as well, so that nobody holds to the old leader any more.
   */
  ended(peer: PeerIdentity): void {
    const { raw, members, contacts, timers, stepped } = this.#context;
    const isLeader = members.nodeIdOf(raw.leader) === peer.nodeId && raw.role !== 'leader';
    if (!isLeader || contacts.incarnationOf(peer.nodeId) !== peer.incarnation) return;
    this.#ended = peer;
    this.#lost = peer.nodeId;
    raw.forgetLeader();
    const turn = this.#turn(peer.nodeId);
    if (turn === Number.POSITIVE_INFINITY) return;
    // Should that come to nothing, it goes on by the ticks.
    this.#nextCampaignMs = (contacts.sinceMs(peer.nodeId) ?? 0) + (turn + 1) * CAMPAIGN_TURN_MS;
    timers.setTimer(ENDED_CAMPAIGN_MS + turn * CAMPAIGN_TURN_MS, () => {
      if (this.#isStopped || raw.leader !== NO_NODE || raw.role !== 'follower') return;
      raw.campaign();
      stepped();
    });
    stepped();
  }

  stop(): void {
    this.#isStopped = true;
  }

  #hasEnded(nodeId: string): boolean {
    return (
      this.#ended?.nodeId === nodeId &&
      this.#context.contacts.incarnationOf(nodeId) === this.#ended.incarnation
    );
  }

  /** To be called after the contacts' tick and before Raft's. */
  tick(): void {
    const { raw, members, contacts, transport } = this.#context;
    const following = members.nodeIdOf(raw.leader);
    const suspect = following ?? this.#lost;
    if (suspect === undefined || raw.role === 'leader') return;
    const silentMs = contacts.sinceMs(suspect) ?? 0;
    const isGone = transport.isAbsent(suspect) && silentMs >= FORGET_ABSENT_LEADER_MS;
    if (!isGone && !this.#hasEnded(suspect)) {
      this.#lost = undefined;
      return;
    }
    if (following !== undefined) {
      // So that this node votes for another.
      raw.forgetLeader();
      this.#lost = following;
      // By the first turn everyone has forgotten.
      this.#nextCampaignMs = FORGET_ABSENT_LEADER_MS + TICK_MS + this.#turn(following) * CAMPAIGN_TURN_MS;
    }
    // A candidate of this term has votes under way that a new campaign would throw away.
    if (silentMs < this.#nextCampaignMs || raw.role === 'candidate') return;
    this.#nextCampaignMs = silentMs + CAMPAIGN_TURN_MS;
    raw.campaign();
  }

  /** Those who may campaign take turns, lest they divide the votes. */
  #turn(lost: string): number {
    const { raw, members } = this.#context;
    const { id, confState } = raw.status();
    const others = confState.voters.filter((voter) => members.nodeIdOf(voter) !== lost);
    const turn = others.sort((a, b) => a - b).indexOf(id);
    return turn === -1 ? Number.POSITIVE_INFINITY : turn;
  }
}
