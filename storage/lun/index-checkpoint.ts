import { crc32c } from '../../base/crc32c.ts';
import { ProtocolError } from '../../base/errors.ts';
import { ENTRY_HALFWORDS, type Leaf } from './block-tree.ts';
import { CHECKPOINT_CHUNK_BYTES, MAX_CHECKPOINT_HEADER_BYTES } from './limits.ts';
import type {
  LunDescription,
  PositionSample,
  RestoredLun,
  RestoredTable,
  TableSnapshot,
} from './table-snapshot.ts';

/**
 * A table of LUNs as it was just before one record of its log, in a file of its own, so that only the records from
 * there on have to be read at a start:
 *
 *     0  "bfIxCkpt"
 *     8  version
 *    12  length of the description
 *    16  CRC32C of the description
 *    20  0x0102 as this machine stores it, since entries are stored as they lie in memory; 2 bytes of zeros
 *    24  the description, JSON
 *        chunks of whole leaves: length, CRC32C of the entries going on from that of what comes before, entries
 *
 * Numbers are big-endian but for those in entries.
 */

const MAGIC = Buffer.from('bfIxCkpt', 'latin1');
const VERSION = 1;
const HEAD_BYTES = 24;
const CHUNK_HEAD_BYTES = 8;
const BYTE_ORDER = 0x0102;
const ENTRY_BYTES = ENTRY_HALFWORDS * 2;

/** Which log a table was made of, and up to where. */
export interface CheckpointOrigin {
  readonly groupId: string;
  /** Of the directory that holds the log. */
  readonly logId: string;
  /** Every record below has taken effect, and none from there on. */
  readonly index: number;
  /** Where the payload of the record before `index` lies. A log never gives a durable record's place twice. */
  readonly lastPosition: number;
  /** CRC32C of that payload. */
  readonly lastCrc: number;
  /** Who wrote which part of the log below `index`. */
  readonly epochs: readonly { readonly epoch: number; readonly startIndex: number }[];
}

interface StoredLun {
  readonly description: LunDescription;
  /** Entries of each leaf. */
  readonly leaves: readonly number[];
  readonly newestHigh: number;
  /** First block, block after the last, position. */
  readonly givenUp: readonly (readonly [number, number, number])[];
}

interface Description extends CheckpointOrigin {
  readonly luns: readonly StoredLun[];
  readonly samples: readonly PositionSample[];
}

export interface LoadedCheckpoint {
  readonly origin: CheckpointOrigin;
  readonly table: RestoredTable;
  readonly sizeBytes: number;
}

/** The file, in pieces of about CHECKPOINT_CHUNK_BYTES. Entries are views of the snapshot. */
export function* encodeCheckpoint(
  origin: CheckpointOrigin,
  snapshot: TableSnapshot,
): Generator<readonly Uint8Array[]> {
  const description: Description = {
    ...origin,
    luns: snapshot.luns.map(({ description, blocks }) => ({
      description,
      leaves: blocks.written.leaves.map((leaf) => leaf.count),
      newestHigh: blocks.written.newestHigh,
      givenUp: blocks.givenUp.map(({ first, end, position }) => [first, end, position] as const),
    })),
    samples: snapshot.samples,
  };
  const body = Buffer.from(JSON.stringify(description), 'utf8');
  const head = Buffer.alloc(HEAD_BYTES);
  head.set(MAGIC);
  let crc = crc32c(body);
  head.writeUInt32BE(VERSION, 8);
  head.writeUInt32BE(body.length, 12);
  head.writeUInt32BE(crc, 16);
  head.set(byteOrderMark(), 20);
  yield [head, body];
  for (const { blocks } of snapshot.luns) {
    for (const leaves of chunksOf(blocks.written.leaves)) {
      const parts = leaves.map(entriesOf);
      let lengthBytes = 0;
      for (const part of parts) {
        crc = crc32c(part, crc);
        lengthBytes += part.length;
      }
      const chunkHead = Buffer.alloc(CHUNK_HEAD_BYTES);
      chunkHead.writeUInt32BE(lengthBytes, 0);
      chunkHead.writeUInt32BE(crc, 4);
      yield [chunkHead, ...parts];
    }
  }
}

function byteOrderMark(): Uint8Array {
  return new Uint8Array(Uint16Array.of(BYTE_ORDER).buffer);
}

function entriesOf({ entries, count }: Leaf): Uint8Array {
  return new Uint8Array(entries.buffer, entries.byteOffset, count * ENTRY_BYTES);
}

/** As many whole leaves together as make up a chunk. */
function* chunksOf<T extends { readonly count: number }>(leaves: readonly T[]): Generator<readonly T[]> {
  let chunk: T[] = [];
  let lengthBytes = 0;
  for (const leaf of leaves) {
    const leafBytes = leaf.count * ENTRY_BYTES;
    if (chunk.length > 0 && lengthBytes + leafBytes > CHECKPOINT_CHUNK_BYTES) {
      yield chunk;
      chunk = [];
      lengthBytes = 0;
    }
    chunk.push(leaf);
    lengthBytes += leafBytes;
  }
  if (chunk.length > 0) yield chunk;
}

/** Fills `into` from an offset of the file on, or up to its end. @returns bytes read */
export type ReadCheckpointBytes = (into: Uint8Array, offsetBytes: number) => Promise<number>;

/** @throws ProtocolError code "bad-checkpoint" when it is damaged, cut short, or of another version or machine */
export async function decodeCheckpoint(read: ReadCheckpointBytes): Promise<LoadedCheckpoint> {
  const file = new CheckpointReader(read);
  const head = await file.take(HEAD_BYTES);
  if (!MAGIC.equals(head.subarray(0, 8))) throw bad('it does not begin as one');
  if (head.readUInt32BE(8) !== VERSION) throw bad(`version ${head.readUInt32BE(8)} is unknown`);
  if (!head.subarray(20, 22).equals(byteOrderMark())) throw bad('another kind of machine wrote it');
  const bodyBytes = head.readUInt32BE(12);
  if (bodyBytes > MAX_CHECKPOINT_HEADER_BYTES) throw bad(`its description is ${bodyBytes} bytes long`);
  const body = await file.take(bodyBytes);
  file.crc = crc32c(body);
  if (file.crc !== head.readUInt32BE(16)) throw bad('its description does not match its checksum');
  const { luns, samples, ...origin } = JSON.parse(body.toString('utf8')) as Description;
  const restored: RestoredLun[] = [];
  for (const lun of luns) restored.push(await readLun(file, lun));
  await file.expectEnd();
  const { index, lastPosition } = origin;
  return { origin, table: { index, lastPosition, luns: restored, samples }, sizeBytes: file.offset };
}

async function readLun(file: CheckpointReader, stored: StoredLun): Promise<RestoredLun> {
  const leaves: Uint16Array[] = [];
  for (const chunk of chunksOf(stored.leaves.map((count) => ({ count })))) {
    const lengthBytes = chunk.reduce((sum, { count }) => sum + count * ENTRY_BYTES, 0);
    const entries = await file.takeChunk(lengthBytes);
    let at = 0;
    for (const { count } of chunk) {
      // Each leaf gets memory of its own: it is replaced alone.
      const leaf = new Uint16Array(count * ENTRY_HALFWORDS);
      new Uint8Array(leaf.buffer).set(entries.subarray(at, at + count * ENTRY_BYTES));
      leaves.push(leaf);
      at += count * ENTRY_BYTES;
    }
  }
  const givenUp = stored.givenUp.map(([first, end, position]) => ({ first, end, position }));
  return { description: stored.description, leaves, newestHigh: stored.newestHigh, givenUp };
}

class CheckpointReader {
  readonly #read: ReadCheckpointBytes;
  offset = 0;
  crc = 0;

  constructor(read: ReadCheckpointBytes) {
    this.#read = read;
  }

  async take(lengthBytes: number): Promise<Buffer> {
    const bytes = Buffer.allocUnsafe(lengthBytes);
    if ((await this.#read(bytes, this.offset)) < lengthBytes) throw bad('it is cut short');
    this.offset += lengthBytes;
    return bytes;
  }

  async takeChunk(lengthBytes: number): Promise<Buffer> {
    const chunk = await this.take(CHUNK_HEAD_BYTES + lengthBytes);
    const entries = chunk.subarray(CHUNK_HEAD_BYTES);
    this.crc = crc32c(entries, this.crc);
    if (chunk.readUInt32BE(0) !== lengthBytes || chunk.readUInt32BE(4) !== this.crc) {
      throw bad('its entries do not match their checksum');
    }
    return entries;
  }

  async expectEnd(): Promise<void> {
    if ((await this.#read(new Uint8Array(1), this.offset)) > 0) throw bad('something stands behind it');
  }
}

function bad(reason: string): ProtocolError {
  return new ProtocolError(`the checkpoint of an index cannot be used: ${reason}`, {
    code: 'bad-checkpoint',
  });
}
