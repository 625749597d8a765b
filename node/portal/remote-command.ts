import { ProtocolError } from '../../base/errors.ts';
import { CDB_BYTES } from '../scsi/cdb.ts';
import type { ScsiOutcome } from '../scsi/prepared-command.ts';
import type { Sense } from '../scsi/sense.ts';
import { MAX_REMOTE_COMMAND_BYTES } from './limits.ts';

/** A SCSI command that the node of a path in standby passes on to the primary's, and the answer to it. */
export interface RemoteCommand {
  readonly groupId: string;
  readonly lunId: number;
  /** The target port that the initiator is logged in by. */
  readonly targetPort: number;
  /** Name of the initiator port (RFC 7143 §4.2.7.1). */
  readonly initiatorPort: string;
  readonly cdb: Uint8Array;
  readonly dataOut: Uint8Array;
}

/**
 * How it ended. not-here: the node serves the group not at all, and has done nothing. not-serving: it does no longer, and
 * what has been done nobody knows.
 */
export type RemoteOutcome = ScsiOutcome | { readonly kind: 'not-here' };

export type RemoteMessage =
  | { readonly kind: 'command'; readonly id: number; readonly command: RemoteCommand }
  | { readonly kind: 'outcome'; readonly id: number; readonly outcome: RemoteOutcome };

/** The first byte of a message, which tells it from those of replication between the same nodes. */
export const REMOTE_MESSAGE = 0x40;

export function encodeRemoteMessage(message: RemoteMessage): Uint8Array {
  const document =
    message.kind === 'command'
      ? {
          ...message,
          command: {
            ...message.command,
            cdb: hex(message.command.cdb),
            dataOut: hex(message.command.dataOut),
          },
        }
      : { ...message, outcome: writable(message.outcome) };
  return Buffer.concat([Uint8Array.of(REMOTE_MESSAGE), Buffer.from(JSON.stringify(document), 'utf8')]);
}

function writable(outcome: RemoteOutcome): object {
  if (outcome.kind !== 'good') return outcome;
  return { kind: 'good', data: hex(Buffer.concat(outcome.dataIn)) };
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

/** @throws ProtocolError code "bad-remote-command" */
export function decodeRemoteMessage(bytes: Uint8Array): RemoteMessage {
  if (bytes.length > MAX_REMOTE_COMMAND_BYTES) throw bad(`${bytes.length} bytes`);
  let document: Fields;
  try {
    document = fieldsOf(JSON.parse(Buffer.from(bytes.subarray(1)).toString('utf8')));
  } catch {
    throw bad('no JSON');
  }
  const id = whole(document, 'id');
  switch (document['kind']) {
    case 'command':
      return { kind: 'command', id, command: readCommand(fieldsOf(document['command'])) };
    case 'outcome':
      return { kind: 'outcome', id, outcome: readOutcome(fieldsOf(document['outcome'])) };
    default:
      throw bad(document['kind']);
  }
}

type Fields = Readonly<Record<string, unknown>>;

function readCommand(fields: Fields): RemoteCommand {
  const cdb = octets(fields, 'cdb');
  if (cdb.length !== CDB_BYTES) throw bad(`a CDB of ${cdb.length} bytes`);
  return {
    groupId: text(fields, 'groupId'),
    lunId: whole(fields, 'lunId'),
    targetPort: whole(fields, 'targetPort'),
    initiatorPort: text(fields, 'initiatorPort'),
    cdb,
    dataOut: octets(fields, 'dataOut'),
  };
}

function readOutcome(fields: Fields): RemoteOutcome {
  switch (fields['kind']) {
    case 'good': {
      const data = octets(fields, 'data');
      return { kind: 'good', dataIn: data.length === 0 ? [] : [data], lengthBytes: data.length };
    }
    case 'check-condition': {
      const sense = readSense(fieldsOf(fields['sense']));
      return fields['descriptorFormat'] === true
        ? { kind: 'check-condition', sense, descriptorFormat: true }
        : { kind: 'check-condition', sense };
    }
    case 'reservation-conflict':
    case 'not-serving':
    case 'not-here':
      return { kind: fields['kind'] };
    default:
      throw bad(fields['kind']);
  }
}

function readSense(fields: Fields): Sense {
  const { information, progress, field } = fields;
  return {
    key: whole(fields, 'key'),
    asc: whole(fields, 'asc'),
    ascq: whole(fields, 'ascq'),
    ...(information === undefined ? {} : { information: whole(fields, 'information') }),
    ...(progress === undefined ? {} : { progress: whole(fields, 'progress') }),
    ...(field === undefined ? {} : { field: readField(fieldsOf(field)) }),
  };
}

function readField(fields: Fields): NonNullable<Sense['field']> {
  const place = { inCdb: fields['inCdb'] === true, byte: whole(fields, 'byte') };
  return fields['bit'] === undefined ? place : { ...place, bit: whole(fields, 'bit') };
}

function fieldsOf(value: unknown): Fields {
  if (typeof value !== 'object' || value === null) throw bad(value);
  return value as Fields;
}

function whole(fields: Fields, name: string): number {
  const value = fields[name];
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  throw bad(`${name}: ${String(value)}`);
}

function text(fields: Fields, name: string): string {
  const value = fields[name];
  if (typeof value === 'string') return value;
  throw bad(`${name}: ${String(value)}`);
}

function octets(fields: Fields, name: string): Uint8Array {
  const value = text(fields, name);
  if (value.length % 2 !== 0 || !/^[0-9a-f]*$/.test(value)) throw bad(`${name} is no hexadecimal`);
  return Buffer.from(value, 'hex');
}

function bad(got: unknown): ProtocolError {
  return new ProtocolError('a command that another node passes on cannot be read', {
    code: 'bad-remote-command',
    got,
    limit: `JSON of at most ${MAX_REMOTE_COMMAND_BYTES} bytes with the fields of RemoteMessage`,
  });
}
