import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ManualClock } from '../../../../base/clock.ts';
import { serialAdd, serialDistance } from '../../../../base/serial-number.ts';
import { MAX_RECV_DATA_SEGMENT_BYTES } from '../../../../node/iscsi/limits.ts';
import { opcode, RESERVED_TAG, rejectReason } from '../../../../node/iscsi/opcode.ts';
import * as pdu from '../../../../node/iscsi/pdu.ts';
import { login, openWire } from '../../../../scripts/simulator/iscsi-wire.ts';
import { startLogin } from './login-exchange.ts';
import { attachRaw, codeOf, R2T_ONLY, RawInitiator, until } from './raw-initiator.ts';
import { INITIATOR, startTarget, TARGET, type TestTarget } from './target-fixture.ts';

/** Numbering, Reject, NOP and logout of one connection, seen on the wire (RFC 7143 §4.2, §7, §11). */

let target: TestTarget;
let initiator: RawInitiator | undefined;

beforeEach(async () => {
  target = await startTarget({ lengthBlocks: 1024 });
});
afterEach(async () => {
  initiator?.destroy();
  initiator = undefined;
  await target.portal.close();
});

const TEST_UNIT_READY = '000000000000';
const NAMES = { InitiatorName: INITIATOR, TargetName: TARGET, AuthMethod: 'None' };
const block = new Uint8Array(512).fill(7);

/** A connection that has not logged in. */
async function connected() {
  const wire = await openWire(target.host, target.port);
  return { wire, exchange: startLogin(wire) };
}

describe('numbers', () => {
  test('of status begin with the login, and go on in full feature phase', async () => {
    const { wire, exchange } = await connected();
    const first = await exchange.ask({ currentStage: 0, nextStage: 1, expStatSN: 41 }, NAMES);
    const second = await exchange.ask(
      { currentStage: 1, nextStage: 1, transit: false },
      { InitialR2T: 'Yes' },
    );
    const last = await exchange.ask({ currentStage: 1, nextStage: 3 }, { ImmediateData: 'Yes' });
    const numbers = [first, second, last].map(({ fields }) => fields.statSN);
    const [from = 0] = numbers;
    expect(numbers).toEqual([from, serialAdd(from, 1), serialAdd(from, 2)]);
    expect([first, second].map(({ fields }) => fields.tsih)).toEqual([0, 0]);
    expect(last.fields.tsih).not.toBe(0);
    initiator = new RawInitiator({
      wire,
      parameters: {} as never,
      tsih: last.fields.tsih,
      host: target.host,
      port: target.port,
      nextCmdSN: last.fields.expCmdSN,
      expStatSN: 0,
      maxCmdSN: last.fields.maxCmdSN,
    });
    initiator.nopOut(9);
    expect(pdu.nopIn.decode(await initiator.next(opcode.nopIn)).statSN).toBe(serialAdd(from, 3));
  });

  test('of commands begin with the CmdSN of the login, wherever that is', async () => {
    initiator = await attachRaw(target, { cmdSN: 0xffff_fffe });
    // The first was taken by attaching.
    expect(initiator.loggedIn.nextCmdSN).toBe(0xffff_fffe);
    for (const [tag, expCmdSN] of [
      [11, 0],
      [12, 1],
    ] as const) {
      initiator.command(tag, TEST_UNIT_READY);
      const response = await initiator.scsiResponse(tag);
      expect(response, 'a response acknowledges its command').toMatchObject({ status: 0, expCmdSN });
      expect(serialDistance(response.expCmdSN, response.maxCmdSN)).toBeGreaterThanOrEqual(-1);
    }
  });

  test('put commands in order: early ones wait, duplicates and strangers are ignored', async () => {
    initiator = await attachRaw(target);
    const { cmdSN } = initiator;
    const at = (n: number) => ({ cmdSN: serialAdd(cmdSN, n) });
    initiator.command(13, TEST_UNIT_READY, at(2));
    initiator.command(12, TEST_UNIT_READY, at(1));
    initiator.command(14, TEST_UNIT_READY, at(2));
    initiator.command(15, TEST_UNIT_READY, at(-1));
    initiator.command(16, TEST_UNIT_READY, at(128));
    initiator.command(17, TEST_UNIT_READY, at(2 ** 31));
    await initiator.settle();
    expect(initiator.received).toEqual([]);
    initiator.command(11, TEST_UNIT_READY, at(0));
    initiator.command(18, TEST_UNIT_READY, at(0));
    await initiator.scsiResponse(13);
    await initiator.settle();
    expect(initiator.received.map((bytes) => bytes.readUInt32BE(16))).toEqual([11, 12, 13]);
  });

  test('close the window while commands are not answered, and open it again, never going back', async () => {
    initiator = await attachRaw(target);
    const release = target.device.holdWrites();
    const first = initiator.cmdSN;
    for (let n = 0; n < 128; n++) initiator.write(100 + n, 1, {}, block);
    await until(() => target.device.calls.writes === 128);
    initiator.nopOut(9);
    const told = pdu.nopIn.decode(await initiator.next(opcode.nopIn));
    expect([told.expCmdSN, told.maxCmdSN]).toEqual([serialAdd(first, 128), serialAdd(first, 127)]);
    // Beyond the window: it is as if it had not come.
    initiator.write(300, 1, {}, block);
    await initiator.settle();
    initiator.received.length = 0;
    release();
    await until(() => initiator?.received.length === 128);
    await initiator.settle();
    const windows = initiator.received.map((bytes) => pdu.scsiResponse.decode(bytes));
    let max = told.maxCmdSN;
    for (const { expCmdSN, maxCmdSN } of windows) {
      expect(expCmdSN).toBe(serialAdd(first, 128));
      expect(serialDistance(max, maxCmdSN)).toBeGreaterThanOrEqual(0);
      max = maxCmdSN;
    }
    expect(max).toBe(serialAdd(first, 255));
    expect(target.device.calls.writes).toBe(128);
  });

  test('have a window as wide as the portal is told, from the login on', async () => {
    await target.portal.close();
    target = await startTarget({ limits: { queueDepth: 3 } });
    initiator = await attachRaw(target, { cmdSN: 7 });
    expect(initiator.loggedIn.maxCmdSN).toBe(9);
    const release = target.device.holdWrites();
    for (let n = 0; n < 4; n++) initiator.write(100 + n, 1, {}, block);
    await until(() => target.device.calls.writes === 3);
    await initiator.settle();
    release();
    await initiator.scsiResponse(102);
    await initiator.settle();
    expect(target.device.calls.writes, 'the fourth was outside').toBe(3);
  });
});

test('reserved bits and fields are ignored where they come, and sent as zero', async () => {
  initiator = await attachRaw(target);
  // Leaves its numbers in a header buffer that is used again.
  initiator.command(10, '28000000000000000100', { read: true, expectedDataTransferLength: 1024 });
  await initiator.next(opcode.dataIn);
  const header = Buffer.from(
    pdu.nopOut.encode({
      opcode: opcode.nopOut,
      targetTransferTag: RESERVED_TAG,
      ...initiator.numbers(11, true),
    }),
  );
  header.fill(0xff, 1, 4);
  header.fill(0xff, 32, 48);
  header[0] = (header[0] as number) | 0x80;
  initiator.send(header);
  const echo = await initiator.next(opcode.nopIn, 11);
  expect([...echo.subarray(1, 4)]).toEqual([0x80, 0, 0]);
  expect(echo.subarray(36, 48).every((byte) => byte === 0)).toBe(true);
  const { cmdSN } = initiator.numbers(12);
  const command = Buffer.from(
    pdu.scsiCommand.encode({ opcode: opcode.scsiCommand, final: true, initiatorTaskTag: 12, cmdSN }),
  );
  command[1] = (command[1] as number) | 0x18;
  command.fill(0xff, 2, 4);
  initiator.send(command);
  expect((await initiator.scsiResponse(12)).status).toBe(0);
});

describe('a Reject', () => {
  test('of a command leaves its CmdSN to come, and the task that has its tag alone', async () => {
    initiator = await attachRaw(target, { keys: R2T_ONLY });
    initiator.write(11, 1);
    const { targetTransferTag } = await initiator.readyToTransfer(11);
    const refused = initiator.cmdSN;
    initiator.command(11, TEST_UNIT_READY);
    initiator.command(12, TEST_UNIT_READY);
    expect(await initiator.rejection()).toMatchObject({
      reason: rejectReason.taskInProgress,
      expCmdSN: refused,
    });
    initiator.dataOut(11, block, { targetTransferTag });
    expect(await initiator.scsiResponse(11)).toMatchObject({ status: 0, expCmdSN: refused });
    initiator.command(13, TEST_UNIT_READY, { cmdSN: refused });
    expect((await initiator.scsiResponse(13)).status).toBe(0);
    expect(await initiator.scsiResponse(12)).toMatchObject({ status: 0, expCmdSN: serialAdd(refused, 2) });
  });

  test('carries the whole header that was refused, no tag, and the next StatSN', async () => {
    initiator = await attachRaw(target);
    initiator.nopOut(9);
    const { statSN } = pdu.nopIn.decode(await initiator.next(opcode.nopIn));
    const sent = Buffer.alloc(48, 0xa5);
    sent[0] = 0x40 | 0x1d;
    sent.fill(0, 4, 8);
    initiator.send(sent);
    const bytes = await initiator.next(opcode.reject);
    expect(pdu.reject.decode(bytes)).toMatchObject({
      final: true,
      reason: rejectReason.commandNotSupported,
      dataSegmentLength: 48,
      initiatorTaskTag: RESERVED_TAG,
      statSN: serialAdd(statSN, 1),
    });
    expect(bytes.subarray(48)).toEqual(sent);
  });

  test.each([
    ['the task tag that is reserved', (by: RawInitiator) => by.command(RESERVED_TAG, TEST_UNIT_READY)],
    ['a reason to log out that there is none of', (by: RawInitiator) => by.logout(9, 5)],
  ])('of %s ends the session', async (_name, send) => {
    initiator = await attachRaw(target);
    send(initiator);
    expect((await initiator.rejection()).reason).toBe(rejectReason.invalidPduField);
    await until(() => initiator?.isLost === true);
  });

  test('of a segment longer than was declared has its header, and ends the session', async () => {
    initiator = await attachRaw(target);
    const header = Buffer.alloc(48);
    header[0] = 0x40;
    header.writeUIntBE(MAX_RECV_DATA_SEGMENT_BYTES + 1, 5, 3);
    initiator.loggedIn.wire.socket.write(header);
    const { reason, header: refused } = await initiator.rejection();
    expect([reason, refused]).toEqual([rejectReason.protocolError, header]);
    await until(() => initiator?.isLost === true);
  });

  test.each([
    ['of wrong data has its header', 60, [opcode.reject]],
    ['is not sent of a header that is wrong itself', 20, []],
  ])('%s', async (_name, at, answers) => {
    initiator = await attachRaw(target, { keys: { HeaderDigest: 'CRC32C', DataDigest: 'CRC32C' } });
    const { socket } = initiator.loggedIn.wire;
    const write = socket.write.bind(socket);
    const pieces: Buffer[] = [];
    socket.write = (chunk: Buffer) => pieces.push(Buffer.from(chunk)) > 0;
    initiator.nopOut(9, Buffer.alloc(64, 1));
    await until(() => Buffer.concat(pieces).length === 48 + 4 + 64 + 4);
    const bytes = Buffer.concat(pieces);
    bytes[at] = (bytes[at] as number) ^ 1;
    write(bytes);
    await until(() => initiator?.isLost === true);
    expect(initiator.received.map(codeOf)).toEqual(answers);
    if (answers.length > 0) expect((await initiator.rejection()).header).toEqual(bytes.subarray(0, 48));
  });
});

describe('NOP', () => {
  test('a NOP-Out is answered under its tag, with what of its data the initiator takes', async () => {
    initiator = await attachRaw(target, { keys: { MaxRecvDataSegmentLength: '512' } });
    const data = Buffer.from(Array.from({ length: 700 }, (_, n) => n & 0xff));
    initiator.nopOut(77, data);
    const echo = await initiator.next(opcode.nopIn);
    expect(pdu.nopIn.decode(echo)).toMatchObject({
      initiatorTaskTag: 77,
      targetTransferTag: RESERVED_TAG,
      dataSegmentLength: 512,
    });
    expect(echo.subarray(48)).toEqual(data.subarray(0, 512));
  });

  test('a NOP-Out that asks for no answer gets none', async () => {
    initiator = await attachRaw(target);
    initiator.nopOut(RESERVED_TAG);
    await initiator.settle();
    expect(initiator.received).toEqual([]);
  });

  test('a NOP-In that asks for a sign of life has a transfer tag, no data, and does not move StatSN', async () => {
    await target.portal.close();
    const clock = new ManualClock();
    target = await startTarget({ clock, limits: { nopIdleMs: 5000, nopTimeoutMs: 60_000 } });
    initiator = await attachRaw(target);
    initiator.nopOut(9);
    const { statSN } = pdu.nopIn.decode(await initiator.next(opcode.nopIn));
    initiator.received.length = 0;
    clock.advance(6000);
    const ping = pdu.nopIn.decode(await initiator.next(opcode.nopIn));
    expect(ping).toMatchObject({
      initiatorTaskTag: RESERVED_TAG,
      dataSegmentLength: 0,
      statSN: serialAdd(statSN, 1),
      lunHigh: 0,
      lunLow: 0,
    });
    expect(ping.targetTransferTag).not.toBe(RESERVED_TAG);
    initiator.received.length = 0;
    initiator.nopOut(10);
    expect(pdu.nopIn.decode(await initiator.next(opcode.nopIn)).statSN).toBe(serialAdd(statSN, 1));
  });
});

test('a logout is answered once no task can change anything any more, and these are not answered', async () => {
  initiator = await attachRaw(target);
  const release = target.device.holdWrites();
  initiator.write(11, 1, {}, block);
  await until(() => target.device.calls.writes === 1);
  initiator.logout(20, 0);
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(initiator.received).toEqual([]);
  release();
  await initiator.next(opcode.logoutResponse);
  await until(() => initiator?.isLost === true);
  expect(initiator.received.map(codeOf)).toEqual([opcode.logoutResponse]);
});

test('tasks that a new connection of the session ended are told of with the next command', async () => {
  const old = await attachRaw(target, { keys: R2T_ONLY });
  old.write(11, 1);
  await old.readyToTransfer(11);
  const { host, port } = target;
  const place = { tsih: old.loggedIn.tsih, cmdSN: old.cmdSN };
  initiator = new RawInitiator(
    await login({ host, port, initiatorName: INITIATOR, targetName: TARGET, ...place }),
  );
  initiator.command(12, TEST_UNIT_READY);
  expect(await initiator.scsiResponse(12)).toMatchObject({ status: 2, ascAndAscq: 0x477f });
  initiator.command(13, TEST_UNIT_READY);
  expect((await initiator.scsiResponse(13)).status).toBe(0);
  old.destroy();
});
