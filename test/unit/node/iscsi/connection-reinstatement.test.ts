import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { serialAdd } from '../../../../base/serial-number.ts';
import { Initiator } from '../../../../scripts/simulator/iscsi-initiator.ts';
import {
  type LoggedIn,
  type LoginOptions,
  LoginRefusedError,
  login,
  openWire,
} from '../../../../scripts/simulator/iscsi-wire.ts';
import { startLogin } from './login-exchange.ts';
import { INITIATOR, startTarget, TARGET, type TestTarget } from './target-fixture.ts';

/** Connection reinstatement (RFC 7143 §6.3.4): a login that names a session goes on with it by a new connection. */

let target: TestTarget;
const initiators: Initiator[] = [];

beforeEach(async () => {
  target = await startTarget({ lengthBlocks: 1024 });
});
afterEach(async () => {
  for (const initiator of initiators.splice(0)) initiator.destroy();
  await target.portal.close();
});

async function attach(more: Partial<LoginOptions> = {}): Promise<Initiator> {
  const { host, port } = target;
  const options = { host, port, initiatorName: INITIATOR, targetName: TARGET, ...more };
  const initiator = new Initiator(await login(options), options);
  initiators.push(initiator);
  return initiator;
}

/** What it takes to go on with a session. */
function place(of: Initiator): { tsih: number; cmdSN: number } {
  return { tsih: of.loggedIn.tsih, cmdSN: of.nextCmdSN };
}

async function refusal(attempt: Promise<unknown>): Promise<number> {
  const error = await attempt.then(
    () => undefined,
    (why: unknown) => why,
  );
  return error instanceof LoginRefusedError ? error.status : 0;
}

const testUnitReady = new Uint8Array(6);
const reserve = Buffer.from('160000000000', 'hex');

describe('a connection that takes the place of another', () => {
  test('goes on with the numbering of the session, and with what its initiator holds', async () => {
    const old = await attach();
    // Takes the attention of a power on; a session that begins would have it again.
    await old.command({ cdb: testUnitReady });
    expect((await old.command({ cdb: reserve })).status).toBe(0);
    const lost = new Promise((resolve) => old.onClose(resolve));
    const { tsih, cmdSN } = place(old);
    const next = await attach({ tsih, cmdSN });
    await lost;
    expect(next.loggedIn.tsih).toBe(tsih);
    expect(next.loggedIn.nextCmdSN).toBe(cmdSN);
    expect((await next.command({ cdb: testUnitReady })).status).toBe(0);
    const other = await attach({ isid: '400000000002' });
    await other.command({ cdb: testUnitReady });
    expect((await other.command({ cdb: testUnitReady })).status, 'the reservation stands').toBe(0x18);
    expect(target.portal.sessions()).toHaveLength(2);
    await next.logout();
    expect((await other.command({ cdb: testUnitReady })).status, 'until the session ends').toBe(0);
  });

  test('is told first what the session has received, whatever it believes itself', async () => {
    const old = await attach();
    await old.command({ cdb: testUnitReady });
    const { tsih, cmdSN } = place(old);
    const wire = await openWire(target.host, target.port);
    const names = { InitiatorName: INITIATOR, TargetName: TARGET, AuthMethod: 'None' };
    const fields = { currentStage: 0, nextStage: 1, tsih, cmdSN: serialAdd(cmdSN, 3) };
    const { status, fields: answer } = await startLogin(wire).ask(fields, names);
    expect(status).toBe(0);
    expect(answer.expCmdSN).toBe(cmdSN);
    wire.destroy();
    // Nothing has happened yet: the old connection serves on.
    expect((await old.command({ cdb: testUnitReady })).status).toBe(0);
  });

  test('is let in once the last write of the other has left the device, which is not answered', async () => {
    const old = await attach();
    const open = target.device.holdWrites();
    await old.command({ cdb: testUnitReady });
    const late = old.write(0, Buffer.alloc(512, 9)).catch(() => 'lost');
    while (target.device.calls.writes === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    let isIn = false;
    const next = attach(place(old)).then((initiator) => {
      isIn = true;
      return initiator;
    });
    expect(await late).toBe('lost');
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(isIn).toBe(false);
    open();
    const initiator = await next;
    expect((await initiator.read(0, 1))[0]).toBe(9);
    expect(target.portal.sessions()).toHaveLength(1);
  });

  test('negotiates digests and its segments anew, and no key of the session', async () => {
    const old = await attach({ keys: { MaxBurstLength: '65536', ImmediateData: 'Yes' } });
    const wire = await openWire(target.host, target.port);
    const exchange = startLogin(wire);
    const { tsih, cmdSN } = place(old);
    const names = { InitiatorName: INITIATOR, TargetName: TARGET, AuthMethod: 'None' };
    await exchange.ask({ currentStage: 0, nextStage: 1, tsih, cmdSN }, names);
    const { keys, status } = await exchange.ask(
      { currentStage: 1, nextStage: 3, tsih, cmdSN },
      {
        HeaderDigest: 'CRC32C',
        MaxRecvDataSegmentLength: '4096',
        MaxBurstLength: '512',
        ImmediateData: 'No',
      },
    );
    expect(status).toBe(0);
    expect(keys).toMatchObject({
      HeaderDigest: 'CRC32C',
      MaxBurstLength: 'Irrelevant',
      ImmediateData: 'Irrelevant',
    });
    wire.destroy();
  });

  test('ends with the session when a login makes that anew meanwhile', async () => {
    const old = await attach();
    const attempts = [attach(place(old)), attach(), attach(place(old)), attach()];
    await Promise.allSettled(attempts);
    const deadlineMs = performance.now() + 5000;
    while (target.portal.sessions().length > 1 && performance.now() < deadlineMs) {
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    expect(target.portal.sessions()).toHaveLength(1);
    const last = await attach();
    await last.read(0, 1);
    expect(target.portal.sessions()).toHaveLength(1);
  });
});

describe('is refused', () => {
  const there = async (): Promise<LoggedIn> => (await attach()).loggedIn;

  test.each([
    ['a session that is not there', { tsih: 999 }, 0x020a],
    ['the session of another ISID', { isid: '400000000009' }, 0x020a],
    ['the session of another initiator', { initiatorName: 'iqn.2026-11.net.example:client9' }, 0x020a],
    ['a second connection', { cid: 2 }, 0x0206],
  ])('%s', async (_, more, status) => {
    const { tsih } = await there();
    expect(await refusal(attach({ tsih, ...more }))).toBe(status);
    await initiators[0]?.read(0, 1);
  });

  test('a session for discovery', async () => {
    const { host, port } = target;
    const { tsih, wire } = await login({ host, port, initiatorName: INITIATOR });
    expect(await refusal(login({ host, port, initiatorName: INITIATOR, tsih }))).toBe(0x020a);
    wire.destroy();
  });

  test('a session whose connection has gone: nothing of it is kept', async () => {
    const old = await attach();
    old.destroy();
    while (target.portal.sessions().length > 0) await new Promise((resolve) => setTimeout(resolve, 1));
    expect(await refusal(attach(place(old)))).toBe(0x020a);
  });
});
