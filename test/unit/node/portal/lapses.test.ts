import { expect, it } from 'vitest';
import type { Timers } from '../../../../base/clock.ts';
import { DEFAULT_PORTAL_LIMITS } from '../../../../node/iscsi/limits.ts';
import { Lapses } from '../../../../node/portal/lapses.ts';
import { GUARDIAN_TTL_MS, MOVED_GRACE_MS, TAKEOVER_WAIT_MS } from '../../../../node/portal/limits.ts';
import { LEASE_WAIT_MS } from '../../../../storage/replication/limits.ts';

/** Linux's open-iscsi: how long an answer to a NOP-Out may take (node.conn[0].timeo.noop_out_timeout), in ms. */
const LINUX_NOP_TIMEOUT_MS = 5_000;
/** From when on TCP sends again what was not acknowledged: 200 ms after the first time, then after twice as long each time. */
const RETRANSMITTED_AT_MS = [200, 600, 1_400, 3_000, 6_200];

/** With timers that fire when the test says so. */
function lapses() {
  const waiting: { delayMs: number; fire: () => void }[] = [];
  const timers: Timers = {
    setTimer: (delayMs, fire) => {
      const timer = { delayMs, fire };
      waiting.push(timer);
      return () => {
        if (waiting.includes(timer)) waiting.splice(waiting.indexOf(timer), 1);
      };
    },
  };
  const told: string[] = [];
  const moved = new Set<string>();
  const ports = {
    timers,
    hasMoved: (groupId: string) => moved.has(groupId),
    moved: (groupId: string) => void told.push(`${groupId} moved`),
    endSessions: (groupId: string, hasMoved: boolean) =>
      void told.push(`${groupId} ended${hasMoved ? ', moved' : ''}`),
  };
  return { lapses: new Lapses(ports), waiting, told, moved };
}

it('sessions of a lapsed lease are kept until whoever watches the lease gives it up', () => {
  const { lapses: kept, waiting, told } = lapses();
  kept.begin('g');
  expect([kept.size, kept.isAwaitingLease('g')]).toEqual([1, true]);
  expect(waiting, 'they have no time of their own').toEqual([]);
  kept.leaseGivenUp('g');
  expect([told, kept.size]).toEqual([['g ended'], 0]);
  kept.leaseGivenUp('g');
  expect(told).toEqual(['g ended']);
});

it('nothing becomes of sessions whose lease was renewed', () => {
  const { lapses: kept, told } = lapses();
  kept.begin('g');
  kept.forget('g');
  kept.leaseGivenUp('g');
  kept.openElsewhere('g');
  expect([told, kept.size]).toEqual([[], 0]);
});

it('sessions of a group that has moved end when it is open elsewhere, or after a time', () => {
  const { lapses: kept, waiting, told, moved } = lapses();
  for (const groupId of ['g', 'h']) {
    moved.add(groupId);
    kept.begin(groupId);
  }
  expect(told).toEqual(['g moved', 'h moved']);
  expect([kept.isAwaitingLease('g'), waiting.map(({ delayMs }) => delayMs)]).toEqual([
    false,
    [MOVED_GRACE_MS, MOVED_GRACE_MS],
  ]);
  kept.openElsewhere('g');
  waiting[0]?.fire();
  expect(told.slice(2)).toEqual(['g ended, moved', 'h ended, moved']);
  expect(kept.size).toBe(0);
});

it('a lease that lapsed and was given to another meanwhile counts as moved from then on', () => {
  const { lapses: kept, waiting, told, moved } = lapses();
  kept.begin('g');
  moved.add('g');
  kept.leaseGivenUp('g');
  expect(told).toEqual(['g moved']);
  expect([kept.isAwaitingLease('g'), waiting.map(({ delayMs }) => delayMs)]).toEqual([
    false,
    [MOVED_GRACE_MS],
  ]);
  kept.leaseGivenUp('g');
  expect(told).toEqual(['g moved']);
  kept.openElsewhere('g');
  expect(told.slice(1)).toEqual(['g ended, moved']);
});

it('no initiator takes a wait for its lease for a failure', () => {
  // It may send the NOP-Out at the very beginning, and TCP has to find the address again before the answer is due.
  const foundAgainMs = RETRANSMITTED_AT_MS.find((ms) => ms >= LEASE_WAIT_MS) ?? Number.POSITIVE_INFINITY;
  expect(foundAgainMs).toBeLessThan(LINUX_NOP_TIMEOUT_MS);
});

it('what is waited for has its chance before the wait ends', () => {
  // A guardian has dropped the address of a node that hangs, and the node has found its lease gone and renewed.
  expect(LEASE_WAIT_MS).toBeGreaterThan(GUARDIAN_TTL_MS);
  // A connection that a command found moved is not dropped before the session would be.
  expect(DEFAULT_PORTAL_LIMITS.movedTimeoutMs).toBeGreaterThan(MOVED_GRACE_MS);
  // Whoever takes over still nudges initiators that this node has kept until then.
  expect(TAKEOVER_WAIT_MS).toBeGreaterThan(MOVED_GRACE_MS);
});
