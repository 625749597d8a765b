import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Initiator } from '../../../../scripts/simulator/iscsi-initiator.ts';
import { LoginRefusedError, login } from '../../../../scripts/simulator/iscsi-wire.ts';
import { AttachedInitiators } from './attached-initiators.ts';
import { grant, INITIATOR, startTarget, type TestTarget } from './target-fixture.ts';

let target: TestTarget;
const initiators = new AttachedInitiators(() => target);

beforeEach(async () => {
  target = await startTarget();
});

afterEach(() => initiators.end());

function pattern(lengthBytes: number, seed: number): Uint8Array {
  return Uint8Array.from({ length: lengthBytes }, (_, i) => (i * 7 + seed + (i >> 9)) & 0xff);
}

describe('reading and writing', () => {
  test('the capacity is that of the device', async () => {
    expect((await initiators.attach()).capacity).toEqual({ blocks: 65_536, blockBytes: 512 });
  });

  test('what several initiators send at once is kept apart', async () => {
    const isids = ['400000000001', '400000000002', '400000000003', '400000000004'];
    const all = await Promise.all(isids.map((isid) => initiators.attach({ isid })));
    const written = all.flatMap((initiator, i) =>
      [0, 1, 2].map((n) => {
        const lba = (3 * i + n) * 3000;
        const data = pattern(512 * (2900 - 700 * n), lba);
        return { lba, data, done: initiator.write(lba, data) };
      }),
    );
    await Promise.all(written.map(({ done }) => done));
    for (const { lba, data } of written) {
      const found = target.device.bytes.subarray(lba * 512, lba * 512 + data.length);
      expect(Buffer.compare(found, data)).toBe(0);
    }
  });

  const manners: [string, Record<string, string>][] = [
    ['immediate and unsolicited data', {}],
    ['R2T only, as iPXE', { ImmediateData: 'No', InitialR2T: 'Yes', MaxRecvDataSegmentLength: '8192' }],
    ['immediate data, then R2T', { ImmediateData: 'Yes', InitialR2T: 'Yes' }],
    ['unsolicited Data-Out without immediate data', { ImmediateData: 'No', InitialR2T: 'No' }],
    ['small bursts', { MaxBurstLength: '4096', FirstBurstLength: '1024', MaxRecvDataSegmentLength: '512' }],
    ['CRC32C digests', { HeaderDigest: 'CRC32C,None', DataDigest: 'CRC32C,None' }],
  ];
  for (const [name, keys] of manners) {
    test(`what was written is read: ${name}`, async () => {
      const initiator = await initiators.attach({ keys });
      for (const blocks of [1, 7, 8, 64, 513, 5000]) {
        const data = pattern(blocks * 512, blocks);
        await initiator.write(100, data);
        expect(Buffer.compare(target.device.bytes.subarray(51_200, 51_200 + data.length), data)).toBe(0);
        expect(Buffer.compare(await initiator.read(100, blocks), data)).toBe(0);
      }
      expect(initiator.seen).toMatchObject({ rejects: 0, pings: 0, asyncMessages: 0 });
    });
  }

  test('a deep queue of mixed commands keeps every block right', async () => {
    const initiator = await initiators.attach({ queueDepth: 128 });
    const writes = Array.from({ length: 1000 }, (_, i) => initiator.write(i * 8, pattern(4096, i)));
    await Promise.all(writes);
    const reads = await Promise.all(Array.from({ length: 1000 }, (_, i) => initiator.read(i * 8, 8)));
    reads.forEach((data, i) => expect(Buffer.compare(data, pattern(4096, i))).toBe(0));
    const [info] = target.portal.sessions();
    expect(info).toMatchObject({ reads: 1000, writes: 1000, readBytes: 4_096_000, writtenBytes: 4_096_000 });
  });

  test('FUA and SYNCHRONIZE CACHE reach the device', async () => {
    const initiator = await initiators.attach();
    await initiator.write(0, pattern(512, 1), { forceUnitAccess: true });
    await initiator.flush();
    expect(target.device.calls).toMatchObject({ forced: 1, flushes: 1 });
  });
});

describe('login', () => {
  test('refusals carry the status of the standard', async () => {
    const refused = (status: number): unknown => expect.objectContaining({ status });
    await expect(initiators.attach({ targetName: 'iqn.2026-11.net.example:none' })).rejects.toEqual(
      refused(0x0203),
    );
    target.decide = async () => ({ kind: 'refused', reason: 'forbidden' });
    await expect(initiators.attach()).rejects.toEqual(refused(0x0202));
    target.decide = async () => ({ kind: 'refused', reason: 'unavailable' });
    await expect(initiators.attach()).rejects.toBeInstanceOf(LoginRefusedError);
  });

  test('a redirect leads to the portal it names', async () => {
    const { host, port } = target;
    const first = await startTarget();
    first.decide = async () => ({ kind: 'redirect', address: host, port });
    const initiator = await initiators.attach({ host: first.host, port: first.port });
    expect(initiator.loggedIn.port).toBe(port);
    await initiator.write(0, pattern(512, 3));
    expect(target.device.calls.writes).toBe(1);
    await first.portal.close();
  });

  test('a login with the same name and ISID ends the older session, after its writes', async () => {
    const older = await initiators.attach();
    let open = (): void => {};
    target.device.gate = new Promise((resolve) => {
      open = resolve;
    });
    const late = older.write(0, pattern(512, 9)).catch(() => 'lost');
    while (target.device.calls.writes === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    let loggedIn = false;
    const newer = initiators.attach().then((initiator) => {
      loggedIn = true;
      return initiator;
    });
    expect(await late).toBe('lost');
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(loggedIn).toBe(false);
    target.device.gate = undefined;
    open();
    await newer;
    expect(target.device.bytes[1]).toBe(16);
    expect(target.portal.sessions()).toHaveLength(1);
  });

  test('of several logins at once with the same name and ISID one session remains', async () => {
    await Promise.allSettled(Array.from({ length: 8 }, () => initiators.attach()));
    const deadline = performance.now() + 2000;
    while (target.portal.sessions().length > 1 && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    expect(target.portal.sessions()).toHaveLength(1);
  });

  test('another ISID leaves a live session alone', async () => {
    const one = await initiators.attach();
    const two = await initiators.attach({ isid: '400000000002' });
    await Promise.all([one.read(0, 1), two.read(0, 1)]);
    expect(target.portal.sessions()).toHaveLength(2);
  });

  test('discovery lists what the directory shows this initiator, in as many PDUs as it takes', async () => {
    const portals = [{ address: '192.0.2.1', port: 3260 }];
    target.listings = (name) =>
      Array.from({ length: 60 }, (_, i) => ({ targetName: `${name}.target-${i}`, portals }));
    const { host, port } = target;
    const loggedIn = await login({
      host,
      port,
      initiatorName: INITIATOR,
      keys: { MaxRecvDataSegmentLength: '512' },
    });
    const session = new Initiator(loggedIn, { host, port, initiatorName: INITIATOR, targetName: '' });
    initiators.keep(session);
    const keys = await session.text({ SendTargets: 'All' });
    expect(keys).toHaveLength(120);
    expect(keys[118]).toEqual({ key: 'TargetName', value: `${INITIATOR}.target-59` });
    expect(keys[119]).toEqual({ key: 'TargetAddress', value: '192.0.2.1:3260,1' });
    await session.logout();
  });

  test('the directory may grant several LUNs', async () => {
    const { MemoryDevice } = await import('./memory-device.ts');
    const second = new MemoryDevice(64);
    target.decide = async () =>
      grant(
        new Map([
          [0, target.device],
          [1, second],
        ]),
      );
    const initiator = await initiators.attach({ lun: 1 });
    expect(initiator.capacity.blocks).toBe(64);
    await initiator.write(0, pattern(512, 5));
    expect(second.bytes[1]).toBe(12);
  });
});
