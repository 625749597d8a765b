import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { serialAdd, serialDistance } from '../../../../base/serial-number.ts';
import {
  DEFAULT_QUEUE_DEPTH,
  MAX_IMMEDIATE_TASKS,
  MAX_SOLICITED_BYTES,
} from '../../../../node/iscsi/limits.ts';
import { opcode, rejectReason } from '../../../../node/iscsi/opcode.ts';
import * as pdu from '../../../../node/iscsi/pdu.ts';
import { taskFunction, taskResponse } from '../../../../node/iscsi/task-management.ts';
import { login, openWire } from '../../../../scripts/simulator/iscsi-wire.ts';
import { DeviceError } from '../../../../storage/block-device.ts';
import { startLogin } from './login-exchange.ts';
import { attachRaw, codeOf, R2T_ONLY, RawInitiator, until } from './raw-initiator.ts';
import { grant, INITIATOR, startTarget, TARGET, type TestTarget } from './target-fixture.ts';

/** What a session may not do to others, nor others to it. */

let target: TestTarget;
const initiators: RawInitiator[] = [];

beforeEach(async () => {
  target = await startTarget({ lengthBlocks: 1024 });
});
afterEach(async () => {
  for (const each of initiators.splice(0)) each.destroy();
  await target.portal.close();
});

async function attach(more: Parameters<typeof attachRaw>[1] = {}): Promise<RawInitiator> {
  const initiator = await attachRaw(target, more);
  initiators.push(initiator);
  return initiator;
}

const TEST_UNIT_READY = '000000000000';
const RESERVE = '160000000000';
const block = new Uint8Array(512).fill(7);
const SECOND = { isid: '400000000002' };
const THIRD = { isid: '400000000003' };
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe('a session whose target is served elsewhere by now', () => {
  test('answers nothing more, not even what was under way before', async () => {
    target.hasMoved = true;
    const initiator = await attach();
    const letGo = target.device.holdWrites();
    initiator.write(11, 1, {}, block);
    await until(() => target.device.calls.writes === 1);
    target.device.failure = new DeviceError('not-serving', 'moved');
    initiator.command(12, '28000000000000000100', { read: true, expectedDataTransferLength: 512 });
    await until(() => target.device.calls.reads > 0);
    target.device.failure = undefined;
    letGo();
    await pause(50);
    expect(initiator.received).toEqual([]);
    expect(initiator.isLost).toBe(false);
  });
});

describe('a session that takes the place of another', () => {
  test('waits for writes that the other had aborted', async () => {
    const old = await attach();
    const letGo = target.device.holdWrites();
    old.write(11, 1, {}, block);
    await until(() => target.device.calls.writes === 1);
    old.taskManagement(20, taskFunction.abortTask, { referencedTaskTag: 11 });
    await old.settle();
    let isIn = false;
    const next = attach().then(() => {
      isIn = true;
    });
    await pause(50);
    expect(isIn).toBe(false);
    letGo();
    await next;
  });

  test('goes on with its numbers, whatever the initiator believes that it has sent', async () => {
    const { host, port } = target;
    const old = await attach();
    const { cmdSN } = old;
    const names = { host, port, initiatorName: INITIATOR, targetName: TARGET };
    const joining = { ...names, tsih: old.loggedIn.tsih, cmdSN: serialAdd(cmdSN, 5) };
    const joined = new RawInitiator(await login(joining));
    initiators.push(joined);
    joined.command(31, TEST_UNIT_READY, { cmdSN });
    expect(await joined.scsiResponse(31)).toMatchObject({ status: 0, expCmdSN: serialAdd(cmdSN, 1) });
  });

  test('is not let in where writes of the other do not end in time', async () => {
    await target.portal.close();
    target = await startTarget({ lengthBlocks: 1024, limits: { reinstatementTimeoutMs: 30 } });
    const old = await attach();
    const letGo = target.device.holdWrites();
    old.write(11, 1, {}, block);
    await until(() => target.device.calls.writes === 1);
    const joining = attachRaw(target, { tsih: old.loggedIn.tsih, cmdSN: old.cmdSN });
    await expect(joining).rejects.toMatchObject({ status: 0x0302 });
    letGo();
  });

  test('is not let in to one that is about to end', async () => {
    const old = await attach();
    const { tsih } = old.loggedIn;
    const letGo = target.device.holdWrites();
    old.write(11, 1, {}, block);
    await until(() => target.device.calls.writes === 1);
    old.logout(12, 0);
    await pause(20);
    await expect(attachRaw(target, { tsih, cmdSN: old.cmdSN })).rejects.toMatchObject({ status: 0x020a });
    letGo();
    await old.next(opcode.logoutResponse);
  });
});

test('a login that begins beyond the proof it has to give is refused at once', async () => {
  target.decide = async () => ({
    ...grant(new Map([[0, target.device]])),
    authentication: { credentials: [{ username: 'pc1', secret: 'secret' }], optional: false },
  });
  const exchange = startLogin(await openWire(target.host, target.port));
  const names = { InitiatorName: INITIATOR, TargetName: TARGET };
  const fields = { currentStage: 1, nextStage: 0, transit: false };
  expect((await exchange.ask(fields, names)).status).toBe(0x0201);
});

test('who has said where to, and does not go on with its login, is dropped in time as well', async () => {
  await target.portal.close();
  target = await startTarget({ lengthBlocks: 1024, limits: { loginTimeoutMs: 50 } });
  const wire = await openWire(target.host, target.port);
  const names = { InitiatorName: INITIATOR, TargetName: TARGET, AuthMethod: 'None' };
  expect((await startLogin(wire).ask({ currentStage: 0, nextStage: 1 }, names)).status).toBe(0);
  await until(() => wire.lost !== undefined);
  expect(target.counters.get('iscsi.connection.dropped.login-timeout')).toBe(1);
});

test('a portal has closed only once no write can change a block any more', async () => {
  const initiator = await attach();
  const letGo = target.device.holdWrites();
  initiator.write(11, 1, {}, block);
  await until(() => target.device.calls.writes === 1);
  let hasClosed = false;
  const closing = target.portal.close().then(() => {
    hasClosed = true;
  });
  await pause(50);
  expect(hasClosed).toBe(false);
  letGo();
  await closing;
});

describe('rejected commands', () => {
  test('hold no place in the window, however many there are', async () => {
    const initiator = await attach();
    const { cmdSN } = initiator;
    for (let i = 0; i < DEFAULT_QUEUE_DEPTH + 10; i++) {
      initiator.command(100 + i, TEST_UNIT_READY, { cmdSN, attributes: 5 });
    }
    await until(() => initiator.received.length === DEFAULT_QUEUE_DEPTH + 10);
    initiator.command(31, TEST_UNIT_READY, { cmdSN });
    const { expCmdSN, maxCmdSN } = await initiator.scsiResponse(31);
    expect(expCmdSN).toBe(serialAdd(cmdSN, 1));
    expect(serialDistance(expCmdSN, maxCmdSN)).toBe(DEFAULT_QUEUE_DEPTH - 1);
  });
});

test('immediate commands leave the window as wide as it is', async () => {
  const initiator = await attach();
  for (let i = 0; i < 10; i++) initiator.command(100 + i, TEST_UNIT_READY, { immediate: true });
  await until(() => initiator.received.length === 10);
  initiator.command(31, TEST_UNIT_READY);
  const { expCmdSN, maxCmdSN } = await initiator.scsiResponse(31);
  expect(serialDistance(expCmdSN, maxCmdSN)).toBe(DEFAULT_QUEUE_DEPTH - 1);
});

test('a command that reads and writes is refused, and reads and writes nothing', async () => {
  const initiator = await attach();
  initiator.write(11, 1, { read: true }, block);
  expect(await initiator.scsiResponse(11)).toMatchObject({ status: 2, ascAndAscq: 0x2400 });
  expect(target.device.calls).toMatchObject({ reads: 0, writes: 0 });
});

describe('task management', () => {
  test('of another logical unit ends no task of this one', async () => {
    const initiator = await attach();
    const letGo = target.device.holdWrites();
    initiator.write(11, 1, {}, block);
    await until(() => target.device.calls.writes === 1);
    const abort = { referencedTaskTag: 11, refCmdSN: serialAdd(initiator.cmdSN, -1 >>> 0), lunHigh: 1 << 16 };
    initiator.taskManagement(20, taskFunction.abortTask, abort);
    expect(await initiator.taskResponse(20)).toBe(taskResponse.taskDoesNotExist);
    letGo();
    expect((await initiator.scsiResponse(11)).status).toBe(0);
  });

  test('a LUN reset ends what another initiator holds by RESERVE(6)', async () => {
    const [holder, other] = [await attach(), await attach(SECOND)];
    holder.command(11, RESERVE);
    expect((await holder.scsiResponse(11)).status).toBe(0);
    other.command(12, TEST_UNIT_READY);
    expect((await other.scsiResponse(12)).status).toBe(0x18);
    other.taskManagement(20, taskFunction.logicalUnitReset);
    expect(await other.taskResponse(20)).toBe(taskResponse.complete);
    // The reset is told first.
    for (const tag of [13, 14]) {
      other.command(tag, TEST_UNIT_READY);
      await other.scsiResponse(tag);
    }
    expect((await other.scsiResponse(14)).status).toBe(0);
  });

  test('CLEAR TASK SET is told to those alone who had tasks', async () => {
    const [asker, busy, idle] = [await attach(), await attach(SECOND), await attach(THIRD)];
    const letGo = target.device.holdWrites();
    busy.write(11, 1, {}, block);
    await until(() => target.device.calls.writes === 1);
    asker.taskManagement(20, taskFunction.clearTaskSet);
    await asker.settle();
    letGo();
    expect(await asker.taskResponse(20)).toBe(taskResponse.complete);
    for (const each of [busy, idle]) each.command(12, TEST_UNIT_READY);
    expect((await busy.scsiResponse(12)).ascAndAscq).toBe(0x2f00);
    expect((await idle.scsiResponse(12)).status).toBe(0);
  });

  test('is bounded: requests that wait for commands to come are no more than so many', async () => {
    const initiator = await attach();
    // Each waits for a command that does not come.
    const cmdSN = serialAdd(initiator.cmdSN, 1);
    for (let i = 0; i <= MAX_IMMEDIATE_TASKS; i++) {
      initiator.taskManagement(100 + i, taskFunction.abortTaskSet, { cmdSN });
    }
    const { reason } = await initiator.rejection();
    expect(reason).toBe(rejectReason.immediateCommandReject);
    expect(initiator.received.filter((bytes) => codeOf(bytes) === opcode.taskManagementResponse)).toEqual([]);
    initiator.command(31, TEST_UNIT_READY);
    await until(
      () =>
        initiator.received.filter((bytes) => codeOf(bytes) === opcode.taskManagementResponse).length ===
        MAX_IMMEDIATE_TASKS,
    );
    const rejects = initiator.received.filter((bytes) => codeOf(bytes) === opcode.reject);
    expect(rejects.map((bytes) => pdu.reject.decode(bytes).reason)).toEqual([
      rejectReason.immediateCommandReject,
    ]);
  });
});

test('data of several writes is asked for as far as there is room for it, the rest once there is', async () => {
  await target.portal.close();
  target = await startTarget({ lengthBlocks: 65_536 });
  const initiator = await attach({ keys: R2T_ONLY });
  const blocks = Math.ceil((MAX_SOLICITED_BYTES * 0.6) / 512);
  for (const tag of [11, 12]) initiator.write(tag, blocks, { final: true });
  await initiator.readyToTransfer(11);
  await initiator.settle();
  const asked = (): number[] =>
    initiator.received
      .filter((bytes) => codeOf(bytes) === opcode.readyToTransfer)
      .map((bytes) => bytes.readUInt32BE(16));
  expect(asked()).toEqual([11]);
  initiator.taskManagement(20, taskFunction.abortTask, { referencedTaskTag: 11 });
  await initiator.readyToTransfer(12);
  expect(asked()).toEqual([11, 12]);
});
