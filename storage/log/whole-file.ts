import { join } from 'node:path';
import type { FileSystem } from './file-system.ts';

/** Writes a new file and makes its content durable; its name is for the caller to sync. */
export async function writeWhole(fileSystem: FileSystem, path: string, content: Uint8Array): Promise<void> {
  const file = await fileSystem.create(path);
  try {
    await file.write([content], 0);
    await file.syncData();
  } finally {
    await file.close();
  }
}

/** Replaces a small file as a whole: written aside, synced, renamed, and its directory synced. */
export async function replaceFile(
  fileSystem: FileSystem,
  directory: string,
  name: string,
  content: Uint8Array,
): Promise<void> {
  const aside = join(directory, `${name}.new`);
  await writeWhole(fileSystem, aside, content);
  await fileSystem.rename(aside, join(directory, name));
  await fileSystem.syncDirectory(directory);
}
