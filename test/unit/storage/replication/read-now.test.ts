import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SeededRandom } from '../../../../base/random.ts';
import type { BlockDevice } from '../../../../storage/block-device.ts';
import { MAX_BLOCKS_READ_NOW } from '../../../../storage/lun/limits.ts';
import type { ReplicationHost } from '../../../../storage/replication/index.ts';
import { Exchange, makeHost, serving } from '../../../support/replicated-group.ts';

const LENGTH_BLOCKS = 4096;
const self = { nodeId: 'a', incarnation: 'a.1' };

describe('what is read at once from a disk whose writes are in files', () => {
  let directory: string;
  let host: ReplicationHost;
  let device: BlockDevice;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'read-now-'));
    host = makeHost(directory, self, new Exchange());
    const group = { id: 'g', replicas: ['a'], minInSync: 1, durability: 'write-back' as const };
    host.applyClusterState({
      groups: [{ ...group, epoch: 1, primary: 'a', inSync: [self] }],
      nodes: [{ ...self, status: 'up' }],
      leaseMs: 800,
    });
    await host.start();
    const served = await serving(host);
    await served.resetLun({ lunId: 1, base: { name: 'i', version: 1 }, lengthBlocks: LENGTH_BLOCKS });
    device = served.openDevice(1) as BlockDevice;
  });

  afterEach(async () => {
    await host.stop();
    await rm(directory, { recursive: true });
  });

  it('is what a read gives, for whatever range, while writes go on', async () => {
    const random = new SeededRandom(11);
    let answered = 0;
    for (let i = 0; i < 400; i++) {
      const lba = random.below(LENGTH_BLOCKS - 256);
      const length = 1 + random.below(255);
      if (i % 4 === 0) await device.discard(lba, length);
      else await device.write(lba, [random.bytes(length * 512)], { forceUnitAccess: false });
      const readAt = random.below(LENGTH_BLOCKS - 128);
      const readLength = 1 + random.below(127);
      const parts = device.readNow?.(readAt, readLength);
      if (parts === undefined) continue;
      answered++;
      const read = Buffer.concat(await device.read(readAt, readLength));
      expect(Buffer.compare(Buffer.concat(parts), read)).toBe(0);
    }
    // On tmpfs hardly any, elsewhere nearly all.
    if (device.readNow?.(0, LENGTH_BLOCKS / 32) !== undefined) expect(answered).toBeGreaterThan(200);
  });

  it('is nothing long, and nothing that does not match its checksum', async () => {
    const content = new SeededRandom(12).bytes(64 * 4096);
    await device.write(0, [content], { forceUnitAccess: false });
    await device.flush();
    expect(device.readNow?.(0, (MAX_BLOCKS_READ_NOW + 1) * 8)).toBeUndefined();
    const log = join(directory, 'a', 'g');
    const damagedAt = 20 * 4096 + 5;
    for (const name of await readdir(log)) {
      const bytes = await readFile(join(log, name));
      const at = bytes.indexOf(content.subarray(20 * 4096, 21 * 4096));
      if (at < 0) continue;
      bytes.writeUInt8(bytes.readUInt8(at + 5) ^ 1, at + 5);
      await writeFile(join(log, name), bytes);
    }
    for (let block = 0; block < 64; block++) {
      const parts = device.readNow?.(block * 8, 8);
      if (block === Math.floor(damagedAt / 4096)) expect(parts).toBeUndefined();
      else if (parts !== undefined) {
        const expected = content.subarray(block * 4096, (block + 1) * 4096);
        expect(Buffer.compare(Buffer.concat(parts), expected)).toBe(0);
      }
    }
    expect(device.readNow?.(19 * 8, 3 * 8)).toBeUndefined();
    await expect(device.read(20 * 8, 8)).rejects.toMatchObject({ kind: 'medium-error' });
  });
});
