import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../../base/clock.ts';
import { CounterSet } from '../../../base/counters.ts';
import { silentLogger } from '../../../base/logger.ts';
import type { PeerTransport } from '../../../base/peer-transport.ts';
import {
  MAX_SNAPSHOT_ATTEMPTS,
  MAX_SNAPSHOT_BYTES,
  SNAPSHOT_CHUNK_BYTES,
  SNAPSHOT_GIVE_UP_MS,
  SNAPSHOT_REPEAT_MS,
} from '../../../cluster/limits.ts';
import { decodePeerMessage, type PeerMessage } from '../../../cluster/peer-message.ts';
import type { ConfState, Snapshot } from '../../../cluster/raft/index.ts';
import { RaftStore } from '../../../cluster/raft-store.ts';
import { encodeSnapshotMessage } from '../../../cluster/snapshot-messages.ts';
import { type ArrivedSnapshot, SnapshotReceiver } from '../../../cluster/snapshot-receiver.ts';
import { SnapshotSender } from '../../../cluster/snapshot-sender.ts';
import { sha256Of } from '../../../cluster/snapshot-spool.ts';
import { MemoryDisk, MemoryRecordLog } from '../../support/memory-record-log.ts';
import { eventually } from '../../support/real-time.ts';

const MEMBERS: ConfState = {
  voters: [1, 2],
  learners: [],
  votersOutgoing: [],
  learnersNext: [],
  autoLeave: false,
};
const CHUNKS = 5;

/** Content of which each chunk differs. */
function content(sizeBytes: number): Buffer {
  const bytes = Buffer.alloc(sizeBytes);
  for (let at = 0; at + 4 <= sizeBytes; at += 4) bytes.writeUInt32BE(at, at);
  return bytes;
}

const SNAPSHOT: Snapshot = {
  metadata: { index: 100, term: 3, confState: MEMBERS },
  data: content((CHUNKS - 1) * SNAPSHOT_CHUNK_BYTES + 100),
};

/** A leader "a" and a peer "b" that can be started again, with a link that the test rules over. */
class Pair {
  readonly clock = new ManualClock();
  readonly disk = new MemoryDisk();
  readonly counters = new CounterSet();
  readonly ends: string[] = [];
  readonly arrived: ArrivedSnapshot[] = [];
  /** What gets through, and how. */
  pass: (message: PeerMessage, bytes: Uint8Array) => Uint8Array | undefined = (_message, bytes) => bytes;
  readonly sender: SnapshotSender;
  receiver: SnapshotReceiver | undefined;
  store: RaftStore | undefined;

  constructor() {
    const common = { clock: this.clock, logger: silentLogger, counters: this.counters };
    this.sender = new SnapshotSender({ ...common, transport: this.#link((m) => this.#toPeer(m)) });
  }

  async start(): Promise<void> {
    this.store = await RaftStore.open(new MemoryRecordLog(this.disk), MEMBERS);
    const transport = this.#link((m) => this.#toLeader(m));
    this.receiver = new SnapshotReceiver(
      this.store,
      { transport, logger: silentLogger, counters: this.counters },
      {
        arrived: (arrived) => this.arrived.push(arrived),
        failed: (error) => {
          throw error;
        },
        isKnown: () => false,
      },
    );
  }

  #link(deliver: (message: PeerMessage) => void): PeerTransport {
    return {
      send: (_to: string, parts: readonly Uint8Array[]) => {
        const bytes = Buffer.concat(parts);
        const passed = this.pass(decodePeerMessage(bytes), bytes);
        if (passed !== undefined) setImmediate(() => deliver(decodePeerMessage(passed)));
        return true;
      },
    } as unknown as PeerTransport;
  }

  #toPeer(message: PeerMessage): void {
    if (message.kind === 'snapshotOffer') this.receiver?.offered('a', message);
    if (message.kind === 'snapshotChunk') this.receiver?.chunk('a', message);
  }

  #toLeader(message: PeerMessage): void {
    if (message.kind === 'snapshotWant') this.sender.wanted('b', message);
    if (message.kind === 'snapshotRefusal') this.sender.refused('b', message);
  }

  send(): void {
    this.sender.send('b', SNAPSHOT, { term: 3 }, (outcome) => this.ends.push(outcome));
  }

  async ended(): Promise<void> {
    await eventually('the transfer ends', () => this.ends.length > 0);
  }
}

async function pair(): Promise<Pair> {
  const made = new Pair();
  await made.start();
  return made;
}

describe('a snapshot', () => {
  it('goes in chunks, one at a time, and arrives as it was', async () => {
    const two = await pair();
    let underWay = 0;
    let most = 0;
    two.pass = (message, bytes) => {
      if (message.kind === 'snapshotChunk') underWay += 1;
      if (message.kind === 'snapshotWant') underWay = 0;
      most = Math.max(most, underWay);
      return bytes;
    };
    two.send();
    await two.ended();
    expect(two.ends).toEqual(['finish']);
    expect(most).toBe(1);
    expect(two.counters.get('cluster.snapshot.chunks-sent')).toBe(CHUNKS);
    expect(two.arrived).toHaveLength(1);
    expect(Buffer.compare(two.arrived[0]?.snapshot.data ?? Buffer.alloc(0), SNAPSHOT.data)).toBe(0);
    expect(two.arrived[0]?.snapshot.metadata).toEqual(SNAPSHOT.metadata);
  });

  it('goes on where it was when a link breaks, and when a message is lost', async () => {
    const two = await pair();
    let chunks = 0;
    two.pass = (message, bytes) => {
      if (message.kind === 'snapshotChunk') chunks += 1;
      return chunks === 3 ? undefined : bytes;
    };
    two.send();
    await eventually('the link is broken', () => chunks === 3);
    two.pass = (_message, bytes) => bytes;
    two.sender.linkUp('b');
    await two.ended();
    // The lost one twice, all others once.
    expect(two.counters.get('cluster.snapshot.chunks-sent')).toBe(CHUNKS + 1);
    expect(two.counters.get('cluster.snapshot.resumed')).toBe(1);
    const three = await pair();
    let wants = 0;
    three.pass = (message, bytes) => {
      if (message.kind === 'snapshotWant') wants += 1;
      return message.kind === 'snapshotWant' && wants === 2 ? undefined : bytes;
    };
    three.send();
    await eventually('one is lost', () => wants === 2);
    three.clock.advance(SNAPSHOT_REPEAT_MS + 1);
    three.sender.tick();
    await three.ended();
    expect(three.counters.get('cluster.snapshot.chunks-sent')).toBe(CHUNKS);
  });

  it('goes on where it was when the peer starts again', async () => {
    const two = await pair();
    let chunks = 0;
    two.pass = (message, bytes) => {
      if (message.kind === 'snapshotChunk') chunks += 1;
      return chunks > 3 ? undefined : bytes;
    };
    two.send();
    await eventually('the peer is cut off', () => chunks === 4);
    // What is on disk without having been made durable may survive, too.
    two.disk.crash(3);
    await two.start();
    expect(two.store?.spool?.filledBytes).toBe(3 * SNAPSHOT_CHUNK_BYTES);
    chunks = 0;
    two.pass = (message, bytes) => {
      if (message.kind === 'snapshotChunk') chunks += 1;
      return bytes;
    };
    two.sender.linkUp('b');
    await two.ended();
    expect(chunks).toBe(CHUNKS - 3);
    expect(Buffer.compare(two.arrived[0]?.snapshot.data ?? Buffer.alloc(0), SNAPSHOT.data)).toBe(0);
  });

  it('is fetched again when its content is wrong, and refused when it stays so', async () => {
    const two = await pair();
    let spoiled = 0;
    const spoil = (times: number) => (message: PeerMessage, bytes: Uint8Array) => {
      if (message.kind !== 'snapshotChunk' || message.offsetBytes === 0 || spoiled >= times) return bytes;
      spoiled += 1;
      const damaged = Buffer.from(message.bytes);
      damaged[7] = (damaged[7] ?? 0) ^ 1;
      return Buffer.concat(encodeSnapshotMessage({ ...message, bytes: damaged }));
    };
    two.pass = spoil(1);
    two.send();
    await two.ended();
    expect(two.ends).toEqual(['finish']);
    expect(two.counters.get('cluster.snapshot.bad-hash')).toBe(1);
    expect(two.arrived).toHaveLength(1);
    expect(Buffer.compare(two.arrived[0]?.snapshot.data ?? Buffer.alloc(0), SNAPSHOT.data)).toBe(0);
    const three = await pair();
    spoiled = 0;
    three.pass = spoil(Number.POSITIVE_INFINITY);
    three.send();
    await three.ended();
    expect(three.ends).toEqual(['failure']);
    expect(three.arrived).toEqual([]);
    expect(three.counters.get('cluster.snapshot.bad-hash')).toBe(MAX_SNAPSHOT_ATTEMPTS);
  });

  it('that is too large is refused before anything of it is sent', async () => {
    const two = await pair();
    const said: PeerMessage[] = [];
    two.pass = (message) => {
      said.push(message);
      return undefined;
    };
    two.receiver?.offered('a', {
      term: 3,
      metadata: SNAPSHOT.metadata,
      totalBytes: MAX_SNAPSHOT_BYTES + 1,
      sha256: sha256Of(Buffer.alloc(0)),
      nonce: undefined,
    });
    expect(said).toMatchObject([{ kind: 'snapshotRefusal' }]);
  });

  it('is given up when the peer says nothing for long', async () => {
    const two = await pair();
    two.pass = () => undefined;
    two.send();
    two.clock.advance(SNAPSHOT_GIVE_UP_MS);
    two.sender.tick();
    expect(two.ends).toEqual([]);
    two.clock.advance(1);
    two.sender.tick();
    expect(two.ends).toEqual(['failure']);
    expect(two.sender.lowestIndex).toBe(Number.POSITIVE_INFINITY);
  });
});
