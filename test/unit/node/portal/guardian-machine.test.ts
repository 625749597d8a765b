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

  it('takes from a worker that is silent what that one holds, and nothing of another', () => {
    const by = (holder: number, event: GuardianEvent): GuardianEvent =>
      event.type === 'order'
        ? ({ type: 'order', order: { ...event.order, holder } } as GuardianEvent)
        : event;
    const renew = (holder: number): GuardianEvent =>
      by(holder, { type: 'order', order: { order: 'renew', ttlMs: TTL_MS } });
    const state = after(
      [by(0, hold('192.0.2.1')), 0],
      [by(1, hold('192.0.2.2')), 0],
      [by(1, hold('192.0.2.3')), 0],
      [renew(0), 500],
      // Not one of those that hold anything.
      [renew(2), 700],
    );
    const step = stepGuardian(state, { type: 'tick' }, 800);
    expect(step.effects).toEqual([
      { type: 'removeAddress', address: '192.0.2.2' },
      { type: 'removeAddress', address: '192.0.2.3' },
      { type: 'nodeSilent' },
      { type: 'answer', answer: { answer: 'expired', addresses: ['192.0.2.2', '192.0.2.3'] } },
    ]);
    expect(stepGuardian(step.state, { type: 'tick' }, 1_299).effects).toEqual([]);
    expect(stepGuardian(step.state, renew(1), 1_000).state).toBe(step.state);
    expect(stepGuardian(step.state, { type: 'tick' }, 1_300).effects).toContainEqual({
      type: 'removeAddress',
      address: '192.0.2.1',
    });
    const removed = stepGuardian(state, { type: 'nodeGone' }, 1).effects;
    expect(removed.filter(({ type }) => type === 'removeAddress')).toHaveLength(3);
  });

  it('is not revived by a renewal that comes after the expiry', () => {
    const expired = after([hold('192.0.2.1'), 0], [{ type: 'tick' }, 900]);
    const late = stepGuardian(expired, { type: 'order', order: { order: 'renew', ttlMs: TTL_MS } }, 901);
    expect(late).toEqual({ state: initialGuardianState, effects: [] });
  });

  it('removes every address and ends when its node is gone', () => {
    const step = stepGuardian(after([hold('192.0.2.1'), 0]), { type: 'nodeGone' }, 1);
    expect(step.effects).toEqual([
      { type: 'removeAddress', address: '192.0.2.1' },
      { type: 'forsake' },
      { type: 'exit' },
    ]);
  });

  it('testifies once the addresses are off, by the newest order, expired or not', () => {
    const order = { order: 'testify', nodePid: 7, lastWord: '00', to: [] } as const;
    const newest = { ...order, to: [{ host: '192.0.2.9', port: 7400 }] };
    const told: [GuardianEvent, number][] = [
      [{ type: 'order', order }, 0],
      [hold('192.0.2.1'), 0],
      [{ type: 'order', order: newest }, 1],
    ];
    const testify = { type: 'testify', order: newest };
    expect(stepGuardian(after(...told), { type: 'nodeGone' }, 2).effects).toEqual([
      { type: 'removeAddress', address: '192.0.2.1' },
      { type: 'forsake' },
      testify,
      { type: 'exit' },
    ]);
    const expired = after(...told, [{ type: 'tick' }, 5_000]);
    expect(stepGuardian(expired, { type: 'nodeGone' }, 5_001).effects).toEqual([
      { type: 'forsake' },
      testify,
      { type: 'exit' },
    ]);
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
