import { describe, expect, it } from 'vitest';
import { LogCorruptionError } from '../../../../base/record-log.ts';
import { DeviceError } from '../../../../storage/block-device.ts';
import { LunDevice } from '../../../../storage/lun/lun-device.ts';
import { content, images, SoleHost } from './sole-host.ts';

const NOW = { forceUnitAccess: false };
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function make(): { host: SoleHost; device: LunDevice } {
  const host = new SoleHost();
  return { host, device: new LunDevice(host.lun, host) };
}

describe('what has been done is answered only by whoever still serves', () => {
  it.each<[string, (device: LunDevice) => Promise<unknown>]>([
    ['a write', (device) => device.write(0, [Buffer.alloc(4096)], NOW)],
    ['a write of a part of a block', (device) => device.write(1, [Buffer.alloc(512)], NOW)],
    ['giving up', (device) => device.discard(0, 8)],
    ['a state that is saved', (device) => device.saveServerState(Buffer.from('state'))],
  ])('%s', async (_, ask) => {
    const { host, device } = make();
    host.commitAtOnce = false;
    const asked = ask(device);
    asked.catch(() => {});
    for (let i = 0; i < 5; i++) await turn();
    host.serving = false;
    host.commit();
    await expect(asked).rejects.toMatchObject({ kind: 'not-serving' });
  });

  it('a flush', async () => {
    const { host, device } = make();
    host.flush = () => {
      host.serving = false;
      return Promise.resolve();
    };
    await expect(device.flush()).rejects.toMatchObject({ kind: 'not-serving' });
  });

  it('a read of a LUN that has been begun anew meanwhile', async () => {
    const { host, device } = make();
    await device.write(0, [Buffer.alloc(4096, 1)], NOW);
    const { readAt } = host;
    host.readAt = (position, lengthBytes) => {
      host.table.restart(9, [{ ...host.lun.description, generation: 9 }]);
      return readAt(position, lengthBytes);
    };
    await expect(device.read(0, 1)).rejects.toMatchObject({ kind: 'not-serving' });
  });
});

describe('a LUN device', () => {
  it('has what it keeps of the device server durable before it says so', async () => {
    const { host, device } = make();
    const forced: boolean[] = [];
    const submit = host.submit.bind(host);
    host.submit = (records, forceUnitAccess, ended) => {
      forced.push(forceUnitAccess);
      return submit(records, forceUnitAccess, ended);
    };
    await device.saveServerState(Buffer.from('state'));
    expect(forced).toEqual([true]);
  });

  it('has the log keep what it reads to merge into, as long as it reads', async () => {
    const { host, device } = make();
    await device.write(0, [Buffer.alloc(4096, 1)], NOW);
    let reading = 0;
    let during: number | undefined;
    host.readBegins = () => {
      reading++;
      return () => reading--;
    };
    const { readAt } = host;
    host.readAt = (position, lengthBytes) => {
      during = reading;
      return readAt(position, lengthBytes);
    };
    await device.write(1, [Buffer.alloc(512, 2)], NOW);
    expect([during, reading]).toEqual([1, 0]);
  });

  it('begins no write at once that reaches past its end by a part of a block', () => {
    const { host } = make();
    host.table.restart(1, [{ ...host.lun.description, lengthBlocks: 8 * 3 - 1 }]);
    const device = new LunDevice(host.lun, host);
    expect(device.beginWrite(16, [Buffer.alloc(4096)], NOW, () => {})).toBe(false);
    expect(device.beginWrite(8, [Buffer.alloc(4096)], NOW, () => {})).toBe(true);
  });

  it('looks again for an image that was not there', async () => {
    let isThere = false;
    const host = new SoleHost({ open: (ref) => (isThere ? images.open(ref) : Promise.resolve(undefined)) });
    const device = new LunDevice(host.lun, host);
    await expect(device.read(0, 1)).rejects.toMatchObject({ kind: 'not-serving' });
    isThere = true;
    expect(await content(device, 0, 1)).toHaveLength(512);
  });
});

describe('a block that is damaged in the log', () => {
  async function damaged(): Promise<{ host: SoleHost; device: LunDevice; position: number; sound: Buffer }> {
    const { host, device } = make();
    const sound = Buffer.alloc(4096, 3);
    await device.write(0, [Buffer.concat([sound, sound])], NOW);
    const position = host.lun.blocks.position(1);
    host.damage(position + 100);
    return { host, device, position, sound };
  }

  it('is read from another copy, and that of the log is left as it is', async () => {
    const { host, device, position, sound } = await damaged();
    host.elsewhere.set(host.lun.blocks.crc(1), sound);
    expect((await content(device, 0, 16)).equals(Buffer.concat([sound, sound]))).toBe(true);
    const inLog = await host.readAt(position, 4096);
    expect(Buffer.from(inLog).equals(sound)).toBe(false);
  });

  it('is not read at once', async () => {
    const { host, device, sound } = await damaged();
    const rotten = Buffer.from(sound);
    rotten[9] = 0;
    let isSound = true;
    const readAtNow = (_: number, into: Uint8Array): boolean => {
      for (let at = 0; at < into.length; at += 4096) into.set(isSound ? sound : rotten, at);
      return true;
    };
    Object.assign(host, { readAtNow });
    expect(device.readNow(0, 8)).toBeDefined();
    isSound = false;
    expect(device.readNow(0, 8)).toBeUndefined();
  });

  it('is looked for elsewhere where the log says so, and not where it has failed otherwise', async () => {
    const { host, device, sound } = await damaged();
    host.elsewhere.set(host.lun.blocks.crc(0), sound);
    let cause: Error = new LogCorruptionError('rotten', { segment: 's', offsetBytes: 1 });
    host.readAt = () => Promise.reject(cause);
    expect((await content(device, 0, 8)).equals(sound)).toBe(true);
    cause = new Error('closed');
    await expect(device.read(0, 8)).rejects.toMatchObject({ kind: 'medium-error', cause });
    await expect(device.read(0, 8)).rejects.toBeInstanceOf(DeviceError);
  });
});
