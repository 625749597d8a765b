import { type FileSystem, nodeFileSystem, type OpenFile } from '../../../../storage/log/file-system.ts';

/** How long each write is held back before its bytes are looked at: other data comes and goes meanwhile. */
const HELD_BACK_MS = 3;

/** The host's file system, but for writes: none is done at once, and each reads its bytes only after a while. */
export const slowFileSystem: FileSystem = {
  ...nodeFileSystem,
  create: async (path) => slow(await nodeFileSystem.create(path)),
  open: async (path) => slow(await nodeFileSystem.open(path)),
};

function slow(file: OpenFile): OpenFile {
  return {
    sizeBytes: () => file.sizeBytes(),
    read: (into, offsetBytes) => file.read(into, offsetBytes),
    async write(parts, offsetBytes) {
      await new Promise((resolve) => setTimeout(resolve, HELD_BACK_MS));
      await file.write(parts, offsetBytes);
    },
    truncate: (sizeBytes) => file.truncate(sizeBytes),
    syncData: () => file.syncData(),
    close: () => file.close(),
  };
}
