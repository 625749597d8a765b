import { FIRST_BURST_BYTES, MAX_BURST_BYTES, MAX_RECV_DATA_SEGMENT_BYTES } from './limits.ts';
import type { TextKey } from './text-keys.ts';

/** Every key of a login or a full feature negotiation (RFC 7143 §13; security keys in chap.ts). */

/**
 * min, max: the result is the smaller or larger of both values. and, or: of both truths.
 * list: the first value of the offer that we accept. declare: each side states its own number, with no answer.
 * state: a name or a text that is told and not answered. query: what a Text Request asks for.
 * obsolete: never agreed to, and never "not understood" either.
 */
export type KeyRule = 'min' | 'max' | 'and' | 'or' | 'list' | 'declare' | 'state' | 'query' | 'obsolete';

/**
 * When a key may be sent, as RFC 7143 §13 names it: initialize only (IO), leading only (LO), full feature phase
 * only (FFPO), or at any time. IO and LO are the same where a session has one connection.
 */
export type KeyUse = 'IO' | 'LO' | 'FFPO' | 'ALL';

export interface LoginKeyRow {
  readonly name: string;
  readonly rule: KeyRule;
  readonly use: KeyUse;
  /** Who may send it unasked. */
  readonly sender: 'initiator' | 'target' | 'both';
  /** In force until negotiated; Yes is 1, No is 0. */
  readonly default?: number | string;
  /** What we put into the negotiation; for a list, every value we accept. */
  readonly ours?: number | readonly string[];
  /** Range of a legal number. */
  readonly min?: number;
  readonly max?: number;
  readonly rfc: string;
}

const MAX_24_BITS = 0xff_ffff;
const MAX_16_BITS = 0xffff;
/** RFC 7143 is level 1, RFC 7144 adds the functions that query tasks. */
const PROTOCOL_LEVEL = 2;

const digest = {
  rule: 'list',
  use: 'IO',
  sender: 'both',
  default: 'None',
  ours: ['None', 'CRC32C'],
} as const;
const number = { use: 'LO', sender: 'both', min: 0 } as const;
const size = { use: 'LO', sender: 'both', min: 512, max: MAX_24_BITS } as const;
const truth = { use: 'LO', sender: 'both' } as const;
const obsolete = { rule: 'obsolete', use: 'LO', sender: 'both', rfc: '§13.25' } as const;

export const loginKeyTable = [
  { name: 'HeaderDigest', ...digest, rfc: '§13.1' },
  { name: 'DataDigest', ...digest, rfc: '§13.1' },
  {
    name: 'MaxConnections',
    ...number,
    rule: 'min',
    default: 1,
    ours: 1,
    min: 1,
    max: MAX_16_BITS,
    rfc: '§13.2',
  },
  { name: 'SendTargets', rule: 'query', use: 'FFPO', sender: 'initiator', rfc: '§13.3' },
  { name: 'TargetName', rule: 'state', use: 'IO', sender: 'initiator', rfc: '§13.4' },
  { name: 'InitiatorName', rule: 'state', use: 'IO', sender: 'initiator', rfc: '§13.5' },
  { name: 'TargetAlias', rule: 'state', use: 'ALL', sender: 'target', rfc: '§13.6' },
  { name: 'InitiatorAlias', rule: 'state', use: 'ALL', sender: 'initiator', rfc: '§13.7' },
  { name: 'TargetAddress', rule: 'state', use: 'ALL', sender: 'target', rfc: '§13.8' },
  { name: 'TargetPortalGroupTag', rule: 'state', use: 'IO', sender: 'target', rfc: '§13.9' },
  { name: 'InitialR2T', ...truth, rule: 'or', default: 1, ours: 0, rfc: '§13.10' },
  { name: 'ImmediateData', ...truth, rule: 'and', default: 1, ours: 1, rfc: '§13.11' },
  {
    name: 'MaxRecvDataSegmentLength',
    ...size,
    rule: 'declare',
    use: 'ALL',
    default: 8192,
    ours: MAX_RECV_DATA_SEGMENT_BYTES,
    rfc: '§13.12',
  },
  { name: 'MaxBurstLength', ...size, rule: 'min', default: 262_144, ours: MAX_BURST_BYTES, rfc: '§13.13' },
  { name: 'FirstBurstLength', ...size, rule: 'min', default: 65_536, ours: FIRST_BURST_BYTES, rfc: '§13.14' },
  // The larger wins: each side knows how long it needs. We need no time at all.
  { name: 'DefaultTime2Wait', ...number, rule: 'max', default: 2, ours: 0, max: 3600, rfc: '§13.15' },
  { name: 'DefaultTime2Retain', ...number, rule: 'min', default: 20, ours: 0, max: 3600, rfc: '§13.16' },
  {
    name: 'MaxOutstandingR2T',
    ...number,
    rule: 'min',
    default: 1,
    ours: 1,
    min: 1,
    max: MAX_16_BITS,
    rfc: '§13.17',
  },
  { name: 'DataPDUInOrder', ...truth, rule: 'or', default: 1, ours: 1, rfc: '§13.18' },
  { name: 'DataSequenceInOrder', ...truth, rule: 'or', default: 1, ours: 1, rfc: '§13.19' },
  { name: 'ErrorRecoveryLevel', ...number, rule: 'min', default: 0, ours: 0, max: 2, rfc: '§13.20' },
  { name: 'SessionType', rule: 'state', use: 'LO', sender: 'initiator', default: 'Normal', rfc: '§13.21' },
  {
    name: 'TaskReporting',
    rule: 'list',
    use: 'LO',
    sender: 'both',
    default: 'RFC3720',
    ours: ['RFC3720'],
    rfc: '§13.23',
  },
  {
    name: 'iSCSIProtocolLevel',
    ...number,
    rule: 'min',
    default: 1,
    ours: PROTOCOL_LEVEL,
    max: 31,
    rfc: '§13.24',
  },
  // Of the two answers allowed, the one that no initiator takes for a failure.
  { name: 'IFMarker', ...truth, rule: 'and', default: 0, ours: 0, rfc: '§13.25' },
  { name: 'OFMarker', ...truth, rule: 'and', default: 0, ours: 0, rfc: '§13.25' },
  { name: 'IFMarkInt', ...obsolete },
  { name: 'OFMarkInt', ...obsolete },
  { name: 'X#NodeArchitecture', rule: 'state', use: 'LO', sender: 'both', rfc: '§13.26' },
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

/**
 * Answers one key offered in a login. A key that is not in the table is NotUnderstood (RFC 7143 §6.2).
 * @param isLeading whether the login makes a session; a connection of one that is there changes none of its keys (§13)
 */
export function negotiate(offer: TextKey, isLeading = true): NegotiatedKey {
  const row = ROWS.get(offer.key);
  if (row === undefined) return { answer: { key: offer.key, value: 'NotUnderstood' } };
  if (row.use === 'FFPO' || row.sender === 'target' || row.rule === 'obsolete') return rejected(offer);
  if (!isLeading && row.use === 'LO' && row.rule !== 'state') {
    return { answer: { key: offer.key, value: 'Irrelevant' } };
  }
  return answerByRule(row, offer);
}

/** Answers one key of a Text Request in full feature phase, other than SendTargets. */
export function negotiateInFullFeature(offer: TextKey): NegotiatedKey {
  const row = ROWS.get(offer.key);
  if (row === undefined) return { answer: { key: offer.key, value: 'NotUnderstood' } };
  if (row.use !== 'ALL' || row.sender === 'target') return rejected(offer);
  return answerByRule(row, offer);
}

function answerByRule(row: LoginKeyRow, offer: TextKey): NegotiatedKey {
  if (row.rule === 'state') return {};
  const result = resultOf(row, offer.value);
  if (result === undefined) return rejected(offer);
  if (row.rule === 'declare') return { value: result };
  return { answer: { key: offer.key, value: formatValue(row, result) }, value: result };
}

function rejected({ key }: TextKey): NegotiatedKey {
  return { answer: { key, value: 'Reject' } };
}

function resultOf(row: LoginKeyRow, offered: string): number | string | undefined {
  const { ours } = row;
  if (typeof ours !== 'number') return offered.split(',').find((value) => ours?.includes(value));
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

/** A decimal or hexadecimal constant below 2^64, which leading zeros make no larger (RFC 7143 §6.1). */
export function parseNumber(text: string): number | undefined {
  if (!/^(0[xX]0*[0-9a-fA-F]{1,16}|0*\d{1,20})$/.test(text)) return undefined;
  return Number(text);
}

/**
 * FirstBurstLength must not exceed MaxBurstLength (RFC 7143 §13.14): an initiator that offers otherwise is answered what holds.
 * @param answers of one request, which are amended
 */
export function limitFirstBurst(values: Map<string, number | string>, answers: TextKey[]): void {
  const { maxBurstBytes, firstBurstBytes } = sessionParameters(values, MAX_24_BITS);
  const at = answers.findIndex(({ key }) => key === 'FirstBurstLength');
  const first = values.get('FirstBurstLength');
  if (at < 0 || typeof first !== 'number' || first <= maxBurstBytes) return;
  values.set('FirstBurstLength', firstBurstBytes);
  answers[at] = { key: 'FirstBurstLength', value: String(firstBurstBytes) };
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
  /** iSCSIProtocolLevel. */
  readonly protocolLevel: number;
}

/** Parameters from negotiated values, with defaults for what was never mentioned. */
export function sessionParameters(values: KeyValues, maxSendBytes: number): SessionParameters {
  const get = (name: LoginKeyName): number | string => values.get(name) ?? ROWS.get(name)?.default ?? 0;
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
    protocolLevel: Number(get('iSCSIProtocolLevel')),
  };
}
