import { afterEach, describe, expect, it } from 'vitest';
import { SeededRandom } from '../../../../base/random.ts';
import { type DiskEvent, StampedDisk } from '../../../../scripts/chaos/stamped-disk.ts';
import { INITIATOR, startTarget, TARGET, type TestTarget } from '../../node/iscsi/target-fixture.ts';

const BLOCKS = 2048;

describe('an initiator that checks what it reads', () => {
  let target: TestTarget | undefined;

  afterEach(async () => {
    await target?.portal.close();
    target = undefined;
  });

  /** Lets it work until so many writes were acknowledged, with the device as `spoil` leaves it. */
  async function work(spoil: (device: TestTarget['device']) => void, writes = 400): Promise<DiskEvent[]> {
    target = await startTarget({ lengthBlocks: BLOCKS * 8 });
    spoil(target.device);
    const events: DiskEvent[] = [];
    const { host, port } = target;
    const where = { host, port, targetName: TARGET, initiatorName: INITIATOR };
    const disk = new StampedDisk(
      { client: 1, ...where, blocks: BLOCKS, lanes: 4, stepsPerSecond: 10_000 },
      new SeededRandom(5),
      (event) => events.push(event),
    );
    await disk.start();
    while (disk.acknowledgedWrites < writes) await new Promise((resolve) => setTimeout(resolve, 5));
    await disk.finish();
    return events.filter((event) => event.kind === 'violation');
  }

  it('finds nothing wrong with a disk that keeps what it acknowledged', async () => {
    expect(await work(() => {})).toEqual([]);
  });

  it('notices acknowledged writes that were dropped', async () => {
    const found = await work((device) => {
      const write = device.write.bind(device);
      let count = 0;
      device.write = async (lba, parts, options) => {
        count++;
        if (count % 40 !== 0) await write(lba, parts, options);
      };
    });
    expect(found).not.toEqual([]);
  });

  it('notices acknowledged unmaps that were dropped', async () => {
    const found = await work((device) => {
      device.discard = () => Promise.resolve();
      // Few unmaps fall upon what has been written.
    }, 2000);
    expect(found).not.toEqual([]);
  });

  it('reads every block at the end, written or not', async () => {
    target = await startTarget({ lengthBlocks: BLOCKS * 8 });
    const { host, port } = target;
    const where = { host, port, targetName: TARGET, initiatorName: INITIATOR };
    const disk = new StampedDisk(
      { client: 1, ...where, blocks: BLOCKS, lanes: 4, stepsPerSecond: 100 },
      new SeededRandom(5),
      () => {},
    );
    await disk.start();
    await disk.finish();
    expect(disk.checkedAtEnd).toBe(BLOCKS);
  });

  it('notices old copies of writes that arrive after a newer one', async () => {
    const found = await work((device) => {
      const write = device.write.bind(device);
      const older = new Map<number, Uint8Array[]>();
      device.write = async (lba, parts, options) => {
        await write(lba, parts, options);
        const late = older.get(lba);
        older.set(
          lba,
          parts.map((part) => Uint8Array.from(part)),
        );
        if (late !== undefined) await write(lba, late, options);
      };
    });
    expect(found).not.toEqual([]);
  });

  it('notices blocks of which only a part was written', async () => {
    const found = await work((device) => {
      const write = device.write.bind(device);
      let count = 0;
      device.write = async (lba, parts, options) => {
        count++;
        const torn = count % 40 === 0 ? [Buffer.concat(parts).subarray(0, 512)] : parts;
        await write(lba, torn, options);
      };
    });
    expect(found).not.toEqual([]);
  });
});
