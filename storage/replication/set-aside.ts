import { join } from 'node:path';
import { crc32c } from '../../base/crc32c.ts';
import { ProtocolError } from '../../base/errors.ts';
import { type FileSystem, isMissing, isNoSpace } from '../log/file-system.ts';
import { readLives } from './directory-lives.ts';
import { readDiskId } from './disk-identity.ts';
import { decodeGroupMeta } from './group-meta.ts';
import { MAX_SET_ASIDE } from './limits.ts';

/** Beside the log of a copy that was set aside. */
const NOTE_FILE = 'set-aside.note';
const NOTE_VERSION = 1;

/** A copy that was set aside: nobody opens it again, but for an administrator who puts it back. */
export interface CopySetAside {
  readonly disk: string;
  /** The highest epoch that any process over this copy has answered under. */
  readonly epoch: number;
  readonly processes: readonly string[];
  /** What the cluster may know its directory by. */
  readonly lives: readonly string[];
}

export interface SetAsideOptions {
  readonly fileSystem: FileSystem;
  /** Holds one directory for each portal group. */
  readonly groupsDirectory: string;
  readonly groupId: string;
  readonly wallMs: number;
  /** This process, and the one of this node that it knows to be registered. */
  readonly processes: readonly string[];
}

/**
 * Puts a group's damaged copy out of the way, its id with it, where an administrator can still look at it. Only the
 * newest few of a group are kept. What is known of the epochs in which it was in use is noted first, in its directory. That
 * goes before the meta file: a crash between the two leaves a meta file without a log, which is found to be damaged in
 * turn, and never a log without what is known of it.
 */
export async function setAsideCopy({
  fileSystem,
  groupsDirectory,
  groupId,
  wallMs,
  processes,
}: SetAsideOptions): Promise<void> {
  const prefix = `.damaged-${groupId}-`;
  const name = `${prefix}${String(Math.floor(wallMs)).padStart(15, '0')}`;
  const earlier = (await fileSystem.list(groupsDirectory)).filter(
    (entry) => entry.startsWith(prefix) && /^\d{15}$/.test(entry.slice(prefix.length)),
  );
  for (const entry of earlier.sort().slice(0, Math.max(0, earlier.length - (MAX_SET_ASIDE - 1)))) {
    await fileSystem.removeTree(join(groupsDirectory, entry));
    await fileSystem.removeTree(join(groupsDirectory, `${entry}.meta`));
  }
  const directory = join(groupsDirectory, groupId);
  const meta = join(groupsDirectory, `${groupId}.meta`);
  await noteEpoch(fileSystem, { directory, meta, processes });
  await renameIfThere(fileSystem, directory, join(groupsDirectory, name));
  await fileSystem.syncDirectory(groupsDirectory);
  await renameIfThere(fileSystem, meta, join(groupsDirectory, `${name}.meta`));
  await fileSystem.syncDirectory(groupsDirectory);
}

/** Copies of a node's groups that were set aside and say how far they had been in use, by group, the newest last. */
export async function copiesSetAside(
  fileSystem: FileSystem,
  groupsDirectory: string,
): Promise<Record<string, CopySetAside[]>> {
  const copies: Record<string, CopySetAside[]> = {};
  for (const entry of (await fileSystem.list(groupsDirectory)).sort()) {
    const groupId = /^\.damaged-(.+)-\d{15}$/.exec(entry)?.[1];
    if (groupId === undefined) continue;
    const directory = join(groupsDirectory, entry);
    const [disk, note] = [await readDiskId(fileSystem, directory), await readNote(fileSystem, directory)];
    if (disk !== undefined && note !== undefined) {
      const lives = await readLives(fileSystem, directory);
      (copies[groupId] ??= []).push({ disk, ...note, lives });
    }
  }
  return copies;
}

type Note = Omit<CopySetAside, 'disk' | 'lives'>;

/** A meta file that cannot be read says nothing; then there is no note. */
async function noteEpoch(
  fileSystem: FileSystem,
  at: { readonly directory: string; readonly meta: string; readonly processes: readonly string[] },
): Promise<void> {
  const path = join(at.directory, NOTE_FILE);
  // That of an earlier time, if the copy has been put back since.
  await fileSystem.removeTree(path);
  const bytes = await readIfThere(fileSystem, at.meta);
  if (bytes === undefined || (await readDiskId(fileSystem, at.directory)) === undefined) return;
  let epoch: number;
  try {
    ({ epoch } = decodeGroupMeta(bytes));
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    return;
  }
  const note: Note = { epoch, processes: at.processes };
  try {
    const file = await fileSystem.create(path);
    try {
      await file.write([encodeNote(note)], 0);
      await file.syncData();
    } finally {
      await file.close();
    }
    await fileSystem.syncDirectory(at.directory);
  } catch (error) {
    // A disk without room must not keep the node from starting: the group then waits as if nothing were known.
    if (!isNoSpace(error)) throw error;
    await fileSystem.removeTree(path);
  }
}

function encodeNote(note: Note): Uint8Array {
  const body = Buffer.from(JSON.stringify(note), 'utf8');
  return Buffer.concat([Buffer.from(`${NOTE_VERSION} ${crc32c(body).toString(16)}\n`, 'latin1'), body]);
}

/** Undefined: there is none, or one that is damaged or of another version. */
async function readNote(fileSystem: FileSystem, directory: string): Promise<Note | undefined> {
  const bytes = await readIfThere(fileSystem, join(directory, NOTE_FILE));
  if (bytes === undefined) return undefined;
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const lineEnd = text.indexOf(10);
  const head = text.subarray(0, Math.max(0, lineEnd)).toString('latin1');
  const body = text.subarray(lineEnd + 1);
  if (head !== `${NOTE_VERSION} ${crc32c(body).toString(16)}`) return undefined;
  return JSON.parse(body.toString('utf8')) as Note;
}

async function readIfThere(fileSystem: FileSystem, path: string): Promise<Uint8Array | undefined> {
  try {
    const file = await fileSystem.open(path);
    try {
      const bytes = new Uint8Array(await file.sizeBytes());
      return bytes.subarray(0, await file.read(bytes, 0));
    } finally {
      await file.close();
    }
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

async function renameIfThere(fileSystem: FileSystem, from: string, to: string): Promise<void> {
  try {
    await fileSystem.rename(from, to);
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
}
