import { describe, expect, test } from 'vitest';
import { WriteTransfer } from '../../../../node/iscsi/data-out.ts';
import { RESERVED_TAG } from '../../../../node/iscsi/opcode.ts';

const terms = { maxBurstBytes: 4096, firstBurstBytes: 2048, initialR2T: false, immediateData: true };
const bytes = (length: number): Uint8Array[] => [new Uint8Array(length)];
const pdu = (final: boolean, targetTransferTag: number, dataSN: number, bufferOffset: number) => ({
  final,
  targetTransferTag,
  dataSN,
  bufferOffset,
});

test('immediate data alone completes a small write', () => {
  const transfer = new WriteTransfer(512, 512, true, terms);
  transfer.acceptImmediate(bytes(512), 512);
  expect(transfer.complete).toBe(true);
});

test('immediate, unsolicited, then solicited bursts of at most MaxBurstLength', () => {
  const transfer = new WriteTransfer(8192, 8192, false, terms);
  transfer.acceptImmediate(bytes(1024), 1024);
  expect([transfer.complete, transfer.awaitsUnsolicited]).toEqual([false, true]);
  transfer.accept(pdu(true, RESERVED_TAG, 0, 1024), bytes(1024), 1024);
  expect(transfer.request(7)).toEqual({ bufferOffset: 2048, lengthBytes: 4096, r2tSN: 0 });
  transfer.accept(pdu(false, 7, 0, 2048), bytes(2048), 2048);
  transfer.accept(pdu(true, 7, 1, 4096), bytes(2048), 2048);
  expect(transfer.complete).toBe(false);
  expect(transfer.request(8)).toEqual({ bufferOffset: 6144, lengthBytes: 2048, r2tSN: 1 });
  transfer.accept(pdu(true, 8, 0, 6144), bytes(2048), 2048);
  expect(transfer.complete).toBe(true);
});

test('no more is asked for than the command needs, and what came beyond it is cut off', () => {
  const transfer = new WriteTransfer(4096, 512, true, terms);
  transfer.acceptImmediate([new Uint8Array(300), new Uint8Array(1000)], 1300);
  expect(transfer.complete).toBe(true);
  expect(transfer.neededParts().map((part) => part.length)).toEqual([300, 212]);
});

describe('violations', () => {
  const code = (code: string): unknown => expect.objectContaining({ code });

  test('immediate data that was not agreed', () => {
    const transfer = new WriteTransfer(512, 512, true, { ...terms, immediateData: false });
    expect(() => transfer.acceptImmediate(bytes(1), 1)).toThrow(code('unexpected-unsolicited-data'));
  });

  test('unsolicited data to come although InitialR2T=Yes', () => {
    const transfer = new WriteTransfer(512, 512, false, { ...terms, initialR2T: true });
    expect(() => transfer.acceptImmediate([], 0)).toThrow(code('unexpected-unsolicited-data'));
  });

  test('more than FirstBurstLength unasked', () => {
    const transfer = new WriteTransfer(8192, 8192, true, terms);
    expect(() => transfer.acceptImmediate(bytes(2049), 2049)).toThrow(code('too-much-data'));
  });

  test.each([
    ['an unknown transfer tag', pdu(true, 8, 0, 0), 'unexpected-data'],
    ['a skipped DataSN', pdu(true, 7, 1, 0), 'bad-data-sn'],
    ['a skipped offset', pdu(true, 7, 0, 512), 'bad-buffer-offset'],
    ['a burst that ends early', pdu(true, 7, 0, 0), 'short-burst'],
  ])('%s', (_name, fields, expected) => {
    const transfer = new WriteTransfer(2048, 2048, true, terms);
    transfer.request(7);
    expect(() => transfer.accept(fields, bytes(512), 512)).toThrow(code(expected));
  });

  test('more than was asked for', () => {
    const transfer = new WriteTransfer(512, 512, true, terms);
    transfer.request(7);
    expect(() => transfer.accept(pdu(true, 7, 0, 0), bytes(1024), 1024)).toThrow(code('too-much-data'));
  });

  test('data when none is open', () => {
    const transfer = new WriteTransfer(512, 512, true, terms);
    expect(() => transfer.accept(pdu(true, RESERVED_TAG, 0, 0), bytes(1), 1)).toThrow(
      code('unexpected-data'),
    );
  });
});
