import { ProtocolError } from '../../base/errors.ts';
import { decodeConfChange } from './conf-change-codec.ts';
import {
  type Entry,
  LOCAL_APPEND_THREAD,
  LOCAL_APPLY_THREAD,
  type Message,
  type MessageType,
} from './types.ts';

/** Messages a node sends to itself or gets from its own threads; from a peer they are nonsense. */
const LOCAL: ReadonlySet<MessageType> = new Set([
  'MsgHup',
  'MsgBeat',
  'MsgUnreachable',
  'MsgSnapStatus',
  'MsgCheckQuorum',
  'MsgStorageAppend',
  'MsgStorageAppendResp',
  'MsgStorageApply',
  'MsgStorageApplyResp',
]);

/** Answers, which are only worth something from a member of the configuration. */
const ANSWERS: ReadonlySet<MessageType> = new Set([
  'MsgAppResp',
  'MsgVoteResp',
  'MsgHeartbeatResp',
  'MsgUnreachable',
  'MsgReadIndexResp',
  'MsgPreVoteResp',
  'MsgStorageAppendResp',
  'MsgStorageApplyResp',
]);

/** Promises that hold only once term, vote and log entries are on disk: they wait for the write. */
const PROMISES: ReadonlySet<MessageType> = new Set(['MsgAppResp', 'MsgVoteResp', 'MsgPreVoteResp']);

const CAMPAIGN: ReadonlySet<MessageType> = new Set([
  'MsgVote',
  'MsgVoteResp',
  'MsgPreVote',
  'MsgPreVoteResp',
]);

export function isLocalMessage(type: MessageType): boolean {
  return LOCAL.has(type);
}

export function isAnswer(type: MessageType): boolean {
  return ANSWERS.has(type);
}

export function isPromise(type: MessageType): boolean {
  return PROMISES.has(type);
}

export function isCampaignMessage(type: MessageType): boolean {
  return CAMPAIGN.has(type);
}

export function isLocalThread(id: number): boolean {
  return id === LOCAL_APPEND_THREAD || id === LOCAL_APPLY_THREAD;
}

/** A message without its fixed parts can only come from a broken peer. */
export function isMalformed(message: Message): boolean {
  const { type, entries = [], index = 0, logTerm = 0, term = 0 } = message;
  if (type === 'MsgApp') return !areConsecutive(entries, index, logTerm, term);
  if (type === 'MsgSnap') return message.snapshot === undefined;
  if (type === 'MsgProp') return entries.length === 0 || !entries.every(isReadable);
  return false;
}

/** Indexes follow each other, terms never fall nor exceed the leader's. */
function areConsecutive(
  entries: readonly Entry[],
  index: number,
  logTerm: number,
  leaderTerm: number,
): boolean {
  let term = logTerm;
  for (const [at, entry] of entries.entries()) {
    if (entry.index !== index + 1 + at || entry.term < term) return false;
    term = entry.term;
  }
  return term <= leaderTerm;
}

/** A configuration change that cannot be read must never reach a log. */
function isReadable(entry: Entry): boolean {
  if (entry.type === 'normal') return true;
  try {
    decodeConfChange(entry);
    return true;
  } catch (error) {
    if (error instanceof ProtocolError) return false;
    throw error;
  }
}
