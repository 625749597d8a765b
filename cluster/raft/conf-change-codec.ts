import { ByteReader } from '../../base/byte-reader.ts';
import { ByteWriter } from '../../base/byte-writer.ts';
import { ProtocolError } from '../../base/errors.ts';
import type {
  ConfChange,
  ConfChangeTransition,
  ConfChangeType,
  ProposedConfChange,
  SingleConfChange,
} from './conf-change-types.ts';
import type { Entry } from './types.ts';

/**
 * The bytes of a configuration change in an entry. Big-endian, numbers are positions in the tables below.
 *
 *   confChange:    type u8 | nodeId u64 | context
 *   confChangeV2:  transition u8 | count u16 | count * (type u8 | nodeId u64) | context
 *
 * A confChangeV2 without any bytes is the empty change, which leaves a joint configuration: such an entry
 * weighs nothing, so no limit on uncommitted data can refuse it.
 */
const TYPES: readonly ConfChangeType[] = ['addNode', 'removeNode', 'updateNode', 'addLearnerNode'];
const TRANSITIONS: readonly ConfChangeTransition[] = ['auto', 'jointImplicit', 'jointExplicit'];

const NO_CONTEXT = new Uint8Array(0);
export const LEAVE_JOINT: ConfChange = { transition: 'auto', changes: [], context: NO_CONTEXT };

function isMultiple(change: ProposedConfChange): change is ConfChange {
  return 'changes' in change;
}

/** The entry that carries a change. */
export function encodeConfChange(change: ProposedConfChange): Pick<Entry, 'type' | 'data'> {
  return isMultiple(change)
    ? { type: 'confChangeV2', data: encodeMultiple(change) }
    : { type: 'confChange', data: encodeSingle(change) };
}

function encodeSingle(change: SingleConfChange): Uint8Array {
  return new ByteWriter(16)
    .u8(TYPES.indexOf(change.type))
    .u64(BigInt(change.nodeId))
    .bytes(change.context)
    .finish();
}

function encodeMultiple(change: ConfChange): Uint8Array {
  if (change.transition === 'auto' && change.changes.length === 0 && change.context.length === 0) {
    return NO_CONTEXT;
  }
  const writer = new ByteWriter(32).u8(TRANSITIONS.indexOf(change.transition)).u16(change.changes.length);
  for (const { type, nodeId } of change.changes) writer.u8(TYPES.indexOf(type)).u64(BigInt(nodeId));
  return writer.bytes(change.context).finish();
}

/**
 * The change an entry of type confChange or confChangeV2 carries, whichever its form, as one kind of value.
 * @throws ProtocolError for bytes that are no change
 */
export function decodeConfChange(entry: Pick<Entry, 'type' | 'data'>): ConfChange {
  return asConfChange(decodeProposed(entry));
}

/** As decodeConfChange, but keeps the form that was proposed. */
function decodeProposed(entry: Pick<Entry, 'type' | 'data'>): ProposedConfChange {
  if (entry.type === 'confChangeV2' && entry.data.length === 0) return LEAVE_JOINT;
  const reader = new ByteReader(entry.data, 'configuration change');
  switch (entry.type) {
    case 'confChange':
      return { ...readOne(reader), context: reader.rest() };
    case 'confChangeV2': {
      const transition = pick(TRANSITIONS, reader.u8());
      const changes = Array.from({ length: reader.u16() }, () => readOne(reader));
      return { transition, changes, context: reader.rest() };
    }
    case 'normal':
      throw new ProtocolError('a normal entry holds no configuration change', { code: 'bad-entry-type' });
  }
}

export function asConfChange(change: ProposedConfChange): ConfChange {
  if (isMultiple(change)) return change;
  const { type, nodeId, context } = change;
  return { transition: 'auto', changes: [{ type, nodeId }], context };
}

function readOne(reader: ByteReader): { type: ConfChangeType; nodeId: number } {
  const type = pick(TYPES, reader.u8());
  const nodeId = Number(reader.u64());
  if (!Number.isSafeInteger(nodeId)) {
    throw new ProtocolError('node id of a configuration change is too large', {
      code: 'bad-node-id',
      got: nodeId,
      limit: Number.MAX_SAFE_INTEGER,
    });
  }
  return { type, nodeId };
}

function pick<T>(table: readonly T[], position: number): T {
  const value = table[position];
  if (value === undefined) {
    throw new ProtocolError('unknown kind of configuration change', {
      code: 'bad-conf-change',
      got: position,
      limit: table.length - 1,
    });
  }
  return value;
}
