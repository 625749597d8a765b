import { describe, expect, it } from 'vitest';
import type { ReplicaEffect } from '../../../../storage/replication/core.ts';
import {
  CATCH_UP_MAX_BYTES_PER_SECOND,
  CATCH_UP_MIN_BYTES_PER_SECOND,
  CATCH_UP_SYNC_BYTES,
} from '../../../../storage/replication/limits.ts';
import { appendFrame } from '../../../../storage/replication/primary-frames.ts';
import { Driver, group, identity } from './machine-driver.ts';

const RECORDS = 10_000;

/** A serving primary "a" with "b" in sync; "c" has come with few of the records. */
function catchingUp(): Driver {
  const driver = new Driver([{ epoch: 1, startIndex: 1 }], RECORDS);
  driver.state(group(2, 'a', ['a', 'b']));
  driver.ack('b', driver.core.log.nextIndex, { takesVoids: true });
  expect(driver.primary?.phase).toBe('serving');
  driver.tick();
  driver.ack('c', 100, { takesVoids: true });
  return driver;
}

function streams(effects: readonly ReplicaEffect[], to: string) {
  return effects.flatMap((e) => (e.kind === 'stream' && e.to.nodeId === to ? [e] : []));
}

function sent(driver: Driver, nextIndex: number, lengthBytes: number): ReplicaEffect[] {
  const fromIndex = driver.primary?.members.get('c')?.nextToSend ?? 0;
  return driver.step({ kind: 'streamed', to: identity('c'), fromIndex, sent: { nextIndex, lengthBytes } });
}

describe('a member that catches up', () => {
  it('is sent voids only for what all in sync have durably', () => {
    const driver = catchingUp();
    const { members } = driver.primary as NonNullable<Driver['primary']>;
    const [b, c] = [members.get('b'), members.get('c')];
    expect(streams(driver.effects, 'c').map((e) => e.elideBelow)).toEqual([RECORDS]);
    if (b !== undefined) b.durableIndex = 700;
    const [next] = streams(sent(driver, 200, 10), 'c');
    expect(next?.elideBelow).toBe(700);
    if (c !== undefined) c.takesVoids = false;
    expect(streams(sent(driver, 300, 10), 'c')[0]?.elideBelow).toBe(0);
  });

  it('is sent no more than the pace allows, while one in sync is sent everything', () => {
    const driver = catchingUp();
    expect(streams(sent(driver, 200, CATCH_UP_MIN_BYTES_PER_SECOND), 'c')).toEqual([]);
    driver.append();
    expect(streams(driver.effects, 'b')).toHaveLength(1);
    expect(streams(driver.ack('c', 200), 'c')).toEqual([]);
    let waited = 0;
    while (streams(driver.tick(), 'c').length === 0) waited++;
    expect(waited).toBeGreaterThan(3);
    expect(waited).toBeLessThan(40);
  });

  it('syncs each time that it has been sent so much, and has all durably before it joins', () => {
    const driver = catchingUp();
    const primary = driver.primary as NonNullable<Driver['primary']>;
    const c = primary.members.get('c') as NonNullable<ReturnType<typeof primary.members.get>>;
    const { appendedIndex } = driver.core.log;
    driver.step({ kind: 'wantSync', index: appendedIndex });
    const toldWith = (endIndex: number): number => {
      const firstIndex = c.nextToSend;
      const records = Array.from({ length: endIndex - firstIndex }, () => new Uint8Array(0));
      const frame = appendFrame(primary, c, { firstIndex, records }, driver.nowMs);
      return 'syncIndex' in frame ? frame.syncIndex : Number.NaN;
    };
    expect(toldWith(200)).toBe(0);
    sent(driver, 200, CATCH_UP_SYNC_BYTES - 1);
    expect(toldWith(300)).toBe(0);
    sent(driver, 300, 1);
    expect(toldWith(400)).toBe(300);
    expect(toldWith(appendedIndex)).toBe(appendedIndex);
    sent(driver, appendedIndex, 1);
    for (let i = 0; i < 40 && primary.joining === undefined; i++) {
      driver.tick();
      driver.ack('b', appendedIndex);
      driver.ack('c', appendedIndex, { durableIndex: 300 });
    }
    expect(primary.joining?.nodeId).toBe('c');
    expect(driver.proposed()).toEqual([]);
    expect(toldWith(appendedIndex)).toBe(appendedIndex);
    driver.ack('c', appendedIndex);
    expect(driver.proposed()).toHaveLength(1);
  });

  it('gives way to writes that wait, and has the link when there are none', () => {
    const driver = catchingUp();
    const pace = driver.core.pace.sending;
    const speeds: number[] = [];
    const idle = (ticks: number): void => {
      for (let i = 0; i < ticks; i++) {
        for (const nodeId of ['b', 'c']) driver.ack(nodeId, nodeId === 'b' ? driver.core.log.nextIndex : 200);
        driver.tick();
        speeds.push(pace.bytesPerSecond);
      }
    };
    idle(12);
    expect(speeds.at(-1)).toBe(CATCH_UP_MAX_BYTES_PER_SECOND);
    for (let i = 0; i < 10; i++) {
      driver.append();
      driver.tick();
    }
    expect(pace.bytesPerSecond).toBeLessThan(CATCH_UP_MAX_BYTES_PER_SECOND / 100);
  });

  it.each([
    ['less than what it has however busy clients are', CATCH_UP_MIN_BYTES_PER_SECOND / 16],
    ['more than that', CATCH_UP_MIN_BYTES_PER_SECOND * 4],
  ])('is sent no more than an administrator allows from one moment to the next: %s', (_, limit) => {
    const driver = catchingUp();
    const primary = driver.primary as NonNullable<Driver['primary']>;
    const pace = driver.core.pace.sending;
    const c = primary.members.get('c') as NonNullable<ReturnType<typeof primary.members.get>>;
    const { appendedIndex } = driver.core.log;
    const members = group(2, 'a', ['a', 'b']);
    // Sends what it may for so long, in messages of a MiB, and tells how much that was a second.
    const rate = (seconds: number): number => {
      let sentBytes = 0;
      for (let tick = 0; tick < seconds * 20; tick++) {
        driver.ack('b', appendedIndex, { takesVoids: true });
        driver.tick(50);
        while (c.busy) {
          sentBytes += 1024 * 1024;
          sent(driver, c.nextToSend + 1, 1024 * 1024);
          driver.ack('c', c.nextToSend, { takesVoids: true });
        }
      }
      return sentBytes / seconds;
    };
    expect(rate(2)).toBeGreaterThan(2 * limit);
    driver.state(members, limit);
    rate(2);
    const limited = rate(10);
    expect(limited).toBeLessThan(limit * 1.15);
    expect(limited).toBeGreaterThan(limit * 0.85);
    expect(pace.bytesPerSecond).toBe(limit);
    expect(driver.status().catchUp).toMatchObject({
      paceBytesPerSecond: limit,
      limitBytesPerSecond: limit,
    });
    // Not even so that it comes nearer at last.
    for (let i = 0; i < 200; i++) {
      driver.append();
      driver.tick();
      driver.ack('b', driver.core.log.nextIndex - 1);
      expect(pace.bytesPerSecond).toBeLessThanOrEqual(limit);
    }
    driver.state(members);
    for (let i = 0; i < 40; i++) {
      driver.ack('b', driver.core.log.nextIndex);
      driver.tick();
    }
    expect(pace.bytesPerSecond).toBeGreaterThan(limit);
  });

  it('is told of with how much of what it lacked it has by now, from its beginning anew each time', () => {
    const driver = catchingUp();
    driver.tick();
    driver.ack('c', 5_000, { takesVoids: true });
    driver.tick();
    expect(driver.status().catchUp).toMatchObject({ beganIndex: 100, ackedIndex: 5_000 });
    driver.state(group(3, 'a', ['a', 'b', 'c']));
    driver.tick();
    driver.state(group(4, 'a', ['a', 'b']));
    driver.tick();
    expect(driver.status().catchUp?.beganIndex).toBe(5_000);
  });

  it('is told of with how far it is, how fast, and how long it will take at that pace', () => {
    const driver = catchingUp();
    const { appendedIndex } = driver.core.log;
    expect(driver.status().catchUp).toMatchObject({
      nodeId: 'c',
      ackedIndex: 100,
      targetIndex: appendedIndex,
    });
    // Nothing can be said before some time has passed.
    expect(driver.status().catchUp?.secondsLeft).toBeUndefined();
    for (let at = 100, done = 0; done < 60; done++) {
      sent(driver, at + 50, 4_000);
      at += 50;
      driver.ack('c', at, { takesVoids: true });
      driver.ack('b', appendedIndex, { takesVoids: true });
      driver.tick(50);
    }
    const catchUp = driver.status().catchUp;
    // 50 records of 80 bytes in 50 ms.
    expect(catchUp?.bytesPerSecond).toBeCloseTo(80_000, -4);
    expect(catchUp?.ackedIndex).toBe(3_100);
    expect(catchUp?.secondsLeft).toBeCloseTo((appendedIndex - 3_100) / 1_000, 0);
  });

  it('goes on after a broken link from where it is, not from the beginning', () => {
    const driver = catchingUp();
    sent(driver, 4_000, 1_000);
    driver.ack('c', 4_000, { takesVoids: true });
    driver.step({ kind: 'link', peer: identity('c'), up: false });
    driver.tick();
    driver.step({ kind: 'link', peer: identity('c'), up: true });
    driver.ack('b', driver.core.log.nextIndex, { takesVoids: true });
    const effects = driver.ack('c', 4_000, { takesVoids: true });
    expect(streams(effects, 'c').map((e) => e.fromIndex)).toEqual([4_000]);
  });

  it('gets nearer in the end, however busy clients are', () => {
    const driver = catchingUp();
    const pace = driver.core.pace.sending;
    for (let i = 0; i < 400; i++) {
      driver.append();
      driver.tick();
      driver.ack('b', driver.core.log.nextIndex - 1);
      driver.ack('c', 200);
    }
    expect(pace.bytesPerSecond).toBeGreaterThan(4 * CATCH_UP_MIN_BYTES_PER_SECOND);
  });
});
