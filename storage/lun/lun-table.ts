import { invariant } from '../../base/errors.ts';
import type { LogRecord } from '../../base/record-log.ts';
import type { ImageSource, OpenImage } from '../image/image-source.ts';
import { BlockIndex } from './block-index.ts';
import { InFlightRecords } from './in-flight.ts';
import { POSITION_SAMPLE_BYTES, POSITION_SAMPLE_RECORDS, STORED_BLOCK_BYTES } from './limits.ts';
import { crcOfWrite, decodeGroupRecord, type GroupRecord, writeHeaderBytes } from './log-record.ts';
import type { LunDescription, PositionSample, RestoredTable, TableSnapshot } from './table-snapshot.ts';

export type { LunDescription } from './table-snapshot.ts';

/** One generation of a LUN. A reset makes a new one; the old then no longer stands in the table. */
export class Lun {
  readonly description: LunDescription;
  readonly blocks = new BlockIndex();
  readonly inFlight = new InFlightRecords();
  /** Number of the first later reset or drop that has a place in the log: no write may come after it. */
  endingIndex = Number.POSITIVE_INFINITY;
  /** As of the applied records; see BlockDevice. */
  serverState: Uint8Array | undefined;
  readonly #images: ImageSource;
  #image: Promise<OpenImage | undefined> | undefined;
  #openedImage: OpenImage | undefined;

  constructor(description: LunDescription, images: ImageSource) {
    const { serverState, ...rest } = description;
    this.description = rest;
    this.serverState = serverState === undefined ? undefined : Buffer.from(serverState, 'base64');
    this.#images = images;
  }

  /** All of it that has to stand beside the log. */
  describe(): LunDescription {
    if (this.serverState === undefined) return this.description;
    return { ...this.description, serverState: Buffer.from(this.serverState).toString('base64') };
  }

  /** @returns undefined while this node does not hold the image; asks anew at the next call */
  async image(): Promise<OpenImage | undefined> {
    this.#image ??= this.#images.open(this.description.base);
    const opening = this.#image;
    try {
      const image = await opening;
      if (this.#image === opening) {
        if (image === undefined) this.#image = undefined;
        this.#openedImage = image;
      }
      return image;
    } catch (error) {
      if (this.#image === opening) this.#image = undefined;
      throw error;
    }
  }

  /** The image, once image() has opened it. */
  get openedImage(): OpenImage | undefined {
    return this.#openedImage;
  }

  async close(): Promise<void> {
    const opening = this.#image;
    this.#image = undefined;
    this.#openedImage = undefined;
    await (await opening?.catch(() => undefined))?.close();
  }
}

interface Unapplied {
  readonly index: number;
  readonly position: number;
  readonly record: GroupRecord;
}

/**
 * The LUNs of one portal group as of its committed log. Records are handed in as they are appended and take
 * effect, in order, when they are committed.
 */
export class LunTable {
  readonly #images: ImageSource;
  readonly #luns = new Map<number, Lun>();
  /** Appended and not yet committed, a gapless run that ends at the end of the log. */
  #unapplied: Unapplied[] = [];
  #unappliedHead = 0;
  #appliedIndex: number;
  readonly #onRetired: (lun: Lun) => void;
  /** Numbers of resets and drops that have a place in the log and have not taken effect, by LUN, rising. */
  readonly #endings = new Map<number, number[]>();
  /** Record numbers and positions, rising, of some of the applied records. */
  #samples: PositionSample[] = [];
  #lastPosition = 0;
  #lastDropIndex = 0;

  constructor(images: ImageSource, onRetired: (lun: Lun) => void) {
    this.#images = images;
    this.#appliedIndex = 0;
    this.#onRetired = onRetired;
  }

  /** Every record below this has taken effect. */
  get appliedIndex(): number {
    return this.#appliedIndex;
  }

  /** The first record held in memory and not applied; records between appliedIndex and it must be scanned. */
  get firstHeldIndex(): number | undefined {
    return this.#unapplied[this.#unappliedHead]?.index;
  }

  get(lunId: number): Lun | undefined {
    return this.#luns.get(lunId);
  }

  all(): IterableIterator<Lun> {
    return this.#luns.values();
  }

  /** Starts over from a list of LUNs that stood just before record `index`. */
  restart(index: number, luns: readonly LunDescription[]): void {
    for (const lun of this.#luns.values()) this.#onRetired(lun);
    this.#luns.clear();
    this.#endings.clear();
    for (const description of luns) {
      this.#luns.set(description.lunId, new Lun(description, this.#images));
    }
    this.#unapplied = [];
    this.#unappliedHead = 0;
    this.#samples = [];
    this.#lastPosition = 0;
    this.#lastDropIndex = index;
    this.#appliedIndex = index;
  }

  /** The table as it is now, of what has taken effect. */
  snapshot(): TableSnapshot {
    const luns = Array.from(this.#luns.values(), (lun) => ({
      description: lun.describe(),
      blocks: lun.blocks.snapshot(),
    }));
    return {
      index: this.#appliedIndex,
      lastPosition: this.#lastPosition,
      luns,
      samples: [...this.#samples],
      release: () => {
        for (const { blocks } of luns) blocks.written.release();
      },
    };
  }

  /** Starts over from what a table of the same log once was. */
  restore({ index, lastPosition, luns, samples }: RestoredTable): void {
    this.restart(
      index,
      luns.map(({ description }) => description),
    );
    for (const { description, leaves, newestHigh, givenUp } of luns) {
      this.#luns.get(description.lunId)?.blocks.adopt(leaves, newestHigh, givenUp);
    }
    this.#samples = [...samples];
    this.#lastPosition = lastPosition;
  }

  describe(): LunDescription[] {
    return Array.from(this.#luns.values(), (lun) => lun.describe());
  }

  /** A reset or drop of the LUN has been given number `index`, higher than any before. */
  noteEnding(lunId: number, index: number): void {
    this.#endings.set(lunId, [...(this.#endings.get(lunId) ?? []), index]);
    this.#renewEnding(lunId);
  }

  /** The present generation ends with the first reset that comes after it, even if it came about later. */
  #renewEnding(lunId: number): void {
    const lun = this.#luns.get(lunId);
    const first = this.#endings.get(lunId)?.[0];
    if (lun !== undefined) lun.endingIndex = first ?? Number.POSITIVE_INFINITY;
  }

  #keepEndings(lunId: number, isKept: (index: number) => boolean): void {
    const kept = this.#endings.get(lunId)?.filter(isKept) ?? [];
    if (kept.length === 0) this.#endings.delete(lunId);
    else this.#endings.set(lunId, kept);
    this.#renewEnding(lunId);
  }

  /** A record has been appended at `index`, its payload beginning at `position`. */
  hold(index: number, position: number, record: GroupRecord): void {
    const last = this.#unapplied.at(-1);
    invariant(
      last === undefined || this.#unappliedHead === this.#unapplied.length || last.index === index - 1,
      'records are held without gaps',
    );
    this.#unapplied.push({ index, position, record });
  }

  /** Forgets held records from `index` on; they were taken off the log. */
  release(index: number): void {
    invariant(index >= this.#appliedIndex, `record ${index} is committed and cannot be taken off the log`);
    while (
      this.#unapplied.length > this.#unappliedHead &&
      (this.#unapplied.at(-1) as Unapplied).index >= index
    ) {
      this.#unapplied.pop();
    }
  }

  /** Lets held records below `commitIndex` take effect, as far as they are held. */
  applyHeld(commitIndex: number): void {
    let head = this.#unappliedHead;
    for (; head < this.#unapplied.length; head++) {
      const { index, position, record } = this.#unapplied[head] as Unapplied;
      if (index >= commitIndex || index > this.#appliedIndex) break;
      if (index === this.#appliedIndex) this.#apply(index, position, record);
    }
    this.#unappliedHead = head;
    if (head === this.#unapplied.length || head > 4096) {
      this.#unapplied = this.#unapplied.slice(head);
      this.#unappliedHead = 0;
    }
  }

  /** Lets a committed record read back from the log take effect. @throws ProtocolError for a damaged one */
  applyScanned(scanned: LogRecord): GroupRecord | undefined {
    if (scanned.index !== this.#appliedIndex) return undefined;
    const record = decodeGroupRecord(scanned.payload);
    this.#apply(scanned.index, scanned.position, record);
    return record;
  }

  #samplePosition(index: number, position: number): void {
    this.#lastPosition = position;
    const last = this.#samples.at(-1);
    const isDue = index % POSITION_SAMPLE_RECORDS === 0 || last === undefined;
    if (isDue || position - last.position >= POSITION_SAMPLE_BYTES) this.#samples.push({ index, position });
  }

  /** About how long the log is, from the oldest record known here to the newest that has taken effect. */
  get logBytes(): number {
    const first = this.#samples[0];
    return first === undefined ? 0 : this.#lastPosition - first.position;
  }

  /** No LUN was dropped by a record after this one. */
  get lastDropIndex(): number {
    return this.#lastDropIndex;
  }

  /** The same from a position on. */
  bytesFrom(position: number): number {
    return Math.max(0, this.#lastPosition - position);
  }

  #apply(index: number, position: number, record: GroupRecord): void {
    this.#appliedIndex = index + 1;
    this.#samplePosition(index, position);
    switch (record.kind) {
      case 'epochStart':
      case 'void':
        return;
      case 'write': {
        const lun = this.#luns.get(record.lunId);
        // A list of LUNs may be newer than the records replayed over it; those of an older generation are void.
        if (lun === undefined || index < lun.description.generation) return;
        const dataAt = position + writeHeaderBytes(record.blockCount);
        const { firstBlock, blockCount, payload } = record;
        for (let i = 0; i < blockCount; i++) {
          lun.blocks.set(firstBlock + i, dataAt + i * STORED_BLOCK_BYTES, crcOfWrite(payload, i));
        }
        lun.inFlight.settle(index);
        return;
      }
      case 'resetLun': {
        const { lunId, generation, base, lengthBlocks } = record;
        const old = this.#luns.get(lunId);
        if (old !== undefined && index < old.description.generation) return;
        this.#luns.set(lunId, new Lun({ lunId, generation, base, lengthBlocks }, this.#images));
        this.#keepEndings(lunId, (ending) => ending > index);
        if (old !== undefined) this.#onRetired(old);
        return;
      }
      case 'dropLun': {
        const old = this.#luns.get(record.lunId);
        if (old === undefined || index < old.description.generation) return;
        this.#luns.delete(record.lunId);
        this.#lastDropIndex = index;
        this.#keepEndings(record.lunId, (ending) => ending > index);
        this.#onRetired(old);
        return;
      }
      case 'discard': {
        const lun = this.#luns.get(record.lunId);
        if (lun === undefined || index < lun.description.generation) return;
        lun.blocks.discard(record.firstBlock, record.blockCount, position);
        lun.inFlight.settle(index);
        return;
      }
      case 'serverState': {
        const lun = this.#luns.get(record.lunId);
        if (lun === undefined || index < lun.description.generation) return;
        lun.serverState = record.state;
      }
    }
  }

  /** Records from `fromIndex` on were never appended, or are no longer ours to follow. */
  forgetInFlight(fromIndex = 0): void {
    for (const lun of this.#luns.values()) lun.inFlight.forget(fromIndex);
    for (const lunId of Array.from(this.#endings.keys()))
      this.#keepEndings(lunId, (index) => index < fromIndex);
  }

  /**
   * A record number below which no record holds a block still in use. Records from there on, over
   * describe(), give the present content.
   */
  firstNeededIndex(): number {
    let lowest = Number.POSITIVE_INFINITY;
    for (const lun of this.#luns.values()) lowest = Math.min(lowest, lun.blocks.lowestPosition());
    if (lowest === Number.POSITIVE_INFINITY) return this.#appliedIndex;
    let needed = 0;
    for (const sample of this.#samples) {
      if (sample.position > lowest) break;
      needed = sample.index;
    }
    return needed;
  }

  /** Forgets what is known of record numbers below `index`. */
  forgetBefore(index: number): void {
    this.#samples = this.#samples.filter((sample) => sample.index >= index);
  }
}
