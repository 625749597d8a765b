import { Packr } from 'msgpackr';
import { describeError, ProtocolError } from '../base/errors.ts';

/**
 * Plain MessagePack, without the record extension: what one node writes any node and any version can read.
 * Bytes are copied out, since entries are kept long and would keep the whole network read they came in.
 */
const packr = new Packr({ useRecords: false, mapsAsObjects: true, copyBuffers: true });

export function pack(value: unknown): Uint8Array {
  return packr.pack(value);
}

/** @throws ProtocolError code "bad-msgpack" */
export function unpack(bytes: Uint8Array): unknown {
  try {
    return packr.unpack(bytes);
  } catch (error) {
    throw new ProtocolError(`not MessagePack: ${describeError(error)}`, { code: 'bad-msgpack' });
  }
}

function malformed(what: string, got: unknown, limit: string): ProtocolError {
  return new ProtocolError(`${what} is malformed`, { code: 'malformed', got, limit });
}

/** The checks below throw ProtocolError code "malformed". */
export function asCount(value: unknown, what: string): number {
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw malformed(what, value, 'a whole number');
  return value as number;
}

export function asBytes(value: unknown, what: string): Uint8Array {
  if (!(value instanceof Uint8Array)) throw malformed(what, typeof value, 'bytes');
  return value;
}

export function asBoolean(value: unknown, what: string): boolean {
  if (typeof value !== 'boolean') throw malformed(what, value, 'true or false');
  return value;
}

export function asText(value: unknown, what: string): string {
  if (typeof value !== 'string') throw malformed(what, typeof value, 'text');
  return value;
}

/** @param length exact number of elements, where it is fixed */
export function asArray(value: unknown, what: string, length?: number): readonly unknown[] {
  if (!Array.isArray(value) || (length !== undefined && value.length !== length)) {
    throw malformed(what, typeof value, length === undefined ? 'a list' : `a list of ${length}`);
  }
  return value;
}

export function asOneOf<T>(value: unknown, choices: readonly T[], what: string): T {
  const index = asCount(value, what);
  const choice = choices[index];
  if (choice === undefined) throw malformed(what, value, `a number below ${choices.length}`);
  return choice;
}
