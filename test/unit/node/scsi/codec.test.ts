import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Layout } from '../../../../base/layout.ts';
import * as cdb from '../../../../node/scsi/cdb.ts';
import { encodeInquiry, standardInquiry } from '../../../../node/scsi/inquiry.ts';
import * as mode from '../../../../node/scsi/mode-page.ts';
import * as parameter from '../../../../node/scsi/parameter-command.ts';
import * as senseData from '../../../../node/scsi/sense.ts';
import * as vpd from '../../../../node/scsi/vpd.ts';
import { IDENTITY, TARGET } from '../iscsi/target-fixture.ts';

const identity = { ...IDENTITY, targetName: TARGET };

function isLayout(value: unknown): value is Layout<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && 'decode' in value && 'encode' in value;
}

const layouts = [cdb, mode, parameter, senseData, vpd, { standardInquiry }]
  .flatMap((module) => Object.entries(module))
  .filter((entry): entry is [string, Layout<Record<string, unknown>>] => isLayout(entry[1]));

test('the layouts were found', () => {
  expect(layouts.length).toBe(28);
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
  });

  test('standard INQUIRY data', () => {
    const bytes = hex(encodeInquiry(identity));
    expect(bytes.slice(0, 16)).toBe('000006125b000002');
    expect(Buffer.from(bytes, 'hex').subarray(8, 36).toString()).toBe('BTFABRICdisk            0001');
    expect(bytes.slice(116, 132)).toBe('00a0046004c00960');
  });

  test('VPD pages', () => {
    expect(hex(vpd.encodeVpdPage(0x00, identity))).toBe('00000006008083b0b1b2');
    expect(hex(vpd.encodeVpdPage(0x80, identity))).toBe(
      `0080000c${Buffer.from('0123456789ab').toString('hex')}`,
    );
    expect(hex(vpd.encodeVpdPage(0xb0, identity))).toBe(`00b0003c000000080001000000000800${'00'.repeat(48)}`);
    expect(hex(vpd.encodeVpdPage(0xb1, identity))).toBe(`00b1003c0001${'00'.repeat(58)}`);
    expect(hex(vpd.encodeVpdPage(0xb2, identity))).toBe('00b2000400000000');
    expect(vpd.encodeVpdPage(0x86, identity)).toBeUndefined();
  });

  test('Device Identification names unit, port and device, and nothing of the node', () => {
    const page = Buffer.from(vpd.encodeVpdPage(0x83, identity) ?? []);
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
