import { describe, expect, it } from 'vitest';
import type { PrimaryFrame } from '../../../../storage/replication/frame.ts';
import { forgottenGrant } from '../../../../storage/replication/grants.ts';
import type { PortalGroupState } from '../../../../storage/replication/group-state.ts';
import { TICK_MS } from '../../../../storage/replication/limits.ts';
import { Driver, group, identity, LEASE_MS } from './machine-driver.ts';

const heartbeat = (epoch: number): PrimaryFrame => ({
  ...{ kind: 'heartbeat', group: 'g', epoch, reign: epoch, sentAtMs: 5 },
  ...{ leaseMs: LEASE_MS, commitIndex: 1, syncIndex: 0 },
});

/** The process of "a" has just started; what the one before it granted is forgotten. */
function startedAgain(): Driver {
  const driver = new Driver();
  driver.core.grants = [forgottenGrant(driver.nowMs + LEASE_MS)];
  return driver;
}

/** It is the primary of epoch 5 now, and "c" has what it has. */
function inOffice(driver: Driver, changes: Partial<PortalGroupState> = {}): Driver {
  driver.state({ ...group(5, 'a', ['a', 'c']), ...changes });
  driver.ack('c', 2);
  driver.tick(TICK_MS);
  return driver;
}

describe('what an earlier process of the node granted', () => {
  it('binds one that has been in sync since it registered', () => {
    const driver = startedAgain();
    driver.state(group(4, 'b', ['a', 'b', 'c']));
    driver.step({ kind: 'ended', peer: identity('b') });
    expect(inOffice(driver).primary?.phase).toBe('aligning');
    driver.nowMs += LEASE_MS;
    driver.ack('c', 2);
    expect(driver.primary?.phase).toBe('serving');
  });

  it('does not bind one that was let in since', () => {
    const driver = startedAgain();
    driver.state(group(3, 'b', ['b', 'c']));
    driver.frame('b', heartbeat(3));
    driver.state(group(4, 'b', ['a', 'b', 'c']));
    driver.step({ kind: 'ended', peer: identity('b') });
    expect(inOffice(driver).primary?.phase).toBe('serving');
  });

  it('does not bind it either when the primary says so before the cluster does', () => {
    const driver = startedAgain();
    driver.frame('b', heartbeat(4));
    driver.state(group(3, 'b', ['b', 'c']));
    driver.state(group(4, 'b', ['a', 'b', 'c']));
    driver.step({ kind: 'ended', peer: identity('b') });
    expect(inOffice(driver).primary?.phase).toBe('serving');
  });

  it('leaves what this very process has granted', () => {
    const driver = startedAgain();
    driver.state(group(3, 'b', ['b', 'c']));
    driver.frame('b', heartbeat(3));
    driver.state(group(4, 'b', ['a', 'b', 'c']));
    expect(inOffice(driver).primary?.phase).toBe('aligning');
    expect(driver.core.grants).toMatchObject([identity('b')]);
  });

  it('binds one that the cluster did not know of when it was out of the set', () => {
    const driver = startedAgain();
    const nodes = ['a.0', 'b.1', 'c.1'].map(
      (incarnation) => ({ nodeId: incarnation.charAt(0), incarnation, status: 'up' }) as const,
    );
    const before = { ...group(4, 'b', ['c']), inSync: [{ nodeId: 'a', incarnation: 'a.0' }] };
    driver.step({ kind: 'state', group: before, nodes, leaseMs: LEASE_MS });
    expect(inOffice(driver).primary?.phase).toBe('aligning');
  });

  it('binds one that an administrator has put in', () => {
    const driver = startedAgain();
    driver.state(group(4, 'b', ['b', 'c']));
    expect(inOffice(driver, { lossAcceptedEpoch: 5 }).primary?.phase).toBe('aligning');
  });

  it('binds one that the group went on from, as its last copy was damaged', () => {
    const driver = startedAgain();
    driver.state(group(4, 'b', ['b', 'c']));
    expect(inOffice(driver, { resumedEpoch: 5 }).primary?.phase).toBe('aligning');
  });
});
