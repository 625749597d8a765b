import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Layout } from '../../../../base/layout.ts';
import * as pdu from '../../../../node/iscsi/pdu.ts';

const layouts: [string, Layout<Record<string, unknown>>][] = Object.entries(pdu)
  .filter(([, value]) => typeof value === 'object')
  .map(([name, value]) => [name, value as unknown as Layout<Record<string, unknown>>]);

test('every PDU the target uses has a layout', () => {
  expect(layouts.length).toBe(18);
});

describe.each(layouts)('%s', (_name, layout) => {
  test('has 48 bytes and refuses fewer, at every length', () => {
    expect(layout.sizeBytes).toBe(pdu.HEADER_BYTES);
    for (let length = 0; length < pdu.HEADER_BYTES; length++) {
      expect(() => layout.decode(new Uint8Array(length))).toThrow(
        expect.objectContaining({ code: 'truncated' }),
      );
    }
  });

  test('what is decoded encodes to the same fields again', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 48, maxLength: 48 }), (bytes) => {
        const fields = layout.decode(bytes);
        expect(layout.decode(layout.encode(fields))).toEqual(fields);
      }),
    );
  });
});

describe('hex vectors', () => {
  test('SCSI Command: READ(10) of 8 blocks at LBA 16', () => {
    const bytes = Buffer.from(
      '01c10000' +
        '00000000' +
        '0001000000000000' +
        '0000002a' +
        '00001000' +
        '00000007' +
        '00000003' +
        '28000000001000000800000000000000',
      'hex',
    );
    const fields = pdu.scsiCommand.decode(bytes);
    expect(fields).toMatchObject({
      opcode: 1,
      immediate: false,
      final: true,
      read: true,
      write: false,
      attributes: 1,
      lunHigh: 0x10000,
      initiatorTaskTag: 42,
      expectedDataTransferLength: 4096,
      cmdSN: 7,
      expStatSN: 3,
    });
    const again = Buffer.from(pdu.scsiCommand.encode(fields));
    expect(again.subarray(0, pdu.CDB_OFFSET)).toEqual(bytes.subarray(0, pdu.CDB_OFFSET));
  });

  test('Login Request: from security to operational negotiation', () => {
    const bytes = Buffer.from(
      '43810000' +
        '0000002c' +
        '400000000001' +
        '0000' +
        '00000009' +
        '00010000' +
        '00000001' +
        '00000000' +
        '00'.repeat(16),
      'hex',
    );
    expect(pdu.loginRequest.decode(bytes)).toMatchObject({
      opcode: 3,
      immediate: true,
      transit: true,
      continues: false,
      currentStage: 0,
      nextStage: 1,
      dataSegmentLength: 44,
      tsih: 0,
      cid: 1,
      cmdSN: 1,
    });
  });

  test('Data-In with status', () => {
    const bytes = pdu.dataIn.encode({
      opcode: 0x25,
      final: true,
      underflow: true,
      hasStatus: true,
      dataSegmentLength: 36,
      initiatorTaskTag: 5,
      targetTransferTag: 0xffff_ffff,
      statSN: 2,
      expCmdSN: 3,
      maxCmdSN: 130,
      residualCount: 219,
    });
    expect(Buffer.from(bytes).toString('hex')).toBe(
      '25830000' +
        '00000024' +
        '0000000000000000' +
        '00000005' +
        'ffffffff' +
        '00000002' +
        '00000003' +
        '00000082' +
        '00000000' +
        '00000000' +
        '000000db',
    );
  });

  test('Ready To Transfer', () => {
    const fields = { opcode: 0x31, final: true, initiatorTaskTag: 5, targetTransferTag: 9, r2tSN: 1 };
    const bytes = pdu.readyToTransfer.encode({
      ...fields,
      bufferOffset: 8192,
      desiredDataTransferLength: 4096,
    });
    expect(Buffer.from(bytes).toString('hex')).toBe(
      '31800000' +
        '00000000' +
        '0000000000000000' +
        '00000005' +
        '00000009' +
        '00'.repeat(12) +
        '00000001' +
        '00002000' +
        '00001000',
    );
  });
});
