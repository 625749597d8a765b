import { invariant } from '../../base/errors.ts';
import { voterIds } from './configuration.ts';
import type { RaftCore } from './raft-core.ts';
import { type Message, NO_NODE } from './types.ts';

/** Campaigns and votes (Raft §5.2, §5.4.1; dissertation §9.6 for pre-vote, §3.10 for transfer). */

export type CampaignKind = 'preVote' | 'election' | 'transfer';

/** Marks a campaign the old leader asked for: voters need not wait for its lease to end. */
const TRANSFER_CONTEXT = new TextEncoder().encode('transfer');

/** Starts a campaign if this node may. */
export function startElection(core: RaftCore, kind: CampaignKind): void {
  if (core.role === 'leader') {
    core.trace({ event: 'campaignRefused', reason: 'alreadyLeader', term: core.term });
  } else if (!core.isPromotable()) {
    core.trace({ event: 'campaignRefused', reason: 'unpromotable', term: core.term });
  } else if (hasUnappliedConfChange(core)) {
    // It would campaign, and then lead, in a configuration that is no longer the one in force.
    core.trace({ event: 'campaignRefused', reason: 'unappliedConfChange', term: core.term });
  } else {
    core.trace({ event: 'electionStarted', term: core.term });
    campaign(core, kind);
  }
}

function hasUnappliedConfChange(core: RaftCore): boolean {
  const { log } = core;
  const pageBytes = core.config.maxCommittedSizePerReadyBytes || core.config.maxSizePerMessageBytes;
  for (let lo = log.applied + 1; lo <= log.committed; ) {
    const entries = log.slice(lo, log.committed + 1, pageBytes);
    invariant(entries !== 'compacted' && entries.length > 0, `unapplied entries from ${lo} are missing`);
    if (entries.some((entry) => entry.type !== 'normal')) return true;
    lo += entries.length;
  }
  return false;
}

/** Asks every voter, itself included: its own vote too counts only once it is durable. */
export function campaign(core: RaftCore, kind: CampaignKind): void {
  if (kind === 'preVote') core.becomePreCandidate();
  else core.becomeCandidate();
  const type = kind === 'preVote' ? 'MsgPreVote' : 'MsgVote';
  // A pre-vote asks about the term that would come next, without entering it.
  const term = kind === 'preVote' ? core.term + 1 : core.term;
  const last = core.log.lastEntry;
  for (const id of voterIds(core.tracker.configuration)) {
    if (id === core.id) {
      core.send({ type: answerTo(type), to: id, term });
      continue;
    }
    core.trace({
      event: 'voteRequested',
      type,
      to: id,
      term: core.term,
      lastTerm: last.term,
      lastIndex: last.index,
    });
    const context = kind === 'transfer' ? { context: TRANSFER_CONTEXT } : {};
    core.send({ type, to: id, term, index: last.index, logTerm: last.term, ...context });
  }
}

function answerTo(type: 'MsgVote' | 'MsgPreVote'): 'MsgVoteResp' | 'MsgPreVoteResp' {
  return type === 'MsgVote' ? 'MsgVoteResp' : 'MsgPreVoteResp';
}

export type VoteRequest = Message & { readonly type: 'MsgVote' | 'MsgPreVote' };

export function isVoteRequest(message: Message): message is VoteRequest {
  return message.type === 'MsgVote' || message.type === 'MsgPreVote';
}

function requestSeen(core: RaftCore, request: VoteRequest) {
  const last = core.log.lastEntry;
  return {
    lastTerm: last.term,
    lastIndex: last.index,
    vote: core.vote,
    type: request.type,
    from: request.from,
    candidateTerm: request.logTerm ?? 0,
    candidateIndex: request.index ?? 0,
    term: core.term,
  };
}

/**
 * Whether this node has heard from a leader so recently that it must not help to depose it (dissertation
 * §4.2.3). What makes lease-based reads safe, and keeps removed nodes from disturbing.
 */
export function ignoresInLease(core: RaftCore, request: VoteRequest): boolean {
  const forced = request.context !== undefined && sameBytes(request.context, TRANSFER_CONTEXT);
  const remainingTicks = core.config.electionTick - core.electionElapsed;
  const inLease = core.config.checkQuorum && core.leader !== NO_NODE && remainingTicks > 0;
  if (forced || !inLease) return false;
  core.trace({ event: 'voteIgnoredInLease', ...requestSeen(core, request), remainingTicks });
  return true;
}

/** Answers a request of this term, or a pre-vote of a later one. */
export function handleVoteRequest(core: RaftCore, request: VoteRequest): void {
  const mayVote =
    core.vote === request.from ||
    (core.vote === NO_NODE && core.leader === NO_NODE) ||
    (request.type === 'MsgPreVote' && (request.term ?? 0) > core.term);
  // Learners vote too: one may have been made a voter without having learned of it yet.
  const candidateLast = { term: request.logTerm ?? 0, index: request.index ?? 0 };
  if (!mayVote || !core.log.isUpToDate(candidateLast)) {
    rejectVote(core, request);
    return;
  }
  core.trace({ event: 'voteCast', ...requestSeen(core, request) });
  // The request's term, for that of a pre-vote lies ahead of our own and the asker drops lower ones.
  core.send({ type: answerTo(request.type), to: request.from, term: request.term ?? 0 });
  if (request.type === 'MsgVote') {
    core.electionElapsed = 0;
    core.vote = request.from;
  }
}

export function rejectVote(core: RaftCore, request: VoteRequest): void {
  core.trace({ event: 'voteRejected', ...requestSeen(core, request) });
  core.send({ type: answerTo(request.type), to: request.from, term: core.term, reject: true });
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}
