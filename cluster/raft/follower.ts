import { startElection } from './election.ts';
import { handleAppend, handleHeartbeat, handleSnapshot } from './follower-log.ts';
import type { RaftCore } from './raft-core.ts';
import { dispatch, dropProposal, type Handlers, STEPPED, type StepResult } from './step-result.ts';
import { type Message, NO_NODE } from './types.ts';

const NO_CONTEXT = new Uint8Array(0);

const HANDLERS: Handlers = {
  MsgProp: forwardProposal,
  MsgApp: (core, message) => {
    hearLeader(core, message.from);
    handleAppend(core, message);
  },
  MsgHeartbeat: (core, message) => {
    hearLeader(core, message.from);
    handleHeartbeat(core, message);
  },
  MsgSnap: (core, message) => {
    hearLeader(core, message.from);
    handleSnapshot(core, message);
  },
  MsgTransferLeader: (core, { from }) => {
    if (core.leader === NO_NODE) core.trace({ event: 'transferDropped', term: core.term });
    else core.send({ type: 'MsgTransferLeader', to: core.leader, from });
  },
  MsgForgetLeader: forgetLeader,
  MsgTimeoutNow: (core, { from }) => {
    core.trace({ event: 'timeoutNowReceived', term: core.term, from });
    // The leader itself asks for this: there is no partition to be careful about, so no pre-vote.
    startElection(core, 'transfer');
  },
  MsgReadIndex: (core, message) => {
    if (core.leader === NO_NODE) core.trace({ event: 'readIndexDropped', term: core.term });
    else core.send({ ...message, to: core.leader });
  },
  MsgReadIndexResp: (core, { index = 0, context = NO_CONTEXT }) => {
    core.readStates.push({ index, requestContext: context });
  },
};

/** A message of the present term, or a local one, as a follower takes it. */
export function stepFollower(core: RaftCore, message: Message): StepResult {
  return dispatch(HANDLERS, core, message);
}

function hearLeader(core: RaftCore, leader: number): void {
  core.electionElapsed = 0;
  core.leader = leader;
}

function forwardProposal(core: RaftCore, message: Message): StepResult {
  if (core.leader === NO_NODE) return dropProposal(core, 'noLeader');
  if (core.config.disableProposalForwarding) return dropProposal(core, 'forwardingDisabled');
  core.send({ ...message, to: core.leader });
  return STEPPED;
}

/** So that this node will vote for another before its lease on the leader ends. */
function forgetLeader(core: RaftCore): void {
  if (core.config.readOnlyOption === 'leaseBased') {
    // The leader answers reads on the strength of that lease.
    core.trace({ event: 'forgetLeaderRefused' });
  } else if (core.leader !== NO_NODE) {
    core.trace({ event: 'leaderForgotten', leader: core.leader, term: core.term });
    core.leader = NO_NODE;
  }
}
