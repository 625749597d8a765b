import { invariant } from '../../base/errors.ts';
import {
  type Allocation,
  type BlockDevice,
  DeviceError,
  LOGICAL_BLOCK_BYTES,
  MAX_SERVER_STATE_BYTES,
  type ReadMemory,
  type WriteEnded,
} from '../block-device.ts';
import { contentOf, type InFlightRecord } from './in-flight.ts';
import {
  LOGICAL_PER_STORED,
  MAX_ALLOCATION_BLOCKS,
  MAX_DISCARD_BLOCKS,
  STORED_BLOCK_BYTES,
} from './limits.ts';
import { type LoggedRecord, loggedControl } from './log-record.ts';
import { type LogBlocks, readCommitted, readCommittedNow } from './lun-reader.ts';
import type { Lun } from './lun-table.ts';
import type { WriteToBuild } from './write-records.ts';

/** What a device needs of the portal group it belongs to. */
export interface LunHost extends LogBlocks {
  readonly writeCacheEnabled: boolean;
  readonly spaceIsLow: boolean;
  /** Whether `lun` is still the present generation. */
  isCurrent(lun: Lun): boolean;
  /** @throws DeviceError kind "not-serving" unless this node is the serving primary */
  assertServing(): void;
  /**
   * Makes sure, after the work and before the answer, that no other node can be serving.
   * @returns undefined when that is certain at once
   * @throws DeviceError kind "not-serving"
   */
  confirmServing(): Promise<void> | undefined;
  /** Whether confirmServing would have nothing to wait for, nor to throw. */
  isCertainlyServing(): boolean;
  /** Waits until so many bytes of that LUN may be in flight. @throws DeviceError kind "not-serving" */
  admit(lunId: number, lengthBytes: number): Promise<void> | undefined;
  /** Whether admit would have nothing to wait for, nor to throw. */
  admitsNow(lunId: number, lengthBytes: number): boolean;
  /** A write may be about to be begun at once: the time to hand on earlier ones. */
  beforeWrite(): void;
  /** The epoch new records carry. */
  recordEpoch(): number;
  /**
   * Gives the records their places in the log at once; `ended` is told later when they have taken effect, and with
   * `forceUnitAccess` are durable everywhere. Whether this node still serves then is for the caller to confirm.
   * @returns the number of the first record
   * @throws DeviceError kind "not-serving"
   */
  submit(records: readonly LoggedRecord[], forceUnitAccess: boolean, ended: WriteEnded): number;
  /**
   * The same for a write, whose data is copied, and which is in flight from then on. It may become part of the record of the
   * write before it.
   */
  submitWrite(lun: Lun, write: WriteToBuild, forceUnitAccess: boolean, ended: WriteEnded): void;
  flush(): Promise<void>;
  /** Brackets a read, so that the log keeps what it may still fetch. */
  readBegins(): () => void;
}

/** A block of which a write covers only a part, as read before the merge. */
interface Underlay {
  readonly block: number;
  readonly position: number;
  /** Where the content was in flight: the record that has it. */
  readonly record: InFlightRecord | undefined;
  readonly bytes: Uint8Array;
}

const NO_UNDERLAYS: readonly Underlay[] = [];
/** A position no block has. */
const NOWHERE = Number.NaN;
const ZERO_PAIR = new Uint8Array(2 * STORED_BLOCK_BYTES);

/** The same as submit, with a promise of the end. */
export function submitted(
  host: Pick<LunHost, 'submit'>,
  records: readonly LoggedRecord[],
  forceUnitAccess: boolean,
): { readonly firstIndex: number; readonly done: Promise<void> } {
  let ended: WriteEnded = () => {};
  const done = new Promise<void>((resolve, reject) => {
    ended = (error) => (error === undefined ? resolve() : reject(error));
  });
  return { firstIndex: host.submit(records, forceUnitAccess, ended), done };
}

/** One generation of a LUN as a disk. */
export class LunDevice implements BlockDevice {
  readonly #lun: Lun;
  readonly #host: LunHost;
  readonly lengthBlocks: number;
  readonly readOnly = false;

  constructor(lun: Lun, host: LunHost) {
    this.#lun = lun;
    this.#host = host;
    this.lengthBlocks = lun.description.lengthBlocks;
  }

  get writeCacheEnabled(): boolean {
    return this.#host.writeCacheEnabled;
  }

  get spaceIsLow(): boolean {
    return this.#host.spaceIsLow;
  }

  async read(lba: number, lengthBlocks: number): Promise<readonly Uint8Array[]> {
    this.#checkRange(lba, lengthBlocks);
    this.#assertCurrent();
    const startByte = lba * LOGICAL_BLOCK_BYTES;
    const readEnds = this.#host.readBegins();
    try {
      const endByte = startByte + lengthBlocks * LOGICAL_BLOCK_BYTES;
      const parts = await readCommitted(this.#lun, this.#host, startByte, endByte);
      const confirmation = this.#host.confirmServing();
      if (confirmation !== undefined) await confirmation;
      this.#assertCurrent();
      return parts;
    } catch (error) {
      // Where this node has ceased to serve, that is the reason, whatever the read ran into.
      this.#assertCurrent();
      throw error;
    } finally {
      readEnds();
    }
  }

  readNow(lba: number, lengthBlocks: number, memory?: ReadMemory): readonly Uint8Array[] | undefined {
    if (lba < 0 || lengthBlocks <= 0 || lba + lengthBlocks > this.lengthBlocks) return undefined;
    if (!this.#host.isCurrent(this.#lun)) return undefined;
    const startByte = lba * LOGICAL_BLOCK_BYTES;
    const endByte = startByte + lengthBlocks * LOGICAL_BLOCK_BYTES;
    const parts = readCommittedNow(this.#lun, this.#host, startByte, endByte, memory);
    return parts !== undefined && this.#host.isCertainlyServing() ? parts : undefined;
  }

  async write(
    lba: number,
    parts: readonly Uint8Array[],
    options: { forceUnitAccess: boolean },
  ): Promise<void> {
    let lengthBytes = 0;
    for (const part of parts) lengthBytes += part.length;
    invariant(lengthBytes % LOGICAL_BLOCK_BYTES === 0, 'a write has whole logical blocks');
    this.#checkRange(lba, lengthBytes / LOGICAL_BLOCK_BYTES);
    if (lengthBytes === 0) return;
    this.#assertCurrent();
    const admission = this.#host.admit(this.#lun.description.lunId, lengthBytes);
    if (admission !== undefined) await admission;
    const startByte = lba * LOGICAL_BLOCK_BYTES;
    const partial = partialBlocks(startByte, startByte + lengthBytes);
    let underlays = partial.length === 0 ? [] : await this.#readUnderlays(partial);
    // Another write may have changed a block while this one waited for it: then the wait begins anew.
    for (let newest = this.#newest(underlays); newest !== underlays; newest = this.#newest(underlays)) {
      underlays = newest ?? (await this.#readUnderlays(partial));
    }
    // From here to submit nothing waits, so that what was merged is still the newest.
    this.#assertWritable();
    await new Promise<void>((resolve, reject) => {
      const write = this.#toBuild(startByte, lengthBytes, parts, underlays);
      this.#host.submitWrite(this.#lun, write, options.forceUnitAccess, (error) =>
        error === undefined ? resolve() : reject(error),
      );
    });
    await this.#confirm();
  }

  beginWrite(
    lba: number,
    parts: readonly Uint8Array[],
    options: { forceUnitAccess: boolean },
    ended: WriteEnded,
  ): boolean {
    this.#host.beforeWrite();
    let lengthBytes = 0;
    for (const part of parts) lengthBytes += part.length;
    const startByte = lba * LOGICAL_BLOCK_BYTES;
    const isWhole = startByte % STORED_BLOCK_BYTES === 0 && lengthBytes % STORED_BLOCK_BYTES === 0;
    const isInside = lba >= 0 && lba + lengthBytes / LOGICAL_BLOCK_BYTES <= this.lengthBlocks;
    if (!isWhole || !isInside || lengthBytes === 0 || !this.#isWritableNow(lengthBytes)) return false;
    const write = this.#toBuild(startByte, lengthBytes, parts, NO_UNDERLAYS);
    this.#host.submitWrite(this.#lun, write, options.forceUnitAccess, (error) => {
      if (error !== undefined || this.#host.isCertainlyServing()) ended(error);
      else this.#confirm().then(() => ended(undefined), ended);
    });
    return true;
  }

  #isWritableNow(lengthBytes: number): boolean {
    const { endingIndex } = this.#lun;
    const isOpen = endingIndex === Number.POSITIVE_INFINITY && this.#host.isCurrent(this.#lun);
    return (
      isOpen &&
      this.#host.isCertainlyServing() &&
      this.#host.admitsNow(this.#lun.description.lunId, lengthBytes)
    );
  }

  #toBuild(
    startByte: number,
    lengthBytes: number,
    parts: readonly Uint8Array[],
    underlays: readonly Underlay[],
  ): WriteToBuild {
    const { lunId } = this.#lun.description;
    return { epoch: this.#host.recordEpoch(), lunId, startByte, lengthBytes, parts, underlays };
  }

  async #confirm(): Promise<void> {
    await this.#host.confirmServing();
  }

  async discard(lba: number, lengthBlocks: number): Promise<void> {
    this.#checkRange(lba, lengthBlocks);
    const end = lba + lengthBlocks;
    const firstBlock = Math.ceil(lba / LOGICAL_PER_STORED);
    // The stored block in which the unit ends is whole if all that the unit has of it is given up.
    const endBlock =
      end === this.lengthBlocks ? Math.ceil(end / LOGICAL_PER_STORED) : Math.floor(end / LOGICAL_PER_STORED);
    if (firstBlock >= endBlock) return this.#writeZeros(lba, end);
    await this.#writeZeros(lba, firstBlock * LOGICAL_PER_STORED);
    for (let block = firstBlock; block < endBlock; ) {
      // Aligned, so that discards of the same blocks again replace whole records.
      const spanEnd = (Math.floor(block / MAX_DISCARD_BLOCKS) + 1) * MAX_DISCARD_BLOCKS;
      const blockCount = Math.min(endBlock, spanEnd) - block;
      await this.#discardBlocks(block, blockCount);
      block += blockCount;
    }
    await this.#writeZeros(endBlock * LOGICAL_PER_STORED, end);
  }

  /** For parts of stored blocks at the ends of what is discarded: at most of two that are neighbours. */
  async #writeZeros(lba: number, end: number): Promise<void> {
    if (end <= lba) return;
    await this.write(lba, [ZERO_PAIR.subarray(0, (end - lba) * LOGICAL_BLOCK_BYTES)], {
      forceUnitAccess: false,
    });
  }

  async #discardBlocks(firstBlock: number, blockCount: number): Promise<void> {
    const admission = this.#host.admit(this.#lun.description.lunId, 0);
    if (admission !== undefined) await admission;
    this.#assertWritable();
    const { lunId } = this.#lun.description;
    const epoch = this.#host.recordEpoch();
    const record = loggedControl({ kind: 'discard', epoch, lunId, firstBlock, blockCount });
    const { firstIndex, done } = submitted(this.#host, [record], false);
    this.#lun.inFlight.note({ index: firstIndex, firstBlock, blockCount, bytes: undefined, dataAt: 0 });
    await done;
    await this.#confirm();
  }

  async allocation(lba: number): Promise<Allocation> {
    this.#checkRange(lba, 1);
    this.#assertCurrent();
    const block = Math.floor(lba / LOGICAL_PER_STORED);
    const position = this.#lun.blocks.position(block);
    const imageBlocks = position === 0 ? await this.#imageBlocks() : 0;
    const storedEnd = block + this.#lun.blocks.runLength(block, MAX_ALLOCATION_BLOCKS);
    // Beyond the end of its image a LUN is empty until it is written.
    const allocated = position > 0 || block < imageBlocks;
    const end = position === 0 && allocated ? Math.min(storedEnd, imageBlocks) : storedEnd;
    await this.#confirm();
    return { allocated, lengthBlocks: Math.min(end * LOGICAL_PER_STORED, this.lengthBlocks) - lba };
  }

  async #imageBlocks(): Promise<number> {
    const image = await this.#lun.image();
    if (image === undefined) throw new DeviceError('not-serving', 'the image is not on this node');
    return Math.ceil(image.sizeBytes / STORED_BLOCK_BYTES);
  }

  get serverState(): Uint8Array | undefined {
    return this.#lun.serverState;
  }

  async saveServerState(state: Uint8Array): Promise<void> {
    invariant(state.length <= MAX_SERVER_STATE_BYTES, `a server state of ${state.length} bytes`);
    const admission = this.#host.admit(this.#lun.description.lunId, state.length);
    if (admission !== undefined) await admission;
    this.#assertWritable();
    const { lunId } = this.#lun.description;
    const epoch = this.#host.recordEpoch();
    // A copy: it outlives the write that it comes with by far.
    const record = loggedControl({ kind: 'serverState', epoch, lunId, state: Uint8Array.from(state) });
    await submitted(this.#host, [record], true).done;
    await this.#confirm();
  }

  async flush(): Promise<void> {
    this.#assertCurrent();
    await this.#host.flush();
    this.#assertCurrent();
  }

  #checkRange(lba: number, lengthBlocks: number): void {
    if (lba < 0 || lengthBlocks < 0 || lba + lengthBlocks > this.lengthBlocks) {
      throw new DeviceError(
        'out-of-range',
        `LBA ${lba} and ${lengthBlocks} blocks do not lie within ${this.lengthBlocks} blocks`,
      );
    }
  }

  #assertCurrent(): void {
    this.#host.assertServing();
    if (!this.#host.isCurrent(this.#lun)) throw new DeviceError('not-serving', 'the LUN has been reset');
  }

  /** Nothing may wait between this and giving records their places. */
  #assertWritable(): void {
    this.#assertCurrent();
    if (this.#lun.endingIndex !== Number.POSITIVE_INFINITY)
      throw new DeviceError('not-serving', 'the LUN is being reset');
  }

  /** The content of blocks that a write covers in part. */
  async #readUnderlays(blocks: readonly number[]): Promise<readonly Underlay[]> {
    this.#assertCurrent();
    try {
      // All are awaited together: a second failure must not go unhandled.
      return await Promise.all(blocks.map((block) => this.#readUnderlay(block)));
    } catch (error) {
      // As for a read, where this node has ceased to serve, that is the reason.
      this.#assertCurrent();
      throw error;
    }
  }

  async #readUnderlay(block: number): Promise<Underlay> {
    const position = this.#lun.blocks.position(block);
    const inFlight = this.#lun.inFlight.newest(block);
    // Should it never be appended, it was not the content after all: no position matches, so it is read again.
    if (inFlight !== undefined) return inFlightUnderlay(block, inFlight);
    const readEnds = this.#host.readBegins();
    const startByte = block * STORED_BLOCK_BYTES;
    try {
      const endByte = startByte + STORED_BLOCK_BYTES;
      const parts = await readCommitted(this.#lun, this.#host, startByte, endByte);
      return { block, position, record: undefined, bytes: parts[0] as Uint8Array };
    } finally {
      readEnds();
    }
  }

  /**
   * What lies under a write that is given its place now: content in flight, which got its place before, or
   * what was read, if the block has not moved since. The same array when nothing has changed; undefined when
   * a block has to be read again.
   */
  #newest(underlays: readonly Underlay[]): readonly Underlay[] | undefined {
    let newest = underlays;
    for (const underlay of underlays) {
      const { block, position, record } = underlay;
      const inFlight = this.#lun.inFlight.newest(block);
      if (inFlight === undefined && this.#lun.blocks.position(block) !== position) return undefined;
      if (inFlight === undefined || inFlight === record) continue;
      newest = newest.map((other) => (other === underlay ? inFlightUnderlay(block, inFlight) : other));
    }
    return newest;
  }
}

function inFlightUnderlay(block: number, record: InFlightRecord): Underlay {
  return { block, position: NOWHERE, record, bytes: contentOf(record, block) };
}

function partialBlocks(startByte: number, endByte: number): number[] {
  const blocks: number[] = [];
  if (startByte % STORED_BLOCK_BYTES !== 0) blocks.push(Math.floor(startByte / STORED_BLOCK_BYTES));
  if (endByte % STORED_BLOCK_BYTES !== 0) {
    const last = Math.floor(endByte / STORED_BLOCK_BYTES);
    if (blocks[0] !== last) blocks.push(last);
  }
  return blocks;
}
