import { type Configuration, isJoint } from '../../../cluster/raft/configuration.ts';
import type {
  ConfChange,
  ConfChangeSingle,
  ConfChangeType,
  ConfState,
  Entry,
  HardState,
  Message,
  PeerProgress,
  Ready,
  Snapshot,
  SoftState,
} from '../../../cluster/raft/index.ts';
import {
  asConfChange,
  decodeConfChange,
  LOCAL_APPEND_THREAD,
  LOCAL_APPLY_THREAD,
  NO_NODE,
} from '../../../cluster/raft/index.ts';

/** The wording the scenarios use for the core's values. */

const ROLES: Record<SoftState['role'], string> = {
  follower: 'StateFollower',
  candidate: 'StateCandidate',
  leader: 'StateLeader',
  preCandidate: 'StatePreCandidate',
};

const PROGRESS_STATES: Record<PeerProgress['state'], string> = {
  probe: 'StateProbe',
  replicate: 'StateReplicate',
  snapshot: 'StateSnapshot',
};

const ENTRY_TYPES: Record<Entry['type'], string> = {
  normal: 'EntryNormal',
  confChange: 'EntryConfChange',
  confChangeV2: 'EntryConfChangeV2',
};

const CHANGE_LETTERS: Record<ConfChangeType, string> = {
  addNode: 'v',
  addLearnerNode: 'l',
  removeNode: 'r',
  updateNode: 'u',
};

const CHANGE_NAMES: Record<ConfChangeType, string> = {
  addNode: 'ConfChangeAddNode',
  addLearnerNode: 'ConfChangeAddLearnerNode',
  removeNode: 'ConfChangeRemoveNode',
  updateNode: 'ConfChangeUpdateNode',
};

const TRANSITIONS: Record<ConfChange['transition'], string> = {
  auto: 'ConfChangeTransitionAuto',
  jointImplicit: 'ConfChangeTransitionJointImplicit',
  jointExplicit: 'ConfChangeTransitionJointExplicit',
};

export function hex(id: number): string {
  return id.toString(16);
}

export function describeRole(role: SoftState['role']): string {
  return ROLES[role];
}

function describeIds(ids: Iterable<number>): string {
  return `(${[...ids]
    .sort((a, b) => a - b)
    .map(hex)
    .join(' ')})`;
}

export function describeConfiguration(configuration: Configuration): string {
  const { incoming, outgoing, learners, learnersNext, autoLeave } = configuration;
  const voters = describeIds(incoming) + (isJoint(configuration) ? `&&${describeIds(outgoing)}` : '');
  return [
    `voters=${voters}`,
    ...(learners.size > 0 ? [`learners=${describeIds(learners)}`] : []),
    ...(learnersNext.size > 0 ? [`learners_next=${describeIds(learnersNext)}`] : []),
    ...(autoLeave ? ['autoleave'] : []),
  ].join(' ');
}

export function describeProgress(progress: PeerProgress): string {
  const { match, next, pendingSnapshot, inflightMessages } = progress;
  const full = progress.inflightFull ? '[full]' : '';
  return [
    `${PROGRESS_STATES[progress.state]} match=${match} next=${next}`,
    ...(progress.isLearner ? ['learner'] : []),
    ...(progress.paused ? ['paused'] : []),
    ...(pendingSnapshot > 0 ? [`pendingSnap=${pendingSnapshot}`] : []),
    ...(progress.recentActive ? [] : ['inactive']),
    ...(inflightMessages > 0 ? [`inflight=${inflightMessages}${full}`] : []),
  ].join(' ');
}

export function describeProgressMap(peers: Iterable<PeerProgress>): string {
  return [...peers].map((peer) => `${peer.id}: ${describeProgress(peer)}\n`).join('');
}

function describeHardState({ term, vote, commit }: HardState): string {
  return `Term:${term}${vote === NO_NODE ? '' : ` Vote:${vote}`} Commit:${commit}`;
}

export function describeConfState(state: ConfState): string {
  const list = (ids: readonly number[]) => `[${ids.join(' ')}]`;
  return (
    `Voters:${list(state.voters)} VotersOutgoing:${list(state.votersOutgoing)} ` +
    `Learners:${list(state.learners)} LearnersNext:${list(state.learnersNext)} AutoLeave:${state.autoLeave}`
  );
}

function describeSnapshot({ metadata: { index, term, confState } }: Snapshot): string {
  return `Index:${index} Term:${term} ConfState:${describeConfState(confState)}`;
}

export function describeReady(ready: Ready): string {
  const { softState, hardState, readStates, entries, snapshot, committedEntries, messages } = ready;
  const lines: string[] = [];
  if (softState !== undefined) lines.push(`Lead:${softState.leader} State:${describeRole(softState.role)}`);
  if (hardState !== undefined) lines.push(`HardState ${describeHardState(hardState)}`);
  if (readStates.length > 0) {
    const states = readStates.map(
      ({ index, requestContext }) => `{${index} [${[...requestContext].join(' ')}]}`,
    );
    lines.push(`ReadStates [${states.join(' ')}]`);
  }
  if (entries.length > 0) lines.push('Entries:', ...entries.map(describeEntry));
  if (snapshot !== undefined) lines.push(`Snapshot ${describeSnapshot(snapshot)}`);
  if (committedEntries.length > 0) lines.push('CommittedEntries:', ...committedEntries.map(describeEntry));
  if (messages.length > 0) lines.push('Messages:', ...messages.map((message) => describeMessage(message)));
  if (lines.length === 0) return '<empty Ready>';
  return `Ready MustSync=${ready.mustSync}:\n${lines.join('\n')}\n`;
}

export function describeMessage(message: Message, indent = ''): string {
  const { type, term = 0, logTerm = 0, index = 0, commit = 0, vote = NO_NODE } = message;
  const { entries = [], responses = [], snapshot } = message;
  const route = `${describeTarget(message.from)}->${describeTarget(message.to)}`;
  let text = `${indent}${route} ${type} Term:${term} Log:${logTerm}/${index}`;
  if (message.reject === true) text += ` Rejected (Hint: ${message.rejectHint ?? 0})`;
  if (commit !== 0) text += ` Commit:${commit}`;
  if (vote !== NO_NODE) text += ` Vote:${vote}`;
  if (entries.length === 1) text += ` Entries:[${describeEntry(entries[0] as Entry)}]`;
  if (entries.length > 1) {
    text += ` Entries:[${entries.map((entry) => `\n${indent}  ${describeEntry(entry)}`).join('')}\n${indent}]`;
  }
  if (snapshot !== undefined) text += `\n${indent}  Snapshot: ${describeSnapshot(snapshot)}`;
  if (responses.length > 0) {
    const inner = responses.map((response) => `\n${describeMessage(response, `${indent}  `)}`);
    text += ` Responses:[${inner.join('')}\n${indent}]`;
  }
  return text;
}

function describeTarget(id: number): string {
  if (id === NO_NODE) return 'None';
  if (id === LOCAL_APPEND_THREAD) return 'AppendThread';
  return id === LOCAL_APPLY_THREAD ? 'ApplyThread' : hex(id);
}

export function describeEntry(entry: Entry): string {
  const content =
    entry.type === 'normal' ? quoted(entry.data) : changesToText(decodeConfChange(entry).changes);
  return `${entry.term}/${entry.index} ${ENTRY_TYPES[entry.type]}${content === '' ? '' : ` ${content}`}`;
}

const ESCAPES: Readonly<Record<string, string>> = {
  '"': '\\"',
  '\\': '\\\\',
  '\u0007': '\\a',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\v': '\\v',
};

/** In quotes, with everything that cannot be printed escaped as Go does; bytes that are no UTF-8 by themselves. */
export function quoted(data: Uint8Array): string {
  let text = '';
  for (let at = 0; at < data.length; ) {
    const sizeBytes = characterBytes(data, at);
    const bytes = data.subarray(at, at + Math.max(1, sizeBytes));
    text += sizeBytes === 0 ? `\\x${hexOf(bytes[0] as number, 2)}` : escaped(Buffer.from(bytes).toString());
    at += bytes.length;
  }
  return `"${text}"`;
}

function escaped(character: string): string {
  const known = ESCAPES[character];
  if (known !== undefined) return known;
  const code = character.codePointAt(0) as number;
  if (code < 0x20 || code === 0x7f) return `\\x${hexOf(code, 2)}`;
  if (character === ' ' || /^[\p{L}\p{M}\p{N}\p{P}\p{S}]$/u.test(character)) return character;
  return code > 0xffff ? `\\U${hexOf(code, 8)}` : `\\u${hexOf(code, 4)}`;
}

function hexOf(value: number, digits: number): string {
  return value.toString(16).padStart(digits, '0');
}

/** Bytes of the UTF-8 character that begins here; 0: none does. */
function characterBytes(data: Uint8Array, at: number): number {
  for (const sizeBytes of [1, 2, 3, 4]) {
    const bytes = data.subarray(at, at + sizeBytes);
    const character = new TextDecoder().decode(bytes);
    const units = sizeBytes === 4 ? 2 : 1;
    if (bytes.length === sizeBytes && character.length === units && Buffer.from(character).equals(bytes)) {
      return sizeBytes;
    }
  }
  return 0;
}

function changesToText(changes: readonly ConfChangeSingle[]): string {
  return changes.map(({ type, nodeId }) => `${CHANGE_LETTERS[type]}${nodeId}`).join(' ');
}

/** Such as "v1 l2 r3 u4": make 1 a voter, 2 a learner, remove 3, update 4. */
export function changesFromText(
  text: string,
): { readonly changes: ConfChangeSingle[] } | { readonly error: string } {
  const words = text.trim() === '' ? [] : text.trim().split(' ');
  const changes: ConfChangeSingle[] = [];
  for (const word of words) {
    if (word.length < 2) return { error: `unknown token ${word}` };
    const known = (Object.keys(CHANGE_LETTERS) as ConfChangeType[]).find(
      (type) => CHANGE_LETTERS[type] === word[0],
    );
    if (known === undefined) return { error: `unknown input: ${word}` };
    const id = word.slice(1);
    if (!/^\d+$/.test(id)) return { error: `strconv.ParseUint: parsing "${id}": invalid syntax` };
    changes.push({ type: known, nodeId: Number(id) });
  }
  return { changes };
}

export function describeConfChange(change: ConfChange): string {
  const { transition, changes, context } = asConfChange(change);
  return [
    `transition:${TRANSITIONS[transition]}`,
    ...changes.map(({ type, nodeId }) => `changes:{type:${CHANGE_NAMES[type]} node_id:${nodeId}}`),
    ...(context.length > 0 ? [`context:${quoted(context)}`] : []),
  ].join(' ');
}
