import { ROOT_PARTITION } from '../guest-image/disk.ts';
import type { BootLab } from './boot-lab.ts';
import type { DiskRead } from './disk-sessions.ts';
import { DiskWatch } from './disk-watch.ts';
import type { GuestReport, Machine } from './machine.ts';

const BOOT_TIMEOUT_MS = 600_000;
const WHOLE_TIMEOUT_MS = 240_000;
const MIB = 1024 * 1024;

export type BootMoment = 'while iPXE reads' | 'while GRUB reads';
export const BOOT_MOMENTS: readonly BootMoment[] = ['while iPXE reads', 'while GRUB reads'];

interface Reading {
  /** Whether a read is one that shows who is at work. */
  readonly isTheirs: (read: DiskRead) => boolean;
  /** How much of those reads the node answers before it is killed. */
  readonly afterBytes: number;
}

/**
 * All is read by iPXE, for whoever asks it; who that is shows in what is read. What iPXE itself starts lies before the root
 * partition: the boot sector and GRUB behind it, or the EFI system partition. Then GRUB opens its files on the root
 * partition and reads a kernel of 8 MiB and as much of an initial file system.
 */
const READINGS: Readonly<Record<BootMoment, Reading>> = {
  'while iPXE reads': { isTheirs: isBeforeRoot, afterBytes: 1 },
  'while GRUB reads': { isTheirs: (read) => !isBeforeRoot(read), afterBytes: 2 * MIB },
};

export interface KilledBoot {
  /** The node killed. */
  readonly killed: string;
  /** What iPXE had read from that node in this moment, and from the next one afterwards, in bytes. */
  readonly readBefore: number;
  readonly readAfter: number;
  /** From the kill until the next read of this moment was answered. */
  readonly pauseMs: number;
  /** From power-on or reset until the guest's system ran. */
  readonly bootMs: number;
  readonly report: GuestReport;
}

/**
 * A machine begins to boot and the node that serves it is killed while it reads its disk. It must go on without being
 * reset, its reads answered by another node: its firmware shows itself only once.
 * @param begin powers the machine on, or resets it
 * @throws Error when it does not, and when the kill did not come between two reads of that moment
 */
export async function bootThroughKill(
  boot: BootLab,
  options: { readonly mac: string; readonly firmware: 'bios' | 'uefi'; readonly begin: () => Machine },
  moment: BootMoment,
): Promise<KilledBoot> {
  const { cluster, lab } = boot;
  const { isTheirs, afterBytes } = READINGS[moment];
  const watch = new DiskWatch(lab, options.mac);
  await watch.listening();
  const beganMs = performance.now();
  const machine = options.begin();
  const firstLine = machine.console.lines.length;
  const readFrom = (isNode: (mac: string) => boolean): number =>
    watch.sessions.all
      .filter(({ initiator, servedBy }) => initiator === 'ipxe' && servedBy !== undefined && isNode(servedBy))
      // It has one command under way at a time: all but the last are answered.
      .flatMap(({ reads }) => reads.slice(0, -1).filter(isTheirs))
      .reduce((total, { sizeBytes }) => total + sizeBytes, 0);
  let killed: string | undefined;
  try {
    const isReading = (): boolean => readFrom(() => true) >= afterBytes;
    await watch.until(`reads ${moment}`, isReading, BOOT_TIMEOUT_MS);
    const mac = watch.sessions.all.findLast(({ initiator }) => initiator === 'ipxe')?.servedBy;
    killed = boot.nodes.find((node) => lab.macOf(node) === mac);
    if (killed === undefined) throw new Error(`no node has the MAC ${mac}`);
    const killedMs = performance.now();
    await cluster.killNode(killed);
    const isAnother = (servedBy: string): boolean => servedBy !== mac;
    const isAnswered = (): boolean => readFrom(isAnother) > 0;
    await watch.until('reads answered by another node', isAnswered, BOOT_TIMEOUT_MS);
    const pauseMs = performance.now() - killedMs;
    const readBefore = readFrom((servedBy) => servedBy === mac);
    const { sinceStartMs: _, ...report } = await machine.ready(BOOT_TIMEOUT_MS);
    const bootMs = performance.now() - beganMs;
    const starts = machine.console.lines
      .slice(firstLine)
      .filter(({ text }) => FIRMWARE_START[options.firmware].test(text)).length;
    if (starts !== 1) throw new Error(`the machine began ${starts} times`);
    return { killed, readBefore, readAfter: readFrom(isAnother), pauseMs, bootMs, report };
  } catch (error) {
    const seen = `-- disk\n${watch.summary()}\n-- console\n${machine.console.tail()}\n${cluster.allLogTails()}`;
    throw new Error(`killed ${moment}: ${String(error)}\n${seen}`, { cause: error });
  } finally {
    await watch.stop();
    if (killed !== undefined && !cluster.isRunning(killed)) cluster.startNode(killed);
    await cluster.waitUntilWhole(WHOLE_TIMEOUT_MS);
  }
}

function isBeforeRoot({ startBytes }: DiskRead): boolean {
  return startBytes < ROOT_PARTITION.startBytes;
}

/** What each firmware says when a machine begins, and never after that. */
const FIRMWARE_START = { bios: /SeaBIOS \(version/, uefi: /BdsDxe: starting Boot.*PXEv4/ };
