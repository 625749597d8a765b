import { join } from 'node:path';
import { crc32c } from '../../base/crc32c.ts';
import { bytes, layout, u32, u64 } from '../../base/layout.ts';
import { type FileSystem, isMissing, isNoSpace, type OpenFile } from './file-system.ts';

/**
 * A small file that says up to which position the log is known to be durable. It is written after an
 * fdatasync has returned and not synced itself, so it may lag behind but never claims too much. Slots in
 * different sectors are written in turn: a loss of power may tear every one that was not on the disk yet, so there
 * are enough of them that one stays whole.
 */

export const MARKER_FILE = 'durable.marker';
const SLOT_BYTES = 32;
/** Slots stand far enough apart that no sector or page holds both. */
const SLOT_SPACING_BYTES = 4096;
const SLOTS = 8;
const MAGIC = Buffer.from('bfMk', 'latin1');

const slotLayout = layout('durable marker', SLOT_BYTES, {
  magic: bytes(0, 4),
  sequence: u64(4),
  position: u64(12),
  crc: u32(28),
});

export interface MarkerSlot {
  /** Rises with every write; the slot with the higher one is the newer. */
  readonly sequence: number;
  readonly position: number;
}

export function encodeMarkerSlot(slot: MarkerSlot): Uint8Array {
  const out = slotLayout.encode({
    magic: MAGIC,
    sequence: BigInt(slot.sequence),
    position: BigInt(slot.position),
  });
  new DataView(out.buffer, out.byteOffset).setUint32(28, crc32c(out.subarray(0, 28)));
  return out;
}

/** @returns undefined when the bytes are not a slot */
export function decodeMarkerSlot(input: Uint8Array): MarkerSlot | undefined {
  if (input.length < SLOT_BYTES) return undefined;
  const raw = slotLayout.decode(input);
  if (Buffer.compare(raw.magic, MAGIC) !== 0 || raw.crc !== crc32c(input.subarray(0, 28))) return undefined;
  return { sequence: Number(raw.sequence), position: Number(raw.position) };
}

/** The marker's file. */
export class DurableMarker {
  readonly #file: OpenFile;
  #slot: MarkerSlot;
  #wanted: number;
  #writing: Promise<void> | undefined;

  private constructor(file: OpenFile, slot: MarkerSlot) {
    this.#file = file;
    this.#slot = slot;
    this.#wanted = slot.position;
  }

  /**
   * The marker's file, made anew when there is none or every slot is damaged. That is for after recovery:
   * until a log has been found sound, a lost marker must stay known as lost.
   */
  static async open(fileSystem: FileSystem, directory: string): Promise<DurableMarker> {
    const path = join(directory, MARKER_FILE);
    const existing = await openNewestSlot(fileSystem, path);
    if (existing?.slot !== undefined) return new DurableMarker(existing.file, existing.slot);
    await existing?.file.close();
    const file = await fileSystem.create(path);
    const slot = { sequence: 0, position: 0 };
    const all = new Uint8Array((SLOTS - 1) * SLOT_SPACING_BYTES + SLOT_BYTES);
    for (let i = 0; i < SLOTS; i++) all.set(encodeMarkerSlot(slot), i * SLOT_SPACING_BYTES);
    await file.write([all], 0);
    await file.syncData();
    await fileSystem.syncDirectory(directory);
    return new DurableMarker(file, slot);
  }

  /** What the marker says; undefined when there is none or every slot is damaged. */
  static async read(fileSystem: FileSystem, directory: string): Promise<number | undefined> {
    const existing = await openNewestSlot(fileSystem, join(directory, MARKER_FILE));
    await existing?.file.close();
    return existing?.slot?.position;
  }

  /** Notes that everything below `position` is durable. Calls during a write are joined into the next. */
  async advance(position: number): Promise<void> {
    if (position <= this.#wanted) return this.#writing;
    this.#wanted = position;
    this.#writing ??= this.#writeUntilCaughtUp().finally(() => {
      this.#writing = undefined;
    });
    return this.#writing;
  }

  /** Waits for what advance was told, makes it durable and closes the file. */
  async close(): Promise<void> {
    try {
      await this.#writing;
      await this.#file.syncData();
    } finally {
      await this.#file.close();
    }
  }

  async #writeUntilCaughtUp(): Promise<void> {
    while (this.#slot.position < this.#wanted) {
      const slot = { sequence: this.#slot.sequence + 1, position: this.#wanted };
      try {
        await this.#file.write([encodeMarkerSlot(slot)], (slot.sequence % SLOTS) * SLOT_SPACING_BYTES);
      } catch (error) {
        // Overwriting in place needs space on some file systems. The marker may lag, so it may also stay.
        if (!isNoSpace(error)) throw error;
        this.#wanted = this.#slot.position;
        return;
      }
      this.#slot = slot;
    }
  }
}

async function openNewestSlot(
  fileSystem: FileSystem,
  path: string,
): Promise<{ file: OpenFile; slot: MarkerSlot | undefined } | undefined> {
  let file: OpenFile;
  try {
    file = await fileSystem.open(path);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
  let newest: MarkerSlot | undefined;
  for (let i = 0; i < SLOTS; i++) {
    const input = new Uint8Array(SLOT_BYTES);
    const length = await file.read(input, i * SLOT_SPACING_BYTES);
    const slot = decodeMarkerSlot(input.subarray(0, length));
    if (slot !== undefined && (newest === undefined || slot.sequence > newest.sequence)) newest = slot;
  }
  return { file, slot: newest };
}
