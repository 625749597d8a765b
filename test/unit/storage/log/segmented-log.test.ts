import { describe, expect, it } from 'vitest';
import { CounterSet } from '../../../../base/counters.ts';
import { crc32c } from '../../../../base/crc32c.ts';
import { silentLogger } from '../../../../base/logger.ts';
import { SeededRandom } from '../../../../base/random.ts';
import {
  LogCorruptionError,
  LogFailure,
  LogFullError,
  type LogRecord,
  type RecordLog,
} from '../../../../base/record-log.ts';
import { MARKER_FILE } from '../../../../storage/log/durable-marker.ts';
import { openSegmentedLog } from '../../../../storage/log/segmented-log.ts';
import { FaultyDisk, systemError } from '../../../support/faulty-disk.ts';

const DIRECTORY = '/log';

function newDisk(seed = 1): FaultyDisk {
  return new FaultyDisk(new SeededRandom(seed));
}

function open(disk: FaultyDisk, segmentSizeBytes = 1024, counters = new CounterSet()) {
  return openSegmentedLog({
    directory: DIRECTORY,
    fileSystem: disk.mount(),
    segmentSizeBytes,
    logger: silentLogger,
    counters,
  });
}

function text(...values: string[]): Uint8Array[] {
  return values.map((value) => Buffer.from(value));
}

async function contents(log: RecordLog, from = log.firstIndex): Promise<string[]> {
  const found: string[] = [];
  for await (const { index, payload } of log.scan(from))
    found.push(`${index}:${Buffer.from(payload).toString()}`);
  return found;
}

function segmentNames(disk: FaultyDisk): string[] {
  return disk
    .list(DIRECTORY)
    .filter((name) => name.endsWith('.segment'))
    .sort();
}

function lastSegment(disk: FaultyDisk): string {
  return `${DIRECTORY}/${segmentNames(disk).at(-1)}`;
}

describe('SegmentedLog', () => {
  it('numbers records from 1, reads them back and finds them again', async () => {
    const disk = newDisk();
    const { log, report } = await open(disk);
    expect(report).toEqual({ segments: 1, records: 0 });
    expect([log.firstIndex, log.nextIndex, log.durableNextIndex]).toEqual([1, 1, 1]);
    expect((await log.append(text('a', 'bb'))).firstIndex).toBe(1);
    expect(log.durableNextIndex).toBe(1);
    await log.sync();
    expect(log.durableNextIndex).toBe(3);
    expect(Buffer.from(await log.read(2)).toString()).toBe('bb');
    await log.close();
    const again = await open(disk);
    expect(again.report.records).toBe(2);
    expect(await contents(again.log)).toEqual(['1:a', '2:bb']);
    await again.log.close();
  });

  it('takes the checksums it is given, and finds a record to which a wrong one was given', async () => {
    const disk = newDisk();
    const { log } = await open(disk);
    const records = text('short', 'x'.repeat(300), '', 'no checksum');
    const known = records.map((record, i) => (i === 3 ? undefined : crc32c(record)));
    await log.append(records, known);
    expect(await contents(log)).toEqual(
      records.map((record, i) => `${i + 1}:${Buffer.from(record).toString()}`),
    );
    const wrong = crc32c(Buffer.from('wrong')) ^ 1;
    await log.append(text('wrong'), [wrong]);
    await expect(log.read(5)).rejects.toThrow(LogCorruptionError);
    expect(Buffer.from(await log.read(2)).toString()).toBe('x'.repeat(300));
  });

  it('reads payload bytes at the positions it gave, across segments', async () => {
    const disk = newDisk();
    const { log } = await open(disk, 256);
    const values = Array.from({ length: 40 }, (_, i) => `record number ${i}`);
    const positions: number[] = [];
    for (const value of values) positions.push(...(await log.append(text(value))).positions);
    expect(positions).toEqual([...positions].sort((a, b) => a - b));
    expect(segmentNames(disk).length).toBeGreaterThan(3);
    for (const [i, value] of values.entries()) {
      const bytes = await log.readAt((positions[i] as number) + 7, value.length - 7);
      expect(Buffer.from(bytes).toString()).toBe(value.slice(7));
      expect(Buffer.from(await log.read(i + 1)).toString()).toBe(value);
    }
    const scanned: LogRecord[] = [];
    for await (const record of log.scan(17)) scanned.push(record);
    expect(scanned.map((r) => r.position)).toEqual(positions.slice(16));
    await log.close();
    const again = await open(disk, 256);
    expect(await contents(again.log)).toEqual(values.map((value, i) => `${i + 1}:${value}`));
    expect(Buffer.from(await again.log.read(3)).toString()).toBe(values[2]);
    await again.log.close();
  });

  it('writes appends of one turn, and those that come during a write, together', async () => {
    const disk = newDisk();
    const counters = new CounterSet();
    const { log } = await open(disk, 1 << 20, counters);
    const appended = await Promise.all(Array.from({ length: 100 }, (_, i) => log.append(text(`v${i}`))));
    expect(appended.map((a) => a.firstIndex)).toEqual(appended.map((_, i) => i + 1));
    expect(counters.get('log.writes')).toBe(1);
    await Promise.all(Array.from({ length: 50 }, () => log.sync()));
    expect(counters.get('log.syncs')).toBe(1);
    await log.close();
  });

  it('carries out overlapping calls in their order', async () => {
    const { log } = await open(newDisk());
    const results = [
      log.append(text('a', 'b', 'c')),
      log.truncateFrom(2),
      log.append(text('x')),
      log.read(2),
      contents(log),
      log.resetTo(10),
      log.append(text('z')),
      log.read(10),
    ];
    expect(log.nextIndex).toBe(11);
    const done = await Promise.all(results);
    expect(Buffer.from(done[3] as Uint8Array).toString()).toBe('x');
    expect(done[4]).toEqual(['1:a', '2:x']);
    expect(Buffer.from(done[7] as Uint8Array).toString()).toBe('z');
    await log.close();
  });

  it('truncates durably and never gives a position twice', async () => {
    const disk = newDisk();
    const { log } = await open(disk);
    const first = await log.append(text('a', 'b', 'c'));
    await log.truncateFrom(2);
    expect([log.nextIndex, log.durableNextIndex]).toEqual([2, 2]);
    disk.crash();
    const { log: after } = await open(disk);
    expect(await contents(after)).toEqual(['1:a']);
    const second = await after.append(text('B'));
    expect(second.positions[0]).toBeGreaterThan(first.positions[2] as number);
    await after.truncateFrom(1);
    await after.append(text('A'));
    expect(await contents(after)).toEqual(['1:A']);
    await after.close();
    const { log: last } = await open(disk);
    expect(await contents(last)).toEqual(['1:A']);
    expect(segmentNames(disk)).toHaveLength(1);
    await last.close();
  });

  it('trims whole segments only, and not under a reader', async () => {
    const disk = newDisk();
    const { log } = await open(disk, 200);
    for (let i = 1; i <= 30; i++) await log.append(text(`record ${i}`));
    const reader = log.scan(1);
    await reader.next();
    await log.trimBefore(20);
    expect(log.firstIndex).toBeGreaterThan(1);
    expect(log.firstIndex).toBeLessThanOrEqual(20);
    let seen = 1;
    for await (const { index } of reader) expect(index).toBe(++seen);
    expect(seen).toBe(30);
    const kept = await contents(log, 20);
    expect(kept[0]).toBe('20:record 20');
    await log.close();
    const { log: after } = await open(disk, 200);
    expect(after.firstIndex).toBe(log.firstIndex);
    expect(await contents(after, 20)).toEqual(kept);
    await after.close();
  });

  it('starts over at any index, durably', async () => {
    const disk = newDisk();
    const { log } = await open(disk, 200);
    for (let i = 1; i <= 20; i++) await log.append(text(`record ${i}`));
    await log.resetTo(1000);
    disk.crash();
    const { log: after } = await open(disk, 200);
    expect([after.firstIndex, after.nextIndex]).toEqual([1000, 1000]);
    await after.append(text('new'));
    expect(await contents(after)).toEqual(['1000:new']);
    await after.close();
  });
});

describe('opening after a crash', () => {
  it('cuts a torn tail, reports it and goes on', async () => {
    const disk = newDisk();
    const { log } = await open(disk, 1 << 20);
    await log.append(text('kept'));
    await log.sync();
    await log.append([Buffer.alloc(3000, 1)]);
    disk.kill();
    const path = lastSegment(disk);
    const bytes = disk.contents(path);
    for (let length = 48 + 24; length < bytes.length; length += 97) {
      disk.replace(path, bytes.subarray(0, length));
      const { log: after, report } = await open(disk, 1 << 20);
      expect(await contents(after)).toEqual(['1:kept']);
      if (length === 72) expect(report.tornTail).toBeUndefined();
      else expect(report.tornTail).toMatchObject({ offsetBytes: 72, cutBytes: length - 72 });
      await after.append(text('next'));
      expect(await contents(after)).toEqual(['1:kept', '2:next']);
      disk.kill();
    }
  });

  it('cuts what was written behind a hole and never synced', async () => {
    const disk = newDisk();
    const { log } = await open(disk, 1 << 20);
    await log.append(text('kept'));
    await log.sync();
    await log.append(text('lost'));
    await log.append(text('behind'));
    disk.kill();
    disk.corrupt(lastSegment(disk), 72 + 16);
    const { log: after, report } = await open(disk, 1 << 20);
    expect(report.tornTail).toMatchObject({ offsetBytes: 72, recordsBehind: 1 });
    expect(await contents(after)).toEqual(['1:kept']);
    await after.close();
  });

  it('refuses when a durable record is damaged, by the marker', async () => {
    const disk = newDisk();
    const { log } = await open(disk, 1 << 20);
    await log.append(text('a', 'b'));
    await log.close();
    const path = lastSegment(disk);
    const size = disk.contents(path).length;
    for (const offset of [48, 48 + 16, 72, 72 + 16]) {
      disk.corrupt(path, offset);
      await expect(open(disk, 1 << 20)).rejects.toBeInstanceOf(LogCorruptionError);
      disk.corrupt(path, offset);
    }
    expect(disk.contents(path).length).toBe(size);
    const whole = disk.contents(path);
    disk.replace(path, whole.subarray(0, 72));
    await expect(open(disk, 1 << 20)).rejects.toThrow('was durable');
    disk.replace(path, whole);
    expect(await contents((await open(disk, 1 << 20)).log)).toEqual(['1:a', '2:b']);
  });

  it('refuses without the marker when later records prove the damaged one durable', async () => {
    const disk = newDisk();
    const { log } = await open(disk, 1 << 20);
    const marker = disk.contents(`${DIRECTORY}/${MARKER_FILE}`);
    await log.append(text('a'));
    await log.sync();
    await log.append(text('b'));
    expect(disk.operations).toContain(`write ${MARKER_FILE}`);
    disk.kill();
    // As if the marker had never reached the disk since the log was made.
    disk.replace(`${DIRECTORY}/${MARKER_FILE}`, marker);
    disk.corrupt(lastSegment(disk), 48 + 16);
    await expect(open(disk, 1 << 20)).rejects.toBeInstanceOf(LogCorruptionError);
  });

  it('refuses every time when the marker is lost and whole records follow a damaged one', async () => {
    const disk = newDisk();
    const { log } = await open(disk, 1 << 20);
    await log.append(text('a', 'b'));
    await log.close();
    disk.corrupt(lastSegment(disk), 48 + 16);
    disk.remove(`${DIRECTORY}/${MARKER_FILE}`);
    await expect(open(disk, 1 << 20)).rejects.toThrow('1 whole ones behind it');
    await expect(open(disk, 1 << 20)).rejects.toThrow('1 whole ones behind it');
  });

  it('refuses when a sealed segment is damaged or missing', async () => {
    const disk = newDisk();
    const { log } = await open(disk, 200);
    for (let i = 1; i <= 30; i++) await log.append(text(`record ${i}`));
    await log.close();
    const names = segmentNames(disk);
    const second = `${DIRECTORY}/${names[1]}`;
    const tail = `${DIRECTORY}/${names.at(-1)}`;
    const bytes = disk.contents(second);
    disk.corrupt(second, 70);
    await expect(open(disk, 200)).rejects.toBeInstanceOf(LogCorruptionError);
    disk.replace(second, bytes.subarray(0, bytes.length - 8));
    await expect(open(disk, 200)).rejects.toBeInstanceOf(LogCorruptionError);
    disk.replace(second, bytes);
    disk.corrupt(second, 3);
    await expect(open(disk, 200)).rejects.toThrow('does not begin as a log segment');
    disk.replace(second, bytes);
    disk.rename(tail, '/log/elsewhere');
    await expect(open(disk, 200)).rejects.toBeInstanceOf(LogCorruptionError);
    disk.rename('/log/elsewhere', tail);
    disk.remove(second);
    await expect(open(disk, 200)).rejects.toBeInstanceOf(LogCorruptionError);
  });

  it('tells of damage met while reading', async () => {
    const disk = newDisk();
    const { log } = await open(disk, 1 << 20);
    const { positions } = await log.append(text('aaaa', 'bbbb'));
    disk.corrupt(lastSegment(disk), positions[1] as number);
    expect(Buffer.from(await log.read(1)).toString()).toBe('aaaa');
    await expect(log.read(2)).rejects.toBeInstanceOf(LogCorruptionError);
    await expect(contents(log)).rejects.toBeInstanceOf(LogCorruptionError);
    disk.fault = (operation) => (operation === 'read' ? systemError('EIO') : undefined);
    await expect(log.read(1)).rejects.toBeInstanceOf(LogCorruptionError);
    disk.fault = () => undefined;
    await log.close();
  });
});

describe('a device that fails or fills', () => {
  it('fails for ever after a failed fdatasync', async () => {
    const disk = newDisk();
    const { log } = await open(disk);
    await log.append(text('a'));
    disk.fault = (operation) => (operation === 'syncData' ? systemError('EIO') : undefined);
    const waiting = [log.sync(), log.append(text('b')), log.sync(), log.truncateFrom(1)];
    expect(await Promise.allSettled(waiting)).toMatchObject([
      { status: 'rejected', reason: expect.any(LogFailure) as unknown },
      {},
      { status: 'rejected', reason: expect.any(LogFailure) as unknown },
      { status: 'rejected', reason: expect.any(LogFailure) as unknown },
    ]);
    disk.fault = () => undefined;
    await expect(log.sync()).rejects.toBeInstanceOf(LogFailure);
    await expect(log.append(text('c'))).rejects.toBeInstanceOf(LogFailure);
    await expect(log.read(1)).rejects.toBeInstanceOf(LogFailure);
    await expect(log.readAt(64, 1)).rejects.toBeInstanceOf(LogFailure);
    await expect(log.resetTo(9)).rejects.toBeInstanceOf(LogFailure);
    expect(log.durableNextIndex).toBe(1);
    await log.close();
  });

  it('fails for ever after a failed write', async () => {
    const disk = newDisk();
    const { log } = await open(disk);
    disk.fault = (operation) => (operation === 'write' ? systemError('EIO') : undefined);
    await expect(log.append(text('a'))).rejects.toBeInstanceOf(LogFailure);
    disk.fault = () => undefined;
    await expect(log.append(text('a'))).rejects.toBeInstanceOf(LogFailure);
    await log.close();
  });

  it('adds nothing when the disk is full, refuses what was called meanwhile, and goes on', async () => {
    const disk = newDisk();
    const { log } = await open(disk, 1 << 20);
    await log.append(text('a'));
    await log.sync();
    const size = disk.contents(lastSegment(disk)).length;
    const others = disk.contents(`${DIRECTORY}/${MARKER_FILE}`).length;
    disk.capacityBytes = size + others + 1500;
    const failing = log.append([Buffer.alloc(1000, 1), Buffer.alloc(1000, 2)]);
    const behind = log.append(text('small'));
    await expect(failing).rejects.toBeInstanceOf(LogFullError);
    await expect(behind).rejects.toBeInstanceOf(LogFullError);
    expect(log.nextIndex).toBe(2);
    expect(disk.contents(lastSegment(disk)).length).toBe(size);
    expect((await log.append(text('small'))).firstIndex).toBe(2);
    await log.sync();
    disk.crash();
    expect(await contents((await open(disk, 1 << 20)).log)).toEqual(['1:a', '2:small']);
  });

  it('adds nothing when there is no room for a new segment, and truncates nothing', async () => {
    const disk = newDisk();
    const { log } = await open(disk, 128);
    await log.append([Buffer.alloc(50, 1)]);
    disk.capacityBytes = 0;
    await expect(log.append([Buffer.alloc(50, 2)])).rejects.toBeInstanceOf(LogFullError);
    await expect(log.truncateFrom(1)).rejects.toBeInstanceOf(LogFullError);
    expect([log.firstIndex, log.nextIndex]).toEqual([1, 2]);
    disk.capacityBytes = Number.MAX_SAFE_INTEGER;
    expect((await log.append([Buffer.alloc(50, 2)])).firstIndex).toBe(2);
    expect(disk.list(DIRECTORY)).not.toContainEqual(expect.stringMatching(/tmp$/));
    await log.close();
  });

  it('fails when it cannot know whether a truncation took effect', async () => {
    const disk = newDisk();
    const { log } = await open(disk);
    await log.append(text('a', 'b'));
    disk.fault = (operation) => (operation === 'syncDirectory' ? systemError('ENOSPC') : undefined);
    await expect(log.truncateFrom(2)).rejects.toBeInstanceOf(LogFailure);
    disk.fault = () => undefined;
    await expect(log.append(text('c'))).rejects.toBeInstanceOf(LogFailure);
    await log.close();
  });
});
