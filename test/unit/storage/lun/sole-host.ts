import { expect } from 'vitest';
import { crc32c } from '../../../../base/crc32c.ts';
import { DeviceError, type WriteEnded } from '../../../../storage/block-device.ts';
import type { ImageSource } from '../../../../storage/image/image-source.ts';
import {
  decodeGroupRecord,
  type LoggedRecord,
  type WriteRecord,
} from '../../../../storage/lun/log-record.ts';
import type { LunDevice, LunHost } from '../../../../storage/lun/lun-device.ts';
import { type Lun, LunTable } from '../../../../storage/lun/lun-table.ts';
import { type HeldRecord, RecordBatch } from '../../../../storage/lun/record-batch.ts';
import { RecordMemory } from '../../../../storage/lun/record-memory.ts';
import type { WriteToBuild } from '../../../../storage/lun/write-records.ts';

export const LENGTH_BLOCKS = 8 * 40 + 3;
export const IMAGE_BYTE = 0x11;

export const images: ImageSource = {
  open: () =>
    Promise.resolve({
      sizeBytes: LENGTH_BLOCKS * 512,
      read: (_, lengthBytes) => Promise.resolve(new Uint8Array(lengthBytes).fill(IMAGE_BYTE)),
      close: () => Promise.resolve(),
    }),
};

/** A group of one member that commits when told to. */
export class SoleHost implements LunHost {
  readonly writeCacheEnabled = true;
  readonly spaceIsLow = false;
  readonly memory = new RecordMemory();
  admits = true;
  readonly table: LunTable;
  #bytes = Buffer.alloc(1 << 20);
  #endPosition = 64;
  #nextIndex = 1;
  readonly #log: { position: number; payload: Uint8Array }[] = [];
  #waiting: { endIndex: number; records: readonly HeldRecord[]; ended: WriteEnded }[] = [];
  readonly #batch = new RecordBatch(this.memory);
  commitAtOnce = true;
  /** Whether it looks at what it is handed. */
  checks = true;
  serving = true;
  reads = 0;

  constructor(source = images) {
    this.table = new LunTable(source, () => {});
    const description = {
      lunId: 1,
      generation: 0,
      base: { name: 'i', version: 1 },
      lengthBlocks: LENGTH_BLOCKS,
    };
    this.table.restart(1, [description]);
  }

  get lun(): Lun {
    return this.table.get(1) as Lun;
  }

  readAt = async (position: number, lengthBytes: number): Promise<Uint8Array> => {
    this.reads++;
    await Promise.resolve();
    return this.#bytes.subarray(position, position + lengthBytes);
  };

  /** What another copy of the log has, by checksum. */
  readonly elsewhere = new Map<number, Uint8Array>();

  soundBlock(_: number, crc: number): Promise<Uint8Array | undefined> {
    return Promise.resolve(this.elsewhere.get(crc));
  }

  isCurrent(lun: Lun): boolean {
    return this.table.get(1) === lun;
  }

  beforeWrite(): void {}

  assertServing(): void {
    if (!this.serving) throw new DeviceError('not-serving', 'not now');
  }

  isCertainlyServing(): boolean {
    return true;
  }

  confirmServing(): undefined {
    this.assertServing();
  }

  admit(): undefined {}

  admitsNow(): boolean {
    return this.admits;
  }

  recordEpoch(): number {
    return 1;
  }

  get nextIndex(): number {
    return this.#nextIndex + this.#batch.length;
  }

  submit(records: readonly LoggedRecord[], _: boolean, ended: WriteEnded): number {
    const firstIndex = this.nextIndex;
    this.#batch.add(records);
    this.#wait(records, ended);
    return firstIndex;
  }

  submitWrite(lun: Lun, write: WriteToBuild, _: boolean, ended: WriteEnded): void {
    this.#wait(this.#batch.write(lun, write, this.nextIndex), ended);
  }

  #wait(records: readonly HeldRecord[], ended: WriteEnded): void {
    this.#waiting.push({ endIndex: this.nextIndex, records, ended });
    if (this.commitAtOnce) queueMicrotask(() => this.commit());
  }

  #append(): void {
    for (const { payload, record, checksum } of this.#batch.take()) {
      if (checksum !== undefined && this.checks) expect(checksum).toBe(crc32c(payload));
      const { payload: _payload, ...fields } = decodeGroupRecord(payload) as WriteRecord;
      expect(record).toMatchObject(record.kind === 'write' ? fields : {});
      const position = this.#endPosition;
      this.#endPosition += payload.length;
      while (this.#bytes.length < this.#endPosition)
        this.#bytes = Buffer.concat([this.#bytes], 2 * this.#bytes.length);
      this.#bytes.set(payload, position);
      this.table.hold(this.#nextIndex++, position, record);
      this.#log.push({ position, payload: this.#bytes.subarray(position, this.#endPosition) });
    }
  }

  /** As after a restart: everything anew out of the log. */
  async replay(): Promise<void> {
    this.table.restart(1, [{ ...this.lun.description }]);
    const end = this.#nextIndex;
    for (const [i, { position, payload }] of this.#log.entries()) {
      this.table.hold(1 + i, position, decodeGroupRecord(payload));
    }
    this.table.applyHeld(end);
  }

  commit(): void {
    this.#append();
    this.table.applyHeld(this.#nextIndex);
    for (const { records, ended } of this.#waiting.splice(0)) {
      for (const { slab } of records) if (slab !== undefined) this.memory.giveBack(slab);
      ended(undefined);
    }
  }

  /** Records from `fromIndex` on found no space. */
  lose(fromIndex: number): void {
    this.#append();
    this.table.release(fromIndex);
    this.table.forgetInFlight(fromIndex);
    this.#nextIndex = fromIndex;
    this.#log.length = fromIndex - 1;
    for (const { endIndex, ended } of this.#waiting) {
      if (endIndex > fromIndex) ended(new DeviceError('no-space', 'full'));
    }
    this.#waiting = this.#waiting.filter((w) => w.endIndex <= fromIndex);
  }

  flush(): Promise<void> {
    return Promise.resolve();
  }

  readBegins(): () => void {
    return () => {};
  }

  damage(at: number): void {
    this.#bytes[at] = (this.#bytes[at] as number) ^ 1;
  }
}

export async function content(device: LunDevice, lba: number, lengthBlocks: number): Promise<Buffer> {
  return Buffer.concat(await device.read(lba, lengthBlocks));
}
