import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Layout } from '../../../../base/layout.ts';
import { SINGLE_PATH } from '../../../../node/scsi/access-state.ts';
import * as cdb from '../../../../node/scsi/cdb.ts';
import * as copy from '../../../../node/scsi/extended-copy.ts';
import { encodeInquiry, standardInquiry } from '../../../../node/scsi/inquiry.ts';
import * as mode from '../../../../node/scsi/mode-page.ts';
import * as parameter from '../../../../node/scsi/parameter-command.ts';
import * as provisioning from '../../../../node/scsi/provisioning-command.ts';
import * as reserve from '../../../../node/scsi/reserve-command.ts';
import * as sanitize from '../../../../node/scsi/sanitize-command.ts';
import * as senseData from '../../../../node/scsi/sense.ts';
import * as vpd from '../../../../node/scsi/vpd.ts';
import { IDENTITY, TARGET } from '../iscsi/target-fixture.ts';

const identity = { ...IDENTITY, targetName: TARGET };
const unit = { identity, writeCacheEnabled: true, targetPort: 1 };

function isLayout(value: unknown): value is Layout<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && 'decode' in value && 'encode' in value;
}

const layouts = [
  cdb,
  copy,
  mode,
  parameter,
  provisioning,
  reserve,
  sanitize,
  senseData,
  vpd,
  { standardInquiry },
]
  .flatMap((module) => Object.entries(module))
  .filter((entry): entry is [string, Layout<Record<string, unknown>>] => isLayout(entry[1]));

test('the layouts were found', () => {
  expect(layouts.length).toBe(59);
});

describe.each(layouts)('%s', (_name, layout) => {
  test('what is decoded encodes to the same fields again', () => {
    const input = fc.uint8Array({ minLength: layout.sizeBytes, maxLength: layout.sizeBytes });
    fc.assert(
      fc.property(input, (bytes) => {
        const fields = layout.decode(bytes);
        expect(layout.decode(layout.encode(fields))).toEqual(fields);
      }),
    );
  });

  test('fewer bytes are refused, at every length', () => {
    for (let length = 0; length < layout.sizeBytes; length++) {
      expect(() => layout.decode(new Uint8Array(length))).toThrow(
        expect.objectContaining({ code: 'truncated' }),
      );
    }
  });
});

describe('hex vectors', () => {
  const hex = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString('hex');

  test('CDBs', () => {
    const read10 = Buffer.from('28080001020300000800', 'hex');
    expect(cdb.rw10Cdb.decode(read10)).toEqual({
      protect: 0,
      fua: true,
      byteCheck: 0,
      lba: 0x10203,
      length: 8,
    });
    const write16 = Buffer.from('8a000000000100000002000000100000', 'hex');
    expect(cdb.rw16Cdb.decode(write16)).toMatchObject({ lbaHigh: 1, lbaLow: 2, length: 16 });
    expect(cdb.wideLba(1, 2)).toBe(0x1_0000_0002);
    const read6 = Buffer.from('081234560100', 'hex');
    expect(cdb.rw6Cdb.decode(read6)).toEqual({ lbaHigh: 0x12, lbaLow: 0x3456, length: 1 });
  });

  test('sense data', () => {
    expect(hex(senseData.encodeSense({ ...senseData.sense.lbaOutOfRange, information: 0x1234 }))).toBe(
      'f00005000012340a00000000210000000000',
    );
    expect(hex(senseData.encodeSense(senseData.sense.invalidOpcode))).toBe(
      '700005000000000a00000000200000000000',
    );
    // An address that does not fit the field is left out.
    const far = senseData.encodeSense({ ...senseData.sense.lbaOutOfRange, information: 2 ** 32 });
    expect(hex(far).slice(0, 14)).toBe('70000500000000');
    const field = senseData.invalidCdbField(2, 5);
    expect(hex(senseData.encodeSense(field))).toBe('700005000000000a00000000240000cd0002');
    expect(hex(senseData.encodeDescriptorSense(field))).toBe('720524000000000802060000cd000200');
    expect(
      hex(senseData.encodeDescriptorSense({ ...senseData.sense.lbaOutOfRange, information: 2 ** 32 })),
    ).toBe('720521000000000c000a80000000000100000000');
    const progress = { ...senseData.sense.sanitizeInProgress, progress: 0x8000 };
    expect(hex(senseData.encodeSense(progress))).toBe('700002000000000a00000000041b00808000');
  });

  test('standard INQUIRY data', () => {
    const bytes = hex(encodeInquiry({ identity, protocolLevel: 2, paths: SINGLE_PATH }));
    expect(bytes.slice(0, 16)).toBe('000006125b180002');
    expect(Buffer.from(bytes, 'hex').subarray(8, 36).toString()).toBe('BTFABRICdisk            0001');
    expect(bytes.slice(116, 132)).toBe('00a0046004c00962');
  });

  test('VPD pages', () => {
    expect(hex(vpd.encodeVpdPage(0x00, unit))).toBe('00000008008083868fb0b1b2');
    expect(hex(vpd.encodeVpdPage(0x80, unit))).toBe(`0080000c${Buffer.from('0123456789ab').toString('hex')}`);
    expect(hex(vpd.encodeVpdPage(0xb0, unit))).toBe(
      '00b0003c00ff0008 0001000000000800 0001000000100000 0000010000000008'.replaceAll(' ', '') +
        `80000000000000000040000000000400${'00'.repeat(16)}`,
    );
    expect(hex(vpd.encodeVpdPage(0xb1, unit))).toBe(`00b1003c00010050${'00'.repeat(56)}`);
    expect(hex(vpd.encodeVpdPage(0xb2, unit))).toBe('00b2000400e40200');
    expect(hex(vpd.encodeVpdPage(0x86, unit))).toBe(`0086003c000701${'00'.repeat(57)}`);
    expect(hex(vpd.encodeVpdPage(0x8f, unit))).toBe(
      `008f00340001000807830100840200030004001c0000000000020040000007400${'0'.repeat(31)}000800040202e400`,
    );
    expect(vpd.encodeVpdPage(0x87, unit)).toBeUndefined();
  });

  test('Device Identification names unit, port and device, and nothing of the node', () => {
    const page = Buffer.from(vpd.encodeVpdPage(0x83, unit) ?? []);
    expect(page.readUInt16BE(2)).toBe(page.length - 4);
    const designators: [number, number, Buffer][] = [];
    for (let at = 4; at < page.length; at += 4 + page.readUInt8(at + 3)) {
      const body = page.subarray(at + 4, at + 4 + page.readUInt8(at + 3));
      designators.push([page.readUInt8(at), page.readUInt8(at + 1), body]);
    }
    const text = (body: Buffer): string => body.toString('latin1').replaceAll('\0', '');
    expect(
      designators.map(([set, type, body]) => [set, type, (set & 15) === 1 ? hex(body) : text(body)]),
    ).toEqual([
      [0x01, 0x03, '3000000000000001'],
      [0x02, 0x01, 'BTFABRIC0123456789ab'],
      [0x53, 0x98, `${TARGET},t,0x0001`],
      [0x51, 0x94, '00000001'],
      [0x51, 0x95, '00000001'],
      [0x53, 0xa8, TARGET],
    ]);
    for (const [set, , body] of designators) if ((set & 15) === 3) expect(body.length % 4).toBe(0);
  });

  test('LUN numbers', () => {
    for (const lun of [0, 1, 255, 256, 16_383]) {
      expect(parameter.decodeLun(parameter.encodeLun(lun) * 0x1_0000, 0)).toBe(lun);
    }
    // A second level, an extended LUN, a bus number: none of them used here.
    for (const [high, low] of [
      [1, 0],
      [0, 1],
      [0xc000_0000, 0],
      [0x0100_0000, 0],
    ]) {
      expect(parameter.decodeLun(high as number, low as number)).toBe(-1);
    }
  });
});
