import { describe, expect, it } from 'vitest';
import type { MemberFrame, PrimaryFrame } from '../../../../storage/replication/frame.ts';
import { boundUntilMs, withGrant } from '../../../../storage/replication/grants.ts';
import { CLOCK_DRIFT } from '../../../../storage/replication/limits.ts';
import { Driver, group, identity, LEASE_MS } from './machine-driver.ts';

/** Rules that keep members apart in time, each of which few runs depend on. */

const heartbeat = (epoch: number, reign: number): PrimaryFrame => ({
  ...{ kind: 'heartbeat', group: 'g', epoch, reign, sentAtMs: 5 },
  ...{ leaseMs: LEASE_MS, commitIndex: 1, syncIndex: 0 },
});

describe('a grant', () => {
  it('lasts longer than its primary may count on it, however their clocks drift apart', () => {
    const driver = new Driver();
    driver.frame('b', heartbeat(2, 2));
    const grantedMs = boundUntilMs(driver.core.grants) - driver.nowMs;
    // The one that grants by a clock that is too fast, the one that counts on it by one that is too slow.
    expect(grantedMs * (1 - CLOCK_DRIFT)).toBeGreaterThan(LEASE_MS * (1 + CLOCK_DRIFT));
  });

  it('is made no shorter by one that ends sooner', () => {
    const long = withGrant([], identity('b'), 900, 0);
    expect(boundUntilMs(withGrant(long, identity('b'), 500, 0))).toBe(900);
  });

  it('is given to no process that has ended', () => {
    const driver = new Driver();
    driver.step({ kind: 'ended', peer: identity('b') });
    driver.frame('b', heartbeat(2, 2));
    expect(driver.core.grants).toEqual([]);
    expect(driver.effects).toEqual([]);
  });
});

describe('an epoch', () => {
  it('has one primary: whoever else sends frames under it is not answered, and is granted nothing', () => {
    const driver = new Driver();
    driver.frame('b', heartbeat(2, 2));
    driver.frame('c', heartbeat(2, 2));
    expect(driver.sent('ack')).toEqual([]);
    expect(driver.sent('position')).toEqual([]);
    expect(driver.core.grants.map(({ nodeId }) => nodeId)).toEqual(['b']);
  });

  it('is not taken office under where the log has records of it already', () => {
    const driver = new Driver([{ epoch: 3, startIndex: 1 }], 4);
    driver.state(group(3, 'a', ['a']));
    expect(driver.primary).toBeUndefined();
    expect(driver.effects).toEqual([
      expect.objectContaining({ kind: 'complain', event: 'replication.epoch-reused' }),
    ]);
  });
});

describe('a log that is cut', () => {
  const cutAt3 = (): Driver => {
    const epochs = [
      { epoch: 1, startIndex: 1 },
      { epoch: 3, startIndex: 4 },
    ];
    const driver = new Driver(epochs, 6);
    driver.core.log.durableIndex = 2;
    driver.state(group(4, 'b', ['a', 'b']));
    driver.frame('b', { ...heartbeat(4, 4), kind: 'truncate', fromIndex: 3 });
    return driver;
  };

  it('knows no epoch of what was cut', () => {
    expect(cutAt3().core.log).toMatchObject({ nextIndex: 3, epochs: [{ epoch: 1, startIndex: 1 }] });
  });

  it('is as long and as durable as it is, whatever of before comes to its end', () => {
    const driver = cutAt3();
    // What was begun before the cut bears the number that was in force then.
    driver.step({ kind: 'synced', cut: 0, durableIndex: 6 });
    driver.step({ kind: 'appended', cut: 0, appendedIndex: 6 });
    expect(driver.core.log).toMatchObject({ nextIndex: 3, appendedIndex: 3, durableIndex: 2 });
  });

  it('is not cut before all of it that stays has been appended', () => {
    const driver = new Driver([{ epoch: 1, startIndex: 1 }], 6);
    driver.core.log.appendedIndex = 4;
    driver.state(group(4, 'b', ['a', 'b']));
    driver.frame('b', { ...heartbeat(4, 4), kind: 'truncate', fromIndex: 5 });
    expect(driver.effects).toEqual([]);
    expect(driver.core.log).toMatchObject({ nextIndex: 6, cut: 0 });
  });
});

describe('a new primary', () => {
  it('does not serve before every other member has the beginning of its epoch', () => {
    const driver = new Driver();
    driver.state(group(3, 'a', ['a', 'b', 'c']));
    driver.ack('b', 2);
    driver.ack('c', 1);
    driver.tick();
    expect(driver.primary?.phase).not.toBe('serving');
    driver.ack('c', 2);
    driver.ack('b', 2);
    driver.tick();
    expect(driver.primary?.phase).toBe('serving');
  });

  it('does not go by where a member stood in an earlier reign', () => {
    const driver = new Driver();
    driver.state(group(3, 'a', ['a', 'b']));
    const position = (reign: number): MemberFrame => ({
      ...{ kind: 'position', group: 'g', epoch: 3, reign, echoMs: driver.nowMs, leaseMs: LEASE_MS },
      ...{ nextIndex: 1, durableIndex: 1, imagesReady: true, full: false, low: false, filling: false },
      ...{ takesVoids: false, released: false, epochs: [] },
    });
    driver.frame('b', position(2));
    expect(driver.primary?.members.get('b')?.mode).toBe('probing');
    expect(driver.effects).toEqual([]);
    driver.frame('b', position(3));
    expect(driver.primary?.members.get('b')?.mode).toBe('streaming');
  });

  it('has a member start over that lacks what this one has let go of as a backup', () => {
    const driver = new Driver([{ epoch: 1, startIndex: 1 }], 6);
    driver.state(group(2, 'b', ['a', 'b']));
    driver.step({ kind: 'trimmed', baseIndex: 4 });
    driver.state(group(3, 'a', ['a']));
    driver.frame('c', {
      ...{ kind: 'position', group: 'g', epoch: 3, reign: 3, echoMs: driver.nowMs, leaseMs: LEASE_MS },
      ...{ nextIndex: 2, durableIndex: 2, imagesReady: true, full: false, low: false, filling: false },
      ...{ takesVoids: false, released: false, epochs: [{ epoch: 1, startIndex: 1 }] },
    });
    expect(driver.effects).toMatchObject([{ kind: 'sendReset', to: 'c' }]);
  });
});
