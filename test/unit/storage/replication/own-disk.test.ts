import { describe, expect, it } from 'vitest';
import type { ReplicaEvent } from '../../../../storage/replication/core.ts';
import type { MemberFrame } from '../../../../storage/replication/frame.ts';
import type { PortalGroupState } from '../../../../storage/replication/group-state.ts';
import {
  HAND_OVER_RETRY_MS,
  OWN_DISK_STALL_MS,
  OWN_EPOCH_STALL_MS,
  PACE_RETURN_MIN_MS,
  PROMOTION_GRACE_MS,
  TICK_MS,
} from '../../../../storage/replication/limits.ts';
import type { PrimaryState } from '../../../../storage/replication/primary-state.ts';
import { slowMembers } from '../../../../storage/replication/slow-members.ts';
import { Driver, group, identity } from './machine-driver.ts';

const FOUND_MS = OWN_DISK_STALL_MS + 6 * TICK_MS;
const LONG_MS = 4 * OWN_DISK_STALL_MS;
const HAND_OVER = { kind: 'handOver', epoch: 3 };

/** A primary "a" whose disk may take nothing, and members that do at once what they are asked for, or nothing. */
class Hanging {
  readonly driver = new Driver();
  readonly answers = new Map<string, Partial<MemberFrame> | 'nothing'>();
  /** What is asked of the disk of the primary: */
  writes = false;
  flushes = false;
  /** Nothing is appended, or made durable. */
  isHung = false;
  reasons: (string | undefined)[] = [];

  constructor(state: PortalGroupState = group(3, 'a', ['a', 'b', 'c'])) {
    for (const { nodeId } of state.inSync) if (nodeId !== 'a') this.answers.set(nodeId, {});
    this.driver.state(state);
    this.run(PROMOTION_GRACE_MS + TICK_MS);
    expect(this.primary.phase).toBe('serving');
  }

  get primary(): PrimaryState {
    return this.driver.primary as PrimaryState;
  }

  slow() {
    return slowMembers(this.primary, this.driver.nowMs);
  }

  /** @returns after how long a change was proposed, that of `primary.proposal` */
  run(forMs: number, byMs = TICK_MS): number | undefined {
    const { driver } = this;
    const { log } = driver.core;
    for (let ms = byMs; ms <= forMs; ms += byMs) {
      const durable = log.durableIndex;
      const effects = driver.tick(byMs);
      const step = (event: ReplicaEvent): void => void effects.push(...driver.step(event));
      if (this.writes) {
        step({ kind: 'assigned', nextIndex: log.nextIndex + 1 });
        if (!this.isHung) step({ kind: 'appended', cut: log.cut, appendedIndex: log.nextIndex });
      }
      if (this.flushes) step({ kind: 'wantSync', index: log.appendedIndex });
      for (const [nodeId, more] of this.answers)
        if (more !== 'nothing') effects.push(...driver.ack(nodeId, log.appendedIndex, more));
      // The driver has synced at once.
      if (this.isHung) log.durableIndex = durable;
      const proposed = effects.find((effect) => effect.kind === 'propose');
      if (proposed === undefined) continue;
      this.reasons.push(proposed.reason);
      return ms;
    }
    return undefined;
  }
}

describe('a primary whose own disk takes nothing', () => {
  it.each(['writes', 'flushes'] as const)('hands its group over, for its %s', (what) => {
    const hanging = new Hanging();
    hanging.writes = true;
    hanging.flushes = what === 'flushes';
    expect(hanging.run(LONG_MS)).toBeUndefined();
    if (what === 'flushes') hanging.driver.append();
    hanging.isHung = true;
    const ms = hanging.run(LONG_MS);
    expect(hanging.primary.proposal).toEqual(HAND_OVER);
    expect(hanging.reasons).toEqual(['own-disk']);
    expect(ms).toBeGreaterThanOrEqual(OWN_DISK_STALL_MS);
    expect(ms).toBeLessThanOrEqual(FOUND_MS);
  });

  it('does so in durable mode', () => {
    const hanging = new Hanging({ ...group(3, 'a', ['a', 'b']), durability: 'durable' });
    hanging.writes = true;
    hanging.run(1_000);
    hanging.isHung = true;
    expect(hanging.run(LONG_MS)).toBeLessThanOrEqual(FOUND_MS);
    expect(hanging.primary.proposal).toEqual(HAND_OVER);
  });

  it('asks again where that came to nothing, though not at once', () => {
    const hanging = hung();
    expect(hanging.run(LONG_MS)).toBeDefined();
    const change = hanging.primary.proposal;
    if (change === undefined) throw new Error('nothing was proposed');
    hanging.driver.step({ kind: 'proposed', change, outcome: 'refused' });
    const ms = hanging.run(LONG_MS);
    expect(hanging.primary.proposal).toEqual(HAND_OVER);
    expect(ms).toBeGreaterThanOrEqual(1_000 - TICK_MS);
    expect(ms).toBeLessThanOrEqual(1_200);
  });

  it.each([
    ['nobody else is in sync', group(3, 'a', ['a'])],
    ['fewer than writes need would be left', group(3, 'a', ['a', 'b'], 2)],
  ])('stays where %s, and says so', (_, state) => {
    const hanging = hung(state);
    expect(hanging.run(LONG_MS)).toBeUndefined();
    const [a] = hanging.slow();
    expect(a?.nodeId).toBe('a');
    expect(a?.stalledMs).toBeGreaterThanOrEqual(LONG_MS - 6 * TICK_MS);
    hanging.isHung = false;
    hanging.run(2 * TICK_MS);
    expect(hanging.slow().map(({ stalledMs }) => stalledMs)).not.toContainEqual(expect.any(Number));
  });

  it.each([['has no room'], ['is low']])('stays where another member %s', (what) => {
    const hanging = hung(group(3, 'a', ['a', 'b'], 1));
    hanging.answers.set('b', what === 'is low' ? { low: true } : { full: true });
    hanging.run(LONG_MS);
    expect(hanging.reasons).not.toContain('own-disk');
  });

  it('stays where nobody makes anything durable, and nobody is put out for it', () => {
    for (const flushes of [true, false]) {
      const hanging = hung();
      hanging.flushes = flushes;
      const durableIndex = hanging.driver.core.log.durableIndex - 1;
      for (const nodeId of ['b', 'c']) hanging.answers.set(nodeId, { durableIndex });
      hanging.driver.append();
      expect(hanging.run(LONG_MS)).toBeUndefined();
    }
  });

  it('is given time to go on where what held up both of two is over', () => {
    const hanging = hung(group(3, 'a', ['a', 'b']));
    hanging.flushes = true;
    hanging.answers.set('b', { durableIndex: hanging.driver.core.log.durableIndex - 1 });
    hanging.driver.append();
    expect(hanging.run(LONG_MS)).toBeUndefined();
    hanging.answers.set('b', {});
    const ms = hanging.run(LONG_MS);
    expect(hanging.primary.proposal).toEqual(HAND_OVER);
    expect(ms).toBeGreaterThanOrEqual(HAND_OVER_RETRY_MS - TICK_MS);
    expect(ms).toBeLessThanOrEqual(HAND_OVER_RETRY_MS + 2 * TICK_MS);
  });

  it('has one put out first that hangs as well', () => {
    const hanging = hung();
    hanging.flushes = true;
    hanging.answers.set('b', { durableIndex: hanging.driver.core.log.durableIndex - 1 });
    hanging.driver.append();
    expect(hanging.run(LONG_MS)).toBeLessThan(OWN_DISK_STALL_MS);
    expect(hanging.primary.proposal).toEqual({ kind: 'shrink', epoch: 3, remove: 'b' });
    expect(hanging.reasons).toEqual(['failed']);
    hanging.driver.state(group(4, 'a', ['a', 'c']));
    hanging.run(LONG_MS);
    expect(hanging.primary.proposal).toEqual({ kind: 'handOver', epoch: 4 });
  });

  it('stays while its disk goes on, slow as it is', () => {
    const hanging = hung();
    hanging.writes = false;
    for (let i = 0; i < 8; i++) {
      const { log } = hanging.driver.core;
      hanging.driver.step({ kind: 'assigned', nextIndex: log.nextIndex + 1 });
      expect(hanging.run(OWN_DISK_STALL_MS - 4 * TICK_MS)).toBeUndefined();
      const appendedIndex = log.appendedIndex + 1;
      hanging.driver.step({ kind: 'appended', cut: log.cut, appendedIndex });
    }
  });

  it('does not take a pause of its process for that of its disk', () => {
    const hanging = hung();
    expect(hanging.run(1_000)).toBeUndefined();
    hanging.driver.tick(10 * OWN_DISK_STALL_MS);
    expect(hanging.run(OWN_DISK_STALL_MS - 1_000 - 4 * TICK_MS)).toBeUndefined();
    expect(hanging.run(LONG_MS)).toBeDefined();
  });

  it('hands over what it could not even begin, whoever it has not heard of', () => {
    const driver = new Driver();
    const step = driver.step.bind(driver);
    driver.state(group(3, 'a', ['a', 'b', 'c']));
    let ms = 0;
    let found: unknown;
    for (; ms < 2 * OWN_EPOCH_STALL_MS && found === undefined; ms += TICK_MS) {
      driver.core.persistedEpoch = 2;
      driver.nowMs += TICK_MS;
      found = step({ kind: 'tick' }).find((effect) => effect.kind === 'propose');
    }
    expect(found).toMatchObject({ change: HAND_OVER, reason: 'own-disk' });
    expect(ms).toBeGreaterThanOrEqual(OWN_EPOCH_STALL_MS);
  });
});

describe('one that took over from a primary whose disk took nothing', () => {
  it.each([
    ['stays without it for a while', ['a', 'c'], PACE_RETURN_MIN_MS],
    ['lets it in at once where too few are left', ['a'], 0],
  ])('%s, and names it', (_, left, leastMs) => {
    const driver = new Driver();
    driver.state(group(3, 'b', ['a', 'b', 'c']));
    const { nowMs } = driver;
    driver.core.grants = [{ ...identity('b'), untilMs: nowMs + 500 }];
    driver.state(group(4, 'a', left));
    let joinsMs: number | undefined;
    for (let ms = TICK_MS; ms < 2 * PACE_RETURN_MIN_MS && joinsMs === undefined; ms += TICK_MS) {
      driver.tick();
      if (ms === 1_000)
        expect(slowMembers(driver.primary as PrimaryState, driver.nowMs)).toMatchObject([
          { nodeId: 'b', hasHandedOver: true },
        ]);
      for (const nodeId of ['b', 'c']) {
        const effects = driver.ack(nodeId, driver.core.log.appendedIndex);
        const joins = (driver.primary as PrimaryState).joining?.nodeId === 'b';
        if (
          joins ||
          effects.some((e) => e.kind === 'propose' && e.change.kind === 'expand' && e.change.add === 'b')
        )
          joinsMs ??= ms;
      }
    }
    expect(joinsMs).toBeGreaterThanOrEqual(leastMs);
    if (leastMs === 0) expect(joinsMs).toBeLessThan(PACE_RETURN_MIN_MS / 2);
  });
});

function hung(state?: PortalGroupState): Hanging {
  const hanging = new Hanging(state);
  hanging.writes = true;
  hanging.run(500);
  hanging.isHung = true;
  return hanging;
}
