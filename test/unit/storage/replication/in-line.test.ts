import { describe, expect, it } from 'vitest';
import { encodeControlRecord } from '../../../../storage/lun/log-record.ts';
import type { EpochEntry } from '../../../../storage/replication/epoch-table.ts';
import type { PrimaryFrame } from '../../../../storage/replication/frame.ts';
import { encodeLuns } from '../../../../storage/replication/group-meta.ts';
import { COMMON, Driver, EPOCH_START, group, identity } from './machine-driver.ts';

/** How a member is kept in line with the primary: what of its log counts, and what of messages is taken. */

const discard = (firstBlock: number) =>
  encodeControlRecord({ kind: 'discard', epoch: 4, lunId: 1, firstBlock, blockCount: 1 });
const append = (firstIndex: number, records: Uint8Array[]): PrimaryFrame => ({
  ...{ kind: 'append', ...COMMON, firstIndex, records },
  previousEpoch: firstIndex === 1 ? 0 : 4,
});

/** A backup with records 1 and 2 of this reign. */
function backup(): Driver {
  const driver = new Driver();
  driver.state(group(4, 'b', ['a', 'b']));
  driver.frame('b', append(1, [EPOCH_START, discard(1)]));
  expect(driver.sent('ack')).toMatchObject([{ nextIndex: 3 }]);
  return driver;
}

const appended = (driver: Driver) =>
  driver.effects.flatMap((e) => (e.kind === 'append' ? [{ at: e.firstIndex, count: e.records.length }] : []));

describe('a backup', () => {
  it('takes no records that would leave a gap, and says where it stands', () => {
    const driver = backup();
    driver.frame('b', append(4, [discard(3)]));
    expect(driver.effects).toMatchObject([{ kind: 'send', frame: { kind: 'position', nextIndex: 3 } }]);
    expect(driver.core.log).toMatchObject({ nextIndex: 3, appendedIndex: 3 });
    driver.frame('b', append(3, [discard(2), discard(3)]));
    expect(appended(driver)).toEqual([{ at: 3, count: 2 }]);
  });

  it('takes of a message only what it has not got yet', () => {
    const driver = backup();
    driver.frame('b', append(2, [discard(1), discard(2), discard(3)]));
    expect(appended(driver)).toEqual([{ at: 3, count: 2 }]);
    expect(driver.core.log.nextIndex).toBe(5);
    const [effect] = driver.effects;
    const blocks = effect?.kind === 'append' ? effect.records.map(({ record }) => record) : [];
    expect(blocks).toMatchObject([{ firstBlock: 2 }, { firstBlock: 3 }]);
    for (const again of [append(2, [discard(1)]), append(2, [discard(1), discard(2), discard(3)])]) {
      driver.frame('b', again);
      expect(appended(driver)).toEqual([]);
      expect(driver.sent('ack')).toMatchObject([{ nextIndex: 5 }]);
    }
  });

  it('starts over once, though it is told to twice', () => {
    const driver = new Driver([{ epoch: 2, startIndex: 1 }], 3);
    driver.state(group(4, 'b', ['b']));
    const epochs = [{ epoch: 3, startIndex: 1 }];
    const snapshot = encodeLuns({ luns: [], lunsIndex: 7 });
    const reset: PrimaryFrame = { ...COMMON, kind: 'reset', baseIndex: 7, epochs, snapshot };
    driver.frame('b', reset);
    expect(driver.effects.map((e) => e.kind)).toEqual(['reset', 'send']);
    driver.frame('b', { ...append(7, [EPOCH_START, discard(1)]), previousEpoch: 3 } as PrimaryFrame);
    expect(driver.core.log).toMatchObject({ nextIndex: 9, appendedIndex: 9 });
    driver.frame('b', reset);
    expect(driver.effects.map((e) => e.kind)).toEqual(['send']);
    expect(driver.sent('ack')).toMatchObject([{ nextIndex: 9 }]);
    expect(driver.core.log).toMatchObject({ nextIndex: 9, appendedIndex: 9 });
  });

  it('goes by nothing that was begun before it started over', () => {
    const driver = new Driver([{ epoch: 2, startIndex: 1 }], 3);
    driver.state(group(4, 'b', ['b']));
    const snapshot = encodeLuns({ luns: [], lunsIndex: 7 });
    driver.frame('b', { ...COMMON, kind: 'reset', baseIndex: 7, epochs: [], snapshot });
    driver.step({ kind: 'appended', cut: 0, appendedIndex: 9 });
    driver.step({ kind: 'synced', cut: 0, durableIndex: 9 });
    expect(driver.core.log).toMatchObject({ nextIndex: 7, appendedIndex: 7, durableIndex: 7 });
  });

  it('has nothing durable of what was cut', () => {
    const driver = new Driver([{ epoch: 2, startIndex: 1 }], 6);
    driver.frame('b', { ...COMMON, kind: 'truncate', fromIndex: 3 });
    expect(driver.sent('ack')).toMatchObject([{ nextIndex: 3, durableIndex: 3 }]);
  });

  it('says where it stands when it is to cut what it does not have', () => {
    const driver = new Driver([{ epoch: 2, startIndex: 1 }], 6);
    driver.frame('b', { ...COMMON, kind: 'truncate', fromIndex: 7 });
    expect(driver.core.log).toMatchObject({ nextIndex: 6, cut: 0 });
    expect(driver.sent('position')).toMatchObject([{ nextIndex: 6 }]);
  });
});

describe('a primary', () => {
  const position = (driver: Driver, epochs: readonly EpochEntry[]) =>
    driver.ack('b', 4, { kind: 'position', epochs });

  it('has a member start over whose log ends before a loss that was accepted, however well it agrees', () => {
    const log = [{ epoch: 2, startIndex: 1 }];
    const before = new Driver(log, 4);
    before.state({ ...group(3, 'a', ['a']), lossAcceptedEpoch: 3 });
    position(before, log);
    expect(before.effects).toMatchObject([{ kind: 'sendReset', to: 'b' }]);
    expect(before.primary?.members.get('b')?.mode).toBe('probing');
    const after = new Driver(log, 4);
    after.state({ ...group(3, 'a', ['a']), lossAcceptedEpoch: 2 });
    position(after, log);
    expect(after.effects).toMatchObject([{ kind: 'stream', fromIndex: 4 }]);
  });

  it('has a member start over that lacks what has been let go of since it was last heard', () => {
    const driver = new Driver();
    driver.state(group(3, 'a', ['a']));
    driver.tick();
    for (let i = 0; i < 3; i++) driver.append();
    driver.ack('b', 2, { full: true, imagesReady: false });
    driver.step({ kind: 'trimmed', baseIndex: 4 });
    expect(driver.core.log.baseIndex).toBe(4);
    driver.ack('b', 2, { imagesReady: false });
    expect(driver.effects.map((e) => e.kind)).not.toContain('stream');
    expect(driver.effects).toContainEqual({ kind: 'sendReset', to: 'b' });
  });

  it('has a member start over, not cut its log, where the two part before what is left of its own', () => {
    const driver = new Driver([{ epoch: 2, startIndex: 3 }], 6);
    driver.core.log.baseIndex = 5;
    driver.state(group(3, 'a', ['a']));
    position(driver, [{ epoch: 1, startIndex: 1 }]);
    expect(driver.effects).toMatchObject([{ kind: 'sendReset', to: 'b' }]);
  });

  it('reads for a member once at a time', () => {
    const driver = new Driver();
    driver.state(group(3, 'a', ['a', 'b']));
    driver.ack('b', 1);
    expect(driver.effects.filter((e) => e.kind === 'stream')).toHaveLength(1);
    driver.append();
    expect(driver.effects.filter((e) => e.kind === 'stream')).toEqual([]);
    driver.step({
      kind: 'streamed',
      to: identity('b'),
      fromIndex: 1,
      sent: { nextIndex: 2, lengthBytes: 9 },
    });
    expect(driver.effects).toMatchObject([{ kind: 'stream', fromIndex: 2 }]);
  });
});
