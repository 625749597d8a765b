import { describe, expect, it } from 'vitest';
import { CounterSet } from '../../../../base/counters.ts';
import { silentLogger } from '../../../../base/logger.ts';
import { SeededRandom } from '../../../../base/random.ts';
import { LogCorruptionError } from '../../../../base/record-log.ts';
import { isDeviceFailure, isNoSpace } from '../../../../storage/log/file-system.ts';
import { decodeRecord, frameRecords, resync, segmentKey } from '../../../../storage/log/segment-codec.ts';
import { openSegmentedLog, type SegmentedLogOptions } from '../../../../storage/log/segmented-log.ts';
import { SpareSegments } from '../../../../storage/log/spare-segments.ts';
import { replaceFile, writeWhole } from '../../../../storage/log/whole-file.ts';
import { FaultyDisk, systemError } from '../../../support/faulty-disk.ts';
import { DIRECTORY, segments, settled } from './log-files.ts';

const HEADER_BYTES = 48;

function newDisk(seed = 1): FaultyDisk {
  return new FaultyDisk(new SeededRandom(seed));
}

function open(disk: FaultyDisk, options: Partial<SegmentedLogOptions> = {}) {
  return openSegmentedLog({
    directory: DIRECTORY,
    fileSystem: disk.mount(),
    segmentSizeBytes: 256,
    logger: silentLogger,
    counters: new CounterSet(),
    ...options,
  });
}

const textOf = (i: number): Buffer => Buffer.from(`record ${i}`);

async function filled(disk: FaultyDisk, count: number) {
  const { log } = await open(disk);
  for (let i = 1; i <= count; i++) await log.append([textOf(i)]);
  await log.sync();
  return log;
}

describe('opening', () => {
  it('cuts a torn end off for certain before anything is appended', async () => {
    const disk = newDisk();
    await filled(disk, 1);
    const [path = ''] = segments(disk);
    const whole = disk.contents(path);
    disk.kill();
    disk.replace(path, Buffer.concat([whole, Buffer.alloc(40, 0xee)]));
    const from = disk.operations.length;
    const { report } = await open(disk);
    expect(report.tornTail).toMatchObject({ offsetBytes: whole.length, cutBytes: 40 });
    expect(disk.contents(path).length).toBe(whole.length);
    const done = disk.operations.slice(from).map((operation) => operation.split(' ')[0]);
    const cutAt = done.indexOf('truncate');
    expect(cutAt).toBeGreaterThan(0);
    expect(done[cutAt + 1]).toBe('syncData');
  });

  it('reads every segment that holds a record that is to be verified', async () => {
    const disk = newDisk();
    const log = await filled(disk, 20);
    const second = Number((segments(disk)[1] as string).replace(/\D/g, ''));
    let firstOfSecond = 0;
    for await (const { index, position } of log.scan(1)) {
      if (firstOfSecond === 0 && position > second) firstOfSecond = index;
    }
    disk.kill();
    disk.corrupt(segments(disk)[0] as string, HEADER_BYTES + 16);
    const verifying = (verifyFrom: number) => open(disk, { verifyFrom });
    await expect(verifying(firstOfSecond - 1)).rejects.toBeInstanceOf(LogCorruptionError);
    await expect(verifying(2)).rejects.toBeInstanceOf(LogCorruptionError);
    expect((await verifying(firstOfSecond)).report.records).toBe(20);
  });

  it('takes no segment under the name of another for it', async () => {
    const disk = newDisk();
    await filled(disk, 20);
    disk.kill();
    const [first = '', second = ''] = segments(disk);
    disk.replace(second, disk.contents(first));
    await expect(open(disk)).rejects.toThrow('under another name');
  });

  it('makes no new log where there has to be one', async () => {
    const disk = newDisk();
    await expect(open(disk, { mustExist: true })).rejects.toBeInstanceOf(LogCorruptionError);
    expect((await open(disk)).report).toMatchObject({ records: 0 });
    disk.kill();
    expect((await open(disk, { mustExist: true })).report).toMatchObject({ records: 0 });
  });

  it('removes what a truncation left behind, once what has taken its place is on the disk', async () => {
    const disk = newDisk();
    const log = await filled(disk, 20);
    const before = segments(disk);
    disk.fault = (operation) => (operation === 'remove' ? systemError('EPERM') : undefined);
    await log.truncateFrom(3);
    await settled();
    expect(segments(disk).length).toBe(before.length + 1);
    disk.kill();
    disk.fault = () => undefined;
    const from = disk.operations.length;
    const again = await open(disk);
    await settled();
    expect([again.log.firstIndex, again.log.nextIndex]).toEqual([1, 3]);
    expect(segments(disk).length).toBe(2);
    const done = disk.operations.slice(from).map((operation) => operation.split(' ')[0]);
    expect(done.indexOf('syncDirectory')).toBeGreaterThan(-1);
    expect(done.indexOf('syncDirectory')).toBeLessThan(done.indexOf('remove'));
  });
});

describe('a record', () => {
  const key = segmentKey({ basePosition: 4096 });
  const frame = (firstRelativeIndex: number, ...payloads: Buffer[]): Buffer =>
    Buffer.concat(frameRecords(payloads, { key, offset: 48, firstRelativeIndex, durableEnd: 0 }).parts);

  it('of a later place stands for none before it', () => {
    expect(decodeRecord(frame(3, textOf(3)), 0, key, 2)).toMatchObject({ kind: 'bad' });
    expect(decodeRecord(frame(3, textOf(3)), 0, key, 3)).toMatchObject({ kind: 'record' });
  });

  it('that would be longer than any may be is bad, and not waited for', () => {
    const bytes = frame(0, textOf(0));
    bytes.writeUInt32BE(0xffff_fff0, 0);
    expect(decodeRecord(bytes, 0, key, 0).kind).toBe('bad');
  });

  it('behind a damaged one counts only where it is a later one', () => {
    const damaged = frame(1, textOf(1));
    damaged[17] = 0;
    const search = (behind: Buffer) => resync(Buffer.concat([damaged, behind]), 48, key, 1, 1e6).records;
    expect([search(frame(0, textOf(0))), search(frame(1, textOf(1))), search(frame(2, textOf(2)))]).toEqual([
      0, 0, 1,
    ]);
  });
});

describe('a file written as a whole', () => {
  it('is there as it was or as it is to be, and for certain once that is said', async () => {
    for (let seed = 1; seed <= 30; seed++) {
      const disk = newDisk(seed);
      disk.makeDirectory('/d');
      await replaceFile(disk.mount(), '/d', 'f', Buffer.alloc(2000, 1));
      disk.crash();
      expect(Buffer.from(disk.contents('/d/f')).equals(Buffer.alloc(2000, 1))).toBe(true);
      await replaceFile(disk.mount(), '/d', 'f', Buffer.alloc(3000, 2));
      disk.crash();
      expect(Buffer.from(disk.contents('/d/f')).equals(Buffer.alloc(3000, 2))).toBe(true);
    }
  });

  it('has its content on the disk before its name is the new one', async () => {
    const disk = newDisk();
    disk.makeDirectory('/d');
    await writeWhole(disk.mount(), '/d/f', Buffer.alloc(10));
    expect(disk.operations.map((operation) => operation.split(' ')[0])).toEqual([
      'create',
      'write',
      'syncData',
      'close',
    ]);
  });
});

describe('segments kept to be written over', () => {
  it('are taken by no other log: they are in its directory', async () => {
    const disk = newDisk();
    const spares = new SpareSegments(new SeededRandom(7), 1 << 20);
    const counters = new CounterSet();
    const one = await open(disk, { directory: '/one', spares, segmentSizeBytes: 1024 });
    const other = await open(disk, { directory: '/other', spares, segmentSizeBytes: 1024, counters });
    for (let i = 0; i < 12; i++) await one.log.append([Buffer.alloc(200, i)]);
    await one.log.trimBefore(12);
    await settled();
    expect(spares.keptBytes).toBeGreaterThan(0);
    for (let i = 0; i < 12; i++) await other.log.append([Buffer.alloc(200, i)]);
    expect(counters.get('log.segments.reused')).toBe(0);
    expect(disk.list('/other').filter((name) => name.endsWith('.segment')).length).toBeGreaterThan(1);
  });
});

describe('a failure', () => {
  it('is of a full disk where a quota is used up as well', () => {
    expect(['ENOSPC', 'EDQUOT', 'EIO'].map((code) => isNoSpace(systemError(code)))).toEqual([
      true,
      true,
      false,
    ]);
  });

  it('is of the device also where that is only the cause of what has failed', () => {
    const outer = new Error('outer', { cause: new Error('middle', { cause: systemError('EIO') }) });
    expect([isDeviceFailure(outer), isDeviceFailure(systemError('ENOSPC'))]).toEqual([true, false]);
  });
});
