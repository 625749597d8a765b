import { decodePeerMessage } from '../../../cluster/peer-message.ts';
import type { Message } from '../../../cluster/raft/index.ts';

/** A message between nodes, for a reader of the trace. */
export function describeMessage(bytes: Uint8Array): string {
  try {
    const decoded = decodePeerMessage(bytes);
    if (decoded.kind === 'raft') return describeRaft(decoded.message);
    return decoded.kind;
  } catch {
    return `${bytes.length} bytes`;
  }
}

function describeRaft(message: Message): string {
  const { type, term, logTerm, index, commit, reject, entries = [], snapshot } = message;
  const parts = [type, `term ${term}`, `at ${index}/${logTerm}`, `commit ${commit}`];
  if (entries.length > 0) parts.push(`entries ${entries.map((e) => `${e.index}/${e.term}`).join(' ')}`);
  if (snapshot !== undefined) parts.push(`snapshot ${snapshot.metadata.index}/${snapshot.metadata.term}`);
  if (reject === true) parts.push('rejected');
  return parts.join(', ');
}

/** What JSON has no form for, for JSON.stringify. */
export function asText(_: string, value: unknown): unknown {
  if (typeof value === 'bigint') return String(value);
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  return value instanceof Map || value instanceof Set ? [...value] : value;
}
