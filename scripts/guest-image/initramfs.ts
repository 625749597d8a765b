import { chmodSync, copyFileSync, cpSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { copyLibraries } from './libraries.ts';
import { run, runForBytes } from './run.ts';

const MODULES = [
  ...['virtio_pci', 'virtio_net', 'iscsi_tcp', 'iscsi_ibft', 'sd_mod', 'crc32c_generic', 'ext4'],
  ...['dm_multipath', 'dm_service_time', 'scsi_dh_alua'],
];
/** Where the packages have them; all are in /sbin of the guest. */
const PROGRAMS = [
  ...['sbin/iscsid', 'sbin/iscsiadm'],
  ...['sbin/multipathd', 'sbin/kpartx', 'sbin/dmsetup', 'bin/udevadm'],
];
/** What multipathd and udev look for by its path. */
const PLUGINS = [
  ...['prioalua', 'priosysfs', 'prioconst', 'checktur'].map((name) => `lib/multipath/lib${name}.so`),
  'lib/udev/scsi_id',
];
/** What no program names and the C library loads where a thread is cancelled, as multipathd's are. */
const THREAD_LIBRARY = 'lib/x86_64-linux-gnu/libgcc_s.so.1';
const RULES_FOLDER = 'lib/udev/rules.d';
const RULES = ['55-dm', '56-dm-mpath', '60-persistent-storage', '95-dm-notify'];

/** A gzipped cpio archive: busybox, the modules in loading order, open-iscsi, multipath software, libraries, init.sh. */
export function makeInitramfs(unpacked: string, sources: string, folder: string): Buffer {
  const tree = join(folder, 'initramfs');
  for (const name of [
    'bin',
    'sbin',
    'lib',
    'lib64',
    'proc',
    'sys',
    'dev',
    'run',
    'root',
    'modules',
    'etc/iscsi',
  ]) {
    mkdirSync(join(tree, name), { recursive: true });
  }
  cpSync('/bin/busybox', join(tree, 'bin/busybox'), { dereference: true });
  copyFileSync(join(sources, 'init.sh'), join(tree, 'init'));
  chmodSync(join(tree, 'init'), 0o755);
  copyFileSync(join(sources, 'multipath.sh'), join(tree, 'multipath.sh'));
  copyFileSync(join(sources, 'iscsid.conf'), join(tree, 'etc/iscsi/iscsid.conf'));
  // iscsid looks up the name of the user that talks to it.
  writeFileSync(join(tree, 'etc/passwd'), 'root:x:0:0:root:/:/bin/sh\n');
  copyModules(unpacked, tree);
  for (const path of PROGRAMS) addProgram(join(unpacked, path), join(tree, 'sbin', basename(path)));
  for (const path of PLUGINS) addProgram(join(unpacked, path), join(tree, path));
  addProgram(join(unpacked, THREAD_LIBRARY), join(tree, 'lib', basename(THREAD_LIBRARY)));
  mkdirSync(join(tree, RULES_FOLDER), { recursive: true });
  for (const rules of RULES) {
    const path = join(RULES_FOLDER, `${rules}.rules`);
    copyFileSync(join(unpacked, path), join(tree, path));
  }
  function addProgram(from: string, to: string): void {
    mkdirSync(dirname(to), { recursive: true });
    copyFileSync(from, to);
    copyLibraries(to, unpacked, tree);
  }
  run('touch', ['--no-dereference', '--date=@0', ...allPaths(tree)]);
  const names = Buffer.from(run('find', ['.'], { cwd: tree }).trim().split('\n').sort().join('\n'));
  const archive = runForBytes('cpio', ['--quiet', '-o', '-H', 'newc', '--reproducible', '-R', '0:0'], {
    cwd: tree,
    input: names,
  });
  return gzipSync(archive, { level: 9 });
}

export function kernelVersion(unpacked: string): string {
  const [version, ...others] = readdirSync(join(unpacked, 'lib/modules'));
  if (version === undefined || others.length > 0) throw new Error('exactly one kernel is expected');
  return version;
}

function copyModules(unpacked: string, tree: string): void {
  const version = kernelVersion(unpacked);
  run('depmod', ['-b', unpacked, version]);
  const paths = new Set<string>();
  for (const module of MODULES) {
    const lines = run('modprobe', ['-d', unpacked, '-S', version, '--show-depends', module]);
    for (const match of lines.matchAll(/^insmod (\S+)/gm)) paths.add(match[1] ?? '');
  }
  // A module that wants instructions the emulated processor lacks would fail to load; its plain twin is there.
  const wanted = [...paths].filter((path) => !path.includes('/arch/x86/crypto/'));
  for (const path of wanted) copyFileSync(path, join(tree, 'modules', basename(path)));
  writeFileSync(join(tree, 'modules/order'), `${wanted.map((path) => basename(path)).join('\n')}\n`);
}

function allPaths(tree: string): string[] {
  return run('find', [tree]).trim().split('\n');
}
