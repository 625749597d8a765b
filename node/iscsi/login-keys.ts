import { FIRST_BURST_BYTES, MAX_BURST_BYTES, MAX_RECV_DATA_SEGMENT_BYTES } from './limits.ts';
import type { TextKey } from './text-keys.ts';

/** Operational parameters of a session, negotiated at login (RFC 7143 §13). */

/**
 * min, max: the result is the smaller or larger of both values. and, or: of both truths.
 * list: the first value of the offer that we accept. declare: each side states its own, with no answer.
 */
export type KeyRule = 'min' | 'max' | 'and' | 'or' | 'list' | 'declare';

export interface LoginKeyRow {
  readonly name: string;
  readonly rule: KeyRule;
  /** In force until negotiated; Yes is 1, No is 0. */
  readonly default: number | string;
  /** What we put into the negotiation; for a list, every value we accept. */
  readonly ours: number | readonly string[];
  /** Range of a legal number. */
  readonly min?: number;
  readonly max?: number;
  readonly rfc: string;
}

const MAX_24_BITS = 0xff_ffff;

export const loginKeyTable = [
  { name: 'HeaderDigest', rule: 'list', default: 'None', ours: ['None', 'CRC32C'], rfc: '§13.1' },
  { name: 'DataDigest', rule: 'list', default: 'None', ours: ['None', 'CRC32C'], rfc: '§13.1' },
  { name: 'MaxConnections', rule: 'min', default: 1, ours: 1, min: 1, max: 65_535, rfc: '§13.2' },
  { name: 'InitialR2T', rule: 'or', default: 1, ours: 0, rfc: '§13.10' },
  { name: 'ImmediateData', rule: 'and', default: 1, ours: 1, rfc: '§13.11' },
  {
    name: 'MaxRecvDataSegmentLength',
    rule: 'declare',
    default: 8192,
    ours: MAX_RECV_DATA_SEGMENT_BYTES,
    min: 512,
    max: MAX_24_BITS,
    rfc: '§13.12',
  },
  {
    name: 'MaxBurstLength',
    rule: 'min',
    default: 262_144,
    ours: MAX_BURST_BYTES,
    min: 512,
    max: MAX_24_BITS,
    rfc: '§13.13',
  },
  {
    name: 'FirstBurstLength',
    rule: 'min',
    default: 65_536,
    ours: FIRST_BURST_BYTES,
    min: 512,
    max: MAX_24_BITS,
    rfc: '§13.14',
  },
  // The larger wins: each side knows how long it needs. We need no time at all.
  { name: 'DefaultTime2Wait', rule: 'max', default: 2, ours: 0, min: 0, max: 3600, rfc: '§13.15' },
  { name: 'DefaultTime2Retain', rule: 'min', default: 20, ours: 0, min: 0, max: 3600, rfc: '§13.16' },
  { name: 'MaxOutstandingR2T', rule: 'min', default: 1, ours: 1, min: 1, max: 65_535, rfc: '§13.17' },
  { name: 'DataPDUInOrder', rule: 'or', default: 1, ours: 1, rfc: '§13.18' },
  { name: 'DataSequenceInOrder', rule: 'or', default: 1, ours: 1, rfc: '§13.19' },
  { name: 'ErrorRecoveryLevel', rule: 'min', default: 0, ours: 0, min: 0, max: 2, rfc: '§13.20' },
  { name: 'TaskReporting', rule: 'list', default: 'RFC3720', ours: ['RFC3720'], rfc: '§13.23' },
  { name: 'iSCSIProtocolLevel', rule: 'min', default: 1, ours: 1, min: 0, max: 31, rfc: '§13.24' },
  // Markers are obsolete and never used (RFC 7143 §13.25).
  { name: 'IFMarker', rule: 'and', default: 0, ours: 0, rfc: '§13.25' },
  { name: 'OFMarker', rule: 'and', default: 0, ours: 0, rfc: '§13.25' },
] as const satisfies readonly LoginKeyRow[];

export type LoginKeyName = (typeof loginKeyTable)[number]['name'];

const ROWS: ReadonlyMap<string, LoginKeyRow> = new Map(loginKeyTable.map((row) => [row.name, row]));

/** Values in force, by key; numbers for numbers and truths, text for lists. */
export type KeyValues = ReadonlyMap<string, number | string>;

export interface NegotiatedKey {
  /** Our answer; none for a declaration. */
  readonly answer?: TextKey;
  /** The value now in force, unless the offer was refused. */
  readonly value?: number | string;
}

/** Answers one offered operational key. A key that is not in the table is NotUnderstood (RFC 7143 §6.2). */
export function negotiate(offer: TextKey): NegotiatedKey {
  const row = ROWS.get(offer.key);
  if (row === undefined) return { answer: { key: offer.key, value: 'NotUnderstood' } };
  const result = resultOf(row, offer.value);
  if (result === undefined) return { answer: { key: offer.key, value: 'Reject' } };
  if (row.rule === 'declare') return { value: result };
  return { answer: { key: offer.key, value: formatValue(row, result) }, value: result };
}

function resultOf(row: LoginKeyRow, offered: string): number | string | undefined {
  const { ours } = row;
  if (typeof ours !== 'number') return offered.split(',').find((value) => ours.includes(value));
  if (row.rule === 'and' || row.rule === 'or') {
    const theirs = parseTruth(offered);
    if (theirs === undefined) return undefined;
    return row.rule === 'and' ? ours & theirs : ours | theirs;
  }
  const theirs = parseNumber(offered);
  if (theirs === undefined || theirs < (row.min ?? 0) || theirs > (row.max ?? MAX_24_BITS)) return undefined;
  if (row.rule === 'min') return Math.min(ours, theirs);
  return row.rule === 'max' ? Math.max(ours, theirs) : theirs;
}

function formatValue(row: LoginKeyRow, value: number | string): string {
  if (row.rule === 'and' || row.rule === 'or') return value === 1 ? 'Yes' : 'No';
  return String(value);
}

function parseTruth(text: string): number | undefined {
  if (text === 'Yes') return 1;
  return text === 'No' ? 0 : undefined;
}

/** A decimal or hexadecimal constant (RFC 7143 §6.1). */
export function parseNumber(text: string): number | undefined {
  if (!/^(0[xX][0-9a-fA-F]{1,8}|\d{1,10})$/.test(text)) return undefined;
  return Number(text);
}

/** What a session works with. */
export interface SessionParameters {
  readonly headerDigest: boolean;
  readonly dataDigest: boolean;
  readonly initialR2T: boolean;
  readonly immediateData: boolean;
  /** What the initiator accepts in one data segment. */
  readonly maxSendDataSegmentBytes: number;
  readonly maxBurstBytes: number;
  readonly firstBurstBytes: number;
  /** The initiator asked for immediate data, which iPXE never does. */
  readonly offeredImmediateData: boolean;
}

/** Parameters from negotiated values, with defaults for what was never mentioned. */
export function sessionParameters(values: KeyValues, maxSendBytes: number): SessionParameters {
  const get = (name: LoginKeyName): number | string =>
    values.get(name) ?? (ROWS.get(name) as LoginKeyRow).default;
  const maxBurstBytes = Number(get('MaxBurstLength'));
  return {
    headerDigest: get('HeaderDigest') === 'CRC32C',
    dataDigest: get('DataDigest') === 'CRC32C',
    initialR2T: get('InitialR2T') === 1,
    immediateData: get('ImmediateData') === 1,
    maxSendDataSegmentBytes: Math.min(Number(get('MaxRecvDataSegmentLength')), maxSendBytes),
    maxBurstBytes,
    // FirstBurstLength must not exceed MaxBurstLength (RFC 7143 §13.14).
    firstBurstBytes: Math.min(Number(get('FirstBurstLength')), maxBurstBytes),
    offeredImmediateData: values.get('ImmediateData') === 1,
  };
}
