import type { RaftTraceEvent } from '../../../cluster/raft/index.ts';
import {
  describeConfChange,
  describeConfiguration,
  describeConfState,
  describeProgress,
  describeRole,
  hex,
} from './describe.ts';

export const LEVELS = ['DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL', 'NONE'] as const;
export type Level = (typeof LEVELS)[number];

type EventName = RaftTraceEvent['event'];
/** The member of the union that has this name, alone or as one of several. */
type EventOf<Name extends EventName, Event = RaftTraceEvent> = Event extends { event: infer Names }
  ? Name extends Names
    ? Event
    : never
  : never;
type Renderers = {
  readonly [Name in EventName]: readonly [Level, (event: EventOf<Name>, id: string) => string];
};

/** The log line the scenarios expect for an event on node `id`. */
export function renderTrace(id: number, event: RaftTraceEvent): { level: Level; text: string } | undefined {
  // The scenarios' implementation says nothing about this one.
  if (event.event === 'proposalDropped' && event.reason === 'notMember') return undefined;
  const [usual, render] = RENDERERS[event.event] as readonly [
    Level,
    (event: RaftTraceEvent, id: string) => string,
  ];
  return { level: unusualLevel(event) ?? usual, text: render(event, hex(id)) };
}

/** Events that stand for several lines of different levels there. */
function unusualLevel(event: RaftTraceEvent): Level | undefined {
  if (event.event === 'campaignRefused' && event.reason === 'alreadyLeader') return 'DEBUG';
  if (event.event !== 'proposalDropped') return undefined;
  if (event.reason === 'transferInProgress') return 'DEBUG';
  return event.reason === 'tooMuchUncommitted' ? 'WARN' : undefined;
}

type VoteSeen = EventOf<'voteCast' | 'voteRejected' | 'voteIgnoredInLease'>;

function voter(e: VoteSeen, id: string): string {
  return `${id} [logterm: ${e.lastTerm}, index: ${e.lastIndex}, vote: ${hex(e.vote)}]`;
}

function candidate(e: VoteSeen): string {
  return `${hex(e.from)} [logterm: ${e.candidateTerm}, index: ${e.candidateIndex}] at term ${e.term}`;
}

const DROPPED: Record<EventOf<'proposalDropped'>['reason'], (e: EventOf<'proposalDropped'>) => string> = {
  noLeader: (e) => `no leader at term ${e.term}; dropping proposal`,
  forwardingDisabled: (e) => `not forwarding to leader ${hex(e.leader)} at term ${e.term}; dropping proposal`,
  transferInProgress: (e) =>
    `[term ${e.term}] transfer leadership to ${hex(e.leadTransferee)} is in progress; dropping proposal`,
  tooMuchUncommitted: () =>
    'appending new entries to log would exceed uncommitted entry size limit; dropping proposal',
  notMember: () => '',
};

const RENDERERS: Renderers = {
  started: [
    'INFO',
    (e, id) =>
      `newRaft ${id} [peers: [${e.voters.map(hex).join(',')}], term: ${e.term}, commit: ${e.commit}, ` +
      `applied: ${e.applied}, lastindex: ${e.lastIndex}, lastterm: ${e.lastTerm}]`,
  ],
  becameFollower: ['INFO', (e, id) => `${id} became follower at term ${e.term}`],
  becamePreCandidate: ['INFO', (e, id) => `${id} became pre-candidate at term ${e.term}`],
  becameCandidate: ['INFO', (e, id) => `${id} became candidate at term ${e.term}`],
  becameLeader: ['INFO', (e, id) => `${id} became leader at term ${e.term}`],
  quorumLost: ['WARN', (_, id) => `${id} stepped down to follower since quorum is not active`],
  leaderForgotten: ['INFO', (e, id) => `${id} forgetting leader ${hex(e.leader)} at term ${e.term}`],
  forgetLeaderRefused: ['ERROR', () => 'ignoring MsgForgetLeader due to ReadOnlyLeaseBased'],

  electionStarted: ['INFO', (e, id) => `${id} is starting a new election at term ${e.term}`],
  campaignRefused: [
    'WARN',
    (e, id) => {
      if (e.reason === 'alreadyLeader') return `${id} ignoring MsgHup because already leader`;
      if (e.reason === 'unpromotable') return `${id} is unpromotable and can not campaign`;
      const why = 'since there are still pending configuration changes to apply';
      return `${id} cannot campaign at term ${e.term} ${why}`;
    },
  ],
  voteRequested: [
    'INFO',
    (e, id) =>
      `${id} [logterm: ${e.lastTerm}, index: ${e.lastIndex}] sent ${e.type} request to ${hex(e.to)} ` +
      `at term ${e.term}`,
  ],
  voteReceived: [
    'INFO',
    (e, id) =>
      `${id} received ${e.type}${e.granted ? '' : ' rejection'} from ${hex(e.from)} at term ${e.term}`,
  ],
  votesCounted: [
    'INFO',
    (e, id) => `${id} has received ${e.granted} ${e.type} votes and ${e.rejected} vote rejections`,
  ],
  voteCast: ['INFO', (e, id) => `${voter(e, id)} cast ${e.type} for ${candidate(e)}`],
  voteRejected: ['INFO', (e, id) => `${voter(e, id)} rejected ${e.type} from ${candidate(e)}`],
  voteIgnoredInLease: [
    'INFO',
    (e, id) =>
      `${voter(e, id)} ignored ${e.type} from ${candidate(e)}: ` +
      `lease is not expired (remaining ticks: ${e.remainingTicks})`,
  ],

  higherTermReceived: [
    'INFO',
    (e, id) =>
      `${id} [term: ${e.term}] received a ${e.type} message with higher term from ${hex(e.from)} ` +
      `[term: ${e.messageTerm}]`,
  ],
  lowerTermIgnored: [
    'INFO',
    (e, id) =>
      `${id} [term: ${e.term}] ignored a ${e.type} message with lower term from ${hex(e.from)} ` +
      `[term: ${e.messageTerm}]`,
  ],
  lowerTermAppendIgnored: [
    'INFO',
    (e, id) =>
      `${id} [term: ${e.term}] ignored entry appends from a ${e.type} message with lower term ` +
      `[term: ${e.messageTerm}]`,
  ],

  conflictFound: [
    'INFO',
    (e) =>
      `found conflict at index ${e.index} [existing term: ${e.existingTerm}, ` +
      `conflicting term: ${e.conflictingTerm}]`,
  ],
  unstableReplaced: ['INFO', (e) => `replace the unstable entries from index ${e.fromIndex}`],
  unstableTruncated: ['INFO', (e) => `truncate the unstable entries before index ${e.beforeIndex}`],
  stableEntryMissing: ['INFO', (e) => `entry at index ${e.index} missing from unstable log; ignoring`],
  stableEntryIsSnapshot: ['INFO', (e) => `entry at index ${e.index} matched unstable snapshot; ignoring`],
  stableEntryMismatch: [
    'INFO',
    (e) =>
      `entry at (index,term)=(${e.index},${e.term}) mismatched with ` +
      `entry at (${e.index},${e.unstableTerm}) in unstable log; ignoring`,
  ],

  appendRejected: [
    'DEBUG',
    (e, id) =>
      `${id} [logterm: ${e.ownTerm}, index: ${e.index}] rejected MsgApp ` +
      `[logterm: ${e.messageTerm}, index: ${e.index}] from ${hex(e.from)}`,
  ],
  appendRejectionReceived: [
    'DEBUG',
    (e, id) =>
      `${id} received MsgAppResp(rejected, hint: (index ${e.hintIndex}, term ${e.hintTerm})) ` +
      `from ${hex(e.from)} for index ${e.index}`,
  ],
  progressDecreased: [
    'DEBUG',
    (e, id) => `${id} decreased progress of ${hex(e.peer)} to [${describeProgress(e.progress)}]`,
  ],
  peerUnreachable: [
    'DEBUG',
    (e, id) =>
      `${id} failed to send message to ${hex(e.peer)} because it is unreachable ` +
      `[${describeProgress(e.progress)}]`,
  ],
  unknownPeerIgnored: ['DEBUG', (e, id) => `${id} no progress available for ${hex(e.peer)}`],

  snapshotPeerInactive: [
    'DEBUG',
    (e) => `ignore sending snapshot to ${hex(e.peer)} since it is not recently active`,
  ],
  snapshotNotReady: [
    'DEBUG',
    (e, id) => `${id} failed to send snapshot to ${hex(e.peer)} because snapshot is temporarily unavailable`,
  ],
  snapshotSent: [
    'DEBUG',
    (e, id) =>
      `${id} [firstindex: ${e.firstIndex}, commit: ${e.commit}] sent snapshot[index: ${e.index}, ` +
      `term: ${e.term}] to ${hex(e.peer)} [${describeProgress(e.progress)}]`,
  ],
  peerPaused: [
    'DEBUG',
    (e, id) =>
      `${id} paused sending replication messages to ${hex(e.peer)} [${describeProgress(e.progress)}]`,
  ],
  peerRecovered: [
    'DEBUG',
    (e, id) =>
      `${id} recovered from needing snapshot, resumed sending replication messages to ` +
      `${hex(e.peer)} [${describeProgress(e.progress)}]`,
  ],
  snapshotReported: [
    'DEBUG',
    (e, id) =>
      `${id} snapshot ${e.succeeded ? 'succeeded' : 'failed'}, resumed sending replication messages to ` +
      `${hex(e.peer)} [${describeProgress(e.progress)}]`,
  ],
  logRestoring: [
    'INFO',
    (e) =>
      `log [committed=${e.commit}, applied=${e.applied}, applying=${e.applying}, ` +
      `unstable.offset=${e.unstableOffset}, unstable.offsetInProgress=${e.unstableOffsetInProgress}, ` +
      `len(unstable.Entries)=${e.unstableLength}] starts to restore snapshot ` +
      `[index: ${e.index}, term: ${e.term}]`,
  ],
  stateRestored: [
    'INFO',
    (e, id) =>
      `${id} [commit: ${e.commit}, lastindex: ${e.lastIndex}, lastterm: ${e.lastTerm}] ` +
      `restored snapshot [index: ${e.index}, term: ${e.term}]`,
  ],
  commitFastForwarded: [
    'INFO',
    (e, id) =>
      `${id} [commit: ${e.commit}, lastindex: ${e.lastIndex}, lastterm: ${e.lastTerm}] ` +
      `fast-forwarded commit to snapshot [index: ${e.index}, term: ${e.term}]`,
  ],
  snapshotHandled: [
    'INFO',
    (e, id) =>
      `${id} [commit: ${e.commit}] ${e.restored ? 'restored' : 'ignored'} snapshot ` +
      `[index: ${e.index}, term: ${e.term}]`,
  ],
  snapshotWhileLeading: [
    'WARN',
    (_, id) => `${id} attempted to restore snapshot as leader; should never happen`,
  ],
  snapshotWithoutUs: [
    'WARN',
    (e, id) =>
      `${id} attempted to restore snapshot but it is not in the ConfState ` +
      `${describeConfState(e.confState)}; should never happen`,
  ],

  configurationSwitched: [
    'INFO',
    (e, id) => `${id} switched to configuration ${describeConfiguration(e.configuration)}`,
  ],
  confChangeRefused: [
    'INFO',
    (e, id) =>
      `${id} ignoring conf change ${describeConfChange(e.change)} at config ` +
      `${describeConfiguration(e.configuration)}: ${describeCheck(e.reason)}`,
  ],
  autoLeaveProposed: [
    'INFO',
    (e) =>
      `initiating automatic transition out of joint configuration ${describeConfiguration(e.configuration)}`,
  ],
  autoLeaveDeferred: [
    'DEBUG',
    (e) =>
      'not initiating automatic transition out of joint configuration ' +
      `${describeConfiguration(e.configuration)}: raft proposal dropped`,
  ],

  transferStarted: [
    'INFO',
    (e, id) => `${id} [term ${e.term}] starts to transfer leadership to ${hex(e.to)}`,
  ],
  transferAborted: [
    'INFO',
    (e, id) => `${id} [term ${e.term}] abort previous transferring leadership to ${hex(e.to)}`,
  ],
  transferRepeated: [
    'INFO',
    (e, id) =>
      `${id} [term ${e.term}] transfer leadership to ${hex(e.to)} is in progress, ` +
      `ignores request to same node ${hex(e.to)}`,
  ],
  transferToSelf: ['DEBUG', (_, id) => `${id} is already leader. Ignored transferring leadership to self`],
  transferToLearner: ['DEBUG', (_, id) => `${id} is learner. Ignored transferring leadership`],
  timeoutNowSent: [
    'INFO',
    (e, id) =>
      e.when === 'atOnce'
        ? `${id} sends MsgTimeoutNow to ${hex(e.to)} immediately as ${hex(e.to)} already has up-to-date log`
        : `${id} sent MsgTimeoutNow to ${hex(e.to)} after received MsgAppResp`,
  ],
  timeoutNowReceived: [
    'INFO',
    (e, id) =>
      `${id} [term ${e.term}] received MsgTimeoutNow from ${hex(e.from)} and starts an election ` +
      'to get leadership.',
  ],
  timeoutNowIgnored: [
    'DEBUG',
    (e, id) =>
      `${id} [term ${e.term} state ${describeRole(e.role)}] ignored MsgTimeoutNow from ${hex(e.from)}`,
  ],

  proposalDropped: ['INFO', (e, id) => `${id} ${DROPPED[e.reason](e)}`],
  transferDropped: ['INFO', (e, id) => `${id} no leader at term ${e.term}; dropping leader transfer msg`],
  readIndexDropped: ['INFO', (e, id) => `${id} no leader at term ${e.term}; dropping index reading msg`],
  readIndexRefused: ['WARN', (e, id) => `${id} ${e.waiting} reads are waiting already; dropping one`],
};

function describeCheck(reason: EventOf<'confChangeRefused'>['reason']): string {
  if (reason.check === 'pending') {
    return `possible unapplied conf change at index ${reason.pendingIndex} (applied to ${reason.applied})`;
  }
  return reason.check === 'alreadyJoint'
    ? 'must transition out of joint config first'
    : 'not in joint state; refusing empty conf change';
}
