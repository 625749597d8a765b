import { describe, expect, it } from 'vitest';
import {
  type GuardianEvent,
  type GuardianState,
  initialGuardianState,
  stepGuardian,
} from '../../../../node/portal/guardian-machine.ts';

const TTL_MS = 800;
const hold = (address: string): GuardianEvent => ({
  type: 'order',
  order: { order: 'hold', address, ttlMs: TTL_MS },
});

function after(...events: [GuardianEvent, number][]): GuardianState {
  return events.reduce(
    (state, [event, atMs]) => stepGuardian(state, event, atMs).state,
    initialGuardianState,
  );
}

describe('the guardian', () => {
  it('keeps an address while renewed and gives all up one time to live after the last renewal', () => {
    const renewed = after(
      [hold('192.0.2.1'), 0],
      [hold('192.0.2.2'), 10],
      [{ type: 'order', order: { order: 'renew', ttlMs: TTL_MS } }, 500],
    );
    expect(stepGuardian(renewed, { type: 'tick' }, 1_299).effects).toEqual([]);
    const step = stepGuardian(renewed, { type: 'tick' }, 1_300);
    expect(step.effects).toEqual([
      { type: 'removeAddress', address: '192.0.2.1' },
      { type: 'removeAddress', address: '192.0.2.2' },
      { type: 'nodeSilent' },
      { type: 'answer', answer: { answer: 'expired', addresses: ['192.0.2.1', '192.0.2.2'] } },
    ]);
    expect(step.state).toEqual(initialGuardianState);
  });

  it('is not revived by a renewal that comes after the expiry', () => {
    const expired = after([hold('192.0.2.1'), 0], [{ type: 'tick' }, 900]);
    const late = stepGuardian(expired, { type: 'order', order: { order: 'renew', ttlMs: TTL_MS } }, 901);
    expect(late).toEqual({ state: initialGuardianState, effects: [] });
  });

  it('removes every address and ends when its node is gone', () => {
    const step = stepGuardian(after([hold('192.0.2.1'), 0]), { type: 'nodeGone' }, 1);
    expect(step.effects).toEqual([{ type: 'removeAddress', address: '192.0.2.1' }, { type: 'exit' }]);
  });

  it('has nothing to expire once everything is dropped', () => {
    const state = after(
      [hold('192.0.2.1'), 0],
      [{ type: 'order', order: { order: 'drop', address: '192.0.2.1' } }, 1],
    );
    expect(stepGuardian(state, { type: 'tick' }, 10_000).effects).toEqual([]);
  });

  it('clears leftovers but never what it holds', () => {
    const step = stepGuardian(
      after([hold('192.0.2.1'), 0]),
      { type: 'order', order: { order: 'clear', addresses: ['192.0.2.1', '192.0.2.9'] } },
      1,
    );
    expect(step.effects).toEqual([
      { type: 'removeAddress', address: '192.0.2.9' },
      { type: 'answer', answer: { answer: 'cleared' } },
    ]);
  });
});
