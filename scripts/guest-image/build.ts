import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { makeDisk } from './disk.ts';
import { kernelVersion, makeInitramfs } from './initramfs.ts';
import { unpackGuestPackages } from './packages.ts';

/** Programs and files the builder needs, and the Debian packages that bring them. */
export const GUEST_IMAGE_NEEDS = {
  commands: ['apt-get', 'dpkg', 'cpio', 'depmod', 'mke2fs', 'mkfs.vfat', 'mcopy', 'grub-mkimage'],
  files: ['/usr/lib/grub/i386-pc/boot.img', '/usr/lib/grub/x86_64-efi/modinfo.sh', '/bin/busybox'],
  packages: [
    'busybox-static',
    'cpio',
    'dosfstools',
    'e2fsprogs',
    'grub-efi-amd64-bin',
    'grub-pc-bin',
    'kmod',
    'mtools',
  ],
} as const;

export interface GuestImageOptions {
  /** Where finished images are kept. Default: node_modules/.cache/bootfabric of the project. */
  readonly cacheFolder?: string;
}

/** The path of the guest's raw disk image, built unless this version of it is in the cache. */
export function guestImage(options: GuestImageOptions = {}): string {
  const project = projectFolder();
  const sources = join(project, 'scripts/guest-image');
  const cacheFolder = options.cacheFolder ?? join(project, 'node_modules/.cache/bootfabric');
  const hash = createHash('sha256');
  for (const name of readdirSync(sources).sort()) hash.update(readFileSync(join(sources, name)));
  const finished = join(cacheFolder, `guest-${hash.digest('hex').slice(0, 16)}.raw`);
  if (existsSync(finished)) return finished;
  mkdirSync(cacheFolder, { recursive: true });
  const folder = mkdtempSync(join(cacheFolder, 'building-'));
  try {
    const unpacked = unpackGuestPackages(folder);
    const kernelFile = join(unpacked, 'boot', `vmlinuz-${kernelVersion(unpacked)}`);
    const initramfs = makeInitramfs(unpacked, sources, folder);
    const disk = join(folder, 'disk.raw');
    makeDisk(disk, { kernelFile, initramfs, agentFile: join(sources, 'agent.sh'), unpacked }, folder);
    renameSync(disk, finished);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return finished;
}

/** The nearest folder above this file that holds the package.json: the same from the sources and from dist. */
function projectFolder(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json'))) {
    if (dirname(folder) === folder) throw new Error('no package.json above the guest image builder');
    folder = dirname(folder);
  }
  return folder;
}
