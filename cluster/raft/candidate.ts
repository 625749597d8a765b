import { campaign } from './election.ts';
import { stepFollower } from './follower.ts';
import type { RaftCore } from './raft-core.ts';
import { broadcastAppend } from './replication.ts';
import { dispatch, dropProposal, type Handlers, type StepResult } from './step-result.ts';
import { type Message, NO_NODE } from './types.ts';

const HANDLERS: Handlers = {
  MsgProp: (core) => dropProposal(core, 'noLeader'),
  MsgApp: followWinner,
  MsgHeartbeat: followWinner,
  MsgSnap: followWinner,
  // Answers to the other kind of campaign are left over from before.
  MsgVoteResp: (core, message) => {
    if (core.role === 'candidate') countVote(core, message);
  },
  MsgPreVoteResp: (core, message) => {
    if (core.role === 'preCandidate') countVote(core, message);
  },
  MsgTimeoutNow: ({ role, term, trace }, { from }) => {
    trace({ event: 'timeoutNowIgnored', term, from, role });
  },
};

/** A message of the present term, or a local one, as a candidate or pre-candidate takes it. */
export function stepCandidate(core: RaftCore, message: Message): StepResult {
  return dispatch(HANDLERS, core, message);
}

/** Someone else has won this term. */
function followWinner(core: RaftCore, message: Message): StepResult {
  core.becomeFollower(core.term, message.from);
  return stepFollower(core, message);
}

function countVote(core: RaftCore, message: Message): void {
  const { from, type } = message;
  const granted = message.reject !== true;
  core.trace({ event: 'voteReceived', type, from, term: core.term, granted });
  core.tracker.recordVote(from, granted);
  const tally = core.tracker.tallyVotes();
  core.trace({ event: 'votesCounted', type, granted: tally.granted, rejected: tally.rejected });
  if (tally.result === 'lost') {
    core.becomeFollower(core.term, NO_NODE);
  } else if (tally.result === 'won' && core.role === 'preCandidate') {
    campaign(core, 'election');
  } else if (tally.result === 'won') {
    core.becomeLeader();
    broadcastAppend(core);
  }
}
