import { crc32c, crc32cPast, crc32cWithin } from '../../base/crc32c.ts';
import { InvariantError, invariant, OperationError } from '../../base/errors.ts';
import { bytes, layout, u32, u64 } from '../../base/layout.ts';
import { COPY_BELOW_BYTES, MAX_RECORD_BYTES } from './limits.ts';

/**
 * Bytes of a segment file: one header, then records, each at a multiple of 8. All numbers are big-endian.
 *
 *     record   0  length of the payload
 *              4  CRC32C over base position of the segment, bytes 0-3 and 8-15 of this header, payload
 *              8  durable end: every byte of this segment below this offset was on stable storage
 *                 when the record was written
 *             12  index, counted from the segment's first
 *             16  payload, then zeros up to a multiple of 8
 *
 * The base position and the index in the checksum catch a whole record that stands in the wrong place.
 *
 * Version 2 is of a segment that was written over a former one. Behind its end lies what that one held: whole records, and
 * whatever clients had in them, made up to look like records of this segment if they like. So its header has a salt that
 * nobody can foresee. Checksums begin with it as well, and the three numbers of a record's header are masked by it
 * (exclusive or), by which nearly all that is no record of this segment is told without going over it.
 */

export const SEGMENT_HEADER_BYTES = 48;
export const RECORD_HEADER_BYTES = 16;
const ALIGNMENT_BYTES = 8;
/** By whether the segment has a salt. */
const VERSION = { fresh: 1, salted: 2 } as const;
export const SALT_BYTES = 12;
const MAGIC = Buffer.from('bfLogSeg', 'latin1');
const FLAG_STARTS_OVER = 1;

const headerLayout = layout('log segment header', SEGMENT_HEADER_BYTES, {
  magic: bytes(0, 8),
  version: u32(8),
  flags: u32(12),
  firstIndex: u64(16),
  basePosition: u64(24),
  salt: bytes(32, SALT_BYTES),
  crc: u32(44),
});

export interface SegmentHeader {
  /** Index of the segment's first record. */
  readonly firstIndex: number;
  /** Position of the file's first byte; positions inside are this plus the offset. */
  readonly basePosition: number;
  /** All earlier segments, whatever they hold, are void (resetTo). */
  readonly startsOver: boolean;
  /** SALT_BYTES of a segment that is written over a former one; undefined for a fresh file. */
  readonly salt?: Uint8Array | undefined;
}

/** What tells a segment's own records from all else that may stand in its file. */
export interface SegmentKey {
  /** What every record's checksum begins with. */
  readonly seed: number;
  readonly lengthMask: number;
  readonly durableEndMask: number;
  readonly indexMask: number;
}

export function segmentKey({ basePosition, salt }: Pick<SegmentHeader, 'basePosition' | 'salt'>): SegmentKey {
  const named = Buffer.alloc(8 + (salt?.length ?? 0));
  named.writeBigUInt64BE(BigInt(basePosition));
  if (salt === undefined) return { seed: crc32c(named), lengthMask: 0, durableEndMask: 0, indexMask: 0 };
  invariant(salt.length === SALT_BYTES, 'a salt has its length');
  named.set(salt, 8);
  return {
    seed: crc32c(named),
    lengthMask: readU32(salt, 0),
    durableEndMask: readU32(salt, 4),
    indexMask: readU32(salt, 8),
  };
}

export function encodeSegmentHeader(header: SegmentHeader): Uint8Array {
  const out = headerLayout.encode({
    magic: MAGIC,
    version: header.salt === undefined ? VERSION.fresh : VERSION.salted,
    flags: header.startsOver ? FLAG_STARTS_OVER : 0,
    firstIndex: BigInt(header.firstIndex),
    basePosition: BigInt(header.basePosition),
    salt: header.salt ?? new Uint8Array(SALT_BYTES),
  });
  new DataView(out.buffer, out.byteOffset).setUint32(44, crc32c(out.subarray(0, 44)));
  return out;
}

/**
 * @returns why the bytes are not a header, instead of one
 * @throws OperationError code "newer-format"
 */
export function decodeSegmentHeader(input: Uint8Array): SegmentHeader | { readonly bad: string } {
  if (input.length < SEGMENT_HEADER_BYTES) return { bad: `the file has only ${input.length} bytes` };
  const raw = headerLayout.decode(input);
  if (Buffer.compare(raw.magic, MAGIC) !== 0) return { bad: 'it does not begin as a log segment' };
  if (raw.crc !== crc32c(input.subarray(0, 44))) return { bad: 'the header does not match its checksum' };
  if (raw.version > VERSION.salted) {
    // Whole, as its checksum says.
    throw new OperationError('a newer version of this program has written to a log of this node', {
      kind: 'conflict',
      code: 'newer-format',
      got: `a segment of format version ${raw.version}`,
      accepted: 'that version, or a newer one',
    });
  }
  if (raw.version < VERSION.fresh) return { bad: `there is no format version ${raw.version}` };
  if (raw.firstIndex > MAX_SAFE || raw.basePosition > MAX_SAFE) return { bad: 'a number is out of range' };
  return {
    firstIndex: Number(raw.firstIndex),
    basePosition: Number(raw.basePosition),
    startsOver: (raw.flags & FLAG_STARTS_OVER) !== 0,
    ...(raw.version === VERSION.salted && { salt: Uint8Array.from(raw.salt) }),
  };
}

const MAX_SAFE = BigInt(Number.MAX_SAFE_INTEGER);

/** Bytes a record takes in the file. */
export function recordSizeBytes(payloadBytes: number): number {
  return RECORD_HEADER_BYTES + aligned(payloadBytes);
}

/** The same of several, each of which must be within its bound. */
export function recordsSizeBytes(payloads: readonly Uint8Array[]): number {
  let sizeBytes = 0;
  for (const { length } of payloads) {
    // The text is made only where it is needed: this is asked of every record more than once.
    if (length > MAX_RECORD_BYTES) {
      throw new InvariantError(`a record of ${length} bytes; ${MAX_RECORD_BYTES} at most`);
    }
    sizeBytes += recordSizeBytes(length);
  }
  return sizeBytes;
}

function aligned(lengthBytes: number): number {
  return Math.ceil(lengthBytes / ALIGNMENT_BYTES) * ALIGNMENT_BYTES;
}

export interface FrameContext {
  readonly key: SegmentKey;
  /** Offset in the file at which the first record will stand. */
  readonly offset: number;
  readonly firstRelativeIndex: number;
  readonly durableEnd: number;
}

export interface FramedRecords {
  /** To be written one after another at the context's offset. Long payloads are the caller's own arrays. */
  readonly parts: readonly Uint8Array[];
  readonly sizeBytes: number;
  /** Where each record (its header) begins in the file. */
  readonly offsets: readonly number[];
}

/** @param checksums CRC32C of the payloads, as far as the caller knows them; they are not computed again then */
export function frameRecords(
  payloads: readonly Uint8Array[],
  context: FrameContext,
  checksums: readonly (number | undefined)[] = [],
): FramedRecords {
  // Not a Buffer, of which views take longer to make.
  const arena = new Uint8Array(arenaBytes(payloads));
  const parts: Uint8Array[] = [];
  const offsets: number[] = [];
  let at = context.offset;
  let used = 0;
  let flushed = 0;
  for (const [i, payload] of payloads.entries()) {
    offsets.push(at);
    encodeRecordHeader(arena, used, payload, context, context.firstRelativeIndex + i, checksums[i]);
    used += RECORD_HEADER_BYTES;
    if (payload.length < COPY_BELOW_BYTES) {
      arena.set(payload, used);
      used += payload.length;
    } else {
      parts.push(arena.subarray(flushed, used), payload);
      flushed = used;
    }
    for (let padding = aligned(payload.length) - payload.length; padding > 0; padding--) arena[used++] = 0;
    at += recordSizeBytes(payload.length);
  }
  if (used > flushed) parts.push(arena.subarray(flushed, used));
  return { parts, sizeBytes: at - context.offset, offsets };
}

function arenaBytes(payloads: readonly Uint8Array[]): number {
  let total = 0;
  for (const payload of payloads) {
    total += recordSizeBytes(payload.length);
    if (payload.length >= COPY_BELOW_BYTES) total -= payload.length;
  }
  return total;
}

function encodeRecordHeader(
  out: Uint8Array,
  at: number,
  payload: Uint8Array,
  context: FrameContext,
  relativeIndex: number,
  checksum: number | undefined,
): void {
  const { key, durableEnd } = context;
  writeU32(out, at, payload.length ^ key.lengthMask);
  writeU32(out, at + 8, durableEnd ^ key.durableEndMask);
  writeU32(out, at + 12, relativeIndex ^ key.indexMask);
  const overHeader = checksumBeforePayload(out, at, key.seed);
  const crc =
    checksum === undefined ? crc32c(payload, overHeader) : crc32cPast(overHeader, checksum, payload.length);
  writeU32(out, at + 4, crc);
}

/** The checksum of a record, from which it goes on over the payload. */
export function checksumBeforePayload(header: Uint8Array, at: number, seed: number): number {
  const overLength = crc32cWithin(header, at, at + 4, seed);
  return crc32cWithin(header, at + 8, at + RECORD_HEADER_BYTES, overLength);
}

/** How long the record says that its payload is. */
export function statedLength(header: Uint8Array, at: number, key: SegmentKey): number {
  return (readU32(header, at) ^ key.lengthMask) >>> 0;
}

function statedDurableEnd(header: Uint8Array, at: number, key: SegmentKey): number {
  return (readU32(header, at + 8) ^ key.durableEndMask) >>> 0;
}

/** Which record of the segment it says that it is. */
export function statedIndex(header: Uint8Array, at: number, key: SegmentKey): number {
  return (readU32(header, at + 12) ^ key.indexMask) >>> 0;
}

export type DecodedRecord =
  | {
      readonly kind: 'record';
      /** A view of the input. */
      readonly payload: Uint8Array;
      readonly relativeIndex: number;
      readonly durableEnd: number;
      /** With header and padding. */
      readonly sizeBytes: number;
    }
  /** The input ends before the record does. */
  | { readonly kind: 'incomplete'; readonly neededBytes: number }
  | { readonly kind: 'bad'; readonly reason: string };

/** @param expected the relative index that must stand here; undefined accepts any */
export function decodeRecord(
  input: Uint8Array,
  at: number,
  key: SegmentKey,
  expected: number | undefined,
): DecodedRecord {
  const available = input.length - at;
  if (available < RECORD_HEADER_BYTES) return { kind: 'incomplete', neededBytes: RECORD_HEADER_BYTES };
  const lengthBytes = statedLength(input, at, key);
  if (lengthBytes > MAX_RECORD_BYTES) return { kind: 'bad', reason: `length ${lengthBytes} is out of range` };
  const relativeIndex = statedIndex(input, at, key);
  if (expected !== undefined && relativeIndex !== expected) {
    return { kind: 'bad', reason: `record ${relativeIndex} of the segment stands in place of ${expected}` };
  }
  const sizeBytes = recordSizeBytes(lengthBytes);
  if (available < sizeBytes) return { kind: 'incomplete', neededBytes: sizeBytes };
  const payload = input.subarray(at + RECORD_HEADER_BYTES, at + RECORD_HEADER_BYTES + lengthBytes);
  if (crc32c(payload, checksumBeforePayload(input, at, key.seed)) !== readU32(input, at + 4)) {
    return { kind: 'bad', reason: 'the record does not match its checksum' };
  }
  return { kind: 'record', payload, relativeIndex, durableEnd: statedDurableEnd(input, at, key), sizeBytes };
}

function readU32(input: Uint8Array, at: number): number {
  const [a, b, c, d] = [input[at], input[at + 1], input[at + 2], input[at + 3]] as [
    number,
    number,
    number,
    number,
  ];
  return ((a << 24) | (b << 16) | (c << 8) | d) >>> 0;
}

function writeU32(out: Uint8Array, at: number, value: number): void {
  out[at] = value >>> 24;
  out[at + 1] = value >>> 16;
  out[at + 2] = value >>> 8;
  out[at + 3] = value;
}

export interface Resync {
  /** Whole records found behind the damage. */
  readonly records: number;
  /** The highest durable end any of them states, 0 when there is none. */
  readonly durableEnd: number;
  /** The search was given up: too much looked like a record. */
  readonly exhausted: boolean;
}

/**
 * Looks for whole records behind a damaged one, at every place where one could begin.
 * @param input the segment's bytes from `offset` of the file on, where the damaged record begins
 * @param damagedRelativeIndex which record is damaged; only later ones count
 */
export function resync(
  input: Uint8Array,
  offset: number,
  key: SegmentKey,
  damagedRelativeIndex: number,
  checksumBudgetBytes: number,
): Resync {
  const search = { input, offset, key, damagedRelativeIndex, budgetBytes: checksumBudgetBytes };
  let records = 0;
  let durableEnd = 0;
  for (let at = ALIGNMENT_BYTES; ; ) {
    const found = nextWholeRecord(search, at);
    if (found === undefined) return { records, durableEnd, exhausted: search.budgetBytes < 0 };
    records++;
    durableEnd = Math.max(durableEnd, found.durableEnd);
    at = found.at + found.sizeBytes;
  }
}

/**
 * The first whole record behind a damaged one.
 * @param input as for resync
 * @returns `at`: where in the input; undefined when there is none, or the search was given up
 */
export function findWholeRecord(
  input: Uint8Array,
  offset: number,
  key: SegmentKey,
  damagedRelativeIndex: number,
  checksumBudgetBytes: number,
): { readonly at: number; readonly relativeIndex: number } | undefined {
  const search = { input, offset, key, damagedRelativeIndex, budgetBytes: checksumBudgetBytes };
  return nextWholeRecord(search, ALIGNMENT_BYTES);
}

interface Search {
  readonly input: Uint8Array;
  readonly offset: number;
  readonly key: SegmentKey;
  readonly damagedRelativeIndex: number;
  /** What may still be put through CRC32C; below zero it was given up. */
  budgetBytes: number;
}

function nextWholeRecord(search: Search, from: number) {
  const { input, offset, key, damagedRelativeIndex } = search;
  for (let at = from; input.length - at >= RECORD_HEADER_BYTES; at += ALIGNMENT_BYTES) {
    // However short the records before it are, it can have no higher number.
    const ahead = statedIndex(input, at, key) - damagedRelativeIndex;
    if (ahead <= 0 || ahead > at / RECORD_HEADER_BYTES) continue;
    if (statedDurableEnd(input, at, key) > offset + at) continue;
    const lengthBytes = statedLength(input, at, key);
    if (recordSizeBytes(lengthBytes) > input.length - at) continue;
    search.budgetBytes -= lengthBytes;
    if (search.budgetBytes < 0) return undefined;
    const found = decodeRecord(input, at, key, undefined);
    if (found.kind === 'record') return { ...found, at };
  }
  return undefined;
}
