import { describe, expect, it } from 'vitest';
import type { MemberFrame, PrimaryFrame } from '../../../../storage/replication/frame.ts';
import { WINDOW_BYTES } from '../../../../storage/replication/limits.ts';
import { COMMON, Driver, EPOCH_START, group, identity, LEASE_MS, servingPrimary } from './machine-driver.ts';

/** What is under way when something else happens counts for no more than has come of it. */

const HEARTBEAT: PrimaryFrame = { kind: 'heartbeat', ...COMMON };
const APPEND: PrimaryFrame = {
  kind: 'append',
  ...COMMON,
  firstIndex: 1,
  previousEpoch: 0,
  records: [EPOCH_START],
};

describe('a backup', () => {
  it('acknowledges no record before it is in its log', () => {
    const driver = new Driver();
    driver.state(group(4, 'b', ['a', 'b']));
    driver.appendsAtOnce = false;
    driver.frame('b', APPEND);
    expect(driver.sent('ack')).toEqual([]);
    // Its place is taken, so another look at the log must not count it.
    driver.frame('b', HEARTBEAT);
    expect(driver.sent('ack')).toMatchObject([{ nextIndex: 1 }]);
    driver.step({ kind: 'appended', cut: driver.core.log.cut, appendedIndex: 2 });
    expect(driver.sent('ack')).toMatchObject([{ nextIndex: 2 }]);
  });

  it('has no record of an append that failed, whatever ends after it', () => {
    const driver = new Driver();
    driver.state(group(4, 'b', ['a', 'b']));
    driver.appendsAtOnce = false;
    driver.frame('b', APPEND);
    const { cut } = driver.core.log;
    driver.step({ kind: 'appendFailed', cut, appendedIndex: 1 });
    driver.step({ kind: 'appended', cut, appendedIndex: 2 });
    expect(driver.core.log).toMatchObject({ appendedIndex: 1, nextIndex: 1, epochs: [] });
  });
});

describe('a primary', () => {
  it('counts nothing appended for an append that failed, whatever ends after it', () => {
    const driver = servingPrimary();
    const { cut } = driver.core.log;
    driver.step({ kind: 'assigned', nextIndex: 5 });
    driver.step({ kind: 'appendFailed', cut, appendedIndex: 2 });
    expect(driver.core.log).toMatchObject({ appendedIndex: 2, nextIndex: 2 });
    driver.step({ kind: 'appended', cut, appendedIndex: 5 });
    driver.step({ kind: 'synced', cut, durableIndex: 5 });
    expect(driver.core.log).toMatchObject({ appendedIndex: 2, nextIndex: 2, durableIndex: 1 });
  });

  it('does not go by what it sent before a link broke', () => {
    const driver = servingPrimary();
    driver.append();
    expect(driver.effects).toContainEqual(expect.objectContaining({ kind: 'stream', fromIndex: 2 }));
    driver.step({ kind: 'link', peer: identity('b'), up: false });
    driver.step({ kind: 'link', peer: identity('b'), up: true });
    driver.append();
    // It is being read for again, from the same place on, when word of the first time comes.
    driver.ack('b', 2);
    const member = driver.primary?.members.get('b');
    driver.step({
      kind: 'streamed',
      to: identity('b'),
      fromIndex: 1,
      sent: { nextIndex: 3, lengthBytes: 10 },
    });
    expect(member).toMatchObject({ nextToSend: 2, inFlightBytes: 0 });
  });

  it('has nobody join who lacks on stable storage what may have been acknowledged as flushed', () => {
    const driver = servingPrimary();
    const lagging = () => driver.ack('c', 2, { durableIndex: 1 });
    for (let i = 0; i < 40 && driver.primary?.joining === undefined; i++) {
      lagging();
      driver.ack('b', 2);
      driver.tick();
    }
    expect(driver.primary?.joining).toMatchObject({ nodeId: 'c', durableIndex: 2 });
    lagging();
    expect(driver.proposed()).toEqual([]);
    driver.ack('c', 2);
    expect(driver.proposed()).toMatchObject([{ kind: 'expand', add: 'c' }]);
  });

  it('asks where a member stands after its link broke, and sends again what was on its way', () => {
    const driver = servingPrimary();
    driver.append();
    driver.step({
      kind: 'streamed',
      to: identity('b'),
      fromIndex: 2,
      sent: { nextIndex: 3, lengthBytes: 10 },
    });
    const member = driver.primary?.members.get('b');
    expect(member).toMatchObject({ mode: 'streaming', nextToSend: 3 });
    driver.step({ kind: 'link', peer: identity('b'), up: false });
    driver.step({ kind: 'link', peer: identity('b'), up: true });
    expect(member).toMatchObject({ mode: 'probing', inFlightBytes: 0 });
    driver.ack('b', 2);
    expect(driver.effects).toContainEqual(expect.objectContaining({ kind: 'stream', fromIndex: 2 }));
  });

  it('has no more on its way to a member than its window', () => {
    const driver = servingPrimary();
    driver.append();
    const to = identity('b');
    driver.step({
      kind: 'streamed',
      to,
      fromIndex: 2,
      sent: { nextIndex: 3, lengthBytes: WINDOW_BYTES },
    });
    driver.append();
    expect(driver.primary?.members.get('b')).toMatchObject({ busy: false, nextToSend: 3 });
    driver.ack('b', 3);
    expect(driver.effects).toContainEqual(expect.objectContaining({ kind: 'stream', fromIndex: 3 }));
  });

  const unfit: readonly [string, Partial<MemberFrame>, 'up' | 'fenced'][] = [
    ['whose images are not there', { imagesReady: false }, 'up'],
    ['that the cluster does not count', {}, 'fenced'],
  ];
  it.each(unfit)('has no member join %s', (_, said, status) => {
    const driver = servingPrimary();
    const nodes = ['a', 'b', 'c'].map(
      (id) => ({ ...identity(id), status: id === 'c' ? status : 'up' }) as const,
    );
    driver.step({ kind: 'state', group: group(3, 'a', ['a', 'b']), nodes, leaseMs: LEASE_MS });
    for (let i = 0; i < 40; i++) {
      driver.ack('b', 2);
      for (const step of [() => driver.ack('c', 2, said), () => driver.tick()]) {
        step();
        expect(driver.primary?.joining).toBeUndefined();
      }
    }
  });
});
