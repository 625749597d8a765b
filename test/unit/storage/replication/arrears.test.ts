import { describe, expect, it } from 'vitest';
import type { PortalGroupState } from '../../../../storage/replication/group-state.ts';
import {
  ARREARS_MAX_MS,
  HEARTBEAT_MS,
  LEASE_LAPSED_MS,
  PROMOTION_GRACE_MS,
  SLOW_MS,
  SLOW_SYNC_MS,
  TICK_MS,
} from '../../../../storage/replication/limits.ts';
import { Driver, group, LEASE_MS } from './machine-driver.ts';

/** Backups have been heard for long enough that no tolerance of a new primary is left. */
function settledPrimary(inSync: string[], durability: PortalGroupState['durability'] = 'write-back') {
  const driver = new Driver();
  driver.state({ ...group(3, 'a', inSync), durability });
  for (let ms = 0; ms <= PROMOTION_GRACE_MS; ms += TICK_MS) {
    for (const nodeId of inSync) if (nodeId !== 'a') driver.ack(nodeId, 2);
    driver.tick();
  }
  expect(driver.primary?.phase).toBe('serving');
  return driver;
}

/** Ticks until a change is proposed; `answer` speaks for the backups, told how long it has been. */
function msUntilProposal(driver: Driver, limitMs: number, answer: (ms: number) => void) {
  const startMs = driver.nowMs;
  while (driver.nowMs - startMs < limitMs) {
    const effects = driver.tick();
    answer(driver.nowMs - startMs);
    for (const effect of [...effects, ...driver.effects])
      if (effect.kind === 'propose') return { ms: driver.nowMs - startMs, change: effect.change };
  }
  return undefined;
}

/** Half the pace of what comes in until it is `lagRecords` behind, and all of the pace from then on. */
function lagging(driver: Driver, lagRecords: number): number {
  const { appendedIndex } = driver.core.log;
  return Math.max(Math.floor((2 + appendedIndex) / 2), appendedIndex - lagRecords);
}

const shrinkOf = (remove: string) => ({ kind: 'shrink', epoch: 3, remove });

describe('a primary with a member that lags', () => {
  it('keeps all whose arrears are old and who acknowledge steadily', () => {
    const driver = settledPrimary(['a', 'b', 'c']);
    const lagRecords = (4 * SLOW_MS) / TICK_MS;
    const outcome = msUntilProposal(driver, 3 * ARREARS_MAX_MS, () => {
      driver.append();
      for (const nodeId of ['b', 'c']) driver.ack(nodeId, lagging(driver, lagRecords));
    });
    expect(outcome).toBeUndefined();
    expect(driver.core.log.commitIndex).toBe(driver.core.log.appendedIndex - lagRecords);
  });

  it('puts out one that comes to a standstill, though it is heard', () => {
    const driver = settledPrimary(['a', 'b', 'c']);
    const stopMs = 2 * SLOW_MS;
    let stuckAt = 2;
    const outcome = msUntilProposal(driver, ARREARS_MAX_MS, (ms) => {
      driver.append();
      if (ms <= stopMs) stuckAt = driver.core.log.appendedIndex - 1;
      driver.ack('b', stuckAt);
      driver.ack('c', driver.core.log.appendedIndex);
    });
    expect(outcome?.change).toEqual(shrinkOf('b'));
    expect(outcome?.ms).toBeGreaterThanOrEqual(stopMs + SLOW_MS);
    expect(outcome?.ms).toBeLessThanOrEqual(stopMs + SLOW_MS + 2 * TICK_MS);
  });

  it('puts out one that is silent, whatever it owes', () => {
    const driver = settledPrimary(['a', 'b', 'c']);
    const outcome = msUntilProposal(driver, ARREARS_MAX_MS, () => driver.ack('c', 2));
    expect(outcome?.change).toEqual(shrinkOf('b'));
    expect(outcome?.ms).toBeLessThanOrEqual(SLOW_MS + TICK_MS);
  });

  it('puts out one that advances but owes the same for too long, though only one is left', () => {
    const driver = settledPrimary(['a', 'b']);
    let acked = 2;
    const outcome = msUntilProposal(driver, 3 * ARREARS_MAX_MS, () => {
      // Half as fast as what comes in.
      driver.append();
      driver.append();
      driver.ack('b', ++acked);
    });
    expect(outcome?.change).toEqual(shrinkOf('b'));
    // At half the pace, what is acknowledged at time t was appended at t/2.
    expect(Math.abs((outcome?.ms ?? 0) - 2 * ARREARS_MAX_MS)).toBeLessThan(SLOW_MS);
  });

  it('puts out one whose answers are too old for the lease to hold, and none whose are not', () => {
    const driver = settledPrimary(['a', 'b', 'c']);
    const answerAfter = (lateMs: number) => () => {
      driver.append();
      driver.ack('b', driver.core.log.appendedIndex, { echoMs: driver.nowMs - lateMs });
      driver.ack('c', driver.core.log.appendedIndex);
    };
    expect(msUntilProposal(driver, ARREARS_MAX_MS, answerAfter(LEASE_MS / 2))).toBeUndefined();
    const lateMs = LEASE_MS + LEASE_LAPSED_MS + SLOW_MS;
    const outcome = msUntilProposal(driver, ARREARS_MAX_MS, answerAfter(lateMs));
    expect(outcome?.change).toEqual(shrinkOf('b'));
    expect(outcome?.ms).toBeLessThanOrEqual(LEASE_MS + LEASE_LAPSED_MS + 2 * TICK_MS);
  });

  it('puts out one whose answers come often, and each when its lease is over', () => {
    const driver = settledPrimary(['a', 'b', 'c']);
    const outcome = msUntilProposal(driver, ARREARS_MAX_MS, () => {
      driver.append();
      driver.ack('b', driver.core.log.appendedIndex, { echoMs: driver.nowMs - LEASE_MS - TICK_MS });
      driver.ack('c', driver.core.log.appendedIndex);
    });
    expect(outcome?.change).toEqual(shrinkOf('b'));
    expect(outcome?.ms).toBeLessThanOrEqual(LEASE_MS + LEASE_LAPSED_MS + 2 * TICK_MS);
  });

  it('puts one out where two answer by turns, so that there is never a lease of both', () => {
    const driver = settledPrimary(['a', 'b', 'c']);
    const turnMs = 4 * TICK_MS;
    const outcome = msUntilProposal(driver, ARREARS_MAX_MS, (ms) => {
      driver.append();
      for (const [i, nodeId] of ['b', 'c'].entries()) {
        // Good for half a turn once in two turns; else its lease is over when it comes.
        const isFresh = ms % (2 * turnMs) === i * turnMs;
        const echoMs = driver.nowMs - LEASE_MS + (isFresh ? turnMs / 2 : -TICK_MS);
        driver.ack(nodeId, driver.core.log.appendedIndex, { echoMs });
      }
    });
    expect(outcome?.change).toMatchObject({ kind: 'shrink', epoch: 3 });
    expect(outcome?.ms).toBeLessThanOrEqual(LEASE_MS + LEASE_LAPSED_MS + 2 * TICK_MS);
  });

  it.each([
    ['stands still', 0, SLOW_SYNC_MS],
    ['advances', 1, ARREARS_MAX_MS],
  ])('puts out one whose flush %s in time, though only one is left', (_, step, boundMs) => {
    const driver = settledPrimary(['a', 'b']);
    for (let i = 0; i < 1_000; i++) driver.append();
    const { appendedIndex } = driver.core.log;
    driver.ack('b', appendedIndex, { durableIndex: 2 });
    driver.step({ kind: 'wantSync', index: appendedIndex });
    let durableIndex = 2;
    const outcome = msUntilProposal(driver, 2 * ARREARS_MAX_MS, () => {
      durableIndex += step;
      driver.ack('b', appendedIndex, { durableIndex });
    });
    expect(outcome?.change).toEqual(shrinkOf('b'));
    expect(outcome?.ms).toBeGreaterThanOrEqual(boundMs);
    expect(outcome?.ms).toBeLessThanOrEqual(boundMs + 2 * TICK_MS);
  });

  it('gives a durable group the time of a flush for its acknowledgements', () => {
    const driver = settledPrimary(['a', 'b', 'c'], 'durable');
    driver.append();
    const outcome = msUntilProposal(driver, ARREARS_MAX_MS, () => {
      driver.ack('b', 2);
      driver.ack('c', 3);
    });
    expect(outcome?.change).toEqual(shrinkOf('b'));
    expect(outcome?.ms).toBeGreaterThanOrEqual(SLOW_SYNC_MS);
  });

  it('lets in one that is as near as those in the set, and none that is behind them', () => {
    for (const [behindRecords, joins] of [
      [0, true],
      [1, false],
    ] as const) {
      const driver = settledPrimary(['a', 'b']);
      const lagRecords = (4 * HEARTBEAT_MS) / TICK_MS;
      const outcome = msUntilProposal(driver, ARREARS_MAX_MS, (ms) => {
        driver.append();
        const acked = lagging(driver, lagRecords);
        driver.ack('b', acked);
        // The candidate says nothing until the lag is there.
        if (ms > ARREARS_MAX_MS / 2) driver.ack('c', acked - behindRecords);
      });
      expect(outcome?.change.kind).toBe(joins ? 'expand' : undefined);
    }
  });
});
