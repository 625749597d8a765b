import { beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../../../base/clock.ts';
import { OperationError } from '../../../base/errors.ts';
import { SeededRandom } from '../../../base/random.ts';
import { Contacts } from '../../../cluster/contacts.ts';
import { nodesToFence } from '../../../cluster/fencing.ts';
import {
  ABSENT_FENCE_AFTER_MS,
  FIRST_START_GRACE_MS,
  IDLE_FENCE_AFTER_MS,
  MAX_COMMAND_BYTES,
  MAX_PENDING_PROPOSAL_BYTES,
  MAX_PENDING_PROPOSALS,
  PROPOSAL_TIMEOUT_MS,
  READ_RETRY_MS,
  READ_TIMEOUT_MS,
} from '../../../cluster/limits.ts';
import { Proposals } from '../../../cluster/proposals.ts';
import { Reads } from '../../../cluster/reads.ts';
import { makeGenesis } from '../../../cluster/state/genesis.ts';
import { applyAll, fence, genesisInput, register, runningCluster } from './state/fixtures.ts';

let clock: ManualClock;

beforeEach(() => {
  clock = new ManualClock();
});

async function ending(promise: Promise<number>): Promise<string> {
  try {
    return `at ${await promise}`;
  } catch (error) {
    if (error instanceof OperationError) return `${error.kind} ${error.code}`;
    throw error;
  }
}

describe('proposals', () => {
  it('are known again by their header, by the process that made them only', async () => {
    const ours = new Proposals(1, new SeededRandom(1), clock);
    const otherStart = new Proposals(1, new SeededRandom(2), clock);
    const { counter, data } = ours.wrap(Buffer.from('x'));
    otherStart.wrap(Buffer.from('x'));
    void ending(otherStart.outcome(1n, 1));
    expect(ours.awaited(data)).toBeUndefined();
    const outcome = ending(ours.outcome(counter, 1));
    expect(ours.awaited(data)).toBe(counter);
    expect(otherStart.awaited(data)).toBeUndefined();
    expect(ours.awaited(data.subarray(0, 19))).toBeUndefined();
    ours.applied(counter, 42);
    expect(await outcome).toBe('at 42');
    expect(ours.awaited(data)).toBeUndefined();
  });

  it('are refused while too much is under way already, by number and by size, and taken again after', async () => {
    const proposals = new Proposals(1, new SeededRandom(1), clock);
    const large = Buffer.alloc(MAX_COMMAND_BYTES);
    const waiting: Promise<string>[] = [];
    for (let bytes = 0; bytes < MAX_PENDING_PROPOSAL_BYTES; bytes += large.length) {
      waiting.push(ending(proposals.outcome(proposals.wrap(large).counter, 1, large.length)));
    }
    expect(() => proposals.wrap(Buffer.from('x'))).toThrow(
      expect.objectContaining({ kind: 'unavailable', code: 'queue-full' }) as Error,
    );
    proposals.applied(1n, 5);
    expect(proposals.wrap(large).counter).toBe(BigInt(waiting.length + 1));
    proposals.stop();
    expect(await Promise.all(waiting)).toHaveLength(MAX_PENDING_PROPOSAL_BYTES / MAX_COMMAND_BYTES);
    expect(() => proposals.wrap(Buffer.alloc(MAX_COMMAND_BYTES + 1))).toThrow(
      expect.objectContaining({ code: 'command-too-large', got: MAX_COMMAND_BYTES + 1 }) as Error,
    );
  });

  it('end, at the latest, when their time is over', async () => {
    const proposals = new Proposals(1, new SeededRandom(1), clock);
    const outcome = ending(proposals.outcome(proposals.wrap(Buffer.from('x')).counter, 1));
    clock.advance(PROPOSAL_TIMEOUT_MS);
    expect(await outcome).toBe('unknown-outcome timed-out');
  });

  it('are certainly lost once a later term is reached, and of unknown fate when it was skipped to', async () => {
    const proposals = new Proposals(1, new SeededRandom(1), clock);
    const [a, b] = [proposals.wrap(Buffer.from('a')), proposals.wrap(Buffer.from('b'))];
    const old = ending(proposals.outcome(a.counter, 3));
    const now = ending(proposals.outcome(b.counter, 4));
    proposals.reachedTerm(3);
    expect(proposals.awaited(a.data)).toBe(a.counter);
    proposals.reachedTerm(4);
    expect(await old).toBe('unavailable leader-lost');
    expect(proposals.awaited(b.data)).toBe(b.counter);
    proposals.skippedTo(4);
    expect(await now).toBe('unknown-outcome skipped');
  });

  it('are bounded in number', () => {
    const proposals = new Proposals(1, new SeededRandom(1), clock);
    for (let i = 0; i < MAX_PENDING_PROPOSALS; i++) {
      void ending(proposals.outcome(proposals.wrap(new Uint8Array()).counter, 1));
    }
    expect(() => proposals.wrap(new Uint8Array())).toThrow(/under way already/);
  });
});

describe('reads', () => {
  it('share a question only with those that came before it was asked', async () => {
    const asked: Uint8Array[] = [];
    const reads = new Reads(clock, clock, new SeededRandom(1), (context) => asked.push(context));
    const first = ending(reads.tail());
    const second = ending(reads.tail());
    const third = ending(reads.tail());
    expect(asked).toHaveLength(1);
    reads.answered(asked[0] as Uint8Array, 10);
    expect(await first).toBe('at 10');
    expect(asked).toHaveLength(2);
    // An answer to the first question comes again; it is too old for those that wait now.
    reads.answered(asked[0] as Uint8Array, 10);
    reads.answered(asked[1] as Uint8Array, 12);
    expect([await second, await third]).toEqual(['at 12', 'at 12']);
    reads.stop();
  });

  it('take nothing for an answer that was said to an earlier start of this node', async () => {
    const asked: Uint8Array[] = [];
    const ask = (context: Uint8Array): void => {
      asked.push(context);
    };
    const before = new Reads(clock, clock, new SeededRandom(1), ask);
    const lost = ending(before.tail());
    before.stop();
    expect(await lost).toBe('unavailable stopping');
    const after = new Reads(clock, clock, new SeededRandom(2), ask);
    const answered = ending(after.tail());
    // The leader's answer to the process before the restart; the cluster has gone on since.
    after.answered(asked[0] as Uint8Array, 10);
    after.answered(asked[1] as Uint8Array, 12);
    expect(await answered).toBe('at 12');
    after.stop();
  });

  it('are asked for again, and end when their time is over', async () => {
    const asked: Uint8Array[] = [];
    const reads = new Reads(clock, clock, new SeededRandom(1), (context) => asked.push(context));
    const answered = ending(reads.tail());
    clock.advance(READ_RETRY_MS * 2);
    expect(asked).toHaveLength(3);
    expect(new Set(asked.map((c) => Buffer.from(c).toString('hex'))).size).toBe(3);
    // Any of the questions will do: all were asked after the read began.
    reads.answered(asked[1] as Uint8Array, 5);
    expect(await answered).toBe('at 5');
    const never = ending(reads.tail());
    clock.advance(READ_TIMEOUT_MS);
    expect(await never).toBe('unavailable no-leader');
    const count = asked.length;
    clock.advance(READ_TIMEOUT_MS);
    expect(asked.length).toBe(count);
  });
});

describe('silence', () => {
  const tick = (contacts: Contacts, fromMs: number, toMs: number): void => {
    for (let ms = fromMs; ms <= toMs; ms += 50) contacts.tick(ms);
  };

  it('counts from the election on, by incarnation', () => {
    const contacts = new Contacts();
    tick(contacts, 0, 1000);
    contacts.heard({ nodeId: 'n2', incarnation: 'a' });
    expect(contacts.silentMs('n2', 'a')).toBeUndefined();
    contacts.leads(true, 'n1');
    tick(contacts, 1050, 2000);
    contacts.leads(true, 'n1');
    contacts.heard({ nodeId: 'n2', incarnation: 'b' });
    tick(contacts, 2050, 2100);
    expect(contacts.silentMs('n2', 'b')).toBe(100);
    expect(contacts.silentMs('n2', undefined)).toBe(100);
    expect(contacts.silentMs('n2', 'a')).toBe(1100);
    expect(contacts.silentMs('n3', 'a')).toBe(1100);
    expect(contacts.sinceMs('n2')).toBe(100);
    expect(contacts.sinceMs('n3')).toBeUndefined();
  });

  it('of the leader followed before counts from when it was last heard', () => {
    const contacts = new Contacts();
    tick(contacts, 0, 1000);
    contacts.leads(false, 'n2');
    contacts.heard({ nodeId: 'n2', incarnation: 'a' });
    contacts.heard({ nodeId: 'n3', incarnation: 'a' });
    contacts.leads(false, undefined);
    tick(contacts, 1050, 1600);
    contacts.leads(true, 'n1');
    tick(contacts, 1650, 1700);
    expect(contacts.silentMs('n2', 'a')).toBe(700);
    // Followers do not hear each other, so nothing was known of this one before.
    expect(contacts.silentMs('n3', 'a')).toBe(100);
  });

  it('does not count time in which this process stood still', () => {
    const contacts = new Contacts();
    contacts.tick(0);
    contacts.leads(true, 'n1');
    contacts.tick(60_000);
    expect(contacts.silentMs('n2', 'a')).toBe(100);
  });

  it('gets a node fenced after the time set, one that never started after a longer one', () => {
    const ids = (silent: number, state = runningCluster()): string[] =>
      nodesToFence(
        state,
        'n1',
        () => silent,
        () => false,
      ).map((n) => n.nodeId);
    expect(ids(1000)).toEqual([]);
    expect(ids(1001)).toEqual(['n2', 'n3']);
    expect(ids(1001, applyAll(runningCluster(), fence(2, 'a')))).toEqual(['n3']);
    const fresh = applyAll(makeGenesis(genesisInput()), register(1, 'a'), register(2, 'a'));
    expect(ids(FIRST_START_GRACE_MS, fresh)).toEqual(['n2']);
    expect(ids(FIRST_START_GRACE_MS + 1, fresh)).toEqual(['n2', 'n3']);
    expect(
      nodesToFence(
        fresh,
        'n1',
        () => undefined,
        () => true,
      ),
    ).toEqual([]);
  });

  it('leaves a node more time that nothing would go on without', () => {
    const ids = (silent: number, inSync: readonly string[]): string[] => {
      const state = runningCluster();
      const groups = Object.entries(state.portalGroups).map(([id, group]) => [
        id,
        { ...group, inSync: inSync.map((nodeId) => ({ nodeId, incarnation: 'a' })) },
      ]);
      const changed = { ...state, portalGroups: Object.fromEntries(groups) as typeof state.portalGroups };
      return nodesToFence(
        changed,
        'n1',
        () => silent,
        () => false,
      ).map((n) => n.nodeId);
    };
    expect(ids(1001, ['n2', 'n3'])).toEqual(['n2', 'n3']);
    // Others wait for the only member in sync, fenced or not; and one that is not in sync yet holds up nobody.
    expect(ids(1001, ['n2'])).toEqual([]);
    expect(ids(IDLE_FENCE_AFTER_MS, ['n2'])).toEqual([]);
    expect(ids(IDLE_FENCE_AFTER_MS + 1, ['n2'])).toEqual(['n2', 'n3']);
  });

  it('of a process that its host says is gone is not waited out, unless it never started', () => {
    const ids = (silent: number, state = runningCluster()): string[] =>
      nodesToFence(
        state,
        'n1',
        () => silent,
        (id) => id === 'n2',
      ).map((n) => n.nodeId);
    expect(ids(ABSENT_FENCE_AFTER_MS)).toEqual([]);
    expect(ids(ABSENT_FENCE_AFTER_MS + 1)).toEqual(['n2']);
    const fresh = applyAll(makeGenesis(genesisInput()), register(1, 'a'));
    expect(ids(FIRST_START_GRACE_MS, fresh)).toEqual([]);
  });
});
