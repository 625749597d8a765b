import { describe, expect, it } from 'vitest';
import { SeededRandom } from '../../../../base/random.ts';
import { RETRANSMISSIONS_MAX } from '../../../../node/tftp/limits.ts';
import { negotiate } from '../../../../node/tftp/negotiation.ts';
import {
  blockRange,
  startTransfer,
  stepTransfer,
  type TransferStep,
} from '../../../../node/tftp/transfer-machine.ts';

const terms = (sizeBytes: number, options: Record<string, string> = {}) =>
  negotiate(new Map(Object.entries(options)), sizeBytes);
const ack = (step: TransferStep, block: number): TransferStep =>
  stepTransfer(step.state, { kind: 'packet', packet: { kind: 'ack', block } });
const timeout = (step: TransferStep): TransferStep => stepTransfer(step.state, { kind: 'timeout' });
const told = (step: TransferStep): unknown[] =>
  step.effects.map((effect) => {
    switch (effect.kind) {
      case 'send-blocks':
        return [effect.first, effect.last];
      case 'arm-timer':
        return effect.delayMs;
      case 'end':
        return effect.outcome;
      case 'send-option-ack':
        return 'oack';
      case 'send-error':
        return `error ${effect.code}`;
    }
  });

describe('negotiation', () => {
  it.each([
    [{}, { blksize: 512, windowsize: 1 }, {}],
    [{ blksize: '1432', tsize: '0' }, { blksize: 1432 }, { blksize: '1432', tsize: '1000' }],
    [{ blksize: '65464' }, { blksize: 1468 }, { blksize: '1468' }],
    [{ blksize: '7' }, { blksize: 512 }, {}],
    [{ blksize: '65465' }, { blksize: 512 }, {}],
    [{ blksize: '-8' }, { blksize: 512 }, {}],
    [{ blksize: '1e3' }, { blksize: 512 }, {}],
    [{ timeout: '3' }, { timeoutMs: 3000 }, { timeout: '3' }],
    [{ timeout: '0' }, { timeoutMs: undefined }, {}],
    [{ timeout: '256' }, { timeoutMs: undefined }, {}],
    [{ windowsize: '4' }, { windowsize: 4 }, { windowsize: '4' }],
    [{ windowsize: '1000' }, { windowsize: 16 }, { windowsize: '16' }],
    [{ windowsize: '0' }, { windowsize: 1 }, {}],
    [{ multicast: '' }, {}, {}],
  ])('%j', (asked, granted, acknowledged) => {
    const result = terms(1000, asked);
    expect(result).toMatchObject(granted);
    expect(Object.fromEntries(result.acknowledged)).toEqual(acknowledged);
  });
});

describe('a transfer', () => {
  it('without options begins with the first block and ends with the last acknowledgement', () => {
    const first = startTransfer(terms(1000));
    expect(told(first)).toEqual([[1, 1], 1000]);
    const second = ack(first, 1);
    expect(told(second)).toEqual([[2, 2], 1000]);
    expect(blockRange(second.state.terms, 2)).toEqual({ start: 512, end: 1000 });
    expect(told(ack(second, 2))).toEqual(['complete']);
  });

  it('ends with an empty block when the file fills its blocks', () => {
    const last = ack(ack(startTransfer(terms(1024)), 1), 2);
    expect(told(last)).toEqual([[3, 3], 1000]);
    expect(blockRange(last.state.terms, 3)).toEqual({ start: 1024, end: 1024 });
    expect(told(ack(last, 3))).toEqual(['complete']);
    expect(told(startTransfer(terms(0)))).toEqual([[1, 1], 1000]);
  });

  it('with options waits for the acknowledgement of them', () => {
    const first = startTransfer(terms(1000, { tsize: '0' }));
    expect(told(first)).toEqual(['oack', 1000]);
    expect(told(ack(first, 1))).toEqual([]);
    expect(told(timeout(first))).toEqual(['oack', 2000]);
    expect(told(ack(first, 0))).toEqual([[1, 1], 1000]);
  });

  it('takes an error packet as the end, without an answer: firmware that only asked for the size', () => {
    const first = startTransfer(terms(1000, { tsize: '0' }));
    const ended = stepTransfer(first.state, {
      kind: 'packet',
      packet: { kind: 'error', code: 8, message: 'aborted' },
    });
    expect(told(ended)).toEqual(['aborted']);
    expect(told(ack(ended, 0))).toEqual([]);
    expect(told(timeout(ended))).toEqual([]);
  });

  it('answers what is no acknowledgement by error 4', () => {
    const packet = { kind: 'data', block: 1, data: new Uint8Array() } as const;
    expect(told(stepTransfer(startTransfer(terms(1000)).state, { kind: 'packet', packet }))).toEqual([
      'error 4',
      'illegal',
    ]);
  });

  it('ignores repeated acknowledgements at windowsize 1 (Sorcerer’s Apprentice)', () => {
    const second = ack(startTransfer(terms(2000)), 1);
    expect(told(ack(second, 1))).toEqual([]);
    expect(told(ack(second, 0))).toEqual([]);
    expect(told(ack(second, 3))).toEqual([]);
  });

  it('repeats with growing waits, at the client’s own interval if it set one, and gives up', () => {
    let step = startTransfer(terms(1000));
    const waits: unknown[] = [];
    for (let i = 0; i < RETRANSMISSIONS_MAX; i++) {
      step = timeout(step);
      waits.push(told(step)[1]);
    }
    expect(waits).toEqual([2000, 4000, 8000, 8000, 8000, 8000]);
    expect(told(timeout(step))).toEqual(['timed-out']);
    const own = ack(startTransfer(terms(1000, { timeout: '3' })), 0);
    expect(told(timeout(own))).toEqual([[1, 1], 3000]);
  });

  it('counts attempts anew after progress', () => {
    const delayed = timeout(timeout(startTransfer(terms(1000))));
    expect(told(ack(delayed, 1))).toEqual([[2, 2], 1000]);
  });

  describe('with windows', () => {
    const opened = (sizeBytes: number): TransferStep =>
      ack(startTransfer(terms(sizeBytes, { windowsize: '4' })), 0);

    it('sends four blocks to each acknowledgement', () => {
      const first = opened(512 * 9);
      expect(told(first)).toEqual([[1, 4], 1000]);
      const second = ack(first, 4);
      expect(told(second)).toEqual([[5, 8], 1000]);
      expect(told(ack(second, 8))).toEqual([[9, 10], 1000]);
    });

    it('goes on after the last block that arrived', () => {
      expect(told(ack(opened(512 * 9), 2))).toEqual([[3, 6], 1000]);
    });

    it('repeats a window once when its first block was lost', () => {
      const first = opened(512 * 9);
      const again = ack(first, 0);
      expect(told(again)).toEqual([[1, 4], 1000]);
      expect(told(ack(again, 0))).toEqual([]);
      expect(told(ack(ack(again, 4), 4))).toEqual([[5, 8], 1000]);
    });
  });

  it.each([1, 16])('passes block 65,535 at windowsize %i, any packets being lost', (windowsize) => {
    const blocks = 65_536 + 40;
    const random = new SeededRandom(windowsize);
    let step = ack(startTransfer(terms(8 * blocks, { blksize: '8', windowsize: String(windowsize) })), 0);
    let received = 0;
    let steps = 0;
    const ended = (): boolean => step.effects.some((e) => e.kind === 'end');
    while (!ended() && steps++ < 1_000_000) {
      const window = step.effects.find((e) => e.kind === 'send-blocks');
      if (window?.kind === 'send-blocks') {
        for (let block = window.first; block <= window.last; block++) {
          if (random.below(500) > 0 && block === received + 1) received = block;
        }
      }
      step = random.below(500) > 0 && window !== undefined ? ack(step, received & 0xffff) : timeout(step);
    }
    expect(told(step)).toEqual(['complete']);
    expect(received).toBe(blocks + 1);
  });
});
