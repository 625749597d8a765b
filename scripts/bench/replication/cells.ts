import type { Initiator } from '../../simulator/iscsi-initiator.ts';
import { percentile } from '../consensus/load.ts';

const BLOCK_BYTES = 512;

/** One kind of work on one disk. */
export interface Cell {
  readonly name: string;
  readonly writeBytes: number;
  readonly depth: number;
  /** After each write a flush, and only the flush is timed. */
  readonly flushes: boolean;
}

export const CELLS: readonly Cell[] = [
  { name: '4 KiB writes, depth 1', writeBytes: 4096, depth: 1, flushes: false },
  { name: '4 KiB writes, depth 32', writeBytes: 4096, depth: 32, flushes: false },
  { name: '64 KiB writes, depth 32', writeBytes: 65_536, depth: 32, flushes: false },
  { name: 'flush after a write of 4 KiB', writeBytes: 4096, depth: 1, flushes: true },
];

export interface Measured {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Of all nodes of the cluster, for one write or flush. */
  readonly cpuMicroseconds: number;
}

/** Works for so long, `depth` commands at a time, at random places of the disk. */
export async function work(
  initiator: Initiator,
  cell: Cell,
  given: {
    readonly seconds: number;
    readonly below: (bound: number) => number;
    readonly cpuSeconds: () => number;
  },
): Promise<Measured> {
  const data = Buffer.alloc(cell.writeBytes, 0x5a);
  const places = Math.floor((initiator.capacity.blocks * BLOCK_BYTES) / cell.writeBytes);
  const times: number[] = [];
  const cpuBefore = given.cpuSeconds();
  const startMs = performance.now();
  const endMs = startMs + given.seconds * 1_000;
  const lane = async (): Promise<void> => {
    for (let n = 0; performance.now() < endMs; n++) {
      data.writeUInt32BE(n, 0);
      const lba = (given.below(places) * cell.writeBytes) / BLOCK_BYTES;
      let sinceMs = performance.now();
      await initiator.write(lba, data);
      if (cell.flushes) {
        sinceMs = performance.now();
        await initiator.flush();
      }
      times.push(performance.now() - sinceMs);
    }
  };
  await Promise.all(Array.from({ length: cell.depth }, lane));
  const elapsedMs = performance.now() - startMs;
  const cpu = given.cpuSeconds() - cpuBefore;
  times.sort((a, b) => a - b);
  return {
    perSecond: (times.length * 1_000) / elapsedMs,
    p50Ms: percentile(times, 0.5),
    p99Ms: percentile(times, 0.99),
    cpuMicroseconds: (cpu * 1e6) / Math.max(1, times.length),
  };
}
