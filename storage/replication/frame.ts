import { ByteReader } from '../../base/byte-reader.ts';
import { ByteWriter } from '../../base/byte-writer.ts';
import { invariant, ProtocolError } from '../../base/errors.ts';
import type { EpochEntry } from './epoch-table.ts';
import { MAX_APPEND_RECORDS, MAX_EPOCH_ENTRIES, MAX_NOTICE_BYTES, MAX_SNAPSHOT_BYTES } from './limits.ts';

/** What members of a portal group say to each other. Numbers of records are safe integers. */
export type Frame = PrimaryFrame | MemberFrame | NoticeFrame | RecordRequestFrame | RecordFrame;

interface FromPrimary {
  readonly group: string;
  /** The sender's epoch: a lower one than the receiver's is rejected. */
  readonly epoch: number;
  /** The epoch in which the sender took office. */
  readonly reign: number;
  /** The sender's monotonic clock; comes back in the answer, and the lease counts from it. */
  readonly sentAtMs: number;
  readonly leaseMs: number;
  /** Records below this are committed. */
  readonly commitIndex: number;
  /** Records below this are to be made durable. */
  readonly syncIndex: number;
}

export interface HeartbeatFrame extends FromPrimary {
  readonly kind: 'heartbeat';
}

export interface AppendFrame extends FromPrimary {
  readonly kind: 'append';
  readonly firstIndex: number;
  /** Epoch of the record before firstIndex, 0 when there is none. */
  readonly previousEpoch: number;
  readonly records: readonly Uint8Array[];
}

/** Take off everything from `fromIndex` on; only obeyed where the receiver has not been aligned yet. */
export interface TruncateFrame extends FromPrimary {
  readonly kind: 'truncate';
  readonly fromIndex: number;
}

/** Drop everything and go on at `baseIndex`. */
export interface ResetFrame extends FromPrimary {
  readonly kind: 'reset';
  readonly baseIndex: number;
  readonly epochs: readonly EpochEntry[];
  /** The LUNs that stood at baseIndex, encoded. */
  readonly snapshot: Uint8Array;
}

export type PrimaryFrame = HeartbeatFrame | AppendFrame | TruncateFrame | ResetFrame;

interface FromMember {
  readonly group: string;
  readonly epoch: number;
  readonly reign: number;
  readonly echoMs: number;
  /** The grant, counted from echoMs; 0 for none. */
  readonly leaseMs: number;
  readonly nextIndex: number;
  readonly durableIndex: number;
  /** Every base image of the group's LUNs is here. */
  readonly imagesReady: boolean;
  /** Appends fail for want of space, or are refused so that the reserve of the disk is not used up. */
  readonly full: boolean;
  /** Only the reserve is left of the sender's disk. */
  readonly low: boolean;
  /** There soon will be no more than that. */
  readonly filling: boolean;
  /** The sender knows records that stand for superseded ones. */
  readonly takesVoids: boolean;
  /** The sending process serves nothing, and has nothing left, of any reign before the one that it answers to. */
  readonly released: boolean;
}

/** The receiver's log is the primary's up to nextIndex. */
export interface AckFrame extends FromMember {
  readonly kind: 'ack';
}

/** Where the member's log stands, which has yet to be brought to agree with the primary's. */
export interface PositionFrame extends FromMember {
  readonly kind: 'position';
  readonly epochs: readonly EpochEntry[];
}

/** The sender knows a higher epoch, and who is primary in it ("" when it does not know). */
export interface RejectFrame {
  readonly kind: 'reject';
  readonly group: string;
  readonly epoch: number;
  readonly primary: string;
}

/** Something that the primary's node lets those of the other members know. Nothing here rests on it. */
export interface NoticeFrame {
  readonly kind: 'notice';
  readonly group: string;
  readonly epoch: number;
  readonly notice: Uint8Array;
}

export type MemberFrame = AckFrame | PositionFrame | RejectFrame;

/** Asks any other member for a record. The epoch is the one in which its primary took office. */
export interface RecordRequestFrame {
  readonly kind: 'recordRequest';
  readonly group: string;
  readonly epoch: number;
  readonly index: number;
}

/** The answer; no payload where it is not to be had. */
export interface RecordFrame {
  readonly kind: 'record';
  readonly group: string;
  readonly epoch: number;
  readonly index: number;
  readonly payload: Uint8Array | undefined;
  /** CRC32C of the payload, from when it was read and compared with the log's own checksum. */
  readonly crc: number;
}

const KIND = {
  ...{ heartbeat: 1, append: 2, truncate: 3, reset: 4 },
  ...{ ack: 5, position: 6, reject: 7, notice: 8 },
  ...{ recordRequest: 9, record: 10 },
} as const;
const FLAG_IMAGES_READY = 1;
const FLAG_FULL = 2;
const FLAG_TAKES_VOIDS = 4;
const FLAG_RELEASED = 8;
const FLAG_LOW = 16;
const FLAG_FILLING = 32;

/** The frame in parts; the records of an append are the caller's own buffers, not copied. */
export function encodeFrame(frame: Frame): Uint8Array[] {
  const w = new ByteWriter(128);
  w.u8(KIND[frame.kind]);
  writeText(w, frame.group);
  w.u32(frame.epoch);
  switch (frame.kind) {
    case 'reject':
      writeText(w, frame.primary);
      return [w.finish()];
    case 'notice':
      invariant(frame.notice.length <= MAX_NOTICE_BYTES, 'a notice fits its bound');
      w.u32(frame.notice.length).bytes(frame.notice);
      return [w.finish()];
    case 'ack':
    case 'position':
      w.u32(frame.reign);
      writeDouble(w, frame.echoMs);
      w.u32(frame.leaseMs);
      writeIndex(w, frame.nextIndex);
      writeIndex(w, frame.durableIndex);
      w.u8(flagsOf(frame));
      if (frame.kind === 'position') writeEpochs(w, frame.epochs);
      return [w.finish()];
    case 'recordRequest':
      writeIndex(w, frame.index);
      return [w.finish()];
    case 'record':
      writeIndex(w, frame.index);
      w.u32(frame.crc).u8(frame.payload === undefined ? 0 : 1);
      return frame.payload === undefined ? [w.finish()] : [w.finish(), frame.payload];
    case 'heartbeat':
    case 'append':
    case 'truncate':
    case 'reset':
      return encodePrimaryFrame(w, frame);
  }
}

function flagsOf(said: FromMember): number {
  return (
    (said.imagesReady ? FLAG_IMAGES_READY : 0) |
    (said.full ? FLAG_FULL : 0) |
    (said.takesVoids ? FLAG_TAKES_VOIDS : 0) |
    (said.released ? FLAG_RELEASED : 0) |
    (said.low ? FLAG_LOW : 0) |
    (said.filling ? FLAG_FILLING : 0)
  );
}

function encodePrimaryFrame(w: ByteWriter, frame: PrimaryFrame): Uint8Array[] {
  w.u32(frame.reign);
  writeDouble(w, frame.sentAtMs);
  w.u32(frame.leaseMs);
  writeIndex(w, frame.commitIndex);
  writeIndex(w, frame.syncIndex);
  switch (frame.kind) {
    case 'heartbeat':
      return [w.finish()];
    case 'truncate':
      writeIndex(w, frame.fromIndex);
      return [w.finish()];
    case 'reset':
      invariant(frame.snapshot.length <= MAX_SNAPSHOT_BYTES, 'the list of LUNs fits its bound');
      writeIndex(w, frame.baseIndex);
      writeEpochs(w, frame.epochs);
      w.u32(frame.snapshot.length).bytes(frame.snapshot);
      return [w.finish()];
    case 'append':
      invariant(frame.records.length <= MAX_APPEND_RECORDS, 'an append has a bounded number of records');
      writeIndex(w, frame.firstIndex);
      w.u32(frame.previousEpoch).u16(frame.records.length);
      for (const record of frame.records) w.u32(record.length);
      return [w.finish(), ...frame.records];
  }
}

/** The group a frame is for, without decoding the rest. @throws ProtocolError code "truncated" */
export function groupOfFrame(bytes: Uint8Array): string {
  const r = new ByteReader(bytes, 'replication frame');
  r.skip(1);
  return readText(r);
}

/**
 * Records of an append are views of `bytes`.
 * @throws ProtocolError code "truncated", "bad-frame"
 */
export function decodeFrame(bytes: Uint8Array): Frame {
  const r = new ByteReader(bytes, 'replication frame');
  const kind = r.u8();
  const group = readText(r);
  const epoch = r.u32();
  const frame = decodeBody(r, kind, group, epoch);
  if (r.remaining !== 0) throw badFrame(`${r.remaining} bytes too many`, r.remaining);
  return frame;
}

function decodeBody(r: ByteReader, kind: number, group: string, epoch: number): Frame {
  switch (kind) {
    case KIND.reject:
      return { kind: 'reject', group, epoch, primary: readText(r) };
    case KIND.notice:
      return { kind: 'notice', group, epoch, notice: readNotice(r) };
    case KIND.ack:
      return { kind: 'ack', group, epoch, ...readFromMember(r) };
    case KIND.position:
      return { kind: 'position', group, epoch, ...readFromMember(r), epochs: readEpochs(r) };
    case KIND.recordRequest:
      return { kind: 'recordRequest', group, epoch, index: readIndex(r) };
    case KIND.record: {
      const index = readIndex(r);
      const crc = r.u32();
      const isThere = r.u8() === 1;
      const payload = isThere ? r.bytes(r.remaining) : undefined;
      return { kind: 'record', group, epoch, index, payload, crc };
    }
    case KIND.heartbeat:
      return { kind: 'heartbeat', group, epoch, ...readFromPrimary(r) };
    case KIND.truncate:
      return { kind: 'truncate', group, epoch, ...readFromPrimary(r), fromIndex: readIndex(r) };
    case KIND.reset:
      return {
        kind: 'reset',
        group,
        epoch,
        ...readFromPrimary(r),
        baseIndex: readIndex(r),
        epochs: readEpochs(r),
        snapshot: r.bytes(r.u32()),
      };
    case KIND.append:
      return {
        kind: 'append',
        group,
        epoch,
        ...readFromPrimary(r),
        firstIndex: readIndex(r),
        previousEpoch: r.u32(),
        records: readRecords(r),
      };
    default:
      throw badFrame(`kind ${kind}`, kind);
  }
}

function readNotice(r: ByteReader): Uint8Array {
  const length = r.u32();
  if (length > MAX_NOTICE_BYTES) throw badFrame(`a notice of ${length} bytes`, length);
  return r.bytes(length);
}

function readFromMember(r: ByteReader): Omit<FromMember, 'group' | 'epoch'> {
  const reign = r.u32();
  const echoMs = readDouble(r);
  const leaseMs = r.u32();
  const nextIndex = readIndex(r);
  const durableIndex = readIndex(r);
  const flags = r.u8();
  return {
    reign,
    echoMs,
    leaseMs,
    nextIndex,
    durableIndex,
    imagesReady: (flags & FLAG_IMAGES_READY) !== 0,
    full: (flags & FLAG_FULL) !== 0,
    low: (flags & FLAG_LOW) !== 0,
    filling: (flags & FLAG_FILLING) !== 0,
    takesVoids: (flags & FLAG_TAKES_VOIDS) !== 0,
    released: (flags & FLAG_RELEASED) !== 0,
  };
}

function readFromPrimary(r: ByteReader): Omit<FromPrimary, 'group' | 'epoch'> {
  return {
    reign: r.u32(),
    sentAtMs: readDouble(r),
    leaseMs: r.u32(),
    commitIndex: readIndex(r),
    syncIndex: readIndex(r),
  };
}

function readRecords(r: ByteReader): Uint8Array[] {
  const count = r.u16();
  if (count > MAX_APPEND_RECORDS) throw badFrame(`${count} records`, count);
  const lengths = Array.from({ length: count }, () => r.u32());
  return lengths.map((length) => r.bytes(length));
}

function writeEpochs(w: ByteWriter, epochs: readonly EpochEntry[]): void {
  invariant(epochs.length <= MAX_EPOCH_ENTRIES, 'the table of epochs fits its bound');
  w.u16(epochs.length);
  for (const { epoch, startIndex } of epochs) {
    w.u32(epoch);
    writeIndex(w, startIndex);
  }
}

function readEpochs(r: ByteReader): EpochEntry[] {
  const count = r.u16();
  if (count > MAX_EPOCH_ENTRIES) throw badFrame(`${count} epochs`, count);
  const epochs = Array.from({ length: count }, () => ({ epoch: r.u32(), startIndex: readIndex(r) }));
  for (let i = 1; i < count; i++) {
    const [before, entry] = [epochs[i - 1] as EpochEntry, epochs[i] as EpochEntry];
    if (entry.epoch <= before.epoch || entry.startIndex <= before.startIndex) {
      throw badFrame('epochs out of order', entry.epoch);
    }
  }
  return epochs;
}

function writeText(w: ByteWriter, text: string): void {
  const bytes = Buffer.from(text, 'utf8');
  invariant(bytes.length <= 255, `"${text}" is too long for a frame`);
  w.u8(bytes.length).bytes(bytes);
}

function readText(r: ByteReader): string {
  return Buffer.from(r.bytes(r.u8())).toString('utf8');
}

function writeIndex(w: ByteWriter, index: number): void {
  w.u32(Math.floor(index / 0x1_0000_0000)).u32(index % 0x1_0000_0000);
}

function readIndex(r: ByteReader): number {
  const index = r.u32() * 0x1_0000_0000 + r.u32();
  if (!Number.isSafeInteger(index)) throw badFrame(`number ${index}`, index);
  return index;
}

const scratch = new DataView(new ArrayBuffer(8));

function writeDouble(w: ByteWriter, value: number): void {
  scratch.setFloat64(0, value);
  w.u32(scratch.getUint32(0)).u32(scratch.getUint32(4));
}

function readDouble(r: ByteReader): number {
  scratch.setUint32(0, r.u32());
  scratch.setUint32(4, r.u32());
  const value = scratch.getFloat64(0);
  if (!Number.isFinite(value)) throw badFrame(`time ${value}`, value);
  return value;
}

function badFrame(what: string, got: unknown): ProtocolError {
  return new ProtocolError(`replication frame: ${what}`, { code: 'bad-frame', got });
}
