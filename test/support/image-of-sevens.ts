import type { ImageSource } from '../../storage/image/image-source.ts';

/** Has every image, of one MiB, in which each byte is a seven. */
export const sevens: ImageSource = {
  open: () =>
    Promise.resolve({
      sizeBytes: 1 << 20,
      read: (_, lengthBytes) => Promise.resolve(new Uint8Array(lengthBytes).fill(7)),
      close: () => Promise.resolve(),
    }),
};
