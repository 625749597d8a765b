import type { ImageSource } from '../../../storage/image/image-source.ts';
import type { Process, World } from '../world.ts';

export const SECTOR_BYTES = 512;
/** Of a unit: enough for a queue that comes in at once. */
export const SECTORS = 192;
/** Of these, where most of what is done is done: few, so that operations meet. */
export const BUSY_SECTORS = 40;
/** Values of base images, one per version, beyond those of writes. */
export const IMAGE_VALUES = 1_000_000_000;

/** The value of a sector that was given up; writes begin at 1. */
export const ZEROS = 0;

export function sectorOf(value: number): Uint8Array {
  const sector = Buffer.alloc(SECTOR_BYTES);
  sector.writeUInt32BE(value, 0);
  sector.writeUInt32BE(value, SECTOR_BYTES - 4);
  return sector;
}

/** Every version is held everywhere, and each of its sectors says which it is. */
export function simulatedImages(world: World, process: Process): ImageSource {
  return {
    open: ({ version }) =>
      Promise.resolve({
        sizeBytes: SECTORS * SECTOR_BYTES,
        read: (offsetBytes, lengthBytes) =>
          new Promise((resolve) => {
            const sector = sectorOf(IMAGE_VALUES + version);
            const start = offsetBytes % SECTOR_BYTES;
            const count = Math.ceil((start + lengthBytes) / SECTOR_BYTES);
            const bytes = Buffer.concat(Array.from({ length: count }, () => sector));
            process.enterAfter(world.between(0, 1), () =>
              resolve(bytes.subarray(start, start + lengthBytes)),
            );
          }),
        close: () => Promise.resolve(),
      }),
  };
}
