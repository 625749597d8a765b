import { expect, it } from 'vitest';
import { CounterSet } from '../../../../base/counters.ts';
import { silentLogger } from '../../../../base/logger.ts';
import { DiskSpace } from '../../../../storage/replication/disk-space.ts';
import { DISK_SPACE_CHECK_MS } from '../../../../storage/replication/limits.ts';

const MIB = 1024 ** 2;

it('fills up before it is low, and is told apart from that', async () => {
  let nowMs = 0;
  let freeBytes = 0;
  const totalBytes = 1000 * MIB;
  const disk = new DiskSpace({
    space: () => Promise.resolve({ freeBytes, totalBytes }),
    clock: { monotonicMs: () => nowMs, wallMs: () => 0 },
    logger: silentLogger,
    counters: new CounterSet(),
  });
  const after = async (freeMib: number): Promise<[boolean, boolean]> => {
    freeBytes = freeMib * MIB;
    nowMs += DISK_SPACE_CHECK_MS;
    disk.tick();
    await new Promise((resolve) => setImmediate(resolve));
    return [disk.isFilling, disk.isLow];
  };
  // A sixteenth is kept in reserve: 62.5 MiB. A twentieth above that begins the warning.
  expect(await after(115)).toEqual([false, false]);
  expect(await after(110)).toEqual([true, false]);
  expect(await after(120)).toEqual([true, false]);
  expect(await after(60)).toEqual([true, true]);
  expect(await after(126)).toEqual([false, false]);
});

it('is filling by what was written since the file system was asked, then low, then spent', async () => {
  const disk = new DiskSpace({
    space: () => Promise.resolve({ freeBytes: 200 * MIB, totalBytes: 1000 * MIB }),
    clock: { monotonicMs: () => 0, wallMs: () => 0 },
    logger: silentLogger,
    counters: new CounterSet(),
  });
  disk.tick();
  await new Promise((resolve) => setImmediate(resolve));
  const seen = [40, 40, 40, 40, 40].map((mib) => {
    disk.took(mib * MIB);
    return [disk.isFilling, disk.isLow, disk.room.isSpent];
  });
  // 137.5 MiB above the reserve, of which the last 50 are the warning's; and 31.25 more to the half of the reserve.
  expect(seen).toEqual([
    [false, false, false],
    [false, false, false],
    [true, false, false],
    [true, true, false],
    [true, true, true],
  ]);
});

it('counts what others who share the disk append', async () => {
  const appended = { appendedBytes: 0, appended: (bytes: number) => void (appended.appendedBytes += bytes) };
  const [one, other] = [0, 1].map(
    () =>
      new DiskSpace({
        space: () => Promise.resolve({ freeBytes: 200 * MIB, totalBytes: 1000 * MIB }),
        clock: { monotonicMs: () => 0, wallMs: () => 0 },
        logger: silentLogger,
        counters: new CounterSet(),
        appended,
      }),
  ) as [DiskSpace, DiskSpace];
  for (const disk of [one, other]) disk.tick();
  await new Promise((resolve) => setImmediate(resolve));
  one.took(100 * MIB);
  other.tick();
  expect([other.isFilling, other.isLow]).toEqual([true, false]);
  other.took(40 * MIB);
  expect(other.isLow).toBe(true);
  expect(one.isLow).toBe(false);
  one.tick();
  expect(one.isLow).toBe(true);
});

it('has what the logs keep given up before it fills up, and nothing kept until there is room for it again', async () => {
  let nowMs = 0;
  let freeBytes = 0;
  const allowed: boolean[] = [];
  const disk = new DiskSpace({
    space: () => Promise.resolve({ freeBytes, totalBytes: 1000 * MIB }),
    spares: {
      limitBytes: 100 * MIB,
      allow: (mayKeep) => {
        allowed.push(mayKeep);
        return Promise.resolve();
      },
    },
    clock: { monotonicMs: () => nowMs, wallMs: () => 0 },
    logger: silentLogger,
    counters: new CounterSet(),
  });
  const after = async (freeMib: number): Promise<[boolean | undefined, boolean]> => {
    freeBytes = freeMib * MIB;
    nowMs += DISK_SPACE_CHECK_MS;
    disk.tick();
    await new Promise((resolve) => setImmediate(resolve));
    return [allowed.at(-1), disk.isFilling];
  };
  // 62.5 MiB are the reserve, 50 the warning's and 12.5 more end it; then there is what may be kept.
  expect(await after(300)).toEqual([undefined, false]);
  disk.took(70 * MIB);
  expect(allowed).toEqual([]);
  disk.took(10 * MIB);
  expect(allowed).toEqual([false]);
  expect(await after(300)).toEqual([false, false]);
  expect(await after(330)).toEqual([true, false]);
  expect(await after(220)).toEqual([false, false]);
  expect(await after(100)).toEqual([false, true]);
});
