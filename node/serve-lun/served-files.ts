import { createHash } from 'node:crypto';
import { realpath } from 'node:fs/promises';
import { basename } from 'node:path';
import { OperationError } from '../../base/errors.ts';
import { lunIdentity } from '../portal/lun-identity.ts';
import type { ServeLunOptions } from './options.ts';
import type { ServedFile } from './worker-protocol.ts';
import { findSource, type SourceFile, WritesDirectory } from './writes-directory.ts';

const TARGET_PREFIX = 'iqn.2026-11.net.bootfabric:serve-lun';
const MAX_NAME_LENGTH = 64;

export interface PreparedFile {
  readonly served: ServedFile;
  readonly writes: WritesDirectory;
}

/**
 * Checks every file, then takes hold of their writes directories. Files are dealt out to the workers in turn.
 * @throws OperationError; nothing that was not there before is left then
 */
export async function prepareFiles(options: ServeLunOptions): Promise<PreparedFile[]> {
  const sources: SourceFile[] = [];
  for (const given of options.files) {
    const found = await findSource(given);
    const path = await realpath(given);
    if (sources.some((source) => source.path === path)) throw givenTwice(given);
    sources.push({ ...found, path });
  }
  const prepared: PreparedFile[] = [];
  const names = new Set<string>();
  try {
    for (const [i, source] of sources.entries()) {
      const writes = await WritesDirectory.open(source, options.writes, options.writeLog);
      const served = describe(source, writes.path, unusedName(source.path, names), i % options.workers);
      prepared.push({ served, writes });
      names.add(served.targetName);
    }
  } catch (error) {
    for (const { writes } of prepared) await writes.close(false);
    throw error;
  }
  return prepared;
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

function givenTwice(file: string): OperationError {
  return new OperationError(`${file} is given twice`, {
    kind: 'invalid',
    code: 'file-twice',
    got: file,
    accepted: 'each file once',
  });
}
