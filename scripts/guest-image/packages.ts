import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './run.ts';

/** What fio needs to write to files; further engines would bring a whole storage cluster's libraries. */
const FIO_LIBRARIES = /^(libaio|libc6$|libnuma|zlib)/;

/**
 * Debian packages whose files the guest is made of, unpacked but never installed: a kernel must not be
 * installed on the machine that only builds an image, nor a service started there.
 */
export function unpackGuestPackages(folder: string): string {
  const downloads = join(folder, 'packages');
  const unpacked = join(folder, 'unpacked');
  mkdirSync(downloads, { recursive: true });
  mkdirSync(unpacked, { recursive: true });
  const packages = [...dependencies('linux-image-amd64', /^linux-image-/), 'open-iscsi'];
  packages.push(...dependencies('open-iscsi', /^lib/), 'fio', ...dependencies('fio', FIO_LIBRARIES));
  run('apt-get', ['download', '-qq', ...packages], { cwd: downloads });
  for (const file of readdirSync(downloads)) run('dpkg', ['-x', join(downloads, file), unpacked]);
  return unpacked;
}

/** What a package depends on directly, as far as the name matches. */
function dependencies(name: string, wanted: RegExp): string[] {
  const text = packageRecord(name);
  const found = [...text.matchAll(/^ *\|?(?:Pre)?Depends: (\S+)$/gm)].map((match) => match[1] ?? '');
  const matching = [...new Set(found.filter((candidate) => wanted.test(candidate)))];
  if (matching.length === 0) throw new Error(`no dependency of the package ${name} matches ${wanted.source}`);
  return matching;
}

function packageRecord(name: string): string {
  try {
    return run('apt-cache', ['depends', '--no-recommends', '--no-suggests', name]);
  } catch (error) {
    throw new Error(`no package ${name} is known here; run apt-get update`, { cause: error });
  }
}
