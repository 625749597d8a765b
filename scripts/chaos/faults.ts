import {
  closeSync,
  fstatSync,
  openSync,
  readdirSync,
  readSync,
  rmSync,
  statfsSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RandomSource } from '../../base/random.ts';
import { finish } from '../lab/process-run.ts';
import type { ChaosFabric } from './fabric.ts';

/** One kind of trouble: begins, lasts and ends within `inflict`, after which the node is as it should be. */
export interface Fault {
  readonly kind: string;
  /** How often it is chosen, beside the others. */
  readonly weight: number;
  /** Takes data from a node for good: waits until all others have everything. */
  readonly destroys?: boolean;
  inflict(fabric: ChaosFabric, node: string, random: RandomSource): Promise<void>;
}

const DOWN_MS = { least: 300, spread: 2500 };
const STOPPED_MS = { least: 300, spread: 3000 };
const CUT_MS = { least: 300, spread: 3000 };
const FULL_MS = 2500;
const SLOW_MS = 2000;
const SLOW_BY_MS = 150;
const FILLER_CHUNK_BYTES = 1024 * 1024;
const DRAINED_MS = 1500;
const STATUS_TIMEOUT_MS = 60_000;
const DAMAGED_BYTES = 16;

export const FAULTS: readonly Fault[] = [
  {
    kind: 'SIGKILL',
    weight: 6,
    inflict: async (fabric, node, random) => {
      await fabric.cluster.killNode(node);
      await sleep(some(DOWN_MS, random));
      fabric.cluster.startNode(node);
    },
  },
  {
    kind: 'restart',
    weight: 2,
    inflict: async (fabric, node) => {
      await fabric.cluster.killNode(node, 'SIGTERM');
      fabric.cluster.startNode(node);
    },
  },
  {
    kind: 'SIGSTOP',
    weight: 3,
    inflict: async (fabric, node, random) => {
      const pid = fabric.cluster.processId(node);
      if (pid === undefined) return;
      process.kill(pid, 'SIGSTOP');
      await sleep(some(STOPPED_MS, random));
      process.kill(pid, 'SIGCONT');
    },
  },
  {
    kind: 'cut',
    weight: 3,
    inflict: async (fabric, node, random) => {
      fabric.lab.plug(node, false);
      await sleep(some(CUT_MS, random));
      fabric.lab.plug(node, true);
    },
  },
  {
    kind: 'one-way cut',
    weight: 3,
    inflict: async (fabric, node, random) => {
      const others = fabric.nodeIds.filter((id) => id !== node);
      const unheardBy = others.filter((_, i) => i === 0 || random.below(2) === 0);
      for (const other of unheardBy) fabric.lab.silence(node, fabric.addressOf(other), true);
      await sleep(some(CUT_MS, random));
      for (const other of unheardBy) fabric.lab.silence(node, fabric.addressOf(other), false);
    },
  },
  {
    kind: 'slow disk',
    weight: 1,
    inflict: async (fabric, node) => {
      await fabric.slowDisk(node, SLOW_BY_MS);
      await sleep(SLOW_MS);
      await fabric.normalDisk(node);
    },
  },
  {
    kind: 'full disk',
    weight: 1,
    inflict: async (fabric, node) => {
      const filler = join(fabric.dataOf(node), 'filler');
      fill(filler);
      await sleep(FULL_MS);
      rmSync(filler);
    },
  },
  {
    kind: 'failing sync',
    weight: 1,
    destroys: true,
    inflict: async (fabric, node) => {
      await fabric.failSyncs(node);
      // It is given another disk: what was on that one is not to be trusted.
      rmSync(join(fabric.dataOf(node), 'groups'), { recursive: true, force: true });
      fabric.cluster.startNode(node);
    },
  },
  {
    kind: 'corrupted segment',
    weight: 1,
    destroys: true,
    inflict: async (fabric, node, random) => {
      await fabric.cluster.killNode(node);
      damageSegment(join(fabric.dataOf(node), 'groups'), random);
      fabric.cluster.startNode(node);
    },
  },
  {
    kind: 'wiped node',
    weight: 1,
    destroys: true,
    inflict: async (fabric, node) => {
      await fabric.cluster.killNode(node);
      rmSync(join(fabric.dataOf(node), 'groups'), { recursive: true, force: true });
      fabric.cluster.startNode(node);
    },
  },
  {
    kind: 'move',
    weight: 2,
    inflict: async (fabric, node, random) => {
      const { portalGroups } = await fabric.cluster.waitForStatus('an answer', () => true, STATUS_TIMEOUT_MS);
      for (const { id, primary, inSync } of portalGroups) {
        const others = inSync.filter((member) => member !== node);
        const to = others[random.below(Math.max(1, others.length))];
        if (primary === node && to !== undefined) await fabric.moveGroup(id, to);
      }
    },
  },
  {
    kind: 'drain',
    weight: 2,
    inflict: async (fabric, node) => {
      await fabric.cluster.admin(['node', 'drain', node]);
      await sleep(DRAINED_MS);
      await fabric.cluster.admin(['node', 'undrain', node]);
    },
  },
];

/** Draws one kind, by weight. */
export function drawFault(faults: readonly Fault[], random: RandomSource): Fault {
  let left = random.below(faults.reduce((sum, fault) => sum + fault.weight, 0));
  for (const fault of faults) {
    left -= fault.weight;
    if (left < 0) return fault;
  }
  throw new Error('no fault to choose from');
}

function some(range: { readonly least: number; readonly spread: number }, random: RandomSource): number {
  return range.least + random.below(range.spread);
}

/** Takes all the space there is. The node writes meanwhile, so how much that is shows only when there is no more. */
function fill(file: string): void {
  const { bavail, bsize } = statfsSync(dirname(file));
  // Most of it at once, where nothing else has taken it meanwhile.
  finish('fallocate', ['-l', String(Math.max(1, bavail * bsize - FILLER_CHUNK_BYTES)), file]);
  const handle = openSync(file, 'a');
  const chunk = Buffer.alloc(FILLER_CHUNK_BYTES, 1);
  try {
    for (;;) writeSync(handle, chunk);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
  } finally {
    closeSync(handle);
  }
}

/** Turns bits over somewhere in one of the segments, as a disk might. */
function damageSegment(directory: string, random: RandomSource): void {
  const segments = readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.segment'))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
  const file = segments[random.below(Math.max(1, segments.length))];
  if (file === undefined) throw new Error(`there is no segment below ${directory} to damage`);
  const handle = openSync(file, 'r+');
  try {
    const at = random.below(Math.max(1, fstatSync(handle).size - DAMAGED_BYTES));
    const bytes = Buffer.alloc(DAMAGED_BYTES);
    readSync(handle, bytes, 0, DAMAGED_BYTES, at);
    for (let i = 0; i < bytes.length; i++) bytes[i] = (bytes[i] ?? 0) ^ 0x5a;
    writeSync(handle, bytes, 0, DAMAGED_BYTES, at);
  } finally {
    closeSync(handle);
  }
}
