import { setTimeout as sleep } from 'node:timers/promises';
import type { Machine } from './machine.ts';

const ANSWER_TIMEOUT_MS = 120_000;
const SETTLE_TIMEOUT_MS = 300_000;
const LOOK_MS = 500;
const PATH = new RegExp(
  [
    'path (\\S+) portal=(\\S+) wwid=(\\S+) group=(\\S*)',
    'is=(\\S+) checker=(\\S+) access=(\\S+) writes=(\\d+)',
  ].join(' '),
);

/** What a machine with dm-multipath says of one way to its disk. */
export interface DiskPath {
  /** Of the disk that this path is to the kernel. */
  readonly name: string;
  readonly portalAddress: string;
  /** What multipathd knows its disk by: equal on all paths to one. */
  readonly wwid: string;
  /** Whether the group that it is in is the one in use. */
  readonly isInUse: boolean;
  /** Whether dm-multipath sends anything by it, and what multipathd's last look at it came to. */
  readonly isActive: boolean;
  readonly checker: string;
  /** The target port group's asymmetric access state, as the kernel knows it. */
  readonly access: string;
  /** Write commands sent by it since the machine started. */
  readonly writes: number;
}

export interface DiskPaths {
  /** Multipath devices that the machine has. */
  readonly maps: number;
  readonly all: readonly DiskPath[];
}

/** Asks a machine for its paths, also while it writes. @throws Error when it does not answer */
async function pathsOf({ console }: Machine): Promise<DiskPaths> {
  console.send('paths');
  const all: DiskPath[] = [];
  for (;;) {
    const answer = /BOOTFABRIC-GUEST (path .*|paths-end maps=(\d+))/;
    const { match } = await console.waitFor(answer, ANSWER_TIMEOUT_MS);
    if (match[2] !== undefined) return { maps: Number(match[2]), all };
    const fields = PATH.exec(match[0]);
    if (fields === null) throw new Error(`not a path: ${match[0]}\n${console.tail()}`);
    const [, name = '', portalAddress = '', wwid = '', group, is, checker = '', access = '', writes] = fields;
    const state = { isInUse: group === 'A', isActive: is === 'active', checker, access };
    all.push({ name, portalAddress, wwid, ...state, writes: Number(writes) });
  }
}

/**
 * Asks for the paths until they are so: multipathd looks at each of them every few seconds.
 * @throws Error with the last answer when they do not become so
 */
export async function pathsThat(
  machine: Machine,
  what: string,
  hold: (paths: DiskPaths) => boolean,
): Promise<DiskPaths> {
  for (const endMs = performance.now() + SETTLE_TIMEOUT_MS; ; ) {
    const paths = await pathsOf(machine);
    if (hold(paths)) return paths;
    if (performance.now() > endMs) throw new Error(`${what}: not seen; at last ${JSON.stringify(paths)}`);
    await sleep(LOOK_MS);
  }
}
