import { createHash } from 'node:crypto';
import { realpath, stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { OperationError } from '../../base/errors.ts';
import { lunIdentity } from '../portal/lun-identity.ts';
import type { ServeLunOptions } from './options.ts';
import { findSource, type HeldSource, holdSource, type SourceFile } from './source-file.ts';
import type { ServedFile } from './worker-protocol.ts';
import { WritesDirectory, writesPath } from './writes-directory.ts';

const TARGET_PREFIX = 'iqn.2026-11.net.bootfabric:serve-lun';
const MAX_NAME_LENGTH = 64;

export interface PreparedFile {
  readonly served: ServedFile;
  readonly writes: WritesDirectory;
  readonly held: HeldSource;
}

/** A file as it was named on the command line. */
interface NamedFile {
  readonly given: string;
  /** Without links. */
  readonly path: string;
  /** What all names of one file have in common. */
  readonly inode: string;
}

/**
 * Checks every file, then takes hold of them and of their writes directories. Files are dealt out to the workers in turn.
 * @throws OperationError; nothing that was not there before is left then
 */
export async function prepareFiles(options: ServeLunOptions): Promise<PreparedFile[]> {
  const files: NamedFile[] = [];
  for (const given of options.files) files.push(await nameFile(given, files));
  refuseCommonWrites(files, options);
  const prepared: PreparedFile[] = [];
  const names = new Set<string>();
  try {
    for (const [i, { path }] of files.entries()) {
      const name = unusedName(path, names);
      prepared.push(await prepare(path, name, i % options.workers, options));
      names.add(name);
    }
  } catch (error) {
    for (const file of prepared) await letGo(file, false);
    throw error;
  }
  return prepared;
}

/** The run is over. @param served false when it came to nothing */
export async function letGo({ writes, held }: PreparedFile, served: boolean): Promise<void> {
  await writes.close(served);
  await held.release();
}

async function prepare(
  path: string,
  targetName: string,
  worker: number,
  { writes: mode, writeLog }: ServeLunOptions,
): Promise<PreparedFile> {
  const held = await holdSource(path, mode);
  try {
    const writes = await WritesDirectory.open(held.source, mode, writeLog);
    return { served: describe(held.source, writes.path, targetName, worker), writes, held };
  } catch (error) {
    await held.release();
    throw error;
  }
}

async function nameFile(given: string, earlier: readonly NamedFile[]): Promise<NamedFile> {
  await findSource(given);
  // Whole: where numbers of inodes are large, a number would make two of them one.
  const { dev, ino } = await stat(given, { bigint: true });
  const inode = `${dev}:${ino}`;
  const same = earlier.find((file) => file.inode === inode);
  if (same !== undefined) throw givenTwice(given, same.given);
  return { given, path: await realpath(given), inode };
}

/** Each file has a log of its own. */
function refuseCommonWrites(files: readonly NamedFile[], { writes, writeLog }: ServeLunOptions): void {
  // What is discarded is kept in a directory that is new.
  if (writes === 'discard' || writeLog === undefined) return;
  const owners = new Map<string, NamedFile>();
  for (const file of files) {
    const path = writesPath(file, writeLog);
    const owner = owners.get(path);
    if (owner !== undefined) throw commonWrites([owner, file], path, writeLog);
    owners.set(path, file);
  }
}

function describe(
  { path, sizeBytes }: SourceFile,
  writesDirectory: string,
  targetName: string,
  worker: number,
): ServedFile {
  const identity = lunIdentity(`serve-lun/${createHash('sha256').update(path).digest('hex')}`, 0);
  return { path, sizeBytes, writesDirectory, targetName, identity, worker };
}

/** An iSCSI name has lower-case letters, digits, "-", "." and ":" (RFC 7143 §4.2.7.1). */
function unusedName(path: string, names: ReadonlySet<string>): string {
  const plain = basename(path)
    .toLowerCase()
    .replace(/[^a-z0-9.]+/g, '-')
    .slice(0, MAX_NAME_LENGTH);
  for (let n = 1; ; n++) {
    const name = `${TARGET_PREFIX}:${plain}${n === 1 ? '' : `-${n}`}`;
    if (!names.has(name)) return name;
  }
}

function givenTwice(file: string, earlier: string): OperationError {
  const message =
    file === earlier
      ? `${file} is given twice`
      : `${file} and ${earlier} are names of the same file, which is given twice`;
  return new OperationError(message, {
    kind: 'invalid',
    code: 'file-twice',
    got: file,
    accepted: 'each file once, by one of its names',
  });
}

function commonWrites(
  [one, other]: readonly [NamedFile, NamedFile],
  path: string,
  writeLog: string,
): OperationError {
  return new OperationError(
    `writes to ${one.given} and to ${other.given} would both be kept in ${path}, as the files have one name`,
    {
      kind: 'invalid',
      code: 'writes-clash',
      got: `--write-log ${writeLog}`,
      accepted:
        'files of different names; or no --write-log, to keep writes beside each file; or a command of its own for each, with another --write-log; or --writes discard',
    },
  );
}
