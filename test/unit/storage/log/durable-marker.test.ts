import { describe, expect, it } from 'vitest';
import { SeededRandom } from '../../../../base/random.ts';
import { DurableMarker, MARKER_FILE } from '../../../../storage/log/durable-marker.ts';
import { FaultyDisk, systemError } from '../../../support/faulty-disk.ts';

const DIRECTORY = '/log';
const PATH = `${DIRECTORY}/${MARKER_FILE}`;
const SEEDS = Array.from({ length: 30 }, (_, i) => i + 1);

function newDisk(seed = 1): FaultyDisk {
  const disk = new FaultyDisk(new SeededRandom(seed));
  disk.makeDirectory(DIRECTORY);
  return disk;
}

const open = (disk: FaultyDisk): Promise<DurableMarker> => DurableMarker.open(disk.mount(), DIRECTORY);
const read = (disk: FaultyDisk): Promise<number | undefined> => DurableMarker.read(disk.mount(), DIRECTORY);

describe('the durable marker', () => {
  it('is there once it was made, whatever a loss of power takes', async () => {
    for (const seed of SEEDS) {
      const disk = newDisk(seed);
      await open(disk);
      disk.crash();
      expect(await read(disk)).toBe(0);
    }
  });

  it('says what it was told last once it was closed, whatever a loss of power takes', async () => {
    for (const seed of SEEDS) {
      const disk = newDisk(seed);
      const marker = await open(disk);
      await marker.advance(100);
      await marker.advance(200);
      await marker.close();
      disk.crash();
      expect(await read(disk)).toBe(200);
    }
  });

  it('falls back by one step only where the last write was torn', async () => {
    const disk = newDisk();
    const marker = await open(disk);
    for (let step = 1; step <= 20; step++) {
      const before = disk.contents(PATH);
      await marker.advance(step * 100);
      const after = disk.contents(PATH);
      expect(await read(disk)).toBe(step * 100);
      const at = after.findIndex((byte, i) => byte !== before[i]);
      disk.replace(
        PATH,
        after.map((byte, i) => (i === at ? byte ^ 0xff : byte)),
      );
      expect(await read(disk)).toBe((step - 1) * 100);
      disk.replace(PATH, after);
    }
  });

  it('stays where it is while there is no space, and goes on when there is', async () => {
    const disk = newDisk();
    const marker = await open(disk);
    disk.fault = (operation) => (operation === 'write' ? systemError('ENOSPC') : undefined);
    await marker.advance(100);
    expect(await read(disk)).toBe(0);
    disk.fault = () => undefined;
    await marker.advance(100);
    expect(await read(disk)).toBe(100);
  });

  it('tells of any other failure to write', async () => {
    const disk = newDisk();
    const marker = await open(disk);
    disk.fault = (operation) => (operation === 'write' ? systemError('EIO') : undefined);
    await expect(marker.advance(100)).rejects.toMatchObject({ code: 'EIO' });
  });
});
