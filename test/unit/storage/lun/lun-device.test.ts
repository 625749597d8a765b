import { describe, expect, it } from 'vitest';
import { InvariantError, ProtocolError } from '../../../../base/errors.ts';
import { SeededRandom } from '../../../../base/random.ts';
import { DeviceError, MAX_ATOMIC_WRITE_BLOCKS } from '../../../../storage/block-device.ts';
import type { OpenImage } from '../../../../storage/image/image-source.ts';
import { MAX_BLOCKS_PER_RECORD } from '../../../../storage/lun/limits.ts';
import { LunDevice } from '../../../../storage/lun/lun-device.ts';
import { content, IMAGE_BYTE, images, LENGTH_BLOCKS, SoleHost } from './sole-host.ts';

const now = { forceUnitAccess: false };

describe('LUN device', () => {
  it('does what a plain disk does, under random reads, writes and discards of any alignment', async () => {
    const random = new SeededRandom(11);
    const host = new SoleHost();
    const device = new LunDevice(host.lun, host);
    const model = Buffer.alloc(LENGTH_BLOCKS * 512, IMAGE_BYTE);
    for (let turn = 0; turn < 400; turn++) {
      const lba = random.below(LENGTH_BLOCKS);
      const length = 1 + random.below(Math.min(60, LENGTH_BLOCKS - lba));
      const choice = random.below(5);
      if (choice === 0) {
        await device.discard(lba, length);
        model.fill(0, lba * 512, (lba + length) * 512);
      } else if (choice < 3) {
        const data = Buffer.alloc(length * 512, 1 + random.below(255));
        const cut = random.below(data.length + 1);
        await device.write(lba, [data.subarray(0, cut), data.subarray(cut)], now);
        data.copy(model, lba * 512);
      } else {
        const expected = model.subarray(lba * 512, (lba + length) * 512);
        expect((await content(device, lba, length)).equals(expected)).toBe(true);
      }
    }
    expect((await content(device, 0, LENGTH_BLOCKS)).equals(model)).toBe(true);
    await host.replay();
    const again = new LunDevice(host.lun, host);
    expect((await content(again, 0, LENGTH_BLOCKS)).equals(model)).toBe(true);
  });

  it('says what takes space', async () => {
    const host = new SoleHost({
      open: async (ref) => ({ ...((await images.open(ref)) as OpenImage), sizeBytes: 8 * 4096 }),
    });
    const device = new LunDevice(host.lun, host);
    expect(await device.allocation(3)).toEqual({ allocated: true, lengthBlocks: 61 });
    expect(await device.allocation(64)).toEqual({ allocated: false, lengthBlocks: LENGTH_BLOCKS - 64 });
    await device.write(80, [Buffer.alloc(4096)], now);
    expect(await device.allocation(64)).toEqual({ allocated: false, lengthBlocks: 16 });
    expect(await device.allocation(80)).toEqual({ allocated: true, lengthBlocks: 8 });
    await device.discard(0, LENGTH_BLOCKS);
    expect(await device.allocation(0)).toEqual({ allocated: false, lengthBlocks: LENGTH_BLOCKS });
    expect(host.lun.blocks.writtenBlocks).toBe(0);
    await expect(device.allocation(LENGTH_BLOCKS)).rejects.toMatchObject({ kind: 'out-of-range' });
  });

  it('merges into what is being discarded', async () => {
    const host = new SoleHost();
    host.commitAtOnce = false;
    const device = new LunDevice(host.lun, host);
    const discarding = device.discard(0, 16);
    await new Promise((resolve) => setImmediate(resolve));
    const part = device.write(1, [Buffer.alloc(512, 2)], now);
    await new Promise((resolve) => setImmediate(resolve));
    expect((await content(device, 0, 1))[0]).toBe(IMAGE_BYTE);
    host.commit();
    await Promise.all([discarding, part]);
    const bytes = await content(device, 0, 16);
    expect([bytes[0], bytes[512], bytes[1024], bytes[4096]]).toEqual([0, 2, 0, 0]);
    expect(host.lun.inFlight.size).toBe(0);
  });

  it('writes as much as is to be atomic in one record, however it lies', async () => {
    const host = new SoleHost();
    const device = new LunDevice(host.lun, host);
    for (const [i, lba] of [0, 1, 7].entries()) {
      const fits = Math.min(MAX_ATOMIC_WRITE_BLOCKS, LENGTH_BLOCKS - lba);
      await device.write(lba, [Buffer.alloc(fits * 512)], now);
      expect(host.nextIndex).toBe(2 + i);
    }
    expect(MAX_BLOCKS_PER_RECORD).toBeGreaterThan(MAX_ATOMIC_WRITE_BLOCKS / 8);
  });

  it('keeps the state of the device server, also beside a log that begins later', async () => {
    const host = new SoleHost();
    const device = new LunDevice(host.lun, host);
    expect(device.serverState).toBeUndefined();
    await device.saveServerState(Buffer.from('first'));
    await device.saveServerState(Buffer.from('second'));
    expect(Buffer.from(device.serverState as Uint8Array).toString()).toBe('second');
    const described = JSON.parse(JSON.stringify(host.table.describe()));
    host.table.restart(100, described);
    const later = new LunDevice(host.lun, host);
    expect(Buffer.from(later.serverState as Uint8Array).toString()).toBe('second');
    host.serving = false;
    await expect(later.saveServerState(Buffer.from('x'))).rejects.toMatchObject({ kind: 'not-serving' });
  });

  it('keeps concurrent writes to different sectors of one block', async () => {
    const host = new SoleHost();
    const device = new LunDevice(host.lun, host);
    const writes = [0, 1, 2, 3, 4, 5, 6, 7].map((lba) =>
      device.write(lba, [Buffer.alloc(512, 0xa0 + lba)], now),
    );
    await Promise.all(writes);
    const bytes = await content(device, 0, 8);
    expect([0, 1, 2, 3, 4, 5, 6, 7].map((lba) => bytes[lba * 512])).toEqual([
      0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7,
    ]);
  });

  it('shows only what is committed, and merges into what is not', async () => {
    const host = new SoleHost();
    host.commitAtOnce = false;
    const device = new LunDevice(host.lun, host);
    const whole = device.write(0, [Buffer.alloc(4096, 1)], now);
    await new Promise((resolve) => setImmediate(resolve));
    const part = device.write(1, [Buffer.alloc(512, 2)], now);
    await new Promise((resolve) => setImmediate(resolve));
    expect((await content(device, 0, 1))[0]).toBe(IMAGE_BYTE);
    host.commit();
    await Promise.all([whole, part]);
    const bytes = await content(device, 0, 8);
    expect([bytes[0], bytes[512], bytes[1024]]).toEqual([1, 2, 1]);
    expect(host.lun.inFlight.size).toBe(0);
  });

  it('merges into what is left in flight when something newer was never appended', async () => {
    const host = new SoleHost();
    host.commitAtOnce = false;
    const device = new LunDevice(host.lun, host);
    const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
    const first = device.write(0, [Buffer.alloc(4096, 1)], now);
    await turn();
    const lost = device.write(0, [Buffer.alloc(512, 2)], now);
    lost.catch(() => {});
    await turn();
    host.lose(2);
    const third = device.write(1, [Buffer.alloc(512, 3)], now);
    await turn();
    host.commit();
    await Promise.all([first, third]);
    await expect(lost).rejects.toMatchObject({ kind: 'no-space' });
    const bytes = await content(device, 0, 8);
    expect([bytes[0], bytes[512], bytes[1024]]).toEqual([1, 3, 1]);
  });

  it('fetches neighbouring blocks of one record together', async () => {
    const host = new SoleHost();
    const device = new LunDevice(host.lun, host);
    await device.write(0, [Buffer.alloc(16 * 4096, 3)], now);
    host.reads = 0;
    await device.read(4, 100);
    expect(host.reads).toBe(1);
  });

  it('reports damage of any block it reads', async () => {
    const host = new SoleHost();
    const device = new LunDevice(host.lun, host);
    await device.write(0, [Buffer.alloc(8192, 3)], now);
    host.damage(host.lun.blocks.position(1) + 4000);
    expect((await content(device, 0, 8))[0]).toBe(3);
    await expect(device.read(8, 1)).rejects.toMatchObject({ kind: 'medium-error' });
    // Merging into damaged data would hide it for ever.
    await expect(device.write(8, [Buffer.alloc(512)], now)).rejects.toMatchObject({ kind: 'medium-error' });
    await device.write(8, [Buffer.alloc(4096, 9)], now);
    expect((await content(device, 8, 8))[4000]).toBe(9);
  });

  describe('over an image that cannot be read', () => {
    const reasons: [string, Error][] = [
      ['a damaged manifest', new ProtocolError('not a manifest', { code: 'manifest-malformed' })],
      ['a failing disk', Object.assign(new Error('EIO: i/o error, open'), { code: 'EIO' })],
    ];
    const sound = images.open({ name: 'i', version: 1 });

    it.each(reasons)('reports %s as an error of the medium, and tries again', async (_, cause) => {
      let failing = true;
      const host = new SoleHost({ open: () => (failing ? Promise.reject(cause) : sound) });
      const device = new LunDevice(host.lun, host);
      const expected = { name: 'DeviceError', kind: 'medium-error', cause };
      await expect(device.read(0, 1)).rejects.toMatchObject(expected);
      await expect(device.read(0, 1)).rejects.toThrow(`image i version 1 cannot be read: ${cause.message}`);
      await expect(device.write(1, [Buffer.alloc(512)], now)).rejects.toMatchObject(expected);
      failing = false;
      expect((await content(device, 0, 1))[0]).toBe(IMAGE_BYTE);
    });

    it('reports what the open image throws', async () => {
      const [, cause] = reasons[1] as [string, Error];
      const read = () => Promise.reject(cause);
      const host = new SoleHost({
        open: async () => ({ ...(await sound), sizeBytes: 0, read }) as OpenImage,
      });
      await expect(new LunDevice(host.lun, host).read(0, 1)).rejects.toMatchObject({
        kind: 'medium-error',
        cause,
      });
    });

    it('leaves no failure behind unseen where both ends of a write have to be merged', async () => {
      const unseen: unknown[] = [];
      const note = (reason: unknown): unknown => unseen.push(reason);
      process.on('unhandledRejection', note);
      try {
        const host = new SoleHost({ open: () => Promise.reject(new Error('EMFILE')) });
        const write = new LunDevice(host.lun, host).write(1, [Buffer.alloc(16 * 512)], now);
        await expect(write).rejects.toMatchObject({ kind: 'medium-error' });
        // They are told once a turn of the event loop is over.
        for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
      } finally {
        process.off('unhandledRejection', note);
      }
      expect(unseen).toEqual([]);
    });

    it('says first that the node has ceased to serve', async () => {
      const host = new SoleHost({ open: () => Promise.reject(new Error('closed')) });
      const device = new LunDevice(host.lun, host);
      const asked = [device.read(0, 1), device.write(1, [Buffer.alloc(512)], now)];
      host.serving = false;
      for (const outcome of await Promise.allSettled(asked))
        expect(outcome).toMatchObject({ reason: { kind: 'not-serving' } });
    });

    it('does not take a bug of ours for that', async () => {
      const host = new SoleHost({ open: () => Promise.reject(new InvariantError('a bug')) });
      await expect(new LunDevice(host.lun, host).read(0, 1)).rejects.toBeInstanceOf(InvariantError);
    });
  });

  it('refuses ranges outside, and everything once another generation is there', async () => {
    const host = new SoleHost();
    const device = new LunDevice(host.lun, host);
    await expect(device.read(LENGTH_BLOCKS, 1)).rejects.toMatchObject({ kind: 'out-of-range' });
    await expect(device.write(LENGTH_BLOCKS - 1, [Buffer.alloc(1024)], now)).rejects.toMatchObject({
      kind: 'out-of-range',
    });
    host.lun.endingIndex = 5;
    await expect(device.write(0, [Buffer.alloc(512)], now)).rejects.toMatchObject({ kind: 'not-serving' });
    host.table.restart(9, []);
    await expect(device.read(0, 1)).rejects.toMatchObject({ kind: 'not-serving' });
  });

  it('does not answer a read after it has ceased to serve', async () => {
    const host = new SoleHost();
    const device = new LunDevice(host.lun, host);
    await device.write(0, [Buffer.alloc(4096, 1)], now);
    const read = device.read(0, 1);
    host.serving = false;
    await expect(read).rejects.toMatchObject({ kind: 'not-serving' });
  });

  it('asks after the work of a read whether its lease held, not before it', async () => {
    const host = new SoleHost();
    const device = new LunDevice(host.lun, host);
    await device.write(0, [Buffer.alloc(4096, 1)], now);
    let isHeld = true;
    const { readAt } = host;
    host.readAt = (position, lengthBytes) => {
      isHeld = false;
      return readAt(position, lengthBytes);
    };
    // Nobody has said yet that it is primary no more.
    const lapsed = new DeviceError('not-serving', 'lapsed');
    const confirmServing = () => (isHeld ? undefined : Promise.reject(lapsed));
    Object.assign(host, { confirmServing });
    await expect(device.read(0, 1)).rejects.toBe(lapsed);
  });

  it('reads at once only what is its own, and only while its lease certainly holds', async () => {
    const host = new SoleHost();
    const device = new LunDevice(host.lun, host);
    await device.write(0, [Buffer.alloc(4096, 1)], now);
    let isHeld = true;
    let lapses = false;
    host.isCertainlyServing = () => isHeld;
    const readAtNow = (_: number, into: Uint8Array): boolean => {
      if (lapses) isHeld = false;
      into.fill(1);
      return true;
    };
    Object.assign(host, { readAtNow });
    const read = () => device.readNow(0, 8);
    expect(Buffer.concat(read() ?? [])).toEqual(Buffer.alloc(4096, 1));
    lapses = true;
    expect(read(), 'the lease has lapsed during the work').toBeUndefined();
    lapses = false;
    expect(read(), 'it had lapsed before').toBeUndefined();
    isHeld = true;
    expect(read()).toBeDefined();
    host.table.restart(9, [{ ...host.lun.description, generation: 9 }]);
    expect(read(), 'the disk has been begun anew').toBeUndefined();
  });
});
