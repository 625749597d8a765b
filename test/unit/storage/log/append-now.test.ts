import { describe, expect, it } from 'vitest';
import { CounterSet } from '../../../../base/counters.ts';
import { silentLogger } from '../../../../base/logger.ts';
import { SeededRandom } from '../../../../base/random.ts';
import { LogFailure, LogFullError, type RecordLog } from '../../../../base/record-log.ts';
import { openSegmentedLog } from '../../../../storage/log/segmented-log.ts';
import { FaultyDisk, systemError } from '../../../support/faulty-disk.ts';

function newDisk(): FaultyDisk {
  return new FaultyDisk(new SeededRandom(1));
}

function text(...values: string[]): Uint8Array[] {
  return values.map((value) => Buffer.from(value));
}

async function contents(log: RecordLog): Promise<string[]> {
  const found: string[] = [];
  for await (const { index, payload } of log.scan(log.firstIndex))
    found.push(`${index}:${Buffer.from(payload).toString()}`);
  return found;
}

describe('SegmentedLog appends at once', () => {
  function open(disk: FaultyDisk) {
    const options = { directory: '/log', fileSystem: disk.mount(), segmentSizeBytes: 1024 };
    return openSegmentedLog({ ...options, logger: silentLogger, counters: new CounterSet() });
  }

  it('what is short, in order with what takes its time', async () => {
    const disk = newDisk();
    const { log } = await open(disk);
    expect(log.appendNow(text('a', 'b'))).toMatchObject({ firstIndex: 1 });
    expect(log.nextIndex).toBe(3);
    const slow = log.append(text('c'));
    expect(log.appendNow(text('not before c'))).toBeUndefined();
    await slow;
    await log.sync();
    const last = log.appendNow(text('d'));
    expect(last?.firstIndex).toBe(4);
    const at = await log.readAt(last?.positions[0] as number, 1);
    expect(Buffer.from(at).toString()).toBe('d');
    expect(log.durableNextIndex).toBe(4);
    expect(await contents(log)).toEqual(['1:a', '2:b', '3:c', '4:d']);
    await log.close();
    expect(await contents((await open(disk)).log)).toHaveLength(4);
  });

  it('beside a sync, which does not speak for it', async () => {
    const { log } = await open(newDisk());
    await log.append(text('a'));
    const synced = log.sync();
    expect(log.appendNow(text('b'))).toMatchObject({ firstIndex: 2 });
    await synced;
    expect(log.durableNextIndex).toBe(2);
  });

  it('nothing past the end of a segment, nor where the disk might make it wait', async () => {
    const disk = newDisk();
    const { log } = await open(disk);
    expect(log.appendNow(text('x'.repeat(1000)))).toBeUndefined();
    disk.mayWriteNow = false;
    expect(log.appendNow(text('a'))).toBeUndefined();
    expect((await log.append(text('a'))).firstIndex).toBe(1);
  });

  it('nothing of what finds no space, and fails with the device', async () => {
    const disk = newDisk();
    const { log } = await open(disk);
    disk.capacityBytes = disk.usedBytes + 20;
    expect(log.appendNow(text('a'.repeat(50)))).toBeUndefined();
    expect(log.nextIndex).toBe(1);
    await expect(log.append(text('a'.repeat(50)))).rejects.toThrow(LogFullError);
    disk.capacityBytes = Number.MAX_SAFE_INTEGER;
    expect(log.appendNow(text('b'))).toMatchObject({ firstIndex: 1 });
    disk.fault = () => systemError('EIO');
    expect(() => log.appendNow(text('c'))).toThrow(LogFailure);
    await expect(log.append(text('d'))).rejects.toThrow(LogFailure);
    expect(log.appendNow(text('e'))).toBeUndefined();
  });
});
