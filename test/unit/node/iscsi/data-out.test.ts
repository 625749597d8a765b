import { describe, expect, test } from 'vitest';
import { WriteTransfer } from '../../../../node/iscsi/data-out.ts';
import { RESERVED_TAG } from '../../../../node/iscsi/opcode.ts';

const terms = { maxBurstBytes: 4096, firstBurstBytes: 2048, initialR2T: false, immediateData: true };
const LUN_1 = { lunHigh: 1 << 16, lunLow: 0 };
const bytes = (length: number): Uint8Array[] => [new Uint8Array(length)];
const pdu = (final: boolean, targetTransferTag: number, dataSN: number, bufferOffset: number) => ({
  final,
  targetTransferTag,
  dataSN,
  bufferOffset,
  ...LUN_1,
});

test('immediate data alone completes a small write', () => {
  const transfer = new WriteTransfer(512, 512, true, terms);
  transfer.acceptImmediate(bytes(512), 512);
  expect(transfer.complete).toBe(true);
});

test('immediate, unsolicited, then solicited bursts of at most MaxBurstLength', () => {
  const transfer = new WriteTransfer(8192, 8192, false, terms);
  transfer.acceptImmediate(bytes(1024), 1024);
  expect([transfer.complete, transfer.isOpen]).toEqual([false, true]);
  transfer.accept(pdu(true, RESERVED_TAG, 0, 1024), bytes(1024), 1024, LUN_1);
  expect(transfer.request(7)).toEqual({ bufferOffset: 2048, lengthBytes: 4096, r2tSN: 0 });
  transfer.accept(pdu(false, 7, 0, 2048), bytes(2048), 2048, LUN_1);
  transfer.accept(pdu(true, 7, 1, 4096), bytes(2048), 2048, LUN_1);
  expect(transfer.complete).toBe(false);
  expect(transfer.request(8)).toEqual({ bufferOffset: 6144, lengthBytes: 2048, r2tSN: 1 });
  transfer.accept(pdu(true, 8, 0, 6144), bytes(2048), 2048, LUN_1);
  expect(transfer.complete).toBe(true);
});

test('no more is asked for than the command needs, and what came beyond it is cut off', () => {
  const transfer = new WriteTransfer(4096, 512, true, terms);
  transfer.acceptImmediate([new Uint8Array(300), new Uint8Array(1000)], 1300);
  expect(transfer.complete).toBe(true);
  expect(transfer.neededParts().map((part) => part.length)).toEqual([300, 212]);
});

describe('violations', () => {
  const codeOf = (transfer: WriteTransfer): string | undefined => transfer.failure?.code;

  test('immediate data that was not agreed', () => {
    const transfer = new WriteTransfer(512, 512, true, { ...terms, immediateData: false });
    transfer.acceptImmediate(bytes(1), 1);
    expect([codeOf(transfer), transfer.isOpen]).toEqual(['unexpected-unsolicited-data', false]);
  });

  test('unsolicited data to come although InitialR2T=Yes', () => {
    const transfer = new WriteTransfer(512, 512, false, { ...terms, initialR2T: true });
    transfer.acceptImmediate([], 0);
    expect([codeOf(transfer), transfer.isOpen]).toEqual(['unexpected-unsolicited-data', true]);
    transfer.accept(pdu(true, RESERVED_TAG, 0, 0), bytes(512), 512, LUN_1);
    expect(transfer.isOpen).toBe(false);
  });

  test('more than FirstBurstLength unasked', () => {
    const transfer = new WriteTransfer(8192, 8192, true, terms);
    transfer.acceptImmediate(bytes(2049), 2049);
    expect(codeOf(transfer)).toBe('too-much-data');
  });

  test.each([
    ['an unknown transfer tag', pdu(true, 8, 0, 0), 'unexpected-data'],
    ['a skipped DataSN', pdu(true, 7, 1, 0), 'bad-data-sn'],
    ['a skipped offset', pdu(true, 7, 0, 512), 'bad-buffer-offset'],
    ['another LUN', { ...pdu(true, 7, 0, 0), lunHigh: 2 << 16 }, 'other-lun'],
    ['a burst that ends early', pdu(true, 7, 0, 0), 'short-burst'],
  ])('%s', (_name, fields, expected) => {
    const transfer = new WriteTransfer(2048, 2048, true, terms);
    transfer.request(7);
    transfer.accept(fields, bytes(512), 512, LUN_1);
    expect(codeOf(transfer)).toBe(expected);
    // Data of another transfer does not end this one.
    expect(transfer.isOpen).toBe(fields.targetTransferTag !== 7);
  });

  test('of a burst that goes wrong the rest is awaited, and changes nothing', () => {
    const transfer = new WriteTransfer(2048, 2048, true, terms);
    transfer.request(7);
    transfer.accept(pdu(false, 7, 1, 0), bytes(512), 512, LUN_1);
    transfer.accept(pdu(false, 7, 0, 0), bytes(512), 512, LUN_1);
    expect([codeOf(transfer), transfer.isOpen, transfer.receivedBytes]).toEqual(['bad-data-sn', true, 0]);
    transfer.accept(pdu(true, 7, 9, 9), bytes(1), 1, LUN_1);
    expect([codeOf(transfer), transfer.isOpen]).toEqual(['bad-data-sn', false]);
  });

  test('less than FirstBurstLength unasked, where there is more', () => {
    for (const [expected, code] of [
      [8192, 'short-burst'],
      [2048, undefined],
    ] as const) {
      const transfer = new WriteTransfer(expected, expected, false, terms);
      transfer.acceptImmediate(bytes(512), 512);
      transfer.accept(pdu(true, RESERVED_TAG, 0, 512), bytes(512), 512, LUN_1);
      expect(codeOf(transfer)).toBe(code);
    }
  });

  test('more than was asked for', () => {
    const transfer = new WriteTransfer(512, 512, true, terms);
    transfer.request(7);
    transfer.accept(pdu(true, 7, 0, 0), bytes(1024), 1024, LUN_1);
    expect(codeOf(transfer)).toBe('too-much-data');
  });

  test('data when none is open', () => {
    const transfer = new WriteTransfer(512, 512, true, terms);
    transfer.accept(pdu(true, RESERVED_TAG, 0, 0), bytes(1), 1, LUN_1);
    expect([codeOf(transfer), transfer.isOpen]).toEqual(['unexpected-data', false]);
  });
});
