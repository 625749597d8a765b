import type { BootLab } from './boot-lab.ts';
import { FrameWatch, type SeenFrame } from './frame-watch.ts';
import type { GuestReport, Machine } from './machine.ts';

const BOOT_TIMEOUT_MS = 600_000;
const WHOLE_TIMEOUT_MS = 240_000;
/** How much of the program has come when the node is killed: a good part of it, and by far not all. */
const PROGRAM_BYTES = 40_000;
/** The whole program takes ten seconds then. */
const SLOW_KILOBITS = 128;

export type FetchMoment = 'while firmware fetches iPXE' | 'while iPXE fetches its script';

/** What becomes of the node: its process ends, or stands still, its connections open. */
export type Fate = 'killed' | 'hung';

export interface BrokenFetch {
  readonly lost: string;
  /** What the machine asked another node for afterwards. */
  readonly askedNext: string;
  /** From power-on until the guest's system ran. */
  readonly bootMs: number;
  /** What the firmware said that it does, in order. */
  readonly firmwareSaid: readonly string[];
  readonly report: GuestReport;
}

interface Blow {
  /** What is asked for in this moment, as it stands in the question. */
  readonly asking: RegExp;
  /** Of the frames that are watched. */
  readonly filter: string;
  /** Before the machine is powered on, and undone when the node is lost. */
  readonly prepare: () => void;
  readonly undo: () => void;
  /** Waits for the moment. @returns the node that the machine depends on */
  readonly strikeAt: (watch: FrameWatch) => Promise<string>;
}

/**
 * A machine is powered on and a node lost while it sends what the machine boots with, or is to.
 * @throws Error when the machine does not boot from the others
 */
export async function bootThroughBrokenFetch(
  boot: BootLab,
  options: {
    readonly mac: string;
    /** Reserved for the machine. */
    readonly address: string;
    readonly firmware: 'bios' | 'uefi';
    readonly begin: () => Machine;
  },
  moment: FetchMoment,
  fate: Fate,
): Promise<BrokenFetch> {
  const { cluster, lab } = boot;
  const { asking, filter, prepare, undo, strikeAt } = BLOWS[moment](boot, options.address);
  const watch = new FrameWatch(lab, filter);
  let machine: Machine | undefined;
  let lost: string | undefined;
  try {
    await watch.listening;
    const beganMs = performance.now();
    prepare();
    try {
      machine = options.begin();
      lost = await strikeAt(watch);
      if (fate === 'killed') await cluster.killNode(lost);
      else cluster.signalNode(lost, 'SIGSTOP');
    } finally {
      undo();
    }
    const dead = cluster.addressOf(lost);
    // Or the dead one has answered what iPXE asked it.
    const isNext = ({ fromAddress, toAddress, text }: SeenFrame): boolean =>
      fromAddress === dead
        ? text.includes('HTTP/1.1 200')
        : fromAddress === options.address && toAddress !== dead && asking.test(text);
    const next = await watch.until('a question to another node', isNext, BOOT_TIMEOUT_MS);
    if (next.fromAddress === dead) throw new Error(`${lost} was ${fate} too late: it had answered`);
    const { sinceStartMs: _, ...report } = await machine.ready(BOOT_TIMEOUT_MS);
    const bootMs = Math.round(performance.now() - beganMs);
    const askedNext = asking.exec(next.text)?.[0] ?? '';
    return { lost, askedNext, bootMs, firmwareSaid: firmwareLines(machine), report };
  } catch (error) {
    const seen = `-- console\n${machine?.console.tail() ?? ''}\n${cluster.allLogTails()}`;
    throw new Error(`${fate} ${moment}: ${String(error)}\n${seen}`, { cause: error });
  } finally {
    await watch.stop();
    if (lost !== undefined) {
      if (cluster.isRunning(lost)) await cluster.killNode(lost);
      cluster.startNode(lost);
    }
    await cluster.waitUntilWhole(WHOLE_TIMEOUT_MS);
  }
}

/** A machine says the first of these once for each time it begins; UEFI then says which entries it tries and starts. */
const FIRMWARE = /SeaBIOS \(version|BdsDxe: \w+ .*/;

function firmwareLines({ console }: Machine): string[] {
  return console.lines.flatMap(({ text }) => FIRMWARE.exec(text)?.[0] ?? []);
}

const BLOWS: Readonly<Record<FetchMoment, (boot: BootLab, address: string) => Blow>> = {
  // By TFTP, slowly; what follows the request has ports of its own.
  'while firmware fetches iPXE': ({ cluster, lab, nodes }, address) => ({
    asking: /GET \/files\/\S+|snponly\.efi/,
    filter: `host ${address} and (udp or tcp port 7480)`,
    prepare: () => lab.setMachineSpeed(SLOW_KILOBITS),
    undo: () => lab.setMachineSpeed(undefined),
    strikeAt: async (watch) => {
      let sentBytes = 0;
      const isEnough = ({ toAddress, sizeBytes }: SeenFrame): boolean => {
        if (toAddress === address) sentBytes += sizeBytes;
        return toAddress === address && sentBytes >= PROGRAM_BYTES;
      };
      const { fromAddress } = await watch.until('a part of iPXE', isEnough, BOOT_TIMEOUT_MS);
      const sender = nodes.find((node) => cluster.addressOf(node) === fromAddress);
      if (sender === undefined) throw new Error(`no node has the address ${fromAddress}`);
      return sender;
    },
  }),
  // The one node that can be reached is asked, and cannot answer, since it has no majority. Then the others come back.
  'while iPXE fetches its script': ({ cluster, lab, nodes: [asked = '', ...others] }, address) => ({
    asking: /GET \/boot\//,
    filter: `host ${address} and tcp port 7480`,
    prepare: () => others.forEach((other) => lab.plug(other, false)),
    undo: () => others.forEach((other) => lab.plug(other, true)),
    strikeAt: async (watch) => {
      const isQuestion = ({ toAddress, text }: SeenFrame): boolean =>
        toAddress === cluster.addressOf(asked) && /GET \/boot\//.test(text);
      await watch.until('a question for the script of a disk', isQuestion, BOOT_TIMEOUT_MS);
      return asked;
    },
  }),
};
