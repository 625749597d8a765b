import { describe, expect, it } from 'vitest';
import type { AckFrame, PrimaryFrame } from '../../../../storage/replication/frame.ts';
import { TICK_MS } from '../../../../storage/replication/limits.ts';
import { Driver, group, identity, LEASE_MS } from './machine-driver.ts';

const heartbeat = (epoch: number, reign: number): PrimaryFrame => ({
  ...{ kind: 'heartbeat', group: 'g', epoch, reign, sentAtMs: 5 },
  ...{ leaseMs: LEASE_MS, commitIndex: 1, syncIndex: 0 },
});

function released(driver: Driver): boolean[] {
  return [...driver.sent('ack'), ...driver.sent('position')].map((f) => 'released' in f && f.released);
}

/** Has granted a lease to b in reign 2, and taken office after it, with b and c in sync. */
function successor(): Driver {
  const driver = new Driver();
  driver.frame('b', heartbeat(2, 2));
  driver.state(group(3, 'a', ['a', 'b', 'c']));
  driver.ack('c', 2);
  driver.ack('b', 2);
  return driver;
}

describe('a primary that resigned', () => {
  function resigned(): Driver {
    const driver = new Driver();
    driver.state(group(3, 'a', ['a', 'b']));
    driver.ack('b', 2);
    expect(driver.primary?.phase).toBe('serving');
    driver.state(group(4, 'b', ['a', 'b']));
    return driver;
  }

  it('lets go, and says that it has only when it has', () => {
    const driver = resigned();
    expect(driver.effects).toEqual([
      { kind: 'letGo', reign: 3 },
      expect.objectContaining({ kind: 'persist', epoch: 4 }),
    ]);
    driver.frame('b', heartbeat(4, 4));
    expect(released(driver)).toEqual([false]);
    driver.step({ kind: 'letGone', reign: 3 });
    expect(released(driver)).toEqual([true]);
    driver.frame('b', heartbeat(4, 4));
    expect(released(driver)).toEqual([true]);
  });

  it('says so with its first answer when it let go before it was asked', () => {
    const driver = resigned();
    driver.step({ kind: 'letGone', reign: 3 });
    expect(driver.effects).toEqual([]);
    driver.frame('b', heartbeat(4, 4));
    expect(released(driver)).toEqual([true]);
  });

  it('takes the end of an earlier office for nothing in a later one', () => {
    const driver = resigned();
    driver.state(group(5, 'a', ['a', 'b']));
    driver.step({ kind: 'letGone', reign: 3 });
    driver.state(group(6, 'b', ['a', 'b']));
    driver.step({ kind: 'letGone', reign: 3 });
    driver.frame('b', heartbeat(6, 6));
    expect(released(driver)).toEqual([false]);
    driver.step({ kind: 'letGone', reign: 5 });
    expect(released(driver)).toEqual([true]);
  });

  it('serves nothing more in that reign', () => {
    const driver = resigned();
    driver.state(group(3, 'a', ['a', 'b']));
    driver.ack('b', 2, { reign: 3, epoch: 3 });
    expect(driver.primary).toBeUndefined();
  });
});

describe('a new primary', () => {
  it('serves at once when the one before it has let go', () => {
    const driver = successor();
    expect(driver.primary?.phase).toBe('aligning');
    driver.ack('b', 2, { released: true });
    expect(driver.primary?.phase).toBe('serving');
  });

  it('waits for those who have not, whoever else has', () => {
    const driver = new Driver();
    driver.frame('c', heartbeat(1, 1));
    driver.frame('b', heartbeat(2, 2));
    driver.state(group(3, 'a', ['a', 'b', 'c']));
    driver.ack('c', 2);
    driver.ack('b', 2, { released: true });
    expect(driver.primary?.phase).toBe('aligning');
    driver.ack('c', 2, { released: true });
    expect(driver.primary?.phase).toBe('serving');
  });

  it('does not take it from another process of the same node', () => {
    const driver = successor();
    const later = { nodeId: 'b', incarnation: 'b.2' };
    driver.step({ kind: 'link', peer: later, up: true });
    const frame: AckFrame = {
      kind: 'ack',
      ...{ group: 'g', epoch: 3, reign: 3, echoMs: driver.nowMs, leaseMs: LEASE_MS },
      ...{ nextIndex: 2, durableIndex: 2, imagesReady: true, full: false, low: false, filling: false },
      ...{ takesVoids: true, released: true },
    };
    driver.step({ kind: 'frame', from: later, frame, records: [] });
    driver.step({ kind: 'link', peer: identity('b'), up: true });
    driver.ack('b', 2);
    expect(driver.core.grants).toHaveLength(1);
    expect(driver.primary?.phase).toBe('aligning');
  });

  it('serves at once when the guardian of the one before it has seen it end, and not another process of that node', () => {
    const driver = successor();
    driver.step({ kind: 'ended', peer: { nodeId: 'b', incarnation: 'b.2' } });
    driver.tick(TICK_MS);
    expect(driver.primary?.phase).toBe('aligning');
    driver.step({ kind: 'ended', peer: identity('b') });
    driver.tick(TICK_MS);
    expect(driver.primary?.phase).toBe('serving');
  });

  it('does not take what was said in an earlier reign', () => {
    const driver = successor();
    driver.ack('b', 2, { reign: 2, released: true });
    expect(driver.primary?.phase).toBe('aligning');
  });

  it('is bound again by what it grants afterwards', () => {
    const driver = successor();
    driver.ack('b', 2, { released: true });
    driver.state(group(4, 'b', ['a', 'b', 'c']));
    driver.frame('b', heartbeat(4, 4));
    driver.state(group(5, 'a', ['a', 'b', 'c']));
    for (const nodeId of ['b', 'c']) driver.ack(nodeId, 3);
    driver.tick(TICK_MS);
    expect(driver.primary?.phase).toBe('aligning');
  });
});
