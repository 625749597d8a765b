import { closeSync, openSync, readSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ClientDocument } from '../../api/contract/clients.ts';
import { ROOT_PARTITION } from '../guest-image/disk.ts';
import type { BootLab } from './boot-lab.ts';
import { BOOT_NEEDS } from './boot-needs.ts';
import type { GuestReport, Machine } from './machine.ts';
import { finishAsync } from './process-run.ts';
import type { Requirements } from './requirements.ts';
import { expectedSum, longestPauseMs, StampWriter } from './stamps.ts';

const RESUME_TIMEOUT_MS = 600_000;
const WHOLE_TIMEOUT_MS = 240_000;
const ROUND_TIMEOUT_MS = 600_000;
const READ_OUT_TIMEOUT_MS = 300_000;
/** Blocks acknowledged between two kills, at least. */
const STEADY_BLOCKS = 20;

const READ_OUT_PACKAGES = ['e2fsprogs', 'qemu-block-extra', 'qemu-utils'];

/** A machine, and what reads its disk from outside. */
export const KILLS_NEEDS: Requirements = {
  ...BOOT_NEEDS,
  commands: [...(BOOT_NEEDS.commands ?? []), 'qemu-img', 'e2fsck'],
  files: [...(BOOT_NEEDS.files ?? []), '/usr/lib/x86_64-linux-gnu/qemu/block-iscsi.so'],
  enableWith: `${BOOT_NEEDS.enableWith}; apt-get install ${READ_OUT_PACKAGES.join(' ')}`,
};

export interface KillsOptions {
  readonly client: ClientDocument;
  /** It runs, and has said so. */
  readonly machine: Machine;
  readonly ready: GuestReport;
  /** How often the node that serves the disk is killed, one after the other has come back. */
  readonly kills: number;
  readonly say: (line: string) => void;
  /** Looks at the machine while it writes on without the node killed; that node is started again afterwards. */
  readonly whileDown?: (killed: string) => Promise<void>;
  /** Looks at the machine while it writes and every copy is up to date again. */
  readonly whenWhole?: () => Promise<void>;
}

export interface KillsFigures {
  readonly pausesMs: readonly number[];
  /** Blocks written one by one, each flushed. */
  readonly blocks: number;
  /** Rounds of fio, each written and read back. */
  readonly rounds: number;
  readonly uptimeSeconds: number;
}

/**
 * A machine runs on its disk, ext4, under fio and a writer of numbered blocks, while the node that serves it is killed
 * again and again. Then everything is looked at: the boot id, every numbered block, fio's own checks, and, the machine
 * powered off, the file system by e2fsck from outside, through the LUN.
 * @throws Error at the first thing that is not as it must be
 */
export async function killUnderMachine(boot: BootLab, options: KillsOptions): Promise<KillsFigures> {
  const { machine, ready, say } = options;
  try {
    await machine.ask('fio-start', /BOOTFABRIC-GUEST fio-started/, RESUME_TIMEOUT_MS);
    const { end, pausesMs } = await writeThroughKills(boot, options);
    const after = await machine.status();
    expectUnbroken(ready, after);
    const sum = await machine.sum();
    if (sum !== expectedSum(end)) throw new Error(`not every one of ${end} numbered blocks is there`);
    say(`${end} numbered blocks are all there, and the machine was never rebooted`);
    const rounds = await endFio(machine);
    say(`fio wrote and verified ${rounds} rounds, and the last once more from the disk`);
    await machine.ask('still', /BOOTFABRIC-GUEST still$/, RESUME_TIMEOUT_MS);
    await machine.powerOff();
    say(await checkFromOutside(boot, options.client));
    return { pausesMs, blocks: end, rounds, uptimeSeconds: after.uptimeSeconds };
  } catch (error) {
    const seen = `-- console\n${machine.console.tail()}\n${boot.cluster.allLogTails()}`;
    throw new Error(`${String(error)}\n${seen}`, { cause: error });
  } finally {
    await machine.powerOff();
  }
}

async function writeThroughKills(boot: BootLab, options: KillsOptions) {
  const { client, machine, kills, say } = options;
  const { cluster } = boot;
  const writer = new StampWriter(machine.console, 0);
  await writer.more(STEADY_BLOCKS, RESUME_TIMEOUT_MS);
  const pausesMs: number[] = [];
  for (let kill = 1; kill <= kills; kill++) {
    const { primary } = await cluster.lunOf(client.name);
    const before = writer.acknowledged().length;
    await cluster.killNode(primary);
    // What was acknowledged in the same instant does not count as having come back.
    await writer.more(STEADY_BLOCKS, RESUME_TIMEOUT_MS);
    const pauseMs = longestPauseMs(writer.acknowledged(), before);
    pausesMs.push(pauseMs);
    say(`kill ${kill} of ${kills}: ${primary}, pause ${(pauseMs / 1000).toFixed(2)} s`);
    await options.whileDown?.(primary);
    cluster.startNode(primary);
    await cluster.waitUntilWhole(WHOLE_TIMEOUT_MS);
    await options.whenWhole?.();
  }
  const { end } = await writer.stop(RESUME_TIMEOUT_MS);
  return { end, pausesMs };
}

function expectUnbroken(first: GuestReport, after: GuestReport): void {
  if (after.bootId !== first.bootId || after.uptimeSeconds <= first.uptimeSeconds) {
    throw new Error(`the machine was rebooted: ${JSON.stringify(first)}, then ${JSON.stringify(after)}`);
  }
}

async function endFio(machine: Machine): Promise<number> {
  const { match } = await machine.ask(
    'fio-stop',
    /BOOTFABRIC-GUEST fio rounds=(\d+) (verified|WRONG)/,
    ROUND_TIMEOUT_MS,
  );
  if (match[2] !== 'verified') throw new Error('fio read something else than it had written');
  const rounds = Number(match[1]);
  if (rounds < 1) throw new Error('fio has not ended a single round');
  return rounds;
}

/**
 * Reads the whole LUN with an initiator of its own and has e2fsck look at its root.
 * @returns what e2fsck says @throws Error when it is not clean
 */
async function checkFromOutside(boot: BootLab, client: ClientDocument): Promise<string> {
  const disk = join(boot.folder, `${client.name}.raw`);
  const source = [
    ...['driver=iscsi', 'transport=tcp', `portal=${client.portal}`, `target=${client.targetName}`, 'lun=0'],
    `initiator-name=${client.initiatorName}`,
  ].join(',');
  const args = ['convert', '--image-opts', source, '-O', 'raw', disk];
  const [program, all] = boot.lab.commandAt(boot.site, 'qemu-img', args);
  const read = await finishAsync(program, all, READ_OUT_TIMEOUT_MS);
  if (read.status !== 0) throw new Error(`qemu-img could not read the disk: ${read.stderr}`);
  const root = join(boot.folder, `${client.name}.ext4`);
  writeFileSync(root, partOf(disk, ROOT_PARTITION));
  const { status, stdout, stderr } = await finishAsync('e2fsck', ['-f', '-n', root], READ_OUT_TIMEOUT_MS);
  if (status !== 0) throw new Error(`e2fsck ended with ${status}: ${stdout}${stderr}`);
  return `e2fsck from outside: ${stdout.trim().split('\n').at(-1) ?? ''}`;
}

function partOf(file: string, part: { readonly startBytes: number; readonly sizeBytes: number }): Uint8Array {
  const bytes = new Uint8Array(part.sizeBytes);
  const handle = openSync(file, 'r');
  try {
    const length = readSync(handle, bytes, 0, bytes.length, part.startBytes);
    if (length !== bytes.length) throw new Error(`${file} ends before its partition does`);
  } finally {
    closeSync(handle);
  }
  return bytes;
}
