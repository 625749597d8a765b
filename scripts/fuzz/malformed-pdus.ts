import fc from 'fast-check';
import { chapAlgorithm } from '../../node/iscsi/chap.ts';
import { loginKeyTable } from '../../node/iscsi/login-keys.ts';
import { opcode, RESERVED_TAG } from '../../node/iscsi/opcode.ts';
import { CDB_OFFSET, HEADER_BYTES } from '../../node/iscsi/pdu.ts';
import { opcode as scsiOperation } from '../../node/scsi/cdb.ts';

/** PDUs that are wrong in every way the format allows, and where in a connection's life they come. */

/** The target's state when the malformed PDUs arrive. */
export const STATES = [
  'start',
  'security',
  'chap-algorithm',
  'chap-response',
  'operational',
  'discovery',
  'full-feature',
  'write-solicited',
  'write-unsolicited',
] as const;
export type FuzzState = (typeof STATES)[number];

/** How the DataSegmentLength that a header tells relates to what is sent, and to what was agreed. */
export const LENGTHS = [
  'none',
  'true',
  'longer',
  'shorter',
  'over-limit',
  'with-ahs',
  'ahs-over-limit',
] as const;
export type LengthKind = (typeof LENGTHS)[number];

export interface MalformedPdu {
  readonly opcode: number;
  readonly length: LengthKind;
  readonly bytes: Uint8Array;
}

export interface Sequence {
  readonly state: FuzzState;
  readonly headerDigest: boolean;
  readonly dataDigest: boolean;
  readonly pdus: readonly MalformedPdu[];
}

export const OPCODES = 64;
const INITIATOR_OPCODES = [
  opcode.nopOut,
  opcode.scsiCommand,
  opcode.taskManagementRequest,
  opcode.loginRequest,
  opcode.textRequest,
  opcode.dataOut,
  opcode.logoutRequest,
  opcode.snackRequest,
];

const edgeByte = fc.constantFrom(0, 1, 0x3f, 0x40, 0x7f, 0x80, 0xc0, 0xff);
const u32Edge = fc.constantFrom(0, 1, 2, 127, 128, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff);
const offsets = fc.constantFrom(8, 12, 16, 20, 20, 20, 24, 28, 32, 36, 40, 44);

/** Login and text keys with values that are right, nearly right, or nothing of the kind. */
const keyName = fc.oneof(
  fc.constantFrom(...loginKeyTable.map((row) => row.name)),
  fc.constantFrom('AuthMethod', 'CHAP_A', 'CHAP_N', 'CHAP_R', 'CHAP_I', 'CHAP_C', 'X-com.example', 'x', ''),
  fc.string({ maxLength: 70 }),
);
const keyValue = fc.oneof(
  fc.constantFrom(
    '',
    'Yes',
    'No',
    'None',
    'CHAP',
    'CRC32C,None',
    'All',
    'Reject',
    'Irrelevant',
    'NotUnderstood',
  ),
  fc.constantFrom(
    '0',
    '1',
    '512',
    '16777215',
    '16777216',
    '-1',
    '0x',
    '0xffffffffff',
    '1~2',
    '0b===',
    '0x00',
  ),
  fc.constantFrom(...Object.values(chapAlgorithm).map(String)),
  fc.string({ maxLength: 300 }),
);
const text = fc
  .array(fc.tuple(keyName, keyValue, fc.constantFrom('=', '=', '=', '', '==')), { maxLength: 12 })
  .chain((pairs) =>
    fc
      .constantFrom('\0', '\0', '\0', '', '\0\0')
      .map((end) =>
        Buffer.from(
          pairs.map(([key, value, equals]) => `${key}${equals}${value}`).join('\0') + end,
          'latin1',
        ),
      ),
  );
const data = fc.oneof(
  fc.constant(new Uint8Array()),
  fc.uint8Array({ maxLength: 64 }),
  fc.constantFrom(512, 4096, 8192, 8193, 70_000).map((lengthBytes) => new Uint8Array(lengthBytes).fill(0x5a)),
  text,
);

interface Header {
  readonly random: Uint8Array;
  readonly isRandom: boolean;
  readonly flags: number;
  readonly words: readonly (readonly [number, number])[];
  /** For SCSI commands: any operation code, with what follows it all noise or mostly zeros. */
  readonly cdb: Uint8Array;
}

const CDB_BYTES = 16;
const EXPECTED_BYTES = 4096;
/** Where service actions and lengths lie in one CDB or another. */
const TELLING_BYTES: ReadonlySet<number> = new Set([1, 4, 8, 9, 13]);
const cdb = fc
  .tuple(
    fc.oneof(fc.constantFrom(...Object.values(scsiOperation)), fc.nat(255)),
    fc.boolean(),
    fc.uint8Array({ minLength: CDB_BYTES, maxLength: CDB_BYTES }),
  )
  .map(([operation, isRandom, random]) => {
    const bytes = isRandom ? random : random.map((byte, i) => (TELLING_BYTES.has(i) ? byte & 15 : 0));
    bytes[0] = operation;
    return bytes;
  });

const header: fc.Arbitrary<Header> = fc.record({
  random: fc.uint8Array({ minLength: HEADER_BYTES, maxLength: HEADER_BYTES }),
  isRandom: fc.boolean(),
  flags: fc.oneof(edgeByte, fc.nat(255)),
  words: fc.array(fc.tuple(offsets, fc.oneof(u32Edge, fc.nat(300))), { maxLength: 6 }),
  cdb,
});

function build(
  code: number,
  immediate: boolean,
  length: LengthKind,
  from: Header,
  content: Uint8Array,
): MalformedPdu {
  // A header of nothing but zeros and some odd fields gets further than one of noise.
  const bytes = from.isRandom ? Buffer.from(from.random) : Buffer.alloc(HEADER_BYTES);
  bytes[0] = code | (immediate ? 0x40 : 0);
  bytes[1] = from.flags;
  // Any other tag is that of a transfer which is not open.
  if (!from.isRandom && code !== opcode.scsiCommand) bytes.writeUInt32BE(RESERVED_TAG, 20);
  if (code === opcode.scsiCommand) {
    bytes.set(from.cdb, CDB_OFFSET);
    // With no data expected, little would ever be read or written.
    if (!from.isRandom) bytes.writeUInt32BE(EXPECTED_BYTES, 20);
  }
  for (const [at, value] of from.words) bytes.writeUInt32BE(value, at);
  bytes[4] = length === 'with-ahs' ? 2 : length === 'ahs-over-limit' ? 255 : 0;
  const sent = length === 'none' ? new Uint8Array() : content;
  bytes.writeUIntBE(toldLength(length, sent.length), 5, 3);
  const ahs = Buffer.alloc((bytes[4] ?? 0) * 4, 1);
  return { opcode: code, length, bytes: Buffer.concat([bytes, ahs, sent, Buffer.alloc(-sent.length & 3)]) };
}

function toldLength(length: LengthKind, sentBytes: number): number {
  switch (length) {
    case 'longer':
      return sentBytes + 40;
    case 'shorter':
      return Math.max(0, sentBytes - 5);
    case 'over-limit':
      return 0xff_ffff;
    case 'none':
    case 'true':
    case 'with-ahs':
    case 'ahs-over-limit':
      return sentBytes;
  }
}

const anyOpcode = fc.oneof(fc.constantFrom(...INITIATOR_OPCODES), fc.nat(OPCODES - 1));
/** Lengths that keep the stream in step come more often, so that the PDUs after them are looked at. */
const lengthKind = fc.oneof(
  { weight: 5, arbitrary: fc.constantFrom<LengthKind>('none', 'true', 'with-ahs') },
  { weight: 1, arbitrary: fc.constantFrom<LengthKind>(...LENGTHS) },
);

const malformedPdu: fc.Arbitrary<MalformedPdu> = fc
  .tuple(anyOpcode, fc.boolean(), lengthKind, header, data)
  .map(([code, immediate, length, from, content]) => build(code, immediate, length, from, content));

export const sequence: fc.Arbitrary<Sequence> = fc.record({
  state: fc.constantFrom(...STATES),
  headerDigest: fc.boolean(),
  dataDigest: fc.boolean(),
  pdus: fc.array(malformedPdu, { minLength: 1, maxLength: 15, size: 'max' }),
});

/** One PDU of every opcode, length and state: what chance might leave out. */
export function* everyCombination(): Generator<Sequence> {
  const blank: Header = {
    random: new Uint8Array(),
    isRandom: false,
    flags: 0x80,
    words: [],
    cdb: new Uint8Array(CDB_BYTES),
  };
  const content = Buffer.from('InitiatorName=iqn.2026-11.net.example:fuzz\0', 'latin1');
  for (const state of STATES) {
    for (const length of LENGTHS) {
      for (let code = 0; code < OPCODES; code++) {
        const pdus = [build(code, true, length, blank, content)];
        yield { state, headerDigest: false, dataDigest: false, pdus };
      }
    }
  }
}
