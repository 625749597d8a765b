import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../../base/clock.ts';
import { CounterSet } from '../../../base/counters.ts';
import { silentLogger } from '../../../base/logger.ts';
import type { PeerTransport } from '../../../base/peer-transport.ts';
import { SeededRandom } from '../../../base/random.ts';
import { REFETCH_RETRY_MS, RENEW_AFTER_ASKING, RENEW_AFTER_ASKING_MAX } from '../../../cluster/limits.ts';
import { decodePeerMessage, encodeRefetchNote } from '../../../cluster/peer-message.ts';
import type { ConfState, Message } from '../../../cluster/raft/index.ts';
import { RaftMembers } from '../../../cluster/raft-members.ts';
import { RaftStore } from '../../../cluster/raft-store.ts';
import { Refetch } from '../../../cluster/refetch.ts';
import type { ArrivedSnapshot } from '../../../cluster/snapshot-receiver.ts';
import { MemoryDisk, MemoryRecordLog } from '../../support/memory-record-log.ts';
import { eventually } from '../../support/real-time.ts';
import { storageWith, TestCluster, TestNode } from './raft/test-cluster.ts';

const MEMBERS: ConfState = {
  voters: [1, 2, 3],
  learners: [],
  votersOutgoing: [],
  learnersNext: [],
  autoLeave: false,
};

async function setUp() {
  const disk = new MemoryDisk();
  const store = await RaftStore.open(new MemoryRecordLog(disk), MEMBERS, undefined, 'damaged');
  const wanted = [1, 2, 3].map((id) => ({ nodeId: `n${id}`, raftId: id, leaving: false }));
  const members = new RaftMembers({ nodeId: 'n1', raftId: 1 }, [1, 2, 3], { wanted, others: [], left: [] });
  const clock = new ManualClock();
  const asked: string[] = [];
  let nonce = Buffer.alloc(0);
  const done: ArrivedSnapshot[] = [];
  const refetch = new Refetch({
    reason: 'damaged',
    store,
    members,
    receiver: { offered: () => {}, chunk: () => {}, progress: undefined },
    transport: {
      send: (to: string, parts: readonly Uint8Array[]) => {
        const message = decodePeerMessage(Buffer.concat(parts));
        if (message.kind === 'refetchQuery') nonce = Buffer.from(message.nonce);
        asked.push(to);
        return true;
      },
    } as unknown as PeerTransport,
    timers: clock,
    random: new SeededRandom(1),
    logger: silentLogger,
    counters: new CounterSet(),
    done: (arrived) => done.push(arrived),
    failed: (error) => {
      throw error;
    },
  });
  refetch.start();
  const note = (from: string, term: number, of = nonce): void =>
    refetch.receive(from, Buffer.concat(encodeRefetchNote(of, term)));
  const arrive = (from: string, term: number, of = nonce, confState = MEMBERS): void => {
    const metadata = { index: 50, term: term - 1, confState };
    const offer = { term, metadata, totalBytes: 1, sha256: Buffer.alloc(32), nonce: of };
    refetch.arrived({ nodeId: from, offer, snapshot: { metadata, data: Buffer.from('s') } });
  };
  return { disk, refetch, clock, asked, done, note, arrive };
}

/** Time for what might come about wrongly. */
const turns = async (): Promise<void> => {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
};

describe('a recovering node', () => {
  it('counts only under a leader of at least the highest term of any other voter', async () => {
    const { disk, done, note, arrive, refetch } = await setUp();
    arrive('n2', 5);
    await turns();
    expect(refetch.status.waitingFor).toEqual(['n2', 'n3']);
    note('n2', 5);
    await turns();
    expect(done).toEqual([]);
    // In term 7 this node may have voted for n3: what n2 leads in term 5 must not count on it.
    note('n3', 7);
    await turns();
    expect(done).toEqual([]);
    arrive('n3', 7);
    await eventually('it is whole', () => done.length === 1);
    disk.crash();
    const again = await RaftStore.open(new MemoryRecordLog(disk), MEMBERS);
    // It votes for nobody else in a term in which it may have voted.
    expect(again.initialState().hardState).toEqual({ term: 7, vote: 3, commit: 50 });
    expect(again.lost).toBeUndefined();
    expect(again.firstIndex()).toBe(51);
  });

  it('takes nothing for an answer that was said to another start of it', async () => {
    const { done, note, arrive } = await setUp();
    const stale = Buffer.alloc(16, 9);
    note('n2', 5, stale);
    note('n3', 5, stale);
    arrive('n2', 5, stale);
    note('n2', 5);
    note('n3', 5);
    await turns();
    expect(done).toEqual([]);
    arrive('n2', 5);
    await eventually('it is whole', () => done.length === 1);
  });

  it('asks again for what it lacks, and for no more', async () => {
    const { asked, clock, arrive, note } = await setUp();
    expect(asked.splice(0)).toEqual(['n2', 'n3']);
    clock.advance(REFETCH_RETRY_MS);
    expect(asked.splice(0)).toEqual(['n2', 'n3']);
    note('n2', 5);
    arrive('n2', 5);
    clock.advance(REFETCH_RETRY_MS);
    expect(asked).toEqual(['n3']);
  });
});

describe('a recovering node that waits for a voter that has been removed', () => {
  it('fetches a newer snapshot, by which it waits no more', async () => {
    const { refetch, clock, asked, arrive, note, done } = await setUp();
    note('n2', 5);
    arrive('n2', 5);
    for (let i = 0; i < RENEW_AFTER_ASKING; i++) clock.advance(REFETCH_RETRY_MS);
    expect(new Set(asked.slice(2))).toEqual(new Set(['n3']));
    asked.length = 0;
    clock.advance(REFETCH_RETRY_MS);
    expect(asked).toEqual(['n2', 'n3']);
    expect(refetch.status.waitingFor).toEqual(['n3']);
    arrive('n2', 5, undefined, { ...MEMBERS, voters: [1, 2] });
    await eventually('it is whole', () => done.length === 1);
  });

  it('does so ever more rarely', async () => {
    const { clock, asked, arrive, note } = await setUp();
    note('n2', 5);
    const timesUntilRenewed = (): number => {
      arrive('n2', 5);
      asked.length = 0;
      for (let times = 1; ; times++) {
        clock.advance(REFETCH_RETRY_MS);
        if (asked.includes('n2')) return times;
      }
    };
    expect(timesUntilRenewed()).toBe(RENEW_AFTER_ASKING + 1);
    expect(timesUntilRenewed()).toBe(2 * RENEW_AFTER_ASKING + 1);
    for (let i = 0; i < 5; i++) timesUntilRenewed();
    expect(timesUntilRenewed()).toBe(RENEW_AFTER_ASKING_MAX + 1);
  });
});

describe('a leader that learns of a lost log', () => {
  it('counts nothing that was acknowledged before, and sends it all again', () => {
    const cluster = new TestCluster([1, 2, 3, 4, 5]);
    const leader = cluster.elect(1);
    cluster.isolate(3, 4, 5);
    leader.raft.propose(Buffer.from('a'));
    cluster.settle();
    const { commit } = leader.status.hardState;
    const match = (id: number) => leader.status.progress.find((p) => p.id === id)?.match;
    expect(match(2)).toBe(leader.status.lastIndex);
    // With the deliberate fault of not being told, the next acknowledgement would commit it with two copies left.
    leader.raft.forgetPeerLog(2);
    expect(match(2)).toBe(0);
    cluster.heal();
    cluster.isolate(2, 4, 5);
    cluster.heartbeat(1);
    cluster.settle();
    expect(match(3)).toBe(leader.status.lastIndex);
    expect(leader.status.hardState.commit).toBe(commit);
    leader.raft.forgetPeerLog(1);
    expect(match(1)).toBe(leader.status.lastIndex);
  });
});

describe('a recovering node that did not wait for one of the others', () => {
  it('would be all that two majorities have in common: a leader would lack what is committed', () => {
    const everybody = [1, 2, 3, 4, 5];
    const cluster = new TestCluster(everybody);
    const leader = cluster.elect(1);
    // Node 5 asks for votes in term 2. Node 3 gives it one; what it asks of node 4 is under way for long.
    let late: Message | undefined;
    cluster.passes = (message) => {
      if (message.from === 5 && message.to === 4 && message.type === 'MsgVote') late = message;
      return [message.from, message.to].every((id) => id === 3 || id === 5);
    };
    cluster.elect(5);
    expect(cluster.node(3).status.hardState).toMatchObject({ term: 2, vote: 5 });
    // Node 3 loses its log. Nodes 1, 2 and 4 tell of term 1, and node 5 is not waited for.
    expect([1, 2, 4].map((id) => cluster.node(id).status.hardState.term)).toEqual([1, 1, 1]);
    const { hardState, lastIndex } = leader.status;
    const fetched = storageWith(
      everybody,
      Array.from({ length: lastIndex }, () => 1),
    );
    fetched.setHardState({ ...hardState, vote: 1 });
    cluster.nodes.set(3, new TestNode(3, fetched));
    leader.raft.forgetPeerLog(3);
    cluster.isolate(4, 5);
    cluster.propose(1, 'acknowledged');
    expect(leader.commit).toBe(lastIndex + 1);
    // By nodes 1, 2 and 3. Now node 4 hears of node 5, and neither has it.
    cluster.isolate(1, 2, 3);
    if (late === undefined) throw new Error('node 5 has asked node 4');
    cluster.node(4).raft.step(late);
    cluster.settle();
    const other = cluster.node(5);
    expect(other.status.role).toBe('leader');
    expect(other.storage.term(leader.commit)).not.toBe(leader.storage.term(leader.commit));
    // The word of node 5 is what keeps node 3 from counting in term 1.
    expect(other.status.hardState.term).toBeGreaterThan(hardState.term);
  });
});
