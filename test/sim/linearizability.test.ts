import { describe, expect, it } from 'vitest';
import { SeededRandom } from '../../base/random.ts';
import { checkLinearizable, type Model, type Operation, partition } from './linearizability.ts';
import { findViolation } from './replication/history.ts';

type Input =
  | { readonly kind: 'read'; readonly key?: string }
  | { readonly kind: 'write'; readonly value: number; readonly key?: string }
  | { readonly kind: 'swap'; readonly from: number; readonly to: number; readonly key?: string };
type Output = number | boolean;
type Op = Operation<Input, Output>;

/** A register of one number, with reads, writes and compare-and-set. */
const register: Model<number, Input, Output> = {
  initial: 0,
  step(state, input, output) {
    switch (input.kind) {
      case 'read':
        return output === undefined || output === state ? state : undefined;
      case 'write':
        return input.value;
      case 'swap': {
        const fits = state === input.from;
        if (output !== undefined && output !== fits) return undefined;
        return fits ? input.to : state;
      }
    }
  },
  stateKey: String,
};

const call = (input: Input, calledAt: number, returnedAt: number, output: Output): Op => {
  return { client: 'a', input, output, calledAt, returnedAt };
};
const lost = (input: Input, calledAt: number): Op => {
  return { client: 'b', input, output: undefined, calledAt, returnedAt: Number.POSITIVE_INFINITY };
};
const write = (value: number, from: number, to: number): Op => call({ kind: 'write', value }, from, to, true);
const read = (value: number, from: number, to: number): Op => call({ kind: 'read' }, from, to, value);
const swap = (a: number, b: number, from: number, to: number, done: boolean): Op =>
  call({ kind: 'swap', from: a, to: b }, from, to, done);

const verdict = (...history: Op[]): string => checkLinearizable(register, history).kind;

describe('a good history', () => {
  it.each<[string, Op[]]>([
    ['with nothing in it', []],
    ['one after another', [write(1, 1, 2), read(1, 3, 4), write(2, 5, 6), read(2, 7, 8)]],
    ['a read beside a write sees the old value', [write(1, 1, 4), read(0, 2, 3)]],
    ['a read beside a write sees the new value', [write(1, 1, 4), read(1, 2, 3)]],
    ['reads beside a write see first the old, then the new', [write(1, 1, 8), read(0, 2, 3), read(1, 4, 5)]],
    ['two writes at once end either way', [write(1, 1, 5), write(2, 2, 4), read(1, 6, 7)]],
    ['two writes at once end the other way', [write(1, 1, 5), write(2, 2, 4), read(2, 6, 7)]],
    ['a lost write that happened', [lost({ kind: 'write', value: 5 }, 1), read(5, 2, 3)]],
    ['a lost write that happened late', [lost({ kind: 'write', value: 5 }, 1), read(0, 2, 3), read(5, 4, 5)]],
    ['a lost write that never happened', [lost({ kind: 'write', value: 5 }, 1), read(0, 2, 3)]],
    ['of two swaps one wins', [swap(0, 1, 1, 5, false), swap(0, 2, 2, 4, true), read(2, 6, 7)]],
    ['a lost swap explains a refusal', [lost({ kind: 'swap', from: 0, to: 3 }, 1), swap(0, 1, 2, 3, false)]],
  ])('%s', (_, history) => {
    expect(verdict(...history)).toBe('linearizable');
  });
});

describe('a bad history', () => {
  it.each<[string, Op[]]>([
    ['a read misses a write before it', [write(1, 1, 2), read(0, 3, 4)]],
    ['a read sees what was never written', [write(1, 1, 2), read(7, 3, 4)]],
    ['a read sees what was not yet written', [read(1, 1, 2), write(1, 3, 4)]],
    ['reads go back in time', [write(1, 1, 8), read(1, 2, 3), read(0, 4, 5)]],
    [
      'two reads at once disagree about the order',
      [write(1, 1, 2), write(2, 3, 8), read(2, 4, 5), read(1, 6, 7)],
    ],
    ['both of two swaps win', [swap(0, 1, 1, 5, true), swap(0, 2, 2, 4, true)]],
    ['a swap is refused for no reason', [swap(0, 1, 1, 2, false)]],
    ['a lost write comes and goes', [lost({ kind: 'write', value: 5 }, 1), read(5, 2, 3), read(0, 4, 5)]],
    ['a lost write was seen before it was called', [read(5, 1, 2), lost({ kind: 'write', value: 5 }, 3)]],
  ])('%s', (_, history) => {
    expect(verdict(...history)).toBe('violation');
  });

  it('is shown with what could not be explained', () => {
    const stale = read(1, 5, 6);
    const found = checkLinearizable(register, [write(1, 1, 2), write(2, 3, 4), stale]);
    expect(found).toMatchObject({ kind: 'violation', stuckAt: stale, placed: 2 });
  });
});

describe('the checker', () => {
  it('checks parts by themselves', () => {
    const history = [
      call({ kind: 'write', value: 1, key: 'x' }, 1, 2, true),
      call({ kind: 'read', key: 'y' }, 3, 4, 0),
      call({ kind: 'read', key: 'x' }, 5, 6, 1),
    ];
    const parts = partition(history, (input) => input.key ?? '');
    expect([...parts.keys()]).toEqual(['x', 'y']);
    for (const part of parts.values()) expect(checkLinearizable(register, part).kind).toBe('linearizable');
    expect(checkLinearizable(register, history).kind).toBe('violation');
  });

  it('says so when it gives up', () => {
    const many = Array.from({ length: 14 }, (_, i) => write(i + 1, i, 100 + i));
    expect(checkLinearizable(register, [...many, read(99, 200, 201)], 50).kind).toBe('undecided');
  });

  it('accepts what a real register did, however its operations overlapped', () => {
    for (let seed = 1; seed <= 150; seed++) {
      expect(verdict(...recorded(seed, 40, 5)), `seed ${seed}`).toBe('linearizable');
    }
  });

  it('agrees with another algorithm about random histories of reads and writes', () => {
    const seen = { good: 0, bad: 0 };
    for (let seed = 1; seed <= 400; seed++) {
      const history = disturbed(seed);
      const isGood = findViolation(asRegisterHistory(history)) === undefined;
      expect(verdict(...history), `seed ${seed}`).toBe(isGood ? 'linearizable' : 'violation');
      seen[isGood ? 'good' : 'bad']++;
    }
    expect(Math.min(seen.good, seen.bad)).toBeGreaterThan(50);
  });
});

/** Operations that took effect at a moment of their own, their calls and returns somewhere around it. */
function recorded(seed: number, count: number, clients: number): Op[] {
  const random = new SeededRandom(seed);
  const freeAt = Array.from({ length: clients }, () => 0);
  let state = 0;
  let at = 0;
  let last = 0;
  const history: Op[] = [];
  for (let i = 0; i < count; i++) {
    at += 1 + random.below(20);
    const client = random.below(clients);
    const before = Math.max(freeAt[client] as number, at - random.below(60));
    const after = at + random.below(60);
    if (before >= at) continue;
    freeAt[client] = after + 1;
    const isWrite = random.below(2) === 0;
    const isLost = random.below(12) === 0;
    if (isWrite) state = ++last;
    const output: Output = isWrite ? true : state;
    const input: Input = isWrite ? { kind: 'write', value: state } : { kind: 'read' };
    // Stamps are made distinct by a part that tells operations apart.
    const calledAt = before + i / 1000;
    if (isLost) freeAt[client] = Number.POSITIVE_INFINITY;
    history.push(isLost ? lost(input, calledAt) : call(input, calledAt, after + i / 1000 + 0.0005, output));
  }
  return history;
}

/** A recorded history of which one read may have been given another answer. */
function disturbed(seed: number): Op[] {
  const random = new SeededRandom(seed + 10_000);
  const history = recorded(seed, 24, 3);
  const reads = history.filter((o) => o.input.kind === 'read' && o.output !== undefined);
  const victim = reads[random.below(Math.max(1, reads.length))];
  const writes = history.filter((o) => o.input.kind === 'write');
  const other = writes[random.below(Math.max(1, writes.length))];
  if (random.below(3) === 0 || other?.input.kind !== 'write') return history;
  const { value } = other.input;
  return history.map((o) => (o === victim ? { ...o, output: value } : o));
}

function asRegisterHistory(history: readonly Op[]): Parameters<typeof findViolation>[0] {
  const initial = { kind: 'write' as const, value: 0, invokedMs: -2, respondedMs: -1 };
  const done = history.filter((o) => o.input.kind === 'write' || o.output !== undefined);
  return [
    initial,
    ...done.map((o) => ({
      kind: o.input.kind === 'write' ? ('write' as const) : ('read' as const),
      value: o.input.kind === 'write' ? o.input.value : (o.output as number),
      invokedMs: o.calledAt,
      respondedMs: o.returnedAt,
    })),
  ];
}
