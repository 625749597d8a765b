import { join } from 'node:path';
import { type FileSystem, isMissing } from '../log/file-system.ts';
import { MAX_SET_ASIDE } from './limits.ts';

/**
 * Puts a group's damaged copy out of the way, its id with it, where an administrator can still look at it. Only the
 * newest few of a group are kept. The directory goes before the meta file: a crash between the two leaves a meta
 * file without a log, which is found to be damaged in turn, and never a log without what is known of it.
 */
export async function setAsideCopy(
  fileSystem: FileSystem,
  groupsDirectory: string,
  groupId: string,
  wallMs: number,
): Promise<void> {
  const prefix = `.damaged-${groupId}-`;
  const name = `${prefix}${String(Math.floor(wallMs)).padStart(15, '0')}`;
  const earlier = (await fileSystem.list(groupsDirectory)).filter(
    (entry) => entry.startsWith(prefix) && /^\d{15}$/.test(entry.slice(prefix.length)),
  );
  for (const entry of earlier.sort().slice(0, Math.max(0, earlier.length - (MAX_SET_ASIDE - 1)))) {
    await fileSystem.removeTree(join(groupsDirectory, entry));
    await fileSystem.removeTree(join(groupsDirectory, `${entry}.meta`));
  }
  await renameIfThere(fileSystem, join(groupsDirectory, groupId), join(groupsDirectory, name));
  await fileSystem.syncDirectory(groupsDirectory);
  const meta = join(groupsDirectory, `${groupId}.meta`);
  await renameIfThere(fileSystem, meta, join(groupsDirectory, `${name}.meta`));
  await fileSystem.syncDirectory(groupsDirectory);
}

async function renameIfThere(fileSystem: FileSystem, from: string, to: string): Promise<void> {
  try {
    await fileSystem.rename(from, to);
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
}
