import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { opcode } from '../../../../node/iscsi/opcode.ts';
import * as pdu from '../../../../node/iscsi/pdu.ts';
import { taskFunction } from '../../../../node/iscsi/task-management.ts';
import { MemoryDevice } from './memory-device.ts';
import { attachRaw, R2T_ONLY, type RawInitiator } from './raw-initiator.ts';
import { grant, startTarget, type TestTarget } from './target-fixture.ts';

/** How commands move their data and end (RFC 7143 §11.3, §11.4, §11.7, §11.8), seen on the wire. */

const UNEXPECTED = 0x0c0c;
const AMOUNT = 0x0c0d;
const CRC = 0x4705;
const block = (blocks: number, fill = 1): Buffer => Buffer.alloc(blocks * 512, fill);

let target: TestTarget;
let initiator: RawInitiator;

beforeEach(async () => {
  target = await startTarget({ lengthBlocks: 1024 });
});
afterEach(async () => {
  initiator.destroy();
  await target.portal.close();
});

/** Checks how a write ended, and that it changed nothing. */
async function expectFailure(tag: number, ascAndAscq: number): Promise<void> {
  const response = await initiator.scsiResponse(tag);
  expect(response).toMatchObject({ status: 2, ascAndAscq });
  expect(target.device.calls.writes).toBe(0);
}

describe('data that breaks the rules ends its command with the sense of the standard', () => {
  test('immediate data, or data to come, where neither was agreed', async () => {
    initiator = await attachRaw(target, { keys: R2T_ONLY });
    initiator.write(11, 1, {}, block(1));
    await expectFailure(11, UNEXPECTED);
    initiator.write(12, 1, { final: false });
    initiator.dataOut(12, block(1));
    await expectFailure(12, UNEXPECTED);
  });

  test('immediate data where only unsolicited Data-Out was agreed', async () => {
    initiator = await attachRaw(target, { keys: { ImmediateData: 'No', InitialR2T: 'No' } });
    initiator.write(11, 1, {}, block(1));
    await expectFailure(11, UNEXPECTED);
    initiator.write(12, 1, { final: false });
    initiator.dataOut(12, block(1));
    expect((await initiator.scsiResponse(12)).status).toBe(0);
  });

  test('more unasked than FirstBurstLength, at once or in pieces', async () => {
    initiator = await attachRaw(target, { keys: { FirstBurstLength: '1024' } });
    initiator.write(11, 8, {}, block(3));
    await expectFailure(11, AMOUNT);
    initiator.write(12, 8, { final: false }, block(1));
    initiator.dataOut(12, block(2), { bufferOffset: 512 });
    await expectFailure(12, AMOUNT);
  });

  test('less unasked than FirstBurstLength, where there is more', async () => {
    initiator = await attachRaw(target, { keys: { FirstBurstLength: '1024' } });
    initiator.write(11, 8, { final: false });
    initiator.dataOut(11, block(1));
    await expectFailure(11, AMOUNT);
  });

  const burst = { keys: R2T_ONLY };
  test.each([
    ['a DataSN that is not the next', 4, { dataSN: 1 }, CRC],
    ['an offset that is not the next', 4, { bufferOffset: 512 }, CRC],
    ['another LUN than the command', 4, { lunHigh: 3 << 16 }, CRC],
    ['fewer bytes than were asked for', 1, {}, AMOUNT],
    ['more bytes than were asked for', 5, {}, AMOUNT],
  ])('%s', async (_name, blocks, fields, sense) => {
    initiator = await attachRaw(target, burst);
    initiator.write(11, 4);
    const { targetTransferTag } = await initiator.readyToTransfer(11);
    initiator.dataOut(11, block(blocks), { targetTransferTag, ...fields });
    await expectFailure(11, sense);
  });

  test('a transfer tag that is not the one of the R2T', async () => {
    initiator = await attachRaw(target, burst);
    initiator.write(11, 4);
    const { targetTransferTag } = await initiator.readyToTransfer(11);
    initiator.dataOut(11, block(4), { targetTransferTag: targetTransferTag + 1 });
    initiator.dataOut(11, block(4), { targetTransferTag });
    await expectFailure(11, UNEXPECTED);
  });
});

describe('the answer waits for the last of the data', () => {
  test('that was asked for, where some of it was wrong', async () => {
    initiator = await attachRaw(target, { keys: R2T_ONLY });
    initiator.write(11, 4);
    const { targetTransferTag } = await initiator.readyToTransfer(11);
    initiator.dataOut(11, block(1), { targetTransferTag, dataSN: 7, final: false });
    initiator.dataOut(11, block(1), { targetTransferTag, dataSN: 1, bufferOffset: 512, final: false });
    await initiator.settle();
    expect(initiator.received).toHaveLength(1);
    initiator.dataOut(11, block(2), { targetTransferTag, dataSN: 2, bufferOffset: 1024 });
    await expectFailure(11, CRC);
    initiator.write(12, 1);
    const next = await initiator.readyToTransfer(12);
    initiator.dataOut(12, block(1), { targetTransferTag: next.targetTransferTag });
    expect((await initiator.scsiResponse(12)).status, 'the session goes on').toBe(0);
  });

  test('that was announced, where the command itself is refused', async () => {
    initiator = await attachRaw(target);
    // An LBA beyond the end.
    const cdb = '2a007fffffff00000400';
    initiator.command(11, cdb, { write: true, final: false, expectedDataTransferLength: 2048 }, block(1));
    initiator.dataOut(11, block(1), { bufferOffset: 512, final: false });
    await initiator.settle();
    expect(initiator.received).toEqual([]);
    initiator.dataOut(11, block(2), { bufferOffset: 1024, dataSN: 1 });
    expect(await initiator.scsiResponse(11)).toMatchObject({ status: 2, ascAndAscq: 0x2100 });
  });
});

test('data segments of no length are taken, and count', async () => {
  initiator = await attachRaw(target, { keys: R2T_ONLY });
  initiator.write(11, 1);
  const { targetTransferTag } = await initiator.readyToTransfer(11);
  initiator.dataOut(11, block(0), { targetTransferTag, final: false });
  initiator.dataOut(11, block(1, 7), { targetTransferTag, dataSN: 1, final: false });
  initiator.dataOut(11, block(0), { targetTransferTag, dataSN: 2, bufferOffset: 512 });
  expect((await initiator.scsiResponse(11)).status).toBe(0);
  expect([target.device.bytes[0], target.device.bytes[511]]).toEqual([7, 7]);
});

test('an R2T names the LUN and the task of its command', async () => {
  const other = new MemoryDevice(64);
  target.decide = async () =>
    grant(
      new Map([
        [0, target.device],
        [5, other],
      ]),
    );
  initiator = await attachRaw(target, { keys: R2T_ONLY });
  const lunHigh = 5 << 16;
  // Takes the attention of the unit.
  initiator.command(10, '000000000000', { lunHigh });
  initiator.write(11, 1, { lunHigh });
  const readyToTransfer = await initiator.readyToTransfer(11);
  expect(readyToTransfer).toMatchObject({ lunHigh, lunLow: 0, initiatorTaskTag: 11, dataSegmentLength: 0 });
  const { targetTransferTag } = readyToTransfer;
  initiator.dataOut(11, block(1), { targetTransferTag, lunHigh });
  expect((await initiator.scsiResponse(11)).status).toBe(0);
  expect(other.calls.writes).toBe(1);
});

test('Data-In asks for no acknowledgment: the A bit is clear, the transfer tag reserved', async () => {
  initiator = await attachRaw(target, { keys: { MaxRecvDataSegmentLength: '512', MaxBurstLength: '512' } });
  initiator.command(11, '28000000000000000300', { read: true, expectedDataTransferLength: 1536 });
  for (let n = 0; n < 3; n++) await initiator.next(opcode.dataIn);
  await initiator.settle();
  expect(initiator.received.map((bytes) => (bytes[1] as number) & 0x40)).toEqual([0, 0, 0]);
  expect(initiator.received.map((bytes) => pdu.dataIn.decode(bytes).targetTransferTag)).toEqual(
    Array(3).fill(0xffff_ffff),
  );
});

describe('residuals of commands without Data-In', () => {
  test.each([
    ['of a write that takes all of it', 2, 1024, { overflow: false, underflow: false, residualCount: 0 }],
    ['of a write that takes less', 2, 2048, { overflow: false, underflow: true, residualCount: 1024 }],
    ['of a write that would take more', 2, 512, { overflow: true, underflow: false, residualCount: 512 }],
  ])('%s', async (_name, blocks, expectedDataTransferLength, residual) => {
    initiator = await attachRaw(target);
    initiator.write(11, blocks, { expectedDataTransferLength }, Buffer.alloc(expectedDataTransferLength));
    expect(await initiator.scsiResponse(11)).toMatchObject({
      status: 0,
      response: 0,
      ...residual,
      expDataSN: 0,
    });
  });

  test('of a read that fails: none of it came', async () => {
    initiator = await attachRaw(target);
    initiator.command(11, '28007fffffff00000100', { read: true, expectedDataTransferLength: 512 });
    const residual = { overflow: false, underflow: true, residualCount: 512 };
    expect(await initiator.scsiResponse(11)).toMatchObject({ status: 2, ...residual, expDataSN: 0 });
  });
});

describe('a command whose data was announced the other way', () => {
  const READ = '28000000000000000100';
  const WRITE = '2a000000000000000100';

  test('is refused where it would write', async () => {
    initiator = await attachRaw(target);
    initiator.command(11, WRITE, { read: true, expectedDataTransferLength: 512 });
    const { status, ascAndAscq, underflow, residualCount } = await initiator.scsiResponse(11);
    expect([status, ascAndAscq]).toEqual([2, 0x0e03]);
    expect([underflow, residualCount]).toEqual([true, 512]);
    expect(target.device.calls.writes).toBe(0);
  });

  test.each([
    ['READ(10)', READ],
    ['PERSISTENT RESERVE IN', '5e000000000000020000'],
  ])('and that gives data takes none, and says so: %s', async (_name, cdb) => {
    initiator = await attachRaw(target);
    initiator.command(11, cdb, { write: true, expectedDataTransferLength: 512 }, block(1));
    const residual = { overflow: false, underflow: true, residualCount: 512 };
    expect(await initiator.scsiResponse(11)).toMatchObject({ status: 0, ...residual });
  });

  test('and is announced both ways is refused, and tells no unit attention', async () => {
    initiator = await attachRaw(target);
    initiator.taskManagement(2, taskFunction.logicalUnitReset);
    await initiator.taskResponse(2);
    initiator.command(11, READ, { read: true, write: true, expectedDataTransferLength: 512 });
    expect((await initiator.scsiResponse(11)).ascAndAscq).toBe(0x2400);
    initiator.command(12, '000000000000');
    expect((await initiator.scsiResponse(12)).ascAndAscq).toBe(0x2903);
  });
});

test('a check condition carries its sense, in a SCSI Response, with its length', async () => {
  initiator = await attachRaw(target);
  initiator.command(11, 'c0', { read: true, expectedDataTransferLength: 512 });
  const bytes = await initiator.next(opcode.scsiResponse, 11);
  const { dataSegmentLength } = pdu.scsiResponse.decode(bytes);
  expect(dataSegmentLength).toBeGreaterThan(2);
  expect(bytes.readUInt16BE(pdu.HEADER_BYTES)).toBe(dataSegmentLength - 2);
  expect([bytes[pdu.HEADER_BYTES + 2], bytes.readUInt16BE(pdu.HEADER_BYTES + 2 + 12)]).toEqual([
    0x70, 0x2000,
  ]);
});

test('the task attribute ACA is refused, since there is none', async () => {
  initiator = await attachRaw(target);
  initiator.command(11, '000000000000', { attributes: 4 });
  expect(await initiator.scsiResponse(11)).toMatchObject({ status: 2, ascAndAscq: 0x4900 });
});

test('a reserved task attribute is a protocol error', async () => {
  initiator = await attachRaw(target);
  initiator.command(11, '000000000000', { attributes: 5 });
  expect((await initiator.rejection()).reason).toBe(4);
});
