import { describe, expect, it } from 'vitest';
import { encodeControlRecord } from '../../../../storage/lun/log-record.ts';
import { grantMs } from '../../../../storage/replication/backup-machine.ts';
import type { MembershipChange } from '../../../../storage/replication/core.ts';
import type { Frame, PrimaryFrame } from '../../../../storage/replication/frame.ts';
import { boundUntilMs } from '../../../../storage/replication/grants.ts';
import { encodeLuns } from '../../../../storage/replication/group-meta.ts';
import { MAX_OWN_PAUSES, OWN_PAUSE_MS, SLOW_MS, TICK_MS } from '../../../../storage/replication/limits.ts';
import {
  durableEverywhere,
  isServing,
  leaseUntilMs,
  type PrimaryState,
} from '../../../../storage/replication/primary-state.ts';
import { Driver, group, identity, LEASE_MS, servingPrimary } from './machine-driver.ts';

const common = { group: 'g', leaseMs: LEASE_MS, commitIndex: 1, syncIndex: 0 };
const heartbeat = (epoch: number, reign: number): PrimaryFrame => ({
  kind: 'heartbeat',
  ...common,
  epoch,
  reign,
  sentAtMs: 5,
});
const epochStart = (epoch: number) => encodeControlRecord({ kind: 'epochStart', epoch, primary: 'b' });
const discard = (epoch: number) =>
  encodeControlRecord({ kind: 'discard', epoch, lunId: 1, firstBlock: 0, blockCount: 1 });
const appendOf = (
  reign: number,
  firstIndex: number,
  previousEpoch: number,
  records: Uint8Array[],
): PrimaryFrame => ({
  ...heartbeat(reign, reign),
  kind: 'append',
  firstIndex,
  previousEpoch,
  records,
});

describe('a backup', () => {
  it('persists a higher epoch before it says anything under it, and rejects lower ones from then on', () => {
    const driver = new Driver();
    const kinds = driver.frame('b', heartbeat(4, 4)).map((e) => e.kind);
    expect(kinds).toEqual(['persist', 'send']);
    driver.frame('c', heartbeat(3, 3));
    expect(driver.sent('reject')).toEqual([{ kind: 'reject', group: 'g', epoch: 4, primary: 'b' }]);
    expect(boundUntilMs(driver.core.grants)).toBeCloseTo(driver.nowMs + grantMs(LEASE_MS), 6);
  });

  it('acknowledges only a log that was compared with the primary', () => {
    const driver = new Driver([{ epoch: 2, startIndex: 1 }], 5);
    driver.frame('b', heartbeat(4, 4));
    expect(driver.sent('ack')).toEqual([]);
    expect(driver.sent('position')).toMatchObject([{ nextIndex: 5, epochs: [{ epoch: 2, startIndex: 1 }] }]);
    // It does not follow ours: record 4 of the primary is of another epoch.
    driver.frame('b', appendOf(4, 5, 3, [epochStart(4)]));
    expect(driver.sent('position')).toHaveLength(1);
    driver.frame('b', { ...heartbeat(4, 4), kind: 'truncate', fromIndex: 3 });
    expect(driver.effects.map((e) => e.kind)).toEqual(['truncate', 'persist', 'send']);
    expect(driver.sent('ack')).toMatchObject([{ nextIndex: 3 }]);
    driver.frame('b', appendOf(4, 3, 2, [epochStart(4)]));
    expect(driver.effects.map((e) => e.kind)).toEqual(['persist', 'append', 'send']);
    expect(driver.sent('ack')).toMatchObject([{ nextIndex: 4 }]);
  });

  it('does not cut what it took since, when told to truncate twice', () => {
    const driver = new Driver([{ epoch: 2, startIndex: 1 }], 5);
    const truncate: PrimaryFrame = { ...heartbeat(4, 4), kind: 'truncate', fromIndex: 3 };
    driver.frame('b', truncate);
    driver.frame('b', appendOf(4, 3, 2, [epochStart(4)]));
    driver.frame('b', truncate);
    expect(driver.core.log.nextIndex).toBe(4);
    // The same records again change nothing either.
    driver.frame('b', appendOf(4, 3, 2, [epochStart(4)]));
    expect(driver.core.log.nextIndex).toBe(4);
    expect(driver.sent('ack')).toMatchObject([{ nextIndex: 4 }]);
  });

  it('never gives up committed records', () => {
    const driver = new Driver([{ epoch: 2, startIndex: 1 }], 5);
    driver.core.log.commitIndex = 5;
    driver.frame('b', { ...heartbeat(4, 4), kind: 'truncate', fromIndex: 3 });
    expect(driver.core.log.nextIndex).toBe(5);
    driver.state(group(4, 'b', ['a', 'b']));
    driver.frame('b', { ...heartbeat(4, 4), kind: 'truncate', fromIndex: 3 });
    driver.frame('b', {
      ...heartbeat(4, 4),
      kind: 'reset',
      baseIndex: 3,
      epochs: [],
      snapshot: Buffer.from('[]'),
    });
    expect(driver.core.log.nextIndex).toBe(5);
    expect(driver.effects).toMatchObject([{ kind: 'complain', event: 'replication.refused-reset' }]);
  });

  it('gives them up for a primary that the cluster has reign without it, and says so', () => {
    const driver = new Driver([{ epoch: 2, startIndex: 1 }], 5);
    driver.core.log.commitIndex = 5;
    driver.state(group(4, 'b', ['b']));
    driver.frame('b', { ...heartbeat(4, 4), kind: 'truncate', fromIndex: 3 });
    const kinds = driver.effects.map((e) => (e.kind === 'complain' ? e.event : e.kind));
    expect(kinds.slice(0, 2)).toEqual(['replication.gave-up-committed', 'truncate']);
    expect(driver.core.log).toMatchObject({ nextIndex: 3, commitIndex: 3 });
    // A later primary has to be heard of by the cluster's own word as well.
    driver.core.log.commitIndex = 3;
    driver.frame('c', { ...heartbeat(6, 6), kind: 'truncate', fromIndex: 2 });
    expect(driver.core.log.nextIndex).toBe(3);
  });

  it('starts over rather than lose records that its list of LUNs knows of', () => {
    const driver = new Driver(
      [
        { epoch: 2, startIndex: 1 },
        { epoch: 3, startIndex: 5 },
      ],
      8,
    );
    driver.step({ kind: 'trimming', lunsIndex: 7 });
    // A primary that lost its power, and with it the end of the log.
    driver.frame('b', { ...heartbeat(4, 4), kind: 'truncate', fromIndex: 6 });
    expect(driver.effects.map((e) => e.kind)).toEqual(['persist', 'send']);
    expect(driver.sent('position')).toMatchObject([{ nextIndex: 0, epochs: [] }]);
    expect(driver.core.log.nextIndex).toBe(8);
    const snapshot = encodeLuns({ luns: [], lunsIndex: 7 });
    const epochs = [{ epoch: 2, startIndex: 1 }];
    driver.frame('b', { ...heartbeat(4, 4), kind: 'reset', baseIndex: 5, epochs, snapshot });
    expect(driver.effects.map((e) => e.kind)).toEqual(['reset', 'send']);
    expect(driver.core.log).toMatchObject({ baseIndex: 5, nextIndex: 5, lunsIndex: 7 });
    expect(driver.sent('ack')).toMatchObject([{ nextIndex: 5 }]);
    // It counts as one that has caught up only when a loss of power could not take that away.
    driver.frame('b', appendOf(4, 5, 2, [epochStart(4), discard(4)]));
    expect(driver.effects.map((e) => e.kind)).toEqual(['persist', 'append', 'sync', 'send', 'send']);
    expect(driver.sent('ack')).toMatchObject([{ nextIndex: 6 }, { nextIndex: 7, durableIndex: 7 }]);
  });

  it('takes no office with less of a log than its list of LUNs knows of', () => {
    const driver = new Driver([{ epoch: 2, startIndex: 1 }], 6);
    driver.core.log.lunsIndex = 7;
    driver.state(group(4, 'a', ['a', 'b']));
    expect(driver.primary).toBeUndefined();
    expect(driver.effects).toMatchObject([{ kind: 'complain', event: 'replication.copy-incomplete' }]);
  });
});

describe('a primary', () => {
  it('persists its epoch first, and serves once all in-sync members have its first record', () => {
    const driver = new Driver();
    const kinds = driver.state(group(3, 'a', ['a', 'b'])).map((e) => e.kind);
    expect(kinds.slice(0, 2)).toEqual(['persist', 'beginEpoch']);
    expect(driver.primary?.phase).toBe('aligning');
    driver.ack('b', 2);
    driver.tick();
    expect(driver.primary?.phase).toBe('serving');
  });

  it('waits out what it granted to the one before it', () => {
    const driver = new Driver();
    driver.frame('b', heartbeat(2, 2));
    driver.state(group(3, 'a', ['a']));
    const untilMs = driver.nowMs + grantMs(LEASE_MS);
    while (driver.nowMs + TICK_MS < untilMs) {
      driver.tick();
      expect(driver.primary?.phase).toBe('aligning');
    }
    driver.tick();
    expect(driver.primary?.phase).toBe('serving');
  });

  it('commits what all in-sync members have, and nothing else', () => {
    const driver = servingPrimary(['a', 'b', 'c']);
    driver.append();
    driver.ack('b', 3);
    expect(driver.core.log.commitIndex).toBe(2);
    driver.ack('c', 3);
    expect(driver.core.log.commitIndex).toBe(3);
  });

  it('takes the word of the incarnation that is in sync only', () => {
    const driver = servingPrimary();
    driver.append();
    driver.step({ kind: 'link', peer: identity('b'), up: false });
    const reborn = { nodeId: 'b', incarnation: 'b.2' };
    driver.step({ kind: 'link', peer: reborn, up: true });
    const ack = { ...driver.core, kind: 'ack', group: 'g', reign: 3, echoMs: driver.nowMs, nextIndex: 3 };
    const frame = {
      ...ack,
      durableIndex: 3,
      imagesReady: true,
      full: false,
      takesVoids: false,
    } as unknown as Frame;
    driver.step({ kind: 'frame', from: reborn, frame, records: [] });
    expect(driver.core.log.commitIndex).toBe(2);
  });

  it('puts out a member that owes an acknowledgement, and commits only after the epoch has changed', () => {
    const driver = servingPrimary();
    driver.append();
    const untilMs = driver.nowMs + 3 * SLOW_MS;
    const proposals: unknown[] = [];
    while (proposals.length === 0 && driver.nowMs < untilMs) {
      driver.tick();
      proposals.push(...driver.proposed());
      // It is alive and answers heartbeats, but has not got the record.
      driver.ack('b', 2);
      proposals.push(...driver.proposed());
    }
    // Tolerance after taking office has to pass first.
    while (proposals.length === 0) {
      driver.tick();
      proposals.push(...driver.proposed());
      driver.ack('b', 2);
      proposals.push(...driver.proposed());
    }
    expect(proposals[0]).toEqual({ kind: 'shrink', epoch: 3, remove: 'b' });
    expect(driver.core.log.commitIndex).toBe(2);
    driver.state(group(4, 'a', ['a']));
    expect(driver.core.log.commitIndex).toBe(3);
    // Alone, it needs nobody's grant; and the one just put out is not let in again at once.
    expect(leaseUntilMs(driver.primary as PrimaryState)).toBe(Number.POSITIVE_INFINITY);
  });

  it('stops serving when a lease lapses', () => {
    const driver = servingPrimary();
    expect(isServing(driver.primary as PrimaryState, driver.nowMs)).toBe(true);
    expect(isServing(driver.primary as PrimaryState, driver.nowMs + LEASE_MS)).toBe(false);
  });

  it('needs both sets from the proposal of a joining until its outcome is known', () => {
    const driver = servingPrimary(['a']);
    driver.tick();
    driver.ack('b', 2);
    expect(driver.proposed()).toEqual([{ kind: 'expand', epoch: 3, add: 'b', incarnation: 'b.1' }]);
    const [change] = driver.proposed() as [MembershipChange];
    driver.append();
    expect(driver.core.log.commitIndex).toBe(2);
    driver.step({ kind: 'proposed', change, outcome: 'unknown' });
    expect(driver.core.log.commitIndex).toBe(2);
    // Silence does not help: it may have become a member. It is asked for again until that is known.
    const again: unknown[] = [];
    for (let i = 0; i < 10; i++) again.push(...driver.tick().filter((e) => e.kind === 'propose'));
    expect(again).toHaveLength(1);
    expect(driver.core.log.commitIndex).toBe(2);
    driver.state(group(4, 'a', ['a', 'b']));
    expect(driver.core.log.commitIndex).toBe(2);
    driver.ack('b', 3);
    expect(driver.core.log.commitIndex).toBe(3);
  });

  it('needs the lease of both sets as well: the one that joins may have granted it to nobody any more', () => {
    const driver = servingPrimary(['a', 'c']);
    driver.tick();
    driver.ack('c', 2);
    driver.ack('b', 2);
    expect(driver.proposed()).toEqual([{ kind: 'expand', epoch: 3, add: 'b', incarnation: 'b.1' }]);
    for (let ms = 0; ms < LEASE_MS; ms += TICK_MS) {
      driver.tick();
      driver.ack('c', 2);
    }
    const { primary } = driver;
    expect(primary !== undefined && isServing(primary, driver.nowMs)).toBe(false);
    driver.ack('b', 2);
    expect(primary !== undefined && isServing(primary, driver.nowMs)).toBe(true);
  });

  it('goes on alone when a joining was certainly refused', () => {
    const driver = servingPrimary(['a']);
    driver.tick();
    driver.ack('b', 2);
    const [change] = driver.proposed() as [MembershipChange];
    driver.append();
    driver.step({ kind: 'proposed', change, outcome: 'refused' });
    expect(driver.core.log.commitIndex).toBe(3);
  });

  it('stalls writes below minInSync, but serves reads', () => {
    const driver = new Driver();
    driver.state(group(3, 'a', ['a'], 2));
    driver.tick();
    expect(driver.primary?.phase).toBe('serving');
    driver.append();
    driver.tick();
    expect(driver.core.log.commitIndex).toBe(2);
  });

  it('gives way at once to a higher epoch, and never returns to the lower one', () => {
    const driver = servingPrimary();
    driver.frame('b', { kind: 'reject', group: 'g', epoch: 7, primary: 'b' });
    expect(driver.primary).toBeUndefined();
    expect(driver.effects.map((e) => e.kind)).toEqual(['letGo', 'persist']);
    driver.state(group(4, 'a', ['a', 'b']));
    expect(driver.primary).toBeUndefined();
  });

  it('does not give way when the higher epoch is its own', () => {
    const driver = servingPrimary();
    driver.frame('b', { kind: 'reject', group: 'g', epoch: 4, primary: 'a' });
    expect(driver.primary?.phase).toBe('serving');
  });

  it('does not blame others for its own pause', () => {
    const driver = servingPrimary();
    for (let i = 0; i < 20; i++) {
      driver.tick();
      driver.ack('b', 2);
    }
    driver.tick(5_000);
    expect(driver.proposed()).toEqual([]);
  });

  it('does not wait for one that is silent for as long as it is late itself', () => {
    const driver = servingPrimary();
    for (let i = 0; i < 20; i++) {
      driver.tick();
      driver.ack('b', 2);
    }
    const late = OWN_PAUSE_MS + TICK_MS;
    let ticks = 0;
    for (; driver.proposed().length === 0 && ticks < 100; ticks++) driver.tick(late);
    expect(driver.proposed()).toMatchObject([{ kind: 'shrink', remove: 'b' }]);
    expect(ticks).toBeGreaterThan(SLOW_MS / late);
    expect(ticks).toBeLessThanOrEqual(MAX_OWN_PAUSES + 2);
  });

  it('has a member owe what it owes through its own pauses, which add nothing to it', () => {
    const driver = servingPrimary();
    for (let i = 0; i < 20; i++) {
      driver.tick();
      driver.ack('b', 2);
    }
    driver.append();
    let ticks = 0;
    // It is heard all the while, and is always judged between two pauses.
    for (; driver.proposed().length === 0 && ticks < 200; ticks++) {
      driver.tick(ticks % 6 === 0 ? 30_000 : TICK_MS);
      if (driver.proposed().length === 0) driver.ack('b', 2);
    }
    expect(driver.proposed()).toMatchObject([{ kind: 'shrink', remove: 'b' }]);
    expect(ticks).toBeGreaterThanOrEqual(SLOW_MS / TICK_MS);
    expect(ticks).toBeLessThanOrEqual(SLOW_MS / TICK_MS + 8);
  });

  it('turns to a replica that is added while their link stands, and from one that is dropped', () => {
    const driver = new Driver();
    driver.state({ ...group(2, 'a', ['a', 'b']), replicas: ['a', 'b'] });
    driver.ack('b', driver.core.log.nextIndex);
    expect([...(driver.primary?.members.keys() ?? [])]).toEqual(['b']);
    driver.state({ ...group(3, 'a', ['a', 'b']), replicas: ['a', 'b', 'c'] });
    expect(driver.effects).toContainEqual(expect.objectContaining({ kind: 'send', to: 'c' }));
    driver.state({ ...group(4, 'a', ['a']), replicas: ['a', 'c'] });
    expect([...(driver.primary?.members.keys() ?? [])]).toEqual(['c']);
    // What it says now is of no account.
    driver.ack('b', driver.core.log.nextIndex);
    driver.tick();
    expect(driver.effects.some((e) => e.kind === 'send' && e.to === 'b')).toBe(false);
  });

  it('has no member start over whose earlier process is still in the set', () => {
    const driver = new Driver([{ epoch: 2, startIndex: 1 }], 4);
    driver.core.log.baseIndex = 3;
    const before = { ...group(3, 'a', ['a']), inSync: [identity('a'), { nodeId: 'b', incarnation: 'b.0' }] };
    driver.state({ ...before, replicas: ['a', 'b', 'c'] });
    const position = { kind: 'position', epochs: [] } as const;
    driver.ack('b', 1, position);
    expect(driver.effects.map((e) => e.kind)).not.toContain('sendReset');
    driver.ack('c', 1, position);
    expect(driver.effects).toMatchObject([{ kind: 'sendReset', to: 'c' }]);
    driver.state({ ...group(4, 'a', ['a']), replicas: ['a', 'b', 'c'] });
    driver.ack('b', 1, position);
    expect(driver.effects).toMatchObject([{ kind: 'sendReset', to: 'b' }]);
  });

  it('counts nothing as durable everywhere under an epoch that is not written down', () => {
    const driver = new Driver();
    driver.state(group(3, 'a', ['a', 'b']));
    driver.ack('b', 2);
    expect(durableEverywhere(driver.primary as PrimaryState)).toBe(1);
    driver.core.persistedEpoch = 2;
    expect(durableEverywhere(driver.primary as PrimaryState)).toBe(0);
  });

  it('brings a divergent member to its own log', () => {
    const driver = new Driver([{ epoch: 2, startIndex: 1 }], 4);
    driver.state(group(3, 'a', ['a', 'b']));
    const position = { kind: 'position', epochs: [{ epoch: 2, startIndex: 1 }] } as const;
    driver.ack('b', 9, position);
    expect(driver.sent('truncate')).toMatchObject([{ fromIndex: 4 }]);
    driver.ack('b', 3, position);
    expect(driver.effects).toMatchObject([{ kind: 'stream', fromIndex: 3 }]);
  });
});
