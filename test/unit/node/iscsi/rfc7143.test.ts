import { afterEach, beforeEach, expect, test } from 'vitest';
import { serialAdd } from '../../../../base/serial-number.ts';
import { asyncEvent, opcode, RESERVED_TAG, rejectReason } from '../../../../node/iscsi/opcode.ts';
import * as pdu from '../../../../node/iscsi/pdu.ts';
import { type LoggedIn, type LoginOptions, login } from '../../../../scripts/simulator/iscsi-wire.ts';
import { DeviceError } from '../../../../storage/block-device.ts';
import { until } from './raw-initiator.ts';
import { INITIATOR, startTarget, TARGET, type TestTarget } from './target-fixture.ts';

/** What RFC 7143 demands of a target on the wire, PDU by PDU; docs/rfc7143.md refers to these by name. */

let target: TestTarget;
let session: LoggedIn;
let received: Buffer[];

beforeEach(async () => {
  target = await startTarget({ lengthBlocks: 1024 });
});
afterEach(async () => {
  session?.wire.destroy();
  await target.portal.close();
});

async function attach(more: Partial<LoginOptions> = {}): Promise<void> {
  const { host, port } = target;
  session = await login({ host, port, initiatorName: INITIATOR, targetName: TARGET, ...more });
  received = [];
  session.wire.onFrame(({ header, at, data }) => {
    received.push(Buffer.concat([header.subarray(at, at + pdu.HEADER_BYTES), ...data]));
  });
  // Takes the unit attention of a new session.
  send(pdu.scsiCommand.encode({ opcode: opcode.scsiCommand, final: true, ...numbers(1) }));
  await until(() => received.length === 1);
  received.length = 0;
}

let cmdSN = 0;
function numbers(tag: number, immediate = false) {
  if (tag === 1) cmdSN = session.nextCmdSN;
  const now = cmdSN;
  if (!immediate) cmdSN = serialAdd(cmdSN, 1);
  return { initiatorTaskTag: tag, cmdSN: now, immediate };
}

function send(header: Uint8Array, data: Uint8Array = new Uint8Array()): void {
  session.wire.sendWith(Buffer.from(header), data);
}

function sendCommand(
  tag: number,
  cdb: string,
  fields: Partial<ReturnType<typeof pdu.scsiCommand.decode>>,
): void {
  const header = pdu.scsiCommand.encode({
    opcode: opcode.scsiCommand,
    final: true,
    ...numbers(tag),
    ...fields,
  });
  header.set(Buffer.from(cdb, 'hex'), pdu.CDB_OFFSET);
  send(header);
}

const nopOut = (tag: number) =>
  pdu.nopOut.encode({
    opcode: opcode.nopOut,
    final: true,
    targetTransferTag: RESERVED_TAG,
    ...numbers(tag, true),
  });
const codeOf = (bytes: Buffer): number => (bytes[0] as number) & 0x3f;

async function rejection(): Promise<{ reason: number; header: Buffer }> {
  await until(() => received.some((bytes) => codeOf(bytes) === opcode.reject));
  const bytes = received.find((b) => codeOf(b) === opcode.reject) as Buffer;
  return { reason: pdu.reject.decode(bytes).reason, header: bytes.subarray(pdu.HEADER_BYTES) };
}

test('StatSN rises by one with every response, and with nothing else', async () => {
  await attach({ keys: { ImmediateData: 'No', InitialR2T: 'Yes' } });
  send(nopOut(10));
  sendCommand(11, '2a000000000000000100', { write: true, expectedDataTransferLength: 512 });
  await until(() => received.length === 2);
  const readyToTransfer = pdu.readyToTransfer.decode(received[1] as Buffer);
  const { targetTransferTag } = readyToTransfer;
  const data = { opcode: opcode.dataOut, final: true, initiatorTaskTag: 11, targetTransferTag };
  send(pdu.dataOut.encode(data), new Uint8Array(512));
  send(nopOut(12));
  await until(() => received.length === 4);
  const first = pdu.nopIn.decode(received[0] as Buffer).statSN;
  expect(readyToTransfer.statSN).toBe(serialAdd(first, 1));
  const after = received.slice(2).map((bytes) => pdu.nopIn.decode(bytes).statSN);
  expect(after.sort((a, b) => a - b)).toEqual([serialAdd(first, 1), serialAdd(first, 2)]);
});

test('an R2T asks for no more than MaxBurstLength, with R2TSN and Buffer Offset in order', async () => {
  await attach({ keys: { ImmediateData: 'No', InitialR2T: 'Yes', MaxBurstLength: '1024' } });
  sendCommand(11, '2a000000000000000500', { write: true, expectedDataTransferLength: 2560 });
  const asked: number[][] = [];
  for (let n = 0; n < 3; n++) {
    await until(() => received.length === n + 1);
    const fields = pdu.readyToTransfer.decode(received[n] as Buffer);
    const { targetTransferTag, desiredDataTransferLength, bufferOffset, r2tSN } = fields;
    expect(fields.opcode).toBe(opcode.readyToTransfer);
    expect(targetTransferTag).not.toBe(RESERVED_TAG);
    asked.push([r2tSN, bufferOffset, desiredDataTransferLength]);
    const data = {
      opcode: opcode.dataOut,
      final: true,
      initiatorTaskTag: 11,
      targetTransferTag,
      bufferOffset,
    };
    send(pdu.dataOut.encode(data), new Uint8Array(desiredDataTransferLength));
  }
  expect(asked).toEqual([
    [0, 0, 1024],
    [1, 1024, 1024],
    [2, 2048, 512],
  ]);
  await until(() => received.length === 4);
  expect(codeOf(received[3] as Buffer)).toBe(opcode.scsiResponse);
});

test('Data-In counts DataSN and offset, ends every burst with F, and carries status in its last PDU only', async () => {
  await attach({ keys: { MaxBurstLength: '1024', MaxRecvDataSegmentLength: '512' } });
  sendCommand(11, '28000000000000000500', { read: true, expectedDataTransferLength: 2560 });
  await until(() => received.length === 5);
  const fields = received.map((bytes) => pdu.dataIn.decode(bytes));
  expect(fields.map((f) => [f.dataSN, f.bufferOffset, f.final, f.hasStatus])).toEqual([
    [0, 0, false, false],
    [1, 512, true, false],
    [2, 1024, false, false],
    [3, 1536, true, false],
    [4, 2048, true, true],
  ]);
});

test('residuals: less data than expected is underflow, more is overflow', async () => {
  await attach();
  sendCommand(11, '120000002400', { read: true, expectedDataTransferLength: 255 });
  sendCommand(12, '28000000000000000200', { read: true, expectedDataTransferLength: 512 });
  await until(() => received.length === 2);
  const [inquiry, read] = received.map((bytes) => pdu.dataIn.decode(bytes));
  expect(inquiry).toMatchObject({ underflow: true, overflow: false, residualCount: 255 - 36 });
  expect(read).toMatchObject({
    underflow: false,
    overflow: true,
    residualCount: 512,
    dataSegmentLength: 512,
  });
});

test('a task tag in use is rejected, with the header that was refused', async () => {
  await attach({ keys: { ImmediateData: 'No', InitialR2T: 'Yes' } });
  sendCommand(11, '2a000000000000000100', { write: true, expectedDataTransferLength: 512 });
  sendCommand(11, '000000000000', {});
  const { reason, header } = await rejection();
  expect(reason).toBe(rejectReason.taskInProgress);
  expect(pdu.scsiCommand.decode(header)).toMatchObject({ opcode: opcode.scsiCommand, initiatorTaskTag: 11 });
  expect(header[pdu.CDB_OFFSET]).toBe(0);
});

test.each([
  ['SNACK', opcode.snackRequest, 11, rejectReason.snackReject],
  ['a login in full feature phase', opcode.loginRequest, 11, rejectReason.commandNotSupported],
  ['an opcode of a target', opcode.dataIn, 11, rejectReason.commandNotSupported],
  ['an opcode of nobody', 0x1d, 11, rejectReason.commandNotSupported],
])('%s is rejected', async (_name, code, tag, reason) => {
  await attach();
  send(pdu.basicHeader.encode({ opcode: code, immediate: true, initiatorTaskTag: tag }));
  expect((await rejection()).reason).toBe(reason);
  received.length = 0;
  send(nopOut(12));
  await until(() => received.some((bytes) => codeOf(bytes) === opcode.nopIn));
});

test.each([
  ['SCSI commands', opcode.scsiCommand],
  ['task management', opcode.taskManagementRequest],
])('a discovery session takes no %s', async (_name, code) => {
  const { host, port } = target;
  session = await login({ host, port, initiatorName: INITIATOR });
  received = [];
  session.wire.onFrame(({ header, at }) => received.push(Buffer.from(header.subarray(at, at + 48))));
  send(pdu.basicHeader.encode({ opcode: code, immediate: true, initiatorTaskTag: 5 }));
  expect((await rejection()).reason).toBe(rejectReason.protocolError);
});

test('a data digest error is rejected and ends the session, a header digest error ends it', async () => {
  for (const [at, answers] of [
    [60, 1],
    [3, 0],
  ] as const) {
    await attach({ keys: { HeaderDigest: 'CRC32C', DataDigest: 'CRC32C' } });
    const closed = new Promise((resolve) => session.wire.onClose(resolve));
    const { socket } = session.wire;
    const write = socket.write.bind(socket);
    // One bit falls over on the way: in the data, or in the header.
    const corked: Buffer[] = [];
    socket.write = (chunk: Buffer) => corked.push(Buffer.from(chunk)) > 0;
    send(nopOut(10), Buffer.alloc(64, 1));
    await until(() => corked.length > 0 && Buffer.concat(corked).length === 48 + 4 + 64 + 4);
    const bytes = Buffer.concat(corked);
    bytes[at] = (bytes[at] as number) ^ 1;
    write(bytes);
    await closed;
    expect(received.filter((b) => codeOf(b) === opcode.nopIn)).toEqual([]);
    if (answers === 1) expect((await rejection()).reason).toBe(rejectReason.dataDigestError);
  }
});

test.each([
  ['closes the session', 0, 0, 0, true],
  ['closes the connection', 1, 1, 0, true],
  ['names a connection that is not there', 1, 9, 1, false],
  ['would recover a connection', 2, 1, 2, false],
])('a logout that %s', async (_name, reason, cid, response, closes) => {
  await attach();
  const fields = { opcode: opcode.logoutRequest, final: true, reason, cid };
  send(pdu.logoutRequest.encode({ ...fields, ...numbers(10, true) }));
  await until(() => received.length === 1);
  expect(pdu.logoutResponse.decode(received[0] as Buffer)).toMatchObject({
    opcode: opcode.logoutResponse,
    response,
  });
  if (closes) await until(() => session.wire.lost !== undefined);
  else {
    send(nopOut(11));
    await until(() => received.length === 2);
  }
});

test('an immediate command does not move CmdSN', async () => {
  await attach();
  const before = cmdSN;
  send(nopOut(10));
  sendCommand(11, '000000000000', {});
  await until(() => received.length === 2);
  const expected = received.map((bytes) => pdu.nopIn.decode(bytes).expCmdSN);
  expect(expected.sort((a, b) => a - b)).toEqual([before, serialAdd(before, 1)]);
});

test('a drop by the target is announced: at once, numbered, and without a time to wait', async () => {
  await attach();
  send(nopOut(10));
  await until(() => received.length === 1);
  const { statSN } = pdu.nopIn.decode(received[0] as Buffer);
  target.portal.announceDrop(TARGET);
  await until(() => received.length === 2);
  const message = pdu.asyncMessage.decode(received[1] as Buffer);
  expect(message).toMatchObject({
    opcode: opcode.asyncMessage,
    final: true,
    initiatorTaskTag: RESERVED_TAG,
    statSN: serialAdd(statSN, 1),
    asyncEvent: asyncEvent.dropsAllConnections,
    asyncVCode: 0,
    parameter1: 0,
    parameter2: 0,
    parameter3: 0,
  });
  // What is asked meanwhile is answered as ever.
  send(nopOut(11));
  await until(() => received.length === 3);
  expect(pdu.nopIn.decode(received[2] as Buffer).statSN).toBe(serialAdd(statSN, 2));
});

test('a portal that closes announces it', async () => {
  await attach();
  const closed = new Promise<void>((done) => session.wire.onClose(() => done()));
  await target.portal.close();
  await closed;
  expect(received.map(codeOf)).toEqual([opcode.asyncMessage]);
});

test('no drop is announced to an initiator that might hang up at it, nor in a discovery session', async () => {
  await attach({ keys: { ImmediateData: 'No', InitialR2T: 'Yes' } });
  target.portal.announceDrop(TARGET);
  send(nopOut(10));
  await until(() => received.length === 1);
  expect(received.map(codeOf)).toEqual([opcode.nopIn]);
  session.wire.destroy();
  const { host, port } = target;
  session = await login({ host, port, initiatorName: INITIATOR });
  const codes: number[] = [];
  session.wire.onFrame(({ header, at }) => codes.push((header[at] as number) & 0x3f));
  const closed = new Promise<void>((done) => session.wire.onClose(() => done()));
  await target.portal.close();
  await closed;
  expect(codes).toEqual([]);
});

test('a drop is announced by a node that answers nothing else any more', async () => {
  await attach();
  target.hasMoved = true;
  target.device.failure = new DeviceError('not-serving', 'the group has moved');
  sendCommand(11, '2a000000000000000100', { write: true, expectedDataTransferLength: 512 });
  await until(() => received.length === 1);
  const { targetTransferTag } = pdu.readyToTransfer.decode(received[0] as Buffer);
  const data = { opcode: opcode.dataOut, final: true, initiatorTaskTag: 11, targetTransferTag };
  send(pdu.dataOut.encode(data), new Uint8Array(512));
  await until(() => target.device.calls.writes === 1);
  await new Promise((resolve) => setImmediate(resolve));
  target.portal.announceDrop(TARGET);
  await until(() => received.length === 2);
  expect(received.map(codeOf)).toEqual([opcode.readyToTransfer, opcode.asyncMessage]);
});
