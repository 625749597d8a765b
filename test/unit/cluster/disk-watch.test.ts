import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../../base/clock.ts';
import { silentLogger } from '../../../base/logger.ts';
import { DiskWatch } from '../../../cluster/disk-watch.ts';
import { DISK_RESIGN_MS, DISK_STALL_MS, ELECTION_TICKS, TICK_MS } from '../../../cluster/limits.ts';
import { TestCluster } from './raft/test-cluster.ts';

function setUp(ids: readonly number[] = [1, 2, 3]) {
  const cluster = new TestCluster(ids, { checkQuorum: true, preVote: true });
  const leader = cluster.elect(1);
  const clock = new ManualClock();
  const appends: { underWaySinceMs: number | undefined } = { underWaySinceMs: undefined };
  const watch = new DiskWatch(leader.raft, appends, { clock, logger: silentLogger });
  const run = (forMs: number): void => {
    for (let passed = 0; passed < forMs; passed += TICK_MS) {
      clock.advance(TICK_MS);
      watch.tick();
    }
  };
  run(TICK_MS);
  appends.underWaySinceMs = clock.monotonicMs();
  watch.tick();
  return { cluster, leader, clock, appends, watch, run };
}

describe('a leader whose own write takes too long', () => {
  it('hands on after an election timeout, and resigns when that fails', () => {
    const { leader, run } = setUp();
    // The longest an election timeout can be.
    expect(DISK_STALL_MS).toBe(2 * ELECTION_TICKS * TICK_MS);
    run(DISK_STALL_MS - TICK_MS);
    expect(leader.status).toMatchObject({ role: 'leader', leadTransferee: 0 });
    run(TICK_MS);
    expect(leader.status).toMatchObject({ role: 'leader', leadTransferee: 2 });
    run(DISK_RESIGN_MS - DISK_STALL_MS);
    expect(leader.status).toMatchObject({ role: 'follower', leader: 0 });
  });

  it('leads on while one write after another takes less', () => {
    const { leader, clock, appends, run } = setUp();
    for (let i = 0; i < 5; i++) {
      run(DISK_STALL_MS - TICK_MS);
      appends.underWaySinceMs = clock.monotonicMs();
    }
    expect(leader.status).toMatchObject({ role: 'leader', leadTransferee: 0 });
  });

  it('does not take a pause of the process for one of the disk', () => {
    const { leader, clock, watch, appends } = setUp();
    clock.advance(60_000);
    watch.tick();
    appends.underWaySinceMs = undefined;
    watch.tick();
    expect(leader.status).toMatchObject({ role: 'leader', leadTransferee: 0 });
  });

  it('leads on where nobody else could', () => {
    const { leader, run } = setUp([1]);
    run(2 * DISK_RESIGN_MS);
    expect(leader.status.role).toBe('leader');
  });
});
