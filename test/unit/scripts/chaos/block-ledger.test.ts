import { describe, expect, it } from 'vitest';
import { BLOCK_BYTES, BlockLedger } from '../../../../scripts/chaos/block-ledger.ts';

const ZEROS = new Uint8Array(BLOCK_BYTES);

describe('what a read of a block may give', () => {
  it('is zeros before anything was written', () => {
    const ledger = new BlockLedger(1, 4);
    expect(ledger.judge(2, ZEROS, 0, 0)).toBe(0);
  });

  it('is the change under way or the one before, until it is acknowledged', () => {
    const ledger = new BlockLedger(1, 4);
    const first = ledger.beginWrite(2, 1);
    expect(ledger.judge(2, ZEROS, 0, 1)).toBe(0);
    expect(ledger.judge(2, first, 0, 1)).toBe(1);
    ledger.acknowledge(2, 1);
    expect(ledger.judge(2, ZEROS, 1, 1)).toBe('zeros, not change 1');
    expect(ledger.judge(2, first, 1, 1)).toBe(1);
  });

  it('is not what was read of another block, nor of another disk', () => {
    const ledger = new BlockLedger(1, 4);
    const both = ledger.beginWrite(1, 2);
    ledger.acknowledge(1, 2);
    expect(ledger.judge(1, both.subarray(BLOCK_BYTES), 1, 1)).toMatch(/"block":2.*not change 1/);
    expect(ledger.judge(1, new BlockLedger(2, 4).beginWrite(1, 1), 1, 1)).toMatch(/"client":2.*not change 1/);
  });

  it('is zeros after an unmap, and not the write before it', () => {
    const ledger = new BlockLedger(1, 4);
    const written = ledger.beginWrite(0, 1);
    ledger.acknowledge(0, 1);
    ledger.beginUnmap(0, 1);
    expect(ledger.judge(0, written, 1, 2)).toBe(1);
    expect(ledger.judge(0, ZEROS, 1, 2)).toBe(2);
    ledger.acknowledge(0, 1);
    expect(ledger.judge(0, written, 2, 2)).toMatch(/"sequence":1.*not change 2/);
    const again = ledger.beginWrite(0, 1);
    expect(ledger.judge(0, ZEROS, 2, 3)).toBe(2);
    ledger.acknowledge(0, 1);
    expect(ledger.judge(0, ZEROS, 3, 3)).toBe('zeros, not change 3');
    expect(ledger.judge(0, again, 3, 3)).toBe(3);
  });

  it('is not a torn block', () => {
    const ledger = new BlockLedger(1, 4);
    const data = ledger.beginWrite(0, 1);
    data.fill(0, 512);
    expect(ledger.judge(0, data, 0, 1)).toBe('no whole stamp, not change 0 to 1');
  });
});
