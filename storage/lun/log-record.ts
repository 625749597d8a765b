import { ByteReader } from '../../base/byte-reader.ts';
import { ByteWriter } from '../../base/byte-writer.ts';
import { crc32c, crc32cPast, crc32cWithin } from '../../base/crc32c.ts';
import { crc32cOfBlocks } from '../../base/crc32c-blocks.ts';
import { invariant, ProtocolError } from '../../base/errors.ts';
import { layout, u8, u16, u32 } from '../../base/layout.ts';
import type { Slab } from '../../base/slab-memory.ts';
import { MAX_SERVER_STATE_BYTES } from '../block-device.ts';
import type { ImageVersionRef } from '../image/image-source.ts';
import {
  MAX_BLOCKS_PER_RECORD,
  MAX_DISCARD_BLOCKS,
  MAX_IMAGE_NAME_BYTES,
  STORED_BLOCK_BYTES,
} from './limits.ts';

/**
 * What one record of a portal group's log says. `epoch` is the one in which the primary that wrote the
 * record took office: it and the record's number name the content for ever.
 */
export type GroupRecord = WriteRecord | ControlRecord;

/** A record without blocks. */
export type ControlRecord =
  | EpochStartRecord
  | ResetLunRecord
  | DropLunRecord
  | DiscardRecord
  | ServerStateRecord
  | VoidRecord;

/** A primary takes office. All records up to the next of these are its own. */
export interface EpochStartRecord {
  readonly kind: 'epochStart';
  readonly epoch: number;
  readonly primary: string;
}

/** Whole blocks of one LUN. */
export interface WriteRecord {
  readonly kind: 'write';
  readonly epoch: number;
  readonly lunId: number;
  /** In blocks of 4 KiB. */
  readonly firstBlock: number;
  readonly blockCount: number;
  /** The record as encoded; the checksums and the data are read out of it. */
  readonly payload: Uint8Array;
}

/** The LUN begins anew over a base image: whatever was written to it before is gone. */
export interface ResetLunRecord {
  readonly kind: 'resetLun';
  readonly epoch: number;
  readonly lunId: number;
  /** The number of this record: rises with every reset. */
  readonly generation: number;
  readonly base: ImageVersionRef;
  /** In logical blocks of 512 bytes. */
  readonly lengthBlocks: number;
}

export interface DropLunRecord {
  readonly kind: 'dropLun';
  readonly epoch: number;
  readonly lunId: number;
}

/** Blocks of one LUN read as zeros from here on. */
export interface DiscardRecord {
  readonly kind: 'discard';
  readonly epoch: number;
  readonly lunId: number;
  /** In blocks of 4 KiB. */
  readonly firstBlock: number;
  readonly blockCount: number;
}

/** What the device server keeps of a LUN beside its blocks, as a whole. */
export interface ServerStateRecord {
  readonly kind: 'serverState';
  readonly epoch: number;
  readonly lunId: number;
  readonly state: Uint8Array;
}

/**
 * Stands in the log of a member that caught up for a record of which nothing was in use any more: what superseded it
 * lies before `untilIndex`, so a log that does not reach to there has holes.
 */
export interface VoidRecord {
  readonly kind: 'void';
  readonly epoch: number;
  readonly untilIndex: number;
  /** What the record was about; absent where an earlier version made the void. */
  readonly instead?: BlockRange;
}

/** Blocks of one LUN, of 4 KiB. */
export interface BlockRange {
  readonly lunId: number;
  readonly firstBlock: number;
  readonly blockCount: number;
}

const KIND = {
  epochStart: 1,
  write: 2,
  resetLun: 3,
  dropLun: 4,
  discard: 5,
  serverState: 6,
  void: 7,
} as const;
/** A record as it is handed to the log. */
export interface LoggedRecord {
  readonly payload: Uint8Array;
  readonly record: GroupRecord;
  /** CRC32C of the payload, where it is known. */
  readonly checksum?: number;
  /** What the payload is a part of, where that is used again once the record has taken effect. */
  readonly slab?: Slab | undefined;
}

export function loggedControl(record: ControlRecord): LoggedRecord {
  return { payload: encodeControlRecord(record), record };
}

const recordHeader = layout('log record', 16, {
  kind: u8(0),
  reserved: u8(1),
  blockCount: u16(2),
  epoch: u32(4),
  lunId: u32(8),
  firstBlock: u32(12),
});

const CRC_BYTES = 4;

/** Bytes before the data of a write record. */
export function writeHeaderBytes(blockCount: number): number {
  return recordHeader.sizeBytes + blockCount * CRC_BYTES;
}

export function writeRecordBytes(blockCount: number): number {
  return writeHeaderBytes(blockCount) + blockCount * STORED_BLOCK_BYTES;
}

/** One block's content inside an encoded write record, as a view. */
export function blockOfWrite(payload: Uint8Array, blockCount: number, i: number): Uint8Array {
  const at = writeHeaderBytes(blockCount) + i * STORED_BLOCK_BYTES;
  return payload.subarray(at, at + STORED_BLOCK_BYTES);
}

/** One block's CRC32C as the record states it. */
export function crcOfWrite(payload: Uint8Array, i: number): number {
  const at = recordHeader.sizeBytes + i * CRC_BYTES;
  const b = payload as unknown as { readonly [at: number]: number };
  return (
    (((b[at] as number) << 24) |
      ((b[at + 1] as number) << 16) |
      ((b[at + 2] as number) << 8) |
      (b[at + 3] as number)) >>>
    0
  );
}

/** Used within one call at a time. */
const crcsOfBlocks = new Uint32Array(MAX_BLOCKS_PER_RECORD);

/**
 * Completes a write record whose data has been put in place: `payload` has writeRecordBytes(blockCount)
 * bytes, the last blockCount * 4096 of which are the data.
 * @returns CRC32C of the whole payload, got from those of the blocks: each byte is gone through once
 */
export function sealWriteRecord(
  payload: Uint8Array,
  fields: { epoch: number; lunId: number; firstBlock: number; blockCount: number },
): number {
  const { blockCount } = fields;
  invariant(blockCount >= 1 && blockCount <= MAX_BLOCKS_PER_RECORD, 'a write record has some blocks');
  invariant(payload.length === writeRecordBytes(blockCount), 'a write record has the size of its blocks');
  const { epoch, lunId, firstBlock } = fields;
  recordHeader.encode({ kind: KIND.write, reserved: 0, blockCount, epoch, lunId, firstBlock }, payload);
  crc32cOfBlocks(payload, writeHeaderBytes(blockCount), blockCount, crcsOfBlocks);
  let at = recordHeader.sizeBytes;
  let overBlocks = 0;
  for (let i = 0; i < blockCount; i++) {
    const crc = crcsOfBlocks[i] as number;
    payload[at++] = crc >>> 24;
    payload[at++] = crc >>> 16;
    payload[at++] = crc >>> 8;
    payload[at++] = crc;
    overBlocks = i === 0 ? crc : crc32cPast(overBlocks, crc, STORED_BLOCK_BYTES);
  }
  return crc32cPast(crc32cWithin(payload, 0, at), overBlocks, blockCount * STORED_BLOCK_BYTES);
}

/** @returns CRC32C of a write record's payload; undefined when a block does not match the checksum stated for it */
export function checksumOfIntact({ blockCount, payload }: WriteRecord): number | undefined {
  crc32cOfBlocks(payload, writeHeaderBytes(blockCount), blockCount, crcsOfBlocks);
  let overBlocks = 0;
  for (let i = 0; i < blockCount; i++) {
    const crc = crcsOfBlocks[i] as number;
    if (crc !== crcOfWrite(payload, i)) return undefined;
    overBlocks = i === 0 ? crc : crc32cPast(overBlocks, crc, STORED_BLOCK_BYTES);
  }
  const overHeader = crc32c(payload.subarray(0, writeHeaderBytes(blockCount)));
  return crc32cPast(overHeader, overBlocks, blockCount * STORED_BLOCK_BYTES);
}

/** @throws ProtocolError what decodeGroupRecord does; code "bad-checksum" for a block that is not what it is stated to be */
export function decodeIntact(payload: Uint8Array): LoggedRecord {
  const record = decodeGroupRecord(payload);
  if (record.kind !== 'write') return { payload, record };
  const checksum = checksumOfIntact(record);
  if (checksum === undefined) {
    throw new ProtocolError('a replicated block does not match its checksum', { code: 'bad-checksum' });
  }
  return { payload, record, checksum };
}

/**
 * Which blocks of a damaged write record are damaged, where everything else of it is proven to be as it was written:
 * each block has a checksum of its own, and with what the damaged ones state in place of theirs, that of the whole
 * record comes out right.
 * @param checksum CRC32C over what the log keeps before the payload, and what it states over that and the payload
 * @returns undefined when that is not so
 */
export function damagedBlocksOf(
  payload: Uint8Array,
  checksum: { readonly before: number; readonly whole: number },
): number[] | undefined {
  const blockCount = Math.floor(payload.length / STORED_BLOCK_BYTES);
  if (blockCount < 1 || blockCount > MAX_BLOCKS_PER_RECORD) return undefined;
  if (payload.length !== writeRecordBytes(blockCount) || payload[0] !== KIND.write) return undefined;
  let crc = crc32c(payload.subarray(0, writeHeaderBytes(blockCount)), checksum.before);
  crc32cOfBlocks(payload, writeHeaderBytes(blockCount), blockCount, crcsOfBlocks);
  const damaged: number[] = [];
  for (let i = 0; i < blockCount; i++) {
    const stated = crcOfWrite(payload, i);
    if (crcsOfBlocks[i] !== stated) damaged.push(i);
    crc = crc32cPast(crc, stated, STORED_BLOCK_BYTES);
  }
  return crc === checksum.whole && damaged.length > 0 ? damaged : undefined;
}

/** Which blocks of a write record are not what they are stated to be. */
export function mismatchedBlocks({ blockCount, payload }: WriteRecord): number[] {
  crc32cOfBlocks(payload, writeHeaderBytes(blockCount), blockCount, crcsOfBlocks);
  const mismatched: number[] = [];
  for (let i = 0; i < blockCount; i++) if (crcsOfBlocks[i] !== crcOfWrite(payload, i)) mismatched.push(i);
  return mismatched;
}

/** For a log of such records: one that is damaged in blocks alone can be lived with, see Salvage. */
export function isDamagedInBlocksAlone(
  payload: Uint8Array,
  checksum: { readonly before: number; readonly whole: number },
): boolean {
  return damagedBlocksOf(payload, checksum) !== undefined;
}

/** Encodes the records that carry no blocks; those that do are built in place (sealWriteRecord). */
export function encodeControlRecord(record: ControlRecord): Uint8Array {
  const writer = new ByteWriter(64);
  const { lunId, firstBlock, blockCount } = headerFields(record);
  const kind = KIND[record.kind];
  writer.bytes(recordHeader.encode({ kind, epoch: record.epoch, lunId, firstBlock, blockCount }));
  if (record.kind === 'epochStart') {
    writeShortText(writer, record.primary);
  } else if (record.kind === 'resetLun') {
    writer.u64(BigInt(record.generation)).u64(BigInt(record.lengthBlocks)).u32(record.base.version);
    writeShortText(writer, record.base.name);
  } else if (record.kind === 'discard') {
    writer.u32(record.blockCount);
  } else if (record.kind === 'serverState') {
    writer.u32(record.state.length).bytes(record.state);
  } else if (record.kind === 'void') {
    writer.u64(BigInt(record.untilIndex));
  }
  return writer.finish();
}

function headerFields(record: ControlRecord): BlockRange {
  const none = { lunId: 0, firstBlock: 0, blockCount: 0 };
  switch (record.kind) {
    case 'epochStart':
      return none;
    case 'void':
      return record.instead ?? none;
    case 'discard':
      // Their count comes after the header.
      return { ...none, lunId: record.lunId, firstBlock: record.firstBlock };
    case 'resetLun':
    case 'dropLun':
    case 'serverState':
      return { ...none, lunId: record.lunId };
  }
}

function writeShortText(writer: ByteWriter, text: string): void {
  const bytes = Buffer.from(text, 'utf8');
  invariant(bytes.length <= MAX_IMAGE_NAME_BYTES, `"${text}" is too long for a record`);
  writer.u8(bytes.length).bytes(bytes);
}

/** @throws ProtocolError code "truncated", "bad-record" */
export function decodeGroupRecord(payload: Uint8Array): GroupRecord {
  const header = recordHeader.decode(payload);
  const { epoch, lunId } = header;
  const reader = new ByteReader(payload, 'log record', recordHeader.sizeBytes);
  switch (header.kind) {
    case KIND.write:
      return decodeWrite(payload, header);
    case KIND.epochStart: {
      const primary = readShortText(reader);
      expectEnd(reader);
      return { kind: 'epochStart', epoch, primary };
    }
    case KIND.resetLun: {
      const generation = readSafeInteger(reader);
      const lengthBlocks = readSafeInteger(reader);
      const version = reader.u32();
      const name = readShortText(reader);
      expectEnd(reader);
      return { kind: 'resetLun', epoch, lunId, generation, lengthBlocks, base: { name, version } };
    }
    case KIND.dropLun:
      expectEnd(reader);
      return { kind: 'dropLun', epoch, lunId };
    case KIND.discard: {
      const blockCount = reader.u32();
      expectEnd(reader);
      if (blockCount < 1 || blockCount > MAX_DISCARD_BLOCKS) {
        throw badRecord(`that gives up ${blockCount} blocks`, blockCount);
      }
      return { kind: 'discard', epoch, lunId, firstBlock: header.firstBlock, blockCount };
    }
    case KIND.serverState: {
      const lengthBytes = reader.u32();
      if (lengthBytes > MAX_SERVER_STATE_BYTES)
        throw badRecord(`with ${lengthBytes} bytes of state`, lengthBytes);
      // A copy: it outlives the buffer the record came in by far.
      const state = Uint8Array.from(reader.bytes(lengthBytes));
      expectEnd(reader);
      return { kind: 'serverState', epoch, lunId, state };
    }
    case KIND.void: {
      const untilIndex = readSafeInteger(reader);
      expectEnd(reader);
      const { firstBlock, blockCount } = header;
      const instead = blockCount === 0 ? {} : { instead: { lunId, firstBlock, blockCount } };
      return { kind: 'void', epoch, untilIndex, ...instead };
    }
    default:
      throw badRecord(`of kind ${header.kind}`, header.kind);
  }
}

function decodeWrite(
  payload: Uint8Array,
  header: { epoch: number; lunId: number; firstBlock: number; blockCount: number },
): WriteRecord {
  const { epoch, lunId, firstBlock, blockCount } = header;
  if (blockCount < 1 || blockCount > MAX_BLOCKS_PER_RECORD) {
    throw badRecord(`of ${blockCount} blocks`, blockCount);
  }
  const expected = writeRecordBytes(blockCount);
  if (payload.length < expected) {
    throw new ProtocolError(`log record of ${blockCount} blocks needs ${expected} bytes`, {
      code: 'truncated',
      got: payload.length,
      limit: expected,
    });
  }
  if (payload.length > expected)
    throw badRecord(`with ${payload.length - expected} bytes too many`, payload.length);
  return { kind: 'write', epoch, lunId, firstBlock, blockCount, payload };
}

function readShortText(reader: ByteReader): string {
  return Buffer.from(reader.bytes(reader.u8())).toString('utf8');
}

function readSafeInteger(reader: ByteReader): number {
  const value = Number(reader.u64());
  if (!Number.isSafeInteger(value)) throw badRecord(`with the number ${value}`, value);
  return value;
}

function expectEnd(reader: ByteReader): void {
  if (reader.remaining !== 0) throw badRecord(`with ${reader.remaining} bytes too many`, reader.remaining);
}

function badRecord(what: string, got: unknown): ProtocolError {
  return new ProtocolError(`log record ${what}`, { code: 'bad-record', got });
}
