import { stepCandidate } from './candidate.ts';
import { encodeConfChange, LEAVE_JOINT } from './conf-change-codec.ts';
import { handleVoteRequest, ignoresInLease, isVoteRequest, rejectVote, startElection } from './election.ts';
import { entriesSizeBytes, payloadSizeBytes } from './entry-size.ts';
import { stepFollower } from './follower.ts';
import { stepLeader } from './leader.ts';
import type { RaftCore } from './raft-core.ts';
import { dispatch, type Handlers, STEPPED, type StepResult } from './step-result.ts';
import { type Message, NO_NODE, type Snapshot } from './types.ts';

/** Takes one message: first its term is settled (Raft §5.1), then the role decides. */
export function step(core: RaftCore, message: Message): StepResult {
  const term = message.term ?? 0;
  // Term 0: a local message, or a forwarded request.
  if (term > core.term) {
    if (isVoteRequest(message) && ignoresInLease(core, message)) return STEPPED;
    followHigherTerm(core, message, term);
  } else if (term !== 0 && term < core.term) {
    handleLowerTerm(core, message, term);
    return STEPPED;
  }
  return stepInTerm(core, message);
}

function followHigherTerm(core: RaftCore, message: Message, term: number): void {
  // A pre-vote is about a term nobody has entered yet, and so is the consent to it.
  if (message.type === 'MsgPreVote') return;
  if (message.type === 'MsgPreVoteResp' && message.reject !== true) return;
  traceTerm(core, 'higherTermReceived', message, term);
  const fromLeader =
    message.type === 'MsgApp' || message.type === 'MsgHeartbeat' || message.type === 'MsgSnap';
  core.becomeFollower(term, fromLeader ? message.from : NO_NODE);
}

function handleLowerTerm(core: RaftCore, message: Message, term: number): void {
  const { type, from } = message;
  const fromOldLeader = type === 'MsgHeartbeat' || type === 'MsgApp';
  if (fromOldLeader && (core.config.checkQuorum || core.config.preVote)) {
    // Under these options our requests for votes may be ignored for as long as that leader has its quorum,
    // and its messages by us: this answer carries our term, which ends the deadlock.
    core.send({ type: 'MsgAppResp', to: from });
  } else if (isVoteRequest(message) && type === 'MsgPreVote') {
    // An asker with a lower term must learn of ours, or it asks in vain for ever.
    rejectVote(core, message);
  } else if (type === 'MsgStorageAppendResp') {
    // Entries written in an earlier term may have been replaced since; a snapshot cannot have been.
    if ((message.index ?? 0) !== 0) traceTerm(core, 'lowerTermAppendIgnored', message, term);
    if (message.snapshot !== undefined) appliedSnapshot(core, message.snapshot);
  } else {
    traceTerm(core, 'lowerTermIgnored', message, term);
  }
}

function traceTerm(
  core: RaftCore,
  event: 'higherTermReceived' | 'lowerTermIgnored' | 'lowerTermAppendIgnored',
  message: Message,
  messageTerm: number,
): void {
  const { type, from } = message;
  core.trace({ event, term: core.term, type, from, messageTerm });
}

const HANDLERS: Handlers = {
  MsgHup: (core) => {
    startElection(core, core.config.preVote ? 'preVote' : 'election');
  },
  MsgStorageAppendResp: handleAppended,
  MsgStorageApplyResp: handleApplied,
};

function stepInTerm(core: RaftCore, message: Message): StepResult {
  if (isVoteRequest(message)) {
    handleVoteRequest(core, message);
    return STEPPED;
  }
  return message.type in HANDLERS ? dispatch(HANDLERS, core, message) : stepInRole(core, message);
}

function stepInRole(core: RaftCore, message: Message): StepResult {
  switch (core.role) {
    case 'follower':
      return stepFollower(core, message);
    case 'candidate':
    case 'preCandidate':
      return stepCandidate(core, message);
    case 'leader':
      return stepLeader(core, message);
  }
}

/** The local write of log and snapshot is done. */
function handleAppended(core: RaftCore, message: Message): void {
  const { index = 0, logTerm = 0, snapshot } = message;
  if (index !== 0) core.log.unstable.stableTo(index, logTerm);
  if (snapshot !== undefined) appliedSnapshot(core, snapshot);
}

function appliedSnapshot(core: RaftCore, snapshot: Snapshot): void {
  const { index } = snapshot.metadata;
  core.log.unstable.stableSnapshotTo(index);
  appliedTo(core, index, 0);
}

/** The application has taken the entries. */
function handleApplied(core: RaftCore, message: Message): void {
  const entries = message.entries ?? [];
  const last = entries.at(-1);
  if (last === undefined) return;
  appliedTo(core, last.index, entriesSizeBytes(entries));
  core.releaseUncommitted(payloadSizeBytes(entries));
}

function appliedTo(core: RaftCore, index: number, sizeBytes: number): void {
  const applied = Math.max(index, core.log.applied);
  core.log.appliedTo(applied, sizeBytes);
  const { configuration } = core.tracker;
  if (!configuration.autoLeave || applied < core.pendingConfIndex || core.role !== 'leader') return;
  // During a transfer this is refused; it is tried again with each entry applied, by whoever leads then.
  const { outcome } = proposeLeavingJoint(core);
  const event = outcome === 'accepted' ? 'autoLeaveProposed' : 'autoLeaveDeferred';
  core.trace({ event, configuration });
}

function proposeLeavingJoint(core: RaftCore): StepResult {
  const entry = { ...encodeConfChange(LEAVE_JOINT), term: 0, index: 0 };
  return step(core, { type: 'MsgProp', to: core.id, from: core.id, entries: [entry] });
}

/** One tick of the clock. */
export function tick(core: RaftCore): void {
  core.electionElapsed++;
  if (core.role === 'leader') tickLeader(core);
  else if (core.isPromotable() && core.electionElapsed >= core.randomizedElectionTimeout) {
    core.electionElapsed = 0;
    stepLocal(core, 'MsgHup');
  }
}

function tickLeader(core: RaftCore): void {
  core.heartbeatElapsed++;
  if (core.electionElapsed >= core.config.electionTick) {
    core.electionElapsed = 0;
    if (core.config.checkQuorum) stepLocal(core, 'MsgCheckQuorum');
    // A transfer that took this long has failed; proposals are welcome again.
    core.leadTransferee = NO_NODE;
  }
  if (core.role !== 'leader' || core.heartbeatElapsed < core.config.heartbeatTick) return;
  core.heartbeatElapsed = 0;
  stepLocal(core, 'MsgBeat');
}

function stepLocal(core: RaftCore, type: 'MsgHup' | 'MsgBeat' | 'MsgCheckQuorum'): void {
  step(core, { type, to: core.id, from: core.id });
}
