import { asArray, asBoolean, asBytes, asCount, asOneOf, pack, unpack } from './msgpack.ts';
import type {
  ConfState,
  Entry,
  EntryType,
  HardState,
  Message,
  MessageType,
  SnapshotMetadata,
} from './raft/types.ts';

/**
 * Raft's values as MessagePack arrays. Numbers stand for types by their place in the lists below, which may
 * only ever grow at the end.
 */
const ENTRY_TYPES: readonly EntryType[] = ['normal', 'confChange', 'confChangeV2'];

/** Those that go between nodes as they are. Snapshots go in chunks (snapshot-messages.ts); the rest never leave one. */
const MESSAGE_TYPES: readonly MessageType[] = [
  'MsgApp',
  'MsgAppResp',
  'MsgVote',
  'MsgVoteResp',
  'MsgPreVote',
  'MsgPreVoteResp',
  'MsgHeartbeat',
  'MsgHeartbeatResp',
  'MsgReadIndex',
  'MsgReadIndexResp',
  'MsgTransferLeader',
  'MsgTimeoutNow',
];

const NO_ENTRIES: readonly Entry[] = [];

export function packEntry(entry: Entry): unknown {
  return [entry.term, entry.index, ENTRY_TYPES.indexOf(entry.type), entry.data];
}

export function unpackEntry(value: unknown): Entry {
  const fields = asArray(value, 'entry', 4);
  return {
    term: asCount(fields[0], 'entry term'),
    index: asCount(fields[1], 'entry index'),
    type: asOneOf(fields[2], ENTRY_TYPES, 'entry type'),
    data: asBytes(fields[3], 'entry data'),
  };
}

export function packHardState(state: HardState): unknown {
  return [state.term, state.vote, state.commit];
}

export function unpackHardState(value: unknown): HardState {
  const [term, vote, commit] = asArray(value, 'hard state', 3);
  return { term: asCount(term, 'term'), vote: asCount(vote, 'vote'), commit: asCount(commit, 'commit') };
}

export function packMetadata({ index, term, confState }: SnapshotMetadata): unknown {
  const { voters, learners, votersOutgoing, learnersNext, autoLeave } = confState;
  return [index, term, voters, learners, votersOutgoing, learnersNext, autoLeave];
}

export function unpackMetadata(value: unknown): SnapshotMetadata {
  const [index, term, voters, learners, votersOutgoing, learnersNext, autoLeave] = asArray(
    value,
    'snapshot metadata',
    7,
  );
  const ids = (list: unknown): number[] => asArray(list, 'member ids').map((id) => asCount(id, 'member id'));
  const confState: ConfState = {
    voters: ids(voters),
    learners: ids(learners),
    votersOutgoing: ids(votersOutgoing),
    learnersNext: ids(learnersNext),
    autoLeave: asBoolean(autoLeave, 'autoLeave'),
  };
  return { index: asCount(index, 'snapshot index'), term: asCount(term, 'snapshot term'), confState };
}

/** A message to another node; undefined for one that must not leave this node. */
export function encodeRaftMessage(message: Message): Uint8Array | undefined {
  const type = MESSAGE_TYPES.indexOf(message.type);
  if (type === -1) return undefined;
  return pack([
    type,
    message.to,
    message.from,
    message.term ?? 0,
    message.logTerm ?? 0,
    message.index ?? 0,
    message.commit ?? 0,
    message.reject ?? false,
    message.rejectHint ?? 0,
    message.context ?? null,
    message.entries === undefined || message.entries.length === 0
      ? NO_ENTRIES
      : message.entries.map(packEntry),
  ]);
}

/** @throws ProtocolError */
export function decodeRaftMessage(bytes: Uint8Array): Message {
  // By place and not by destructuring, which walks an iterator: every message of the cluster log passes here.
  const fields = asArray(unpack(bytes), 'raft message', 11);
  const context = fields[9];
  const entries = asArray(fields[10], 'entries');
  const message: Message = {
    type: asOneOf(fields[0], MESSAGE_TYPES, 'message type'),
    to: asCount(fields[1], 'to'),
    from: asCount(fields[2], 'from'),
    term: asCount(fields[3], 'term'),
    logTerm: asCount(fields[4], 'logTerm'),
    index: asCount(fields[5], 'index'),
    commit: asCount(fields[6], 'commit'),
    reject: asBoolean(fields[7], 'reject'),
    rejectHint: asCount(fields[8], 'rejectHint'),
    entries: entries.length === 0 ? NO_ENTRIES : entries.map(unpackEntry),
  };
  return context === null ? message : Object.assign(message, { context: asBytes(context, 'context') });
}
