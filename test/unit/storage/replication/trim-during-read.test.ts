import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { CounterSet } from '../../../../base/counters.ts';
import { silentLogger } from '../../../../base/logger.ts';
import type { MendableLog } from '../../../../base/record-log.ts';
import type { BlockDevice } from '../../../../storage/block-device.ts';
import { nodeFileSystem } from '../../../../storage/log/file-system.ts';
import { openSegmentedLog } from '../../../../storage/log/segmented-log.ts';
import { POSITION_SAMPLE_RECORDS } from '../../../../storage/lun/limits.ts';
import { eventually } from '../../../support/real-time.ts';
import { LoneGroup } from './lone-group.ts';

const KIB = 1024;
const BLOCK = 4 * KIB;
const SEGMENT_BYTES = 64 * KIB;
const TRIM = { checkMs: 20, growthBytes: 32 * KIB, slackBytes: 64 * KIB };

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'trim-during-read-'));
});
afterEach(async () => {
  await rm(directory, { recursive: true });
});

it('a read that began before the head of the log was let go of gets what was there', async () => {
  let open = (): void => {};
  let gate: Promise<void> | undefined;
  let waiting = 0;
  const lone = new LoneGroup({
    directory,
    segmentSizeBytes: SEGMENT_BYTES,
    changes: {
      trim: TRIM,
      openLog: async (groupId, mustExist): Promise<MendableLog> => {
        const { log } = await openSegmentedLog({
          mustExist,
          directory: join(directory, groupId, 'log'),
          fileSystem: nodeFileSystem,
          segmentSizeBytes: SEGMENT_BYTES,
          logger: silentLogger,
          counters: new CounterSet(),
        });
        const readAt = log.readAt.bind(log);
        return Object.assign(log, {
          readAtNow: () => undefined,
          readAt: async (position: number, lengthBytes: number) => {
            if (gate !== undefined) {
              waiting++;
              await gate;
            }
            return readAt(position, lengthBytes);
          },
        });
      },
    },
  });
  const group = await lone.serving();
  await group.resetLun({ lunId: 1, base: { name: 'i', version: 1 }, lengthBlocks: 1024 });
  const device = group.openDevice(1) as BlockDevice;
  const write = (block: number, value: number) =>
    device.write(block * 8, [Buffer.alloc(BLOCK, value)], { forceUnitAccess: false });
  await write(0, 1);
  gate = new Promise((resolve) => {
    open = resolve;
  });
  const reading = device.read(0, 8);
  await eventually('the read has begun', () => waiting > 0);
  // Nothing of what the log begins with is in use any more, by places that are remembered now and then.
  for (let i = 0; i < 5 * POSITION_SAMPLE_RECORDS; i++) await write(i % 4, 2 + (i % 100));
  // Many times as long as it takes to let go of it, where nothing is read.
  await new Promise((resolve) => setTimeout(resolve, 20 * TRIM.checkMs));
  expect(lone.counters.get('replication.trimmed')).toBe(0);
  gate = undefined;
  open();
  expect(Buffer.concat(await reading).equals(Buffer.alloc(BLOCK, 1))).toBe(true);
  await eventually('it has been let go of', () => lone.counters.get('replication.trimmed') > 0);
  await lone.stop();
});
