import { join } from 'node:path';
import { expect } from 'vitest';
import type { TestCluster } from '../../../scripts/lab/cluster.ts';
import type { Lab } from '../../../scripts/lab/lab.ts';
import { Machine } from '../../../scripts/lab/machine.ts';
import { expectedSum, longestPauseMs, StampWriter } from '../../../scripts/lab/stamps.ts';
import { Capture } from '../support/capture.ts';
import { LoginCapture } from '../support/login-capture.ts';
import { expectGolden } from '../support/login-transcript.ts';

const BOOT_TIMEOUT_MS = 180_000;
const RESUME_TIMEOUT_MS = 60_000;
const WHOLE_TIMEOUT_MS = 120_000;
/** Blocks acknowledged before a node is killed, and after, before the next step. */
const STEADY_BLOCKS = 100;

export interface BootCase {
  /** Names the figures. */
  readonly name: string;
  readonly client: string;
  readonly mac: string;
  readonly firmware: 'bios' | 'uefi';
  /** How often the node that serves the disk is killed while the machine writes to it. */
  readonly kills: number;
  /** Folder of the logins to expect of iPXE and open-iscsi, kept as text; undefined: they are not looked at. */
  readonly logins?: string;
}

export interface BootFigures {
  readonly case: string;
  readonly bootSeconds: number;
  readonly rebootSeconds: number;
  readonly blocks: number;
  readonly longestPauseWithoutFailureMs: number;
  readonly medianPauseMs: number;
  readonly worstPauseMs: number;
  readonly pausesMs: readonly number[];
}

/**
 * A machine's whole way: it boots from the cluster, writes, the node that serves it dies in the middle of
 * that, it goes on, nothing acknowledged is missing, and after a reboot its disk is the pristine image.
 */
export async function fiveSteps(
  lab: Lab,
  cluster: TestCluster,
  folder: string,
  boot: BootCase,
): Promise<BootFigures> {
  const capture = new Capture(lab, 'udp port 69 or (tcp dst port 7480 and tcp[tcpflags] & tcp-push != 0)');
  await capture.listening();
  const logins =
    boot.logins === undefined ? undefined : new LoginCapture(lab, join(folder, `${boot.name}.pcap`));
  await logins?.listening();
  const machine = new Machine(lab, { mac: boot.mac, firmware: boot.firmware, folder });
  try {
    const first = await machine.ready(BOOT_TIMEOUT_MS);
    const fetched = await capture.stop();
    const transcripts = (await logins?.stop()) ?? [];
    // The ROM of a card under BIOS is iPXE already; UEFI's own client has to be given one.
    if (boot.firmware === 'uefi') expect(fetched, 'iPXE by TFTP').toMatch(/RRQ "[^"]*snponly\.efi"/);
    expect(fetched, 'a script by HTTP').toMatch(/GET \//);
    expect(first.markerPresent).toBe(false);

    if (boot.logins !== undefined) {
      for (const [by, immediateData] of [
        ['ipxe', 'No'],
        ['open-iscsi', 'Yes'],
      ] as const) {
        const first = transcripts.find((login) => login.includes(`\n    ImmediateData=${immediateData}\n`));
        expectGolden(join(boot.logins, `${by}-${boot.name}.txt`), first ?? 'there was none\n');
      }
    }

    const { run, pausesMs, quietPauseMs } = await writeThroughFailures(cluster, machine, boot);
    const after = await machine.status();
    expect(after.bootId, 'the machine went on without a reboot').toBe(first.bootId);
    expect(after.uptimeSeconds).toBeGreaterThan(first.uptimeSeconds);
    expect(await machine.sum(), 'every block acknowledged is there').toBe(expectedSum(run.end));
    await machine.mark();
    expect((await machine.status()).markerPresent).toBe(true);

    machine.reboot();
    const second = await machine.ready(BOOT_TIMEOUT_MS);
    expect(second.bootId).not.toBe(first.bootId);
    expect(second.markerPresent, 'what was written is gone').toBe(false);
    expect(await machine.sum(), 'the disk is the pristine image').toBe(expectedSum(0));
    const figures: BootFigures = {
      case: boot.name,
      bootSeconds: Number((first.sinceStartMs / 1000).toFixed(1)),
      rebootSeconds: Number((second.sinceStartMs / 1000).toFixed(1)),
      blocks: run.end,
      longestPauseWithoutFailureMs: quietPauseMs,
      medianPauseMs: median(pausesMs),
      worstPauseMs: Math.max(...pausesMs),
      pausesMs,
    };
    console.log(`FIGURES ${JSON.stringify(figures)}`);
    return figures;
  } catch (error) {
    throw new Error(
      `${boot.name}: ${String(error)}\n-- console\n${machine.console.tail()}\n${cluster.allLogTails()}`,
      {
        cause: error,
      },
    );
  } finally {
    await machine.powerOff();
    await capture.stop();
    await logins?.stop();
  }
}

async function writeThroughFailures(cluster: TestCluster, machine: Machine, boot: BootCase) {
  const writer = new StampWriter(machine.console, 0);
  await writer.more(STEADY_BLOCKS, RESUME_TIMEOUT_MS);
  const quietPauseMs = longestPauseMs(writer.acknowledged());
  const pausesMs: number[] = [];
  for (let kill = 0; kill < boot.kills; kill++) {
    const { primary } = await cluster.lunOf(boot.client);
    const before = writer.acknowledged().length;
    await cluster.killNode(primary);
    // What was acknowledged in the same instant does not count as having come back.
    await writer.more(STEADY_BLOCKS, RESUME_TIMEOUT_MS);
    pausesMs.push(longestPauseMs(writer.acknowledged(), before));
    expect((await cluster.lunOf(boot.client)).primary, 'another node serves the disk').not.toBe(primary);
    cluster.startNode(primary);
    await cluster.waitUntilWhole(WHOLE_TIMEOUT_MS);
  }
  return { run: await writer.stop(RESUME_TIMEOUT_MS), pausesMs, quietPauseMs };
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}
