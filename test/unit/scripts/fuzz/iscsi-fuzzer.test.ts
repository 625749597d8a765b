import { afterEach, expect, test } from 'vitest';
import { startFuzzedTarget } from '../../../../scripts/fuzz/fuzzed-target.ts';
import { heapGrowth } from '../../../../scripts/fuzz/heap.ts';
import { fuzzIscsi } from '../../../../scripts/fuzz/iscsi-fuzzer.ts';
import { MemoryDevice } from '../../node/iscsi/memory-device.ts';

let close: (() => Promise<void>) | undefined;
afterEach(() => close?.());

async function fuzz(count: number, exhaustive: boolean, bystanderDisk?: MemoryDevice) {
  const target = await startFuzzedTarget(bystanderDisk);
  close = () => target.close();
  return fuzzIscsi({ ...target, count, seed: 42, exhaustive });
}

test('the target survives malformed PDUs, and another session does not notice', {
  timeout: 120_000,
}, async () => {
  const report = await fuzz(8000, true);
  expect(report.combinations).toBe(report.allCombinations);
  expect(report.bystanderChecks).toBeGreaterThan(100);
  // Logins, SCSI and task management responses, and rejects came back: the PDUs got somewhere.
  const answered = Object.keys(report.answers).map(Number);
  expect(answered).toEqual(expect.arrayContaining([0x20, 0x21, 0x22, 0x23, 0x24, 0x26, 0x31, 0x3f]));
});

test('a bystander that reads a wrong block is noticed', { timeout: 60_000 }, async () => {
  const disk = new (class extends MemoryDevice {
    override async read(lba: number, lengthBlocks: number): Promise<readonly Uint8Array[]> {
      const [block] = await super.read(lba, lengthBlocks);
      if (this.calls.reads === 50 && block !== undefined) block[100] = 0;
      return [block as Uint8Array];
    }
  })(1024);
  await expect(fuzz(12_000, false, disk)).rejects.toThrow('the healthy session was disturbed');
});

test('a heap that keeps growing is noticed, and one that has grown up is not', () => {
  const MEBIBYTE = 1_048_576;
  const leaking = Array.from({ length: 20 }, (_, i) => (40 + i * 1.5) * MEBIBYTE);
  const settled = Array.from({ length: 20 }, (_, i) => (40 + Math.min(i, 8) * 3 + (i % 3)) * MEBIBYTE);
  expect(heapGrowth(leaking)).toMatch(/grew from 55.0 to 65.5 MiB/);
  expect(heapGrowth(settled)).toBeUndefined();
});
