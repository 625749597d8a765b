import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { serialAdd } from '../../../../base/serial-number.ts';
import { opcode } from '../../../../node/iscsi/opcode.ts';
import { taskFunction, taskResponse } from '../../../../node/iscsi/task-management.ts';
import { attachRaw, codeOf, R2T_ONLY, type RawInitiator, until } from './raw-initiator.ts';
import { startTarget, type TestTarget } from './target-fixture.ts';

/** What task management does to commands that have not come, are held, or wait for data (RFC 7143 §4.2.3, §11.5, §11.6). */

let target: TestTarget;
let initiator: RawInitiator;
const others: RawInitiator[] = [];

beforeEach(async () => {
  target = await startTarget({ lengthBlocks: 1024 });
});
afterEach(async () => {
  for (const each of [initiator, ...others.splice(0)]) each.destroy();
  await target.portal.close();
});

const TEST_UNIT_READY = '000000000000';
const block = new Uint8Array(512).fill(7);

/** A write that comes ahead of a gap of `gap` commands. */
function writeAhead(tag: number, gap: number): number {
  const missing = initiator.cmdSN;
  initiator.cmdSN = serialAdd(missing, gap);
  initiator.write(tag, 1, {}, block);
  return missing;
}

describe('ABORT TASK', () => {
  test('of a command that never came counts it as received, wherever in the window it is', async () => {
    initiator = await attachRaw(target);
    const missing = writeAhead(13, 2);
    const abort = { referencedTaskTag: 12, refCmdSN: serialAdd(missing, 1) };
    initiator.taskManagement(20, taskFunction.abortTask, abort);
    expect(await initiator.taskResponse(20)).toBe(taskResponse.complete);
    // When it comes all the same it is not carried out, and what is behind it is, once the first is there.
    initiator.command(12, TEST_UNIT_READY, { cmdSN: serialAdd(missing, 1) });
    initiator.command(11, TEST_UNIT_READY, { cmdSN: missing });
    await initiator.scsiResponse(13);
    await initiator.settle();
    expect(new Set(initiator.received.map((bytes) => bytes.readUInt32BE(16)))).toEqual(new Set([11, 13, 20]));
  });

  test('of a command that is held keeps it from being carried out', async () => {
    initiator = await attachRaw(target);
    const missing = writeAhead(12, 1);
    const abort = { referencedTaskTag: 12, refCmdSN: serialAdd(missing, 1) };
    initiator.taskManagement(20, taskFunction.abortTask, abort);
    expect(await initiator.taskResponse(20)).toBe(taskResponse.complete);
    initiator.command(11, TEST_UNIT_READY, { cmdSN: missing });
    expect(await initiator.scsiResponse(11)).toMatchObject({ status: 0, expCmdSN: serialAdd(missing, 2) });
    await initiator.settle();
    expect(target.device.calls.writes).toBe(0);
  });

  test('of a command outside the window, or not before the request, says that there is none', async () => {
    initiator = await attachRaw(target);
    const { cmdSN } = initiator;
    for (const [n, refCmdSN] of [
      serialAdd(cmdSN, -1),
      serialAdd(cmdSN, 1),
      serialAdd(cmdSN, 4000),
    ].entries()) {
      initiator.taskManagement(20 + n, taskFunction.abortTask, { referencedTaskTag: 12, refCmdSN });
      expect(await initiator.taskResponse(20 + n)).toBe(taskResponse.taskDoesNotExist);
    }
    initiator.command(11, TEST_UNIT_READY);
    expect((await initiator.scsiResponse(11)).status, 'nothing was skipped').toBe(0);
  });

  test('of a task management request is rejected', async () => {
    initiator = await attachRaw(target);
    const release = target.device.holdWrites();
    initiator.write(11, 1, {}, block);
    await until(() => target.device.calls.writes === 1);
    initiator.taskManagement(20, taskFunction.logicalUnitReset);
    initiator.taskManagement(21, taskFunction.abortTask, { referencedTaskTag: 20 });
    initiator.taskManagement(22, taskFunction.abortTask, { referencedTaskTag: 22 });
    expect(await initiator.taskResponse(21)).toBe(taskResponse.rejected);
    expect(await initiator.taskResponse(22)).toBe(taskResponse.rejected);
    release();
    expect(await initiator.taskResponse(20)).toBe(taskResponse.complete);
  });
});

describe.each(['abortTaskSet', 'clearTaskSet'] as const)('%s', (name) => {
  test('waits for the data that its tasks were asked for, and ends them then', async () => {
    initiator = await attachRaw(target, { keys: R2T_ONLY });
    initiator.write(11, 2);
    const { targetTransferTag } = await initiator.readyToTransfer(11);
    initiator.taskManagement(20, taskFunction[name]);
    initiator.dataOut(11, block, { targetTransferTag, final: false });
    await initiator.settle();
    expect(initiator.received.map(codeOf)).toEqual([opcode.readyToTransfer]);
    initiator.dataOut(11, block, { targetTransferTag, dataSN: 1, bufferOffset: 512 });
    expect(await initiator.taskResponse(20)).toBe(taskResponse.complete);
    await initiator.settle();
    expect(initiator.received.map(codeOf), 'no response of the task').not.toContain(opcode.scsiResponse);
    expect(target.device.calls.writes).toBe(0);
  });

  test('waits for the commands before it, and spares those after it', async () => {
    initiator = await attachRaw(target, { keys: R2T_ONLY });
    const missing = initiator.cmdSN;
    initiator.cmdSN = serialAdd(missing, 1);
    initiator.taskManagement(20, taskFunction[name]);
    initiator.write(12, 1);
    await initiator.settle();
    expect(initiator.received).toEqual([]);
    initiator.write(11, 1, { cmdSN: missing });
    const asked = await initiator.readyToTransfer(11);
    initiator.dataOut(11, block, { targetTransferTag: asked.targetTransferTag });
    expect(await initiator.taskResponse(20)).toBe(taskResponse.complete);
    const later = await initiator.readyToTransfer(12);
    initiator.dataOut(12, block, { targetTransferTag: later.targetTransferTag });
    expect((await initiator.scsiResponse(12)).status).toBe(0);
  });
});

test('ABORT TASK SET ends the tasks of the asker, CLEAR TASK SET those of all, who are told', async () => {
  initiator = await attachRaw(target);
  const other = await attachRaw(target, { isid: '400000000002' });
  others.push(other);
  const release = target.device.holdWrites();
  for (const each of [initiator, other]) each.write(11, 1, {}, block);
  await until(() => target.device.calls.writes === 2);
  initiator.taskManagement(20, taskFunction.abortTaskSet);
  await initiator.settle();
  release();
  expect(await initiator.taskResponse(20)).toBe(taskResponse.complete);
  expect((await other.scsiResponse(11)).status).toBe(0);
  const releaseAgain = target.device.holdWrites();
  other.write(12, 1, {}, block);
  await until(() => target.device.calls.writes === 3);
  initiator.taskManagement(21, taskFunction.clearTaskSet);
  await initiator.settle();
  releaseAgain();
  expect(await initiator.taskResponse(21)).toBe(taskResponse.complete);
  other.command(13, TEST_UNIT_READY);
  expect((await other.scsiResponse(13)).ascAndAscq).toBe(0x2f00);
  const answered = [...initiator.received, ...other.received].filter(
    (b) => codeOf(b) === opcode.scsiResponse,
  );
  expect(answered.map((bytes) => bytes.readUInt32BE(16))).toEqual([11, 13]);
});

test('a LUN reset waits for the commands before it, which it ends', async () => {
  initiator = await attachRaw(target, { keys: R2T_ONLY });
  const missing = initiator.cmdSN;
  initiator.cmdSN = serialAdd(missing, 1);
  initiator.taskManagement(20, taskFunction.logicalUnitReset);
  await initiator.settle();
  expect(initiator.received).toEqual([]);
  initiator.write(11, 1, { cmdSN: missing });
  const { targetTransferTag } = await initiator.readyToTransfer(11);
  expect(await initiator.taskResponse(20)).toBe(taskResponse.complete);
  initiator.dataOut(11, block, { targetTransferTag });
  await initiator.settle();
  expect([target.device.calls.writes, target.counters.get('iscsi.data-out.without-task')]).toEqual([0, 1]);
});

test('a target reset counts the commands before it as received, and ends those that are held', async () => {
  initiator = await attachRaw(target);
  const missing = writeAhead(12, 1);
  initiator.taskManagement(20, taskFunction.targetWarmReset);
  expect(await initiator.taskResponse(20)).toBe(taskResponse.complete);
  initiator.command(11, TEST_UNIT_READY, { cmdSN: missing });
  initiator.command(13, TEST_UNIT_READY, { cmdSN: serialAdd(missing, 2) });
  expect((await initiator.scsiResponse(13)).ascAndAscq).toBe(0x2902);
  await initiator.settle();
  expect(initiator.received.map((bytes) => bytes.readUInt32BE(16))).toEqual([20, 13]);
  expect(target.device.calls.writes).toBe(0);
});

test.each([
  ['a LUN that does not exist', taskFunction.abortTaskSet, 9 << 16, taskResponse.lunDoesNotExist],
  ['a LUN that does not exist, of all', taskFunction.logicalUnitReset, 9 << 16, taskResponse.lunDoesNotExist],
  ['CLEAR ACA, which nothing here needs', taskFunction.clearAca, 0, taskResponse.notSupported],
  ['TASK REASSIGN, which level 0 has not', taskFunction.taskReassign, 0, taskResponse.reassignNotSupported],
  ['a function that nobody knows', 77, 0, taskResponse.notSupported],
])('%s', async (_name, code, lunHigh, response) => {
  initiator = await attachRaw(target);
  initiator.taskManagement(20, code, { lunHigh });
  expect(await initiator.taskResponse(20)).toBe(response);
});

test('immediate requests are taken where immediate commands are as many as may be', async () => {
  initiator = await attachRaw(target);
  const release = target.device.holdWrites();
  for (let n = 0; n < 64; n++) initiator.write(100 + n, 1, { immediate: true }, block);
  await until(() => target.device.calls.writes === 64);
  initiator.write(200, 1, { immediate: true }, block);
  const { reason, header } = await initiator.rejection();
  expect([reason, header.readUInt32BE(16)]).toEqual([6, 200]);
  initiator.taskManagement(20, taskFunction.abortTask, { referencedTaskTag: 999 });
  expect(await initiator.taskResponse(20)).toBe(taskResponse.taskDoesNotExist);
  await initiator.settle();
  release();
  await initiator.scsiResponse(163);
});
