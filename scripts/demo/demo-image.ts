import { open } from 'node:fs/promises';

/**
 * A small disk image that a PC can boot: its first sector prints a line and halts. The blocks after it are
 * filled with a pattern that anybody can compute again, so what a client reads can be checked.
 */
export const IMAGE_BLOCK_BYTES = 4096;
const SECTOR_BYTES = 512;
const BOOT_SECTOR_ADDRESS = 0x7c00;
const MESSAGE = 'This machine has no disk: it runs from bootfabric.\r\n';

// Sets up DS, then prints the NUL-terminated text at the patched address by BIOS teletype, then halts.
const BOOT_CODE = Uint8Array.of(
  ...[0x31, 0xc0], // xor ax, ax
  ...[0x8e, 0xd8], // mov ds, ax
  ...[0xbe, 0x00, 0x00], // mov si, text (patched below)
  0xfc, // cld
  0xac, // next: lodsb
  ...[0x08, 0xc0], // or al, al
  ...[0x74, 0x06], // jz stop
  ...[0xb4, 0x0e], // mov ah, 0x0e
  ...[0xcd, 0x10], // int 0x10
  ...[0xeb, 0xf5], // jmp next
  0xf4, // stop: hlt
  ...[0xeb, 0xfd], // jmp stop
);
const TEXT_POINTER_OFFSET = 5;

/** The content of one 4 KiB block of the image. */
export function imageBlock(index: number): Uint8Array {
  const block = new Uint8Array(IMAGE_BLOCK_BYTES);
  const words = new Uint32Array(block.buffer);
  let x = (index + 1) * 0x9e3779b1;
  for (let i = 0; i < words.length; i++) {
    x = Math.imul(x ^ (x >>> 15), 0x85ebca6b) + i;
    words[i] = x;
  }
  if (index === 0) block.set(bootSector(), 0);
  return block;
}

function bootSector(): Uint8Array {
  const sector = new Uint8Array(SECTOR_BYTES);
  sector.set(BOOT_CODE, 0);
  new DataView(sector.buffer).setUint16(TEXT_POINTER_OFFSET, BOOT_SECTOR_ADDRESS + BOOT_CODE.length, true);
  sector.set(Buffer.from(`${MESSAGE}\0`, 'latin1'), BOOT_CODE.length);
  sector.set([0x55, 0xaa], SECTOR_BYTES - 2);
  return sector;
}

/** Writes an image of `sizeBytes` whose first `filledBlocks` blocks hold the pattern; the rest is zero. */
export async function writeDemoImage(path: string, sizeBytes: number, filledBlocks: number): Promise<void> {
  const file = await open(path, 'w');
  try {
    for (let index = 0; index < filledBlocks; index++) await file.write(imageBlock(index));
    await file.truncate(sizeBytes);
  } finally {
    await file.close();
  }
}
