import { FULL_DHCP, startBootLab } from '../lab/boot-lab.ts';
import { BOOT_NEEDS } from '../lab/boot-needs.ts';
import type { TestCluster } from '../lab/cluster.ts';
import { type GuestReport, Machine } from '../lab/machine.ts';
import { missingRequirements } from '../lab/requirements.ts';
import { expectedSum, longestPauseMs, StampWriter } from '../lab/stamps.ts';

const CLIENT = 'machine';
const MAC = '52:54:00:bf:01:01';
const BOOT_TIMEOUT_MS = 300_000;
const RESUME_TIMEOUT_MS = 60_000;
/** Blocks acknowledged before the kill, and after it. */
const STEADY_BLOCKS = 200;

/**
 * The demo with a real machine: QEMU without a disk, three nodes in network namespaces of their own.
 * @returns 0 when it went on without a reboot and lost nothing, 1 when not or when something is missing
 */
export async function runMachineDemo(options: { readonly keep: boolean }): Promise<number> {
  const missing = missingRequirements(BOOT_NEEDS);
  if (missing.length > 0) {
    console.error(`demo --vm: this host lacks ${missing.join(', ')}\n  ${BOOT_NEEDS.enableWith}`);
    return 1;
  }
  console.log('bootfabric demo: three nodes in network namespaces, one QEMU machine without a disk\n');
  say('making the guest image (once) and starting the nodes');
  const lab = await startBootLab(FULL_DHCP);
  const remove = async (): Promise<void> => {
    await lab.remove();
    process.exit(130);
  };
  const interrupted = (): void => void remove();
  process.once('SIGINT', interrupted);
  process.once('SIGTERM', interrupted);
  try {
    await lab.cluster.addClient(CLIENT, MAC, lab.image);
    say(`client "${CLIENT}" is registered as ${MAC}`);
    const machine = new Machine(lab.lab, { mac: MAC, firmware: 'bios', folder: lab.folder });
    try {
      const ok = await show(lab.cluster, machine);
      if (options.keep) await keepRunning(lab.folder);
      return ok ? 0 : 1;
    } catch (error) {
      console.error(lab.cluster.allLogTails());
      throw error;
    } finally {
      await machine.powerOff();
    }
  } finally {
    process.off('SIGINT', interrupted);
    process.off('SIGTERM', interrupted);
    await lab.remove();
  }
}

async function show(cluster: TestCluster, machine: Machine): Promise<boolean> {
  say('power on: PXE, iPXE, its script, iSCSI, GRUB, kernel');
  const first = await machine.ready(BOOT_TIMEOUT_MS);
  say(`its system runs, its root on iSCSI, ${(first.sinceStartMs / 1000).toFixed(1)} s after power-on`);
  const writer = new StampWriter(machine.console, 0);
  await writer.more(STEADY_BLOCKS, RESUME_TIMEOUT_MS);
  const { primary } = await cluster.lunOf(CLIENT);
  const before = writer.acknowledged().length;
  say(`it has written ${before} blocks; node ${primary}, which serves its disk, is killed with SIGKILL`);
  await cluster.killNode(primary);
  await writer.more(STEADY_BLOCKS, RESUME_TIMEOUT_MS);
  const pauseMs = longestPauseMs(writer.acknowledged(), before);
  const { primary: now } = await cluster.lunOf(CLIENT);
  say(`it goes on from node ${now} after a pause of ${(pauseMs / 1000).toFixed(2)} s`);
  const { end } = await writer.stop(RESUME_TIMEOUT_MS);
  const after = await machine.status();
  const isWhole = (await machine.sum()) === expectedSum(end);
  say(
    `${end} blocks were acknowledged; read back from the disk they are ${isWhole ? 'all there' : 'NOT all there'}`,
  );
  const wentOn = after.bootId === first.bootId;
  say(`up for ${after.uptimeSeconds.toFixed(0)} s, ${wentOn ? 'never rebooted' : 'REBOOTED meanwhile'}`);
  await machine.mark();
  machine.reboot();
  say('reboot');
  const second = await machine.ready(BOOT_TIMEOUT_MS);
  const isPristine = !second.markerPresent && (await machine.sum()) === expectedSum(0);
  say(`its disk is ${isPristine ? 'the pristine image again' : 'NOT the pristine image'}`);
  printTable(first, pauseMs, end, { isWhole, wentOn, isPristine });
  return isWhole && wentOn && isPristine;
}

function printTable(
  first: GuestReport & { readonly sinceStartMs: number },
  pauseMs: number,
  blocks: number,
  verdict: { readonly isWhole: boolean; readonly wentOn: boolean; readonly isPristine: boolean },
): void {
  const answer = (good: boolean): string => (good ? 'yes' : 'NO');
  const rows = [
    ['power-on to mounted root', `${(first.sinceStartMs / 1000).toFixed(1)} s`],
    ['pause when its node was killed', `${(pauseMs / 1000).toFixed(2)} s`],
    ['blocks acknowledged', String(blocks)],
    ['all of them there', answer(verdict.isWhole)],
    ['went on without a reboot', answer(verdict.wentOn)],
    ['pristine after a reboot', answer(verdict.isPristine)],
  ];
  console.log('');
  for (const [what, value] of rows) console.log(`  ${(what ?? '').padEnd(32)}${value}`);
}

async function keepRunning(folder: string): Promise<void> {
  console.log(`\nThe cluster and the machine stay up until you interrupt this (Ctrl-C).`);
  console.log(`  ip netns list     the network namespaces\n  ${folder}     logs, and cluster/admin.json`);
  await new Promise<never>(() => {});
}

const startedMs = performance.now();

function say(text: string): void {
  console.log(`  ${((performance.now() - startedMs) / 1000).toFixed(1).padStart(6)} s  ${text}`);
}
