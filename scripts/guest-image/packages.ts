import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './run.ts';

/** What fio needs to write to files; further engines would bring a whole storage cluster's libraries. */
const FIO_LIBRARIES = /^(libaio|libc6$|libnuma|zlib)/;
/** dm-multipath, with the udev that multipathd asks about disks, and what its threads need to be cancelled. */
const MULTIPATH_PACKAGES = ['multipath-tools', 'kpartx', 'dmsetup', 'udev', 'libgcc-s1'];
/** Not the C library, which fio brings, nor what only a running service needs. */
const MULTIPATH_LIBRARIES = /^lib(?!c6|gcc|elogind|crypt)/;

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
  packages.push(...MULTIPATH_PACKAGES, ...allLibraries(MULTIPATH_PACKAGES, MULTIPATH_LIBRARIES));
  run('apt-get', ['download', '-qq', ...new Set(packages)], { cwd: downloads });
  for (const file of readdirSync(downloads)) run('dpkg', ['-x', join(downloads, file), unpacked]);
  return unpacked;
}

/** What a package depends on directly, as far as the name matches. */
function dependencies(name: string, wanted: RegExp): string[] {
  const matching = [...new Set(dependsOn(name).filter((candidate) => wanted.test(candidate)))];
  if (matching.length === 0) throw new Error(`no dependency of the package ${name} matches ${wanted.source}`);
  return matching;
}

/** All that packages need, however far down, as far as the name matches. */
function allLibraries(packages: readonly string[], wanted: RegExp): string[] {
  const found = new Set<string>();
  for (let names = [...packages]; names.length > 0; ) {
    const needed = names.flatMap((name) => dependsOn(name)).filter((name) => wanted.test(name));
    names = [...new Set(needed)].filter((name) => !found.has(name));
    for (const name of names) found.add(name);
  }
  return [...found];
}

function dependsOn(name: string): string[] {
  const text = packageRecord(name);
  return [...text.matchAll(/^ *\|?(?:Pre)?Depends: (\S+)$/gm)].map((match) => match[1] ?? '');
}

function packageRecord(name: string): string {
  try {
    return run('apt-cache', ['depends', '--no-recommends', '--no-suggests', name]);
  } catch (error) {
    throw new Error(`no package ${name} is known here; run apt-get update`, { cause: error });
  }
}
