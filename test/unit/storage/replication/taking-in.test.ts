import { describe, expect, it } from 'vitest';
import { sealWriteRecord, writeRecordBytes } from '../../../../storage/lun/log-record.ts';
import type { ReplicaEffect } from '../../../../storage/replication/core.ts';
import {
  CATCH_UP_MIN_BYTES_PER_SECOND,
  JOIN_DISTANCE_RECORDS,
  WINDOW_BYTES,
} from '../../../../storage/replication/limits.ts';
import { NodePace } from '../../../../storage/replication/node-pace.ts';
import { COMMON, Driver, EPOCH_START, group } from './machine-driver.ts';

const MIB = 1024 * 1024;
const BLOCKS = 256;
const RECORD = Buffer.alloc(writeRecordBytes(BLOCKS), 1);
sealWriteRecord(RECORD, { epoch: 4, lunId: 1, firstBlock: 0, blockCount: BLOCKS });
const FAR = 1_000_000;
const LIMIT = 4 * MIB;

/** A copy "a" that is sent the log of "b", as fast as its acknowledgements allow. */
class Copy {
  readonly driver: Driver;
  commitIndex = FAR;
  ackedIndex = 0;
  nextIndex = 2;

  constructor(pace = new NodePace(), inSync = ['b', 'c']) {
    this.driver = new Driver([], 1, pace);
    this.tell(inSync);
    this.#hear(this.#append(1, [EPOCH_START]));
  }

  tell(inSync: string[]): void {
    this.driver.state(group(4, 'b', inSync), LIMIT);
  }

  #append(firstIndex: number, records: readonly Uint8Array[]): ReplicaEffect[] {
    const { commitIndex, driver } = this;
    const previousEpoch = firstIndex === 1 ? 0 : 4;
    return driver.frame('b', {
      ...{ kind: 'append', ...COMMON, commitIndex, firstIndex, previousEpoch, records },
    });
  }

  #hear(effects: readonly ReplicaEffect[]): void {
    for (const effect of effects) {
      if (effect.kind === 'send' && effect.frame.kind === 'ack') this.ackedIndex = effect.frame.nextIndex;
    }
  }

  /** What is sent in one tick. */
  turn(): void {
    this.#hear(this.driver.tick());
    this.fill();
  }

  fill(): void {
    while ((this.nextIndex - this.ackedIndex) * RECORD.length < WINDOW_BYTES) {
      this.#hear(this.#append(this.nextIndex, [RECORD]));
      this.nextIndex++;
      if (this.nextIndex > 100_000) throw new Error('there is no bound');
    }
  }

  heartbeat(): void {
    const { commitIndex } = this;
    this.#hear(this.driver.frame('b', { kind: 'heartbeat', ...COMMON, commitIndex }));
  }

  get isHeldBack(): boolean {
    return this.ackedIndex < this.driver.core.log.appendedIndex;
  }
}

/** Bytes a second that come to all of them. */
function rate(copies: readonly Copy[], seconds: number): number {
  const sent = (): number => copies.reduce((sum, copy) => sum + copy.nextIndex * RECORD.length, 0);
  const before = sent();
  for (let tick = 0; tick < seconds * 20; tick++) {
    for (const copy of copies) {
      copy.turn();
      if (tick % 2 === 0) copy.heartbeat();
    }
  }
  return (sent() - before) / seconds;
}

describe('copies of a node that catch up', () => {
  it.each([1, 3])('are sent what the node takes in, however many primaries send: %i', (count) => {
    const pace = new NodePace();
    const copies = Array.from({ length: count }, () => new Copy(pace));
    rate(copies, 20);
    const before = copies.map(({ ackedIndex }) => ackedIndex);
    const total = rate(copies, 30);
    expect(total).toBeGreaterThan(0.9 * LIMIT);
    expect(total).toBeLessThan(1.1 * LIMIT);
    for (const [i, copy] of copies.entries()) {
      const own = ((copy.ackedIndex - (before[i] as number)) * RECORD.length) / 30;
      expect(own).toBeGreaterThan((0.8 * LIMIT) / count);
    }
  });

  it('say all that they have where somebody waits for them', () => {
    const copy = new Copy();
    for (let i = 0; i < 10; i++) copy.turn();
    expect(copy.isHeldBack).toBe(true);
    copy.commitIndex = copy.driver.core.log.appendedIndex + JOIN_DISTANCE_RECORDS;
    copy.heartbeat();
    expect(copy.isHeldBack).toBe(false);
    const member = new Copy();
    for (let i = 0; i < 10; i++) member.turn();
    expect(member.isHeldBack).toBe(true);
    member.tell(['a', 'b']);
    member.heartbeat();
    expect(member.isHeldBack).toBe(false);
  });

  it('say where they stand once more after a broken link', () => {
    const copy = new Copy();
    for (let i = 0; i < 10; i++) copy.turn();
    expect(copy.isHeldBack).toBe(true);
    const peer = { nodeId: 'b', incarnation: 'b.1' };
    copy.driver.step({ kind: 'link', peer, up: false });
    copy.driver.step({ kind: 'link', peer, up: true });
    copy.heartbeat();
    expect(copy.isHeldBack).toBe(false);
  });

  it('give way to clients of the same node', () => {
    const pace = new NodePace();
    const copy = new Copy(pace);
    copy.driver.state(group(4, 'b', ['b', 'c']), 64 * CATCH_UP_MIN_BYTES_PER_SECOND);
    const clients = pace.enter();
    const limit = 64 * CATCH_UP_MIN_BYTES_PER_SECOND;
    const total = (fare: 0 | 2, seconds: number): number => {
      const before = copy.nextIndex;
      for (let tick = 0; tick < seconds * 20; tick++) {
        copy.turn();
        clients.tick(fare, limit, copy.driver.nowMs);
      }
      return ((copy.nextIndex - before) * RECORD.length) / seconds;
    };
    total(0, 2);
    expect(total(0, 2)).toBeGreaterThan(10 * CATCH_UP_MIN_BYTES_PER_SECOND);
    total(2, 2);
    expect(total(2, 5)).toBeLessThan(1.2 * CATCH_UP_MIN_BYTES_PER_SECOND);
  });
});
