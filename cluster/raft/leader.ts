import { decodeConfChange } from './conf-change-codec.ts';
import type { ConfChange } from './conf-change-types.ts';
import { isJoint } from './configuration.ts';
import type { Progress } from './progress.ts';
import type { ProposedEntry, RaftCore } from './raft-core.ts';
import { handleReadAcknowledgement, handleReadIndex, releaseEarlyReads } from './reads.ts';
import { broadcastAppend, broadcastHeartbeat, sendAppend, trySendAppend } from './replication.ts';
import { dispatch, dropProposal, type Handlers, STEPPED, type StepResult } from './step-result.ts';
import type { ConfChangeCheck } from './trace.ts';
import { type Message, NO_NODE } from './types.ts';

const REFUSED_CHANGE: ProposedEntry = { type: 'normal', data: new Uint8Array(0) };

const HANDLERS: Handlers = {
  MsgBeat: broadcastHeartbeat,
  MsgCheckQuorum: checkQuorum,
  MsgProp: propose,
  MsgReadIndex: handleReadIndex,
  MsgAppResp: fromMember(handleAppendAnswer),
  MsgHeartbeatResp: fromMember(handleHeartbeatAnswer),
  MsgSnapStatus: fromMember(handleSnapshotReport),
  MsgUnreachable: fromMember(handleUnreachable),
  MsgTransferLeader: fromMember(handleTransfer),
};

/** A message of the present term, or a local one, as the leader takes it. */
export function stepLeader(core: RaftCore, message: Message): StepResult {
  return dispatch(HANDLERS, core, message);
}

function fromMember(handle: (core: RaftCore, peer: Progress, message: Message) => void) {
  return (core: RaftCore, message: Message): void => {
    const peer = core.tracker.progress.get(message.from);
    if (peer === undefined) core.trace({ event: 'unknownPeerIgnored', peer: message.from });
    else handle(core, peer, message);
  };
}

/** A leader that hears from no quorum may have been replaced without knowing. */
function checkQuorum(core: RaftCore): void {
  if (!core.tracker.quorumActive()) {
    core.trace({ event: 'quorumLost' });
    core.becomeFollower(core.term, NO_NODE);
  }
  for (const [id, peer] of core.tracker.progress) {
    if (id !== core.id) peer.recentActive = false;
  }
}

function propose(core: RaftCore, message: Message): StepResult {
  if (!core.tracker.progress.has(core.id)) return dropProposal(core, 'notMember');
  if (core.leadTransferee !== NO_NODE) return dropProposal(core, 'transferInProgress');
  const entries = (message.entries ?? []).map((entry, at) => admitted(core, entry, at));
  if (!core.appendEntries(entries)) return dropProposal(core, 'tooMuchUncommitted');
  broadcastAppend(core);
  return STEPPED;
}

/** A configuration change that may not go ahead is replaced by an entry with no effect. */
function admitted(core: RaftCore, entry: ProposedEntry, at: number): ProposedEntry {
  if (entry.type === 'normal') return entry;
  const change = decodeConfChange(entry);
  const reason = checkConfChange(core, change);
  if (reason !== undefined && !core.config.disableConfChangeValidation) {
    const { configuration } = core.tracker;
    core.trace({ event: 'confChangeRefused', change, configuration, reason });
    return REFUSED_CHANGE;
  }
  core.pendingConfIndex = core.log.lastIndex + at + 1;
  return entry;
}

function checkConfChange(core: RaftCore, change: ConfChange): ConfChangeCheck | undefined {
  const { applied } = core.log;
  if (core.pendingConfIndex > applied) {
    return { check: 'pending', pendingIndex: core.pendingConfIndex, applied };
  }
  const joint = isJoint(core.tracker.configuration);
  if (joint && change.changes.length > 0) return { check: 'alreadyJoint' };
  if (!joint && change.changes.length === 0) return { check: 'notJoint' };
  return undefined;
}

function handleAppendAnswer(core: RaftCore, peer: Progress, message: Message): void {
  peer.recentActive = true;
  const { index = 0, reject = false } = message;
  if (reject) {
    handleRejection(core, peer, message);
    return;
  }
  const news = peer.acknowledge(index) || (peer.match === index && peer.state === 'probe');
  if (!news) return;
  resumeSending(core, peer, index);

  if (core.tryCommit()) {
    releaseEarlyReads(core);
    broadcastAppend(core);
  } else if (peer.id !== core.id && peer.canRaiseCommit(core.log.committed)) {
    // The next heartbeat would tell it as well, only later.
    sendAppend(core, peer);
  }
  if (peer.id !== core.id) {
    // The answer may have made room for several messages.
    while (trySendAppend(core, peer, false));
  }
  if (peer.id === core.leadTransferee && peer.match === core.log.lastIndex) {
    core.trace({ event: 'timeoutNowSent', to: peer.id, when: 'caughtUp' });
    core.send({ type: 'MsgTimeoutNow', to: peer.id });
  }
}

function resumeSending(core: RaftCore, peer: Progress, index: number): void {
  if (peer.state === 'probe') {
    peer.becomeReplicate();
  } else if (peer.state === 'replicate') {
    peer.freeInflights(index);
  } else if (peer.match + 1 >= core.log.firstIndex) {
    // Whichever snapshot it took, from whomever: the log goes on from where it is.
    core.trace({ event: 'peerRecovered', peer: peer.id, progress: peer });
    peer.becomeProbe();
    peer.becomeReplicate();
  }
}

function handleRejection(core: RaftCore, peer: Progress, message: Message): void {
  const { index = 0, rejectHint = 0, logTerm = 0 } = message;
  core.trace({
    event: 'appendRejectionReceived',
    from: peer.id,
    index,
    hintIndex: rejectHint,
    hintTerm: logTerm,
  });
  // The peer's terms up to the hint are no higher than `logTerm`, so where ours are higher the logs differ:
  // one probe for each term is enough.
  const hint = logTerm > 0 ? core.log.findConflictByTerm(rejectHint, logTerm).index : rejectHint;
  if (!peer.reject(index, hint)) return;
  core.trace({ event: 'progressDecreased', peer: peer.id, progress: peer });
  if (peer.state === 'replicate') peer.becomeProbe();
  sendAppend(core, peer);
}

function handleHeartbeatAnswer(core: RaftCore, peer: Progress, message: Message): void {
  peer.recentActive = true;
  peer.flowPaused = false;
  // A peer being probed gets an append even when it lacks nothing, so that its answer ends the probing.
  if (peer.match < core.log.lastIndex || peer.state === 'probe') sendAppend(core, peer);
  if (core.config.readOnlyOption === 'safe' && message.context !== undefined) {
    handleReadAcknowledgement(core, peer.id, message.context);
  }
}

function handleSnapshotReport(core: RaftCore, peer: Progress, message: Message): void {
  const succeeded = message.reject !== true;
  if (peer.state !== 'snapshot') return;
  if (!succeeded) peer.dropPendingSnapshot();
  peer.becomeProbe();
  core.trace({ event: 'snapshotReported', peer: peer.id, succeeded, progress: peer });
  // Its own answer or, after a failure, the next heartbeat starts the sending again.
  peer.flowPaused = true;
}

function handleUnreachable(core: RaftCore, peer: Progress): void {
  // What was sent ahead is probably lost.
  if (peer.state === 'replicate') peer.becomeProbe();
  core.trace({ event: 'peerUnreachable', peer: peer.id, progress: peer });
}

function handleTransfer(core: RaftCore, peer: Progress): void {
  const { term, leadTransferee: before } = core;
  if (peer.isLearner) {
    core.trace({ event: 'transferToLearner' });
    return;
  }
  if (before === peer.id) {
    core.trace({ event: 'transferRepeated', term, to: peer.id });
    return;
  }
  if (before !== NO_NODE) {
    core.leadTransferee = NO_NODE;
    core.trace({ event: 'transferAborted', term, to: before });
  }
  if (peer.id === core.id) {
    core.trace({ event: 'transferToSelf' });
    return;
  }
  core.trace({ event: 'transferStarted', term, to: peer.id });
  // It has one election timeout to succeed.
  core.electionElapsed = 0;
  core.leadTransferee = peer.id;
  if (peer.match === core.log.lastIndex) {
    core.send({ type: 'MsgTimeoutNow', to: peer.id });
    core.trace({ event: 'timeoutNowSent', to: peer.id, when: 'atOnce' });
  } else {
    sendAppend(core, peer);
  }
}
