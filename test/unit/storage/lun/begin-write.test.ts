import { describe, expect, it } from 'vitest';
import { LunDevice } from '../../../../storage/lun/lun-device.ts';
import { content, LENGTH_BLOCKS, SoleHost } from './sole-host.ts';

const now = { forceUnitAccess: false };

describe('LUN device begins at once', () => {
  const whole = [Buffer.alloc(4096, 7), Buffer.alloc(4096, 8)];

  function begin(device: LunDevice, lba: number, parts: Uint8Array[]): { begun: boolean; ends: unknown[] } {
    const ends: unknown[] = [];
    return { begun: device.beginWrite(lba, parts, now, (error) => ends.push(error)), ends };
  }

  it('a write of whole blocks, whose data may change as soon as it has', async () => {
    const host = new SoleHost();
    const device = new LunDevice(host.lun, host);
    const data = Buffer.alloc(8192, 7);
    const { begun, ends } = begin(device, 8, [data]);
    data.fill(9);
    expect([begun, ends]).toEqual([true, []]);
    await new Promise((resolve) => setImmediate(resolve));
    expect(ends).toEqual([undefined]);
    expect((await content(device, 8, 16)).every((byte) => byte === 7)).toBe(true);
  });

  it('nothing that has to wait, or that will be refused', () => {
    const host = new SoleHost();
    const device = new LunDevice(host.lun, host);
    const refused = (lba: number, parts: Uint8Array[]): void => {
      expect(begin(device, lba, parts)).toEqual({ begun: false, ends: [] });
    };
    refused(1, whole);
    refused(0, [Buffer.alloc(512)]);
    refused(LENGTH_BLOCKS - 3, whole);
    refused(-8, whole);
    refused(0, []);
    host.admits = false;
    refused(0, whole);
    host.admits = true;
    host.lun.endingIndex = 5;
    refused(0, whole);
    expect(host.lun.inFlight.size).toBe(0);
  });

  it('and confirms at the end that this node still serves', async () => {
    const host = new SoleHost();
    host.commitAtOnce = false;
    const device = new LunDevice(host.lun, host);
    const { ends } = begin(device, 0, whole);
    host.serving = false;
    host.isCertainlyServing = () => false;
    host.commit();
    await new Promise((resolve) => setImmediate(resolve));
    expect(ends).toMatchObject([{ kind: 'not-serving' }]);
  });

  it('again in the same memory, when nobody needs what was there', async () => {
    const host = new SoleHost();
    host.commitAtOnce = false;
    const device = new LunDevice(host.lun, host);
    begin(device, 0, whole);
    // Merges into what is in flight while that takes effect, and its memory is used for the next write.
    const merging = device.write(1, [Buffer.alloc(512, 1)], now);
    host.commit();
    begin(device, 80, [Buffer.alloc(8192, 0xee)]);
    await new Promise((resolve) => setImmediate(resolve));
    host.commit();
    await merging;
    const bytes = await content(device, 0, 16);
    expect([bytes[0], bytes[512], bytes[1024], bytes[4096]]).toEqual([7, 1, 7, 8]);
    expect(host.memory.take(1).slab?.usedBytes).toBe(1);
  });
});
