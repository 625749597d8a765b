import { describe, expect, it } from 'vitest';
import { silentLogger } from '../../../../base/logger.ts';
import { Lapse } from '../../../../storage/replication/lapse.ts';
import {
  LAPSE_LOOK_MAX_MS,
  LEASE_LAPSED_MS,
  LEASE_WAIT_MS,
  TICK_MS,
} from '../../../../storage/replication/limits.ts';
import type { PrimaryState } from '../../../../storage/replication/primary-state.ts';
import { ServiceWatch } from '../../../../storage/replication/service-watch.ts';
import { Driver, group } from './machine-driver.ts';

describe('a lapsed lease', () => {
  it('is waited for as long as it may come back, and no longer', () => {
    const lapse = new Lapse(1_000);
    const lookAt = (afterMs: number): boolean => lapse.isOver(1_000 + afterMs);
    for (let ms = TICK_MS; ms <= LEASE_WAIT_MS; ms += TICK_MS) expect(lookAt(ms), `${ms} ms`).toBe(false);
    expect(lookAt(LEASE_WAIT_MS + TICK_MS)).toBe(true);
  });

  it('is not given up for a pause of the process, however long, nor when that ends', () => {
    const lapse = new Lapse(0);
    let nowMs = 0;
    const look = (passedMs: number): boolean => {
      nowMs += passedMs;
      return lapse.isOver(nowMs);
    };
    for (let ms = 0; ms < LEASE_WAIT_MS - TICK_MS; ms += TICK_MS) look(TICK_MS);
    // What renews it is read after this look, and before the next.
    expect(look(60_000)).toBe(false);
    expect(look(TICK_MS)).toBe(true);
  });

  it('has an end where the process hardly gets to run', () => {
    const lapse = new Lapse(0);
    let looks = 1;
    while (!lapse.isOver(looks * 700)) looks++;
    expect(looks).toBe(LEASE_WAIT_MS / LAPSE_LOOK_MAX_MS + 1);
  });

  it('is waited for when a member that holds it up has been put out', () => {
    // That is proposed after the one; what is left is for the cluster to decide, twice the time of an election.
    expect(LEASE_WAIT_MS - LEASE_LAPSED_MS).toBeGreaterThanOrEqual(2 * 350);
  });
});

describe('what is told of a member', () => {
  function watch() {
    const told: string[] = [];
    const now = { ms: 0, isInOffice: true, isServing: true };
    const driver = new Driver();
    driver.state(group(3, 'a', ['a', 'b']));
    driver.ack('b', 2);
    driver.tick();
    const primary = driver.primary as PrimaryState;
    const service = new ServiceWatch({
      groupId: 'g',
      logger: silentLogger,
      clock: { monotonicMs: () => now.ms },
      core: { epoch: 3 },
      primary: () => {
        if (!now.isInOffice) return undefined;
        const untilMs = now.isServing ? Number.POSITIVE_INFINITY : now.ms;
        for (const member of primary.members.values()) member.leaseUntilMs = untilMs;
        return primary;
      },
      leaseLost: () => told.push('lost'),
      onServingChange: (serving) => told.push(serving ? 'serving' : 'ceased'),
      onLapseEnd: () => told.push('given up'),
    });
    const lookFor = (forMs: number): string[] => {
      told.length = 0;
      for (const endMs = now.ms + forMs; now.ms < endMs; now.ms += TICK_MS) service.look();
      return [...told];
    };
    return { now, service, told, lookFor };
  }

  it('is the end of a lapse once, and to whoever waits after it as well', () => {
    const { now, lookFor } = watch();
    expect(lookFor(500)).toEqual(['serving']);
    now.isServing = false;
    expect(lookFor(LEASE_WAIT_MS + TICK_MS)).toEqual(['ceased']);
    expect(lookFor(4 * TICK_MS)).toEqual(['given up', 'lost', 'lost', 'lost', 'lost']);
    now.isServing = true;
    expect(lookFor(500)).toEqual(['serving']);
    now.isServing = false;
    expect(lookFor(LEASE_WAIT_MS), 'the next lapse has its own time').toEqual(['ceased']);
  });

  it('is no end of a lapse whose lease came back', () => {
    const { now, lookFor } = watch();
    lookFor(500);
    for (let i = 0; i < 5; i++) {
      now.isServing = false;
      expect(lookFor(LEASE_WAIT_MS - TICK_MS)).toEqual(['ceased']);
      now.isServing = true;
      expect(lookFor(TICK_MS)).toEqual(['serving']);
    }
  });

  it('is the end of a lapse at once where the office has ended', () => {
    const { now, lookFor } = watch();
    lookFor(500);
    now.isServing = false;
    lookFor(500);
    now.isInOffice = false;
    expect(lookFor(TICK_MS)).toEqual(['given up', 'lost']);
  });

  it('is nothing of a lapse where an office that was held has ended', () => {
    const { now, lookFor } = watch();
    lookFor(500);
    now.isServing = false;
    now.isInOffice = false;
    expect(lookFor(LEASE_WAIT_MS * 2)).not.toContain('given up');
  });

  it('is the end of a lapse that is cut short by a stop', () => {
    const { now, service, told, lookFor } = watch();
    lookFor(500);
    now.isServing = false;
    lookFor(500);
    told.length = 0;
    service.end();
    service.end();
    expect(told).toEqual(['given up']);
  });
});
