import {
  chmodSync,
  closeSync,
  copyFileSync,
  mkdirSync,
  openSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { detachLibraries } from './elf-detach.ts';
import { copyLibraries } from './libraries.ts';
import { run } from './run.ts';

const SECTOR_BYTES = 512;
const MIB = 1024 * 1024;
const EMBEDDING_START_BYTES = SECTOR_BYTES;
const ESP = { startBytes: 1 * MIB, sizeBytes: 16 * MIB, type: 0xef };
/** The ext4 that is the system's root. */
export const ROOT_PARTITION = { startBytes: 17 * MIB, sizeBytes: 79 * MIB, type: 0x83 };
const DISK_SIZE_BYTES = 96 * MIB;

const LABEL = 'bootfabric';
const ROOT_UUID = '6d0f9a52-30d5-4f2b-9b0c-2f6f1b7f0001';
const DATA_SIZE_BYTES = 2048 * 4096;
const FIO_KEEPS = /^lib(aio|c|m|numa|z)\.so\./;
const CORE_MODULES = [
  'part_msdos',
  'ext2',
  'normal',
  'configfile',
  'linux',
  'search',
  'search_label',
  'boot',
];
const FIND_ROOT = `search --no-floppy --set=root --label ${LABEL}\nset prefix=($root)/boot/grub\n`;
const MENU = `set timeout=0
menuentry guest {
  linux /boot/vmlinuz console=ttyS0,115200 net.ifnames=0 mitigations=off quiet loglevel=4 panic=10
  initrd /boot/initrd.img
}
`;

export interface SystemFiles {
  readonly kernelFile: string;
  readonly initramfs: Uint8Array;
  readonly agentFile: string;
  /** Where fio and its libraries are, as their packages have them. */
  readonly unpacked: string;
}

/** An MBR disk that starts under BIOS (GRUB in the gap) and under UEFI (GRUB on the EFI system partition). */
export function makeDisk(file: string, system: SystemFiles, folder: string): void {
  const esp = makeEsp(folder);
  const root = makeRoot(system, folder);
  const core = join(folder, 'core.img');
  makeGrub('i386-pc', core, ['biosdisk'], folder);
  if (EMBEDDING_START_BYTES + statSync(core).size > ESP.startBytes)
    throw new Error('GRUB does not fit the gap');
  const disk = openSync(file, 'w');
  try {
    writeSync(disk, masterBootRecord(), 0, SECTOR_BYTES, 0);
    // boot.img as shipped loads sector 1, and grub-mkimage wrote into core.img how long it is.
    const parts: readonly (readonly [string, number])[] = [
      [core, EMBEDDING_START_BYTES],
      [esp, ESP.startBytes],
      [root, ROOT_PARTITION.startBytes],
    ];
    for (const [path, offsetBytes] of parts) {
      const bytes = readFileSync(path);
      writeSync(disk, bytes, 0, bytes.length, offsetBytes);
    }
  } finally {
    closeSync(disk);
  }
  truncateSync(file, DISK_SIZE_BYTES);
}

function masterBootRecord(): Uint8Array {
  const sector = new Uint8Array(SECTOR_BYTES);
  sector.set(readFileSync('/usr/lib/grub/i386-pc/boot.img').subarray(0, 440));
  const view = new DataView(sector.buffer);
  view.setUint32(440, 0xb007fab1, true);
  [ESP, ROOT_PARTITION].forEach((partition, index) => {
    const entry = 446 + index * 16;
    // Cylinders, heads and sectors out of range: only the linear numbers count.
    sector.set([0x00, 0xfe, 0xff, 0xff, partition.type, 0xfe, 0xff, 0xff], entry);
    view.setUint32(entry + 8, partition.startBytes / SECTOR_BYTES, true);
    view.setUint32(entry + 12, partition.sizeBytes / SECTOR_BYTES, true);
  });
  sector[446 + 16] = 0x80;
  sector.set([0x55, 0xaa], 510);
  return sector;
}

function makeGrub(format: string, output: string, modules: readonly string[], folder: string): void {
  const config = join(folder, 'early.cfg');
  writeFileSync(config, `${FIND_ROOT}configfile /boot/grub/grub.cfg\n`);
  const args = ['-O', format, '-o', output, '-c', config, '-p', '/boot/grub', ...CORE_MODULES, ...modules];
  run('grub-mkimage', args);
}

function makeEsp(folder: string): string {
  const file = join(folder, 'esp.img');
  const program = join(folder, 'bootx64.efi');
  makeGrub('x86_64-efi', program, ['efi_gop'], folder);
  writeFileSync(file, '');
  truncateSync(file, ESP.sizeBytes);
  run('mkfs.vfat', ['--invariant', '-n', 'ESP', file]);
  run('mmd', ['-i', file, '::EFI', '::EFI/BOOT']);
  run('mcopy', ['-i', file, program, '::EFI/BOOT/BOOTX64.EFI']);
  return file;
}

function makeRoot(system: SystemFiles, folder: string): string {
  const tree = join(folder, 'root');
  for (const name of [
    'bin',
    'sbin',
    'lib',
    'lib64',
    'boot/grub',
    'proc',
    'sys',
    'dev',
    'run',
    'tmp',
    'var/lib/guest',
  ]) {
    mkdirSync(join(tree, name), { recursive: true });
  }
  copyFileSync(system.kernelFile, join(tree, 'boot/vmlinuz'));
  writeFileSync(join(tree, 'boot/initrd.img'), system.initramfs);
  writeFileSync(join(tree, 'boot/grub/grub.cfg'), MENU);
  copyFileSync('/bin/busybox', join(tree, 'bin/busybox'));
  for (const applet of run('/bin/busybox', ['--list']).trim().split('\n')) {
    if (applet !== 'busybox') symlinkSync('busybox', join(tree, 'bin', applet));
  }
  copyFileSync(system.agentFile, join(tree, 'sbin/agent'));
  chmodSync(join(tree, 'sbin/agent'), 0o755);
  addFio(system.unpacked, tree);
  writeFileSync(join(tree, 'var/lib/guest/stamps'), '');
  truncateSync(join(tree, 'var/lib/guest/stamps'), DATA_SIZE_BYTES);
  const file = join(folder, 'root.img');
  const size = `${ROOT_PARTITION.sizeBytes / 1024}k`;
  const extended = `hash_seed=${ROOT_UUID},root_owner=0:0`;
  run('mke2fs', ['-q', '-t', 'ext4', '-d', tree, '-L', LABEL, '-U', ROOT_UUID, '-E', extended, file, size], {
    env: { E2FSPROGS_FAKE_TIME: '1' },
  });
  return file;
}

/** fio without the engines that reach for other storage, whose libraries are eighty times its size. */
function addFio(unpacked: string, tree: string): void {
  const program = join(tree, 'bin/fio');
  writeFileSync(
    program,
    detachLibraries(readFileSync(join(unpacked, 'usr/bin/fio')), (name) => FIO_KEEPS.test(name)),
  );
  chmodSync(program, 0o755);
  copyLibraries(program, unpacked, tree);
}
