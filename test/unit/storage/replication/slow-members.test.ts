import { describe, expect, it } from 'vitest';
import type { ReplicaEvent } from '../../../../storage/replication/core.ts';
import type { PortalGroupState } from '../../../../storage/replication/group-state.ts';
import {
  OWN_PAUSE_MS,
  PACE_RETURN_MIN_MS,
  PACE_SLOW_FOR_MS,
  PACE_SLOW_MS,
  PACE_SLOW_SYNC_MS,
  PROMOTION_GRACE_MS,
  SLOW_WINDOW_BYTES,
  TICK_MS,
  WINDOW_BYTES,
} from '../../../../storage/replication/limits.ts';
import type { PrimaryState } from '../../../../storage/replication/primary-state.ts';
import { slowMembers } from '../../../../storage/replication/slow-members.ts';
import { Driver, group } from './machine-driver.ts';

/** Found within this: what is asked for has to be late first, and a tick is as fine as it gets. */
const FOUND_MS = PACE_SLOW_FOR_MS + 1_000;
const LONG_MS = 4 * FOUND_MS;

/** A primary "a" that is written to all the while, and members that answer each in its own time. */
class Load {
  readonly driver = new Driver();
  /** How long each takes to acknowledge; one that is not there says nothing. */
  readonly takes = new Map<string, number>();
  /** How long the primary's own disk takes. */
  ownMs = 0;
  isWriting = true;
  /** Writes are flushed as well, and members take their time over that only. */
  isFlushing = false;
  reasons: (string | undefined)[] = [];
  #past: { readonly atMs: number; readonly index: number }[] = [];

  constructor(state: PortalGroupState) {
    for (const { nodeId } of state.inSync) if (nodeId !== 'a') this.takes.set(nodeId, 0);
    this.driver.state(state);
    this.run(PROMOTION_GRACE_MS + TICK_MS);
    expect(this.primary.phase).toBe('serving');
  }

  get primary(): PrimaryState {
    return this.driver.primary as PrimaryState;
  }

  /** What the member can have by now that takes so long. */
  #indexBefore(tookMs: number): number {
    const { nowMs } = this.driver;
    return this.#past.findLast(({ atMs }) => atMs <= nowMs - tookMs)?.index ?? 2;
  }

  /** @returns after how long the first change was proposed; undefined: none was */
  run(forMs: number): number | undefined {
    const { driver } = this;
    const { log } = driver.core;
    for (let ms = TICK_MS; ms <= forMs; ms += TICK_MS) {
      const effects = driver.tick();
      const step = (event: ReplicaEvent): void => void effects.push(...driver.step(event));
      if (this.isWriting) {
        step({ kind: 'assigned', nextIndex: log.nextIndex + 1 });
        this.#past.push({ atMs: driver.nowMs, index: log.nextIndex });
      }
      const own = this.#indexBefore(this.ownMs);
      if (own > log.appendedIndex) step({ kind: 'appended', cut: log.cut, appendedIndex: own });
      if (this.isFlushing) step({ kind: 'wantSync', index: log.appendedIndex });
      for (const [nodeId, tookMs] of this.takes) {
        const durableIndex = Math.min(log.appendedIndex, this.#indexBefore(tookMs));
        const index = this.isFlushing ? log.appendedIndex : durableIndex;
        effects.push(...driver.ack(nodeId, index, { durableIndex }));
      }
      for (const effect of effects) {
        if (effect.kind !== 'propose') continue;
        this.reasons.push(effect.reason);
        return ms;
      }
    }
    return undefined;
  }

  /** The cluster decides. */
  set(epoch: number, inSync: string[], minInSync = 1): void {
    this.driver.state(group(epoch, 'a', inSync, minInSync));
  }

  proposal() {
    return this.primary.proposal;
  }

  slow() {
    return slowMembers(this.primary, this.driver.nowMs);
  }
}

const threeOf = (minInSync = 1): Load => new Load(group(3, 'a', ['a', 'b', 'c'], minInSync));

describe('a member that goes on, and slower than the others', () => {
  it('is put out of the set once it has held writes up for long enough', () => {
    const load = threeOf();
    expect(load.run(LONG_MS)).toBeUndefined();
    load.takes.set('b', 500);
    const ms = load.run(LONG_MS);
    expect(load.proposal()).toEqual({ kind: 'shrink', epoch: 3, remove: 'b' });
    expect(load.reasons).toEqual(['slow']);
    expect(ms).toBeGreaterThanOrEqual(PACE_SLOW_FOR_MS);
    expect(ms).toBeLessThanOrEqual(FOUND_MS);
    load.set(4, ['a', 'c']);
    const [b] = load.slow();
    expect(b).toMatchObject({ nodeId: 'b', returnsInMs: PACE_RETURN_MIN_MS });
    expect(b?.tookMs).toBeGreaterThanOrEqual(500 - TICK_MS);
    expect(b?.othersTookMs).toBeLessThanOrEqual(TICK_MS);
  });

  it.each([
    ['the others are hardly faster', { b: 600, c: 200 }, 0],
    ['all of them are as slow', { b: 600, c: 600 }, 0],
    ['the primary is as slow itself', { b: 600, c: 0 }, 300],
    ['it is not slow by itself', { b: PACE_SLOW_MS - 2 * TICK_MS, c: 0 }, 0],
  ])('is kept where %s', (_, takes, ownMs) => {
    const load = threeOf();
    load.ownMs = ownMs;
    for (const [nodeId, tookMs] of Object.entries(takes)) load.takes.set(nodeId, tookMs);
    expect(load.run(LONG_MS)).toBeUndefined();
    expect(load.slow()).toEqual([]);
  });

  it.each([
    ['a group of two copies', group(3, 'a', ['a', 'b'])],
    ['one that may not write without it', group(3, 'a', ['a', 'b', 'c'], 3)],
  ])('is kept by %s, which says so', (_, state) => {
    const load = new Load(state);
    load.takes.set('b', 500);
    expect(load.run(LONG_MS)).toBeUndefined();
    expect(load.slow()).toMatchObject([{ nodeId: 'b', returnsInMs: undefined }]);
    load.takes.set('b', 0);
    load.run(LONG_MS);
    expect(load.slow()).toEqual([]);
  });

  it('is not put out before one that failed', () => {
    const load = threeOf();
    load.takes.set('b', 500);
    load.run(PACE_SLOW_FOR_MS - 4 * TICK_MS);
    load.takes.delete('c');
    load.driver.step({ kind: 'link', peer: { nodeId: 'c', incarnation: 'c.1' }, up: false });
    expect(load.run(LONG_MS)).toBeLessThan(FOUND_MS);
    expect(load.proposal()).toEqual({ kind: 'shrink', epoch: 3, remove: 'c' });
    expect(load.reasons).toEqual(['failed']);
  });

  it('is kept where it is slow now and then only, or nothing is written', () => {
    const load = threeOf();
    for (let i = 0; i < 12; i++) {
      load.takes.set('b', i % 3 === 0 ? 600 : 0);
      expect(load.run(1_500)).toBeUndefined();
    }
    load.takes.set('b', 600);
    load.run(1_000);
    load.isWriting = false;
    expect(load.run(LONG_MS)).toBeUndefined();
  });

  it('is found by how long writes take where there is one at a time', () => {
    const load = threeOf();
    // The next write comes with the answer: at most looks the one under way is young.
    load.isWriting = false;
    load.takes.clear();
    const { driver } = load;
    let ms: number | undefined;
    for (let writes = 0; writes < 40 && ms === undefined; writes++) {
      driver.append();
      for (let looks = 0; looks < 6 && ms === undefined; looks++) {
        driver.ack('c', driver.core.log.appendedIndex);
        driver.ack('b', driver.core.log.appendedIndex - 1);
        if (load.run(TICK_MS) !== undefined) ms = writes * 300 + looks * TICK_MS;
      }
      driver.ack('b', driver.core.log.appendedIndex);
    }
    expect(load.reasons).toEqual(['slow']);
    expect(load.proposal()).toEqual({ kind: 'shrink', epoch: 3, remove: 'b' });
    expect(ms).toBeGreaterThanOrEqual(PACE_SLOW_FOR_MS - TICK_MS);
    expect(ms).toBeLessThanOrEqual(FOUND_MS);
  });

  it.each(['write-back', 'durable'] as const)('is found by its flushes in %s mode', (durability) => {
    for (const [tookMs, isFound] of [
      [PACE_SLOW_SYNC_MS - 2 * TICK_MS, false],
      [PACE_SLOW_SYNC_MS + 2 * TICK_MS, true],
    ] as const) {
      const load = new Load({ ...group(3, 'a', ['a', 'b', 'c']), durability });
      load.isFlushing = true;
      load.takes.set('b', tookMs);
      expect(load.run(LONG_MS) !== undefined, `${tookMs} ms`).toBe(isFound);
      if (isFound) expect(load.reasons).toEqual(['slow']);
    }
  });

  it('is not blamed for a pause of the primary', () => {
    const load = threeOf();
    load.takes.set('b', 500);
    load.run(PACE_SLOW_FOR_MS - 4 * TICK_MS);
    load.driver.tick(OWN_PAUSE_MS);
    expect(load.run(PACE_SLOW_FOR_MS - 4 * TICK_MS)).toBeUndefined();
  });

  it('is the primary itself where status says so, and stays', () => {
    const load = threeOf();
    load.ownMs = 600;
    expect(load.run(LONG_MS)).toBeUndefined();
    expect(load.slow()).toMatchObject([{ nodeId: 'a', returnsInMs: undefined }]);
  });
});

describe('a member that was put out for being slow', () => {
  /** b is slow until it is out. @returns the epoch then */
  function putOut(load: Load, epoch: number): number {
    load.takes.set('b', 500);
    expect(load.run(LONG_MS)).toBeDefined();
    expect(load.proposal()).toEqual({ kind: 'shrink', epoch, remove: 'b' });
    load.set(epoch + 1, ['a', 'c']);
    load.takes.set('b', 0);
    return epoch + 1;
  }

  it('comes back when it keeps up, and later each time', () => {
    const load = threeOf();
    let epoch = 3;
    for (const waitMs of [1, 2, 4].map((times) => times * PACE_RETURN_MIN_MS)) {
      epoch = putOut(load, epoch);
      expect(load.primary.members.get('b')?.windowBytes).toBe(SLOW_WINDOW_BYTES);
      const ms = load.run(2 * waitMs);
      expect(load.proposal()).toMatchObject({ kind: 'expand', add: 'b' });
      expect(ms).toBeGreaterThanOrEqual(waitMs);
      expect(ms).toBeLessThanOrEqual(waitMs + 1_000);
      load.set(++epoch, ['a', 'b', 'c']);
      expect(load.primary.members.get('b')?.windowBytes).toBe(WINDOW_BYTES);
      expect(load.slow()).toEqual([]);
    }
  });

  it('does not come back while it does not keep up', () => {
    const load = threeOf();
    putOut(load, 3);
    load.takes.set('b', 500);
    expect(load.run(3 * PACE_RETURN_MIN_MS)).toBeUndefined();
    expect(load.slow()).toMatchObject([{ nodeId: 'b', returnsInMs: 0 }]);
  });

  it.each([
    ['only one is left', 1, ['a']],
    ['writes wait for it', 3, ['a', 'c']],
  ])('comes back at once where %s', (_, minInSync, inSync) => {
    const load = threeOf();
    const epoch = putOut(load, 3);
    load.takes.delete('c');
    if (inSync.length > 1) load.takes.set('c', 0);
    load.set(epoch + 1, inSync, minInSync);
    expect(load.run(PACE_RETURN_MIN_MS)).toBeLessThan(PACE_RETURN_MIN_MS / 4);
    expect(load.proposal()).toMatchObject({ kind: 'expand', add: 'b' });
  });
});
