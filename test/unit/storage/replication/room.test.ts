import { describe, expect, it } from 'vitest';
import { encodeControlRecord } from '../../../../storage/lun/log-record.ts';
import { type DiskRoom, ROOM_ENOUGH } from '../../../../storage/replication/core.ts';
import type { PrimaryFrame } from '../../../../storage/replication/frame.ts';
import type { PrimaryState } from '../../../../storage/replication/primary-state.ts';
import { isOutOfRoom } from '../../../../storage/replication/room.ts';
import { Driver, group, identity, LEASE_MS } from './machine-driver.ts';

const SPENT: DiskRoom = { isFilling: true, isLow: true, isSpent: true };
const LOW: DiskRoom = { isFilling: true, isLow: true, isSpent: false };
const FILLING: DiskRoom = { isFilling: true, isLow: false, isSpent: false };
const START_EPOCH = encodeControlRecord({ kind: 'epochStart', epoch: 4, primary: 'b' });

/** The primary of three that are in sync. */
function primaryOf(minInSync = 1): Driver & { primary: PrimaryState } {
  const driver = new Driver();
  driver.state(group(3, 'a', ['a', 'b', 'c'], minInSync));
  for (const nodeId of ['b', 'c']) driver.ack(nodeId, 2);
  driver.tick();
  return driver as Driver & { primary: PrimaryState };
}

describe('a backup whose disk has only its reserve left', () => {
  function append(driver: Driver): void {
    const common = { group: 'g', leaseMs: LEASE_MS, commitIndex: 1, syncIndex: 0, sentAtMs: 5 };
    const at = { epoch: 4, reign: 4, firstIndex: 1, previousEpoch: 0 };
    const frame: PrimaryFrame = { kind: 'append', ...common, ...at, records: [START_EPOCH] };
    driver.frame('b', frame);
  }

  it('takes what is written while it is in the set, and says how it stands', () => {
    const driver = new Driver();
    driver.state(group(4, 'b', ['a', 'b']));
    driver.step({ kind: 'room', room: SPENT });
    append(driver);
    expect(driver.core.log.nextIndex).toBe(2);
    expect(driver.sent('ack')).toMatchObject([{ nextIndex: 2, full: false, low: true, filling: true }]);
  });

  it('outside the set leaves half of the reserve to the rest of its node', () => {
    const driver = new Driver();
    driver.state(group(4, 'b', ['b']));
    driver.step({ kind: 'room', room: SPENT });
    append(driver);
    expect(driver.core.log.nextIndex).toBe(1);
    expect(driver.sent('ack')).toMatchObject([{ nextIndex: 1, full: true }]);
    driver.step({ kind: 'room', room: LOW });
    expect(driver.sent('ack')).toMatchObject([{ nextIndex: 1, full: false, low: true }]);
    append(driver);
    expect(driver.core.log.nextIndex).toBe(2);
  });

  it('takes what it is sent until it has been told that it is not in the set', () => {
    const driver = new Driver();
    driver.state(group(3, 'b', ['b']));
    driver.step({ kind: 'room', room: SPENT });
    append(driver);
    expect(driver.core.log.nextIndex).toBe(2);
  });
});

describe('a primary with such a backup in its set', () => {
  it('goes on without it, as without one that failed, while clients are given space', () => {
    const driver = primaryOf();
    driver.ack('b', 2, { low: true, filling: true });
    expect(driver.proposed()).toEqual([{ kind: 'shrink', epoch: 3, remove: 'b' }]);
    expect(isOutOfRoom(driver.primary)).toBe(false);
  });

  it.each([
    ['its own disk is filling up, too', (d: Driver) => d.step({ kind: 'room', room: FILLING })],
    ['that of another member is', (d: Driver) => d.ack('c', 2, { filling: true })],
  ])('refuses clients space and keeps it where %s', (_, fillUp) => {
    const driver = primaryOf();
    fillUp(driver);
    driver.ack('b', 2, { low: true, filling: true });
    expect(driver.proposed()).toEqual([]);
    driver.tick();
    expect(driver.proposed()).toEqual([]);
    expect(isOutOfRoom(driver.primary)).toBe(true);
    // Compaction has made room on all of them.
    driver.step({ kind: 'room', room: ROOM_ENOUGH });
    driver.ack('c', 2);
    driver.ack('b', 2);
    expect(isOutOfRoom(driver.primary)).toBe(false);
  });

  it('does the same where the group may not do without it', () => {
    const driver = primaryOf(3);
    driver.ack('b', 2, { low: true, filling: true });
    expect(driver.proposed()).toEqual([]);
    expect(isOutOfRoom(driver.primary)).toBe(true);
  });

  it('sends nothing to one that takes nothing, by whatever it says so', () => {
    const driver = primaryOf();
    driver.append();
    driver.step({
      kind: 'streamed',
      to: identity('c'),
      fromIndex: 2,
      sent: { nextIndex: 3, lengthBytes: 10 },
    });
    const position = { kind: 'position', epochs: [], durableIndex: 1 } as const;
    for (const frame of [{ ...position, full: true }, { full: true }]) {
      driver.ack('c', 1, frame);
      expect(driver.effects.filter((e) => e.kind === 'stream' && e.to.nodeId === 'c')).toEqual([]);
    }
    driver.ack('c', 1, { ...position, full: false });
    expect(driver.effects.filter((e) => e.kind === 'stream' && e.to.nodeId === 'c')).toHaveLength(1);
  });

  it('does not let it join before it has room', () => {
    const driver = new Driver();
    driver.state(group(3, 'a', ['a', 'b']));
    driver.ack('b', 2);
    driver.ack('c', 2, { low: true });
    for (let i = 0; i < 40; i++) {
      driver.tick();
      driver.ack('b', 2);
      driver.ack('c', 2, { low: true });
      expect(driver.primary?.joining).toBeUndefined();
    }
    expect(driver.primary !== undefined && isOutOfRoom(driver.primary)).toBe(false);
    driver.ack('c', 2);
    driver.tick();
    expect(driver.primary?.joining?.nodeId).toBe('c');
  });
});
