import { describe, expect, it } from 'vitest';
import type { PrimaryFrame } from '../../../../storage/replication/frame.ts';
import { boundUntilMs } from '../../../../storage/replication/grants.ts';
import type { ReplicationNode } from '../../../../storage/replication/group-state.ts';
import { HEARTBEAT_MS, JOIN_RETRY_MS, TICK_MS } from '../../../../storage/replication/limits.ts';
import { durableEverywhere, type PrimaryState } from '../../../../storage/replication/primary-state.ts';
import { Driver, group, identity, LEASE_MS, servingPrimary } from './machine-driver.ts';

/** Who may be let into the set, and when: from the proposal on, writes and the lease hang on it. */

const HEARTBEAT: PrimaryFrame = {
  ...{ kind: 'heartbeat', group: 'g', epoch: 2, reign: 2, sentAtMs: 5 },
  ...{ leaseMs: LEASE_MS, commitIndex: 1, syncIndex: 0 },
};

describe('nobody is let in', () => {
  it('by a primary that does not serve yet, whatever it has', () => {
    const driver = new Driver();
    // It has granted a lease to another one, which may serve until that has run out.
    driver.frame('b', HEARTBEAT);
    driver.state(group(3, 'a', ['a']));
    const untilMs = boundUntilMs(driver.core.grants);
    let ticks = 0;
    for (driver.tick(); driver.nowMs < untilMs; driver.tick()) {
      driver.ack('c', 2);
      expect(driver.primary?.phase).toBe('aligning');
      expect(driver.primary?.joining).toBeUndefined();
      expect(driver.proposed()).toEqual([]);
      ticks++;
    }
    expect(ticks).toBeGreaterThan(1);
    driver.ack('c', 2);
    expect(driver.primary).toMatchObject({ phase: 'serving', joining: { nodeId: 'c' } });
  });

  it('who has not said yet where it stands since its link came back', () => {
    const driver = new Driver();
    driver.state(group(3, 'a', ['a', 'b', 'c']));
    for (const nodeId of ['b', 'c']) driver.ack(nodeId, 2);
    driver.tick();
    driver.state(group(4, 'a', ['a', 'b']));
    // It has everything, and what it grants lasts for longer than one that was just put out has to stay out.
    driver.ack('c', 2, { leaseMs: JOIN_RETRY_MS + 10 * HEARTBEAT_MS });
    driver.step({ kind: 'link', peer: identity('c'), up: false });
    driver.step({ kind: 'link', peer: identity('c'), up: true });
    for (let ms = 0; ms <= JOIN_RETRY_MS; ms += TICK_MS) {
      driver.ack('b', 2);
      driver.tick();
    }
    expect(driver.primary?.members.get('c')).toMatchObject({ mode: 'probing', ackedIndex: 2 });
    expect(driver.primary?.joining).toBeUndefined();
    driver.ack('c', 2);
    expect(driver.primary?.joining).toMatchObject({ nodeId: 'c' });
  });

  it('who is another process of a node than the one that the cluster counts as up', () => {
    const driver = servingPrimary();
    const told = (incarnation: string): void => {
      const nodes: ReplicationNode[] = ['a', 'b', 'c'].map((id) => ({ ...identity(id), status: 'up' }));
      nodes[2] = { nodeId: 'c', incarnation, status: 'up' };
      driver.step({ kind: 'state', group: group(3, 'a', ['a', 'b']), nodes, leaseMs: LEASE_MS });
    };
    told('c.2');
    for (let i = 0; i < 40; i++) {
      driver.ack('b', 2);
      driver.ack('c', 2);
      expect(driver.primary?.joining).toBeUndefined();
      driver.tick();
      expect(driver.primary?.joining).toBeUndefined();
    }
    told('c.1');
    driver.ack('c', 2);
    expect(driver.primary?.joining).toMatchObject({ nodeId: 'c', incarnation: 'c.1' });
  });
});

describe('a new primary', () => {
  it('does not take for committed what its table of LUNs still knows of records that were cut', () => {
    const driver = new Driver([{ epoch: 1, startIndex: 1 }], 9);
    // The table had come further, by a checkpoint; it is made anew when the cut is carried out.
    driver.appliedIndex = 9;
    driver.state(group(3, 'c', ['c']));
    driver.frame('c', { ...HEARTBEAT, epoch: 3, reign: 3, kind: 'truncate', fromIndex: 4 });
    expect(driver.core.log.nextIndex).toBe(4);
    driver.nowMs += 10 * LEASE_MS;
    driver.state(group(4, 'a', ['a', 'b']));
    expect(driver.primary?.epochStartIndex).toBe(4);
    driver.ack('b', 4);
    driver.tick();
    expect(driver.primary?.phase).toBe('aligning');
    driver.ack('b', 5);
    driver.tick();
    expect(driver.primary?.phase).toBe('serving');
  });
});

describe('what a member says is durable', () => {
  it('counts as far as it has the log, and no farther', () => {
    const driver = servingPrimary();
    for (let i = 0; i < 3; i++) driver.append();
    driver.step({ kind: 'synced', cut: driver.core.log.cut, durableIndex: 5 });
    driver.ack('b', 3, { durableIndex: 5 });
    expect(driver.primary?.members.get('b')).toMatchObject({ ackedIndex: 3, durableIndex: 3 });
    expect(durableEverywhere(driver.primary as PrimaryState)).toBe(3);
  });
});
