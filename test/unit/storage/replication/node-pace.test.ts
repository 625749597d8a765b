import { describe, expect, it } from 'vitest';
import {
  CATCH_UP_MAX_BYTES_PER_SECOND,
  CATCH_UP_MIN_BYTES_PER_SECOND,
  TICK_MS,
} from '../../../../storage/replication/limits.ts';
import {
  type GroupPace,
  NodePace,
  type OtherWorkers,
  type WorkerPart,
} from '../../../../storage/replication/node-pace.ts';
import { CLIENTS, type Clients } from '../../../../storage/replication/pace-lane.ts';

const MIB = 1024 * 1024;
const MESSAGE_BYTES = MIB / 4;

/** A group of a node, some of whose copies catch up. */
interface Sender {
  readonly pace: GroupPace;
  clients: Clients;
  /** What its last copy lacks; undefined: none catches up. */
  gapRecords: number | undefined;
  /** What links take in a second. */
  linkBytesPerSecond: number;
  sentBytes: number;
}

function senders(node: NodePace, count: number): Sender[] {
  return Array.from({ length: count }, () => ({
    pace: node.enter(),
    clients: CLIENTS.idle,
    gapRecords: 1_000_000,
    linkBytesPerSecond: Number.POSITIVE_INFINITY,
    sentBytes: 0,
  }));
}

/** Bytes a second of each group, over so long. All tick, one shortly after the other, and send what they may. */
class Clockwork {
  #nowMs = 1_000;

  run(all: readonly Sender[], forMs: number, limit = CATCH_UP_MAX_BYTES_PER_SECOND): number[] {
    const before = all.map(({ sentBytes }) => sentBytes);
    for (const untilMs = this.#nowMs + forMs; this.#nowMs < untilMs; ) {
      for (const [i, sender] of all.entries()) this.#turn(sender, this.#nowMs + i, limit);
      this.#nowMs += TICK_MS;
    }
    return all.map(({ sentBytes }, i) => ((sentBytes - (before[i] as number)) * 1_000) / forMs);
  }

  #turn(sender: Sender, nowMs: number, limit: number): void {
    const { pace, gapRecords } = sender;
    if (gapRecords === undefined) pace.sending.rest();
    else pace.sending.follow(gapRecords, nowMs);
    pace.tick(sender.clients, limit, nowMs);
    if (gapRecords === undefined) return;
    let linkBytes = (sender.linkBytesPerSecond * TICK_MS) / 1_000;
    for (; pace.sending.isOpen && linkBytes > 0; linkBytes -= MESSAGE_BYTES) {
      const lengthBytes = Math.min(MESSAGE_BYTES, linkBytes);
      // More than anybody takes in one tick.
      if (sender.sentBytes > 1024 ** 5) throw new Error('there is no bound');
      pace.sending.use(lengthBytes);
      sender.sentBytes += lengthBytes;
      sender.gapRecords = Math.max(1, gapRecords - 1);
    }
  }
}

const sum = (rates: readonly number[]): number => rates.reduce((total, rate) => total + rate, 0);

describe('what a node sends to copies that catch up', () => {
  it.each([1, 2, 8])('is bounded for all of its groups together, which have the same of it: %i', (count) => {
    const all = senders(new NodePace(), count);
    const clockwork = new Clockwork();
    const limit = 48 * MIB;
    clockwork.run(all, 2_000, limit);
    const rates = clockwork.run(all, 10_000, limit);
    expect(sum(rates)).toBeGreaterThan(0.95 * limit);
    expect(sum(rates)).toBeLessThan(1.02 * limit);
    for (const rate of rates) {
      expect(rate).toBeGreaterThan((0.9 * limit) / count);
      expect(rate).toBeLessThan((1.1 * limit) / count);
    }
  });

  it('is all for the one whose copies catch up, however many there are', () => {
    const all = senders(new NodePace(), 8);
    for (const sender of all.slice(1)) sender.gapRecords = undefined;
    const clockwork = new Clockwork();
    clockwork.run(all, 1_000, 48 * MIB);
    expect(clockwork.run(all, 5_000, 48 * MIB)[0]).toBeGreaterThan(0.95 * 48 * MIB);
    const [alone] = all as [Sender];
    const open = clockwork.run(all, 1_000);
    expect(open[0]).toBeGreaterThan(0.8 * CATCH_UP_MAX_BYTES_PER_SECOND);
    alone.gapRecords = undefined;
    expect(sum(clockwork.run(all, 1_000))).toBe(0);
  });

  it('is left to others by one that has no use for its share', () => {
    const all = senders(new NodePace(), 3);
    (all[0] as Sender).linkBytesPerSecond = 4 * MIB;
    const clockwork = new Clockwork();
    clockwork.run(all, 2_000, 64 * MIB);
    const [slow, ...others] = clockwork.run(all, 10_000, 64 * MIB);
    expect(slow).toBeGreaterThan(3.9 * MIB);
    expect(sum(others)).toBeGreaterThan(0.95 * 60 * MIB);
    for (const rate of others) expect(rate).toBeGreaterThan(0.9 * ((64 * MIB) / 3));
  });

  it('gives way to clients of any group, and comes to no less than a little for each', () => {
    const all = senders(new NodePace(), 9);
    const busy = all[8] as Sender;
    busy.gapRecords = undefined;
    const clockwork = new Clockwork();
    clockwork.run(all, 2_000);
    busy.clients = CLIENTS.wait;
    clockwork.run(all, 2_000);
    const rates = clockwork.run(all, 10_000).slice(0, 8);
    expect(sum(rates)).toBeLessThan(1.05 * CATCH_UP_MIN_BYTES_PER_SECOND);
    for (const rate of rates) expect(rate).toBeGreaterThan((0.9 * CATCH_UP_MIN_BYTES_PER_SECOND) / 8);
    busy.pace.leave();
    expect(sum(clockwork.run(all.slice(0, 8), 1_000))).toBeGreaterThan(20 * CATCH_UP_MIN_BYTES_PER_SECOND);
  });

  it('changes as fast for many groups as for one', () => {
    const node = new NodePace();
    const all = senders(node, 8);
    new Clockwork().run(all, 4 * TICK_MS);
    expect(node.sending.bytesPerSecond).toBeGreaterThan(8 * CATCH_UP_MIN_BYTES_PER_SECOND);
    expect(node.sending.bytesPerSecond).toBeLessThan(20 * CATCH_UP_MIN_BYTES_PER_SECOND);
  });

  it('is more for the one that does not come nearer, and not less for the others', () => {
    const all = senders(new NodePace(), 4);
    const clockwork = new Clockwork();
    const [far] = all as [Sender];
    for (const sender of all) sender.clients = CLIENTS.wait;
    const run = (forMs: number): number[] => {
      let rates: number[] = [];
      for (let ms = 0; ms < forMs; ms += 1_000) {
        // Its clients write as much as it is sent.
        far.gapRecords = 1_000_000;
        rates = clockwork.run(all, 1_000);
      }
      return rates;
    };
    run(2_000);
    const [most, ...others] = run(20_000);
    expect(most).toBeGreaterThan(4 * CATCH_UP_MIN_BYTES_PER_SECOND);
    for (const rate of others) {
      expect(rate).toBeGreaterThan((0.9 * CATCH_UP_MIN_BYTES_PER_SECOND) / 4);
      expect(rate).toBeLessThan((1.5 * CATCH_UP_MIN_BYTES_PER_SECOND) / 4);
    }
  });

  it('is bounded for all workers of the node together', () => {
    const told: WorkerPart[] = [];
    const worker = (own: number): OtherWorkers => ({
      tell: (part) => {
        told[own] = part;
      },
      others: () => {
        const none = { groups: 0, floorBytesPerSecond: 0 };
        return told[1 - own] ?? { clients: CLIENTS.idle, sending: none, taking: none, compactions: 0 };
      },
    });
    const [one, other] = [new NodePace(worker(0)), new NodePace(worker(1))];
    const all = [...senders(one, 3), ...senders(other, 1)];
    const clockwork = new Clockwork();
    const limit = 48 * MIB;
    clockwork.run(all, 2_000, limit);
    const rates = clockwork.run(all, 10_000, limit);
    expect(sum(rates)).toBeGreaterThan(0.95 * limit);
    expect(sum(rates)).toBeLessThan(1.02 * limit);
    for (const rate of rates) expect(rate).toBeGreaterThan((0.9 * limit) / 4);
    (all[3] as Sender).clients = CLIENTS.wait;
    clockwork.run(all, 2_000);
    expect(sum(clockwork.run(all, 10_000))).toBeLessThan(1.05 * CATCH_UP_MIN_BYTES_PER_SECOND);
    // Its last group is no longer this node's.
    all.pop()?.pace.leave();
    clockwork.run(all, 1_000);
    expect(sum(clockwork.run(all, 1_000))).toBeGreaterThan(0.8 * CATCH_UP_MAX_BYTES_PER_SECOND);
  });
});
