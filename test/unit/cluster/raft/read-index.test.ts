import { describe, expect, it } from 'vitest';
import { PendingReads } from '../../../../cluster/raft/read-only.ts';
import { bytes, storageWith, TestCluster, TestNode } from './test-cluster.ts';

function contexts(node: TestNode): string[] {
  return node.reads.map(({ requestContext }) => Buffer.from(requestContext).toString());
}

describe('a linearizable read', () => {
  it('on the leader is answered with the commit index once a quorum has answered a heartbeat', () => {
    const cluster = new TestCluster([1, 2, 3]);
    const leader = cluster.elect(1);
    cluster.propose(1, 'a');
    cluster.passes = ({ type }) => type !== 'MsgHeartbeatResp';
    leader.raft.readIndex(bytes('r'));
    cluster.settle();
    expect(leader.reads).toEqual([]);
    cluster.heal();
    cluster.heartbeat(1);
    expect(leader.reads).toEqual([{ index: leader.commit, requestContext: bytes('r') }]);
  });

  it('on a follower is asked of the leader', () => {
    const cluster = new TestCluster([1, 2, 3]);
    cluster.elect(1);
    cluster.propose(1, 'a');
    cluster.node(3).raft.readIndex(bytes('far'));
    cluster.settle();
    expect(cluster.node(3).reads).toEqual([{ index: cluster.node(1).commit, requestContext: bytes('far') }]);
  });

  it('without a leader is never answered', () => {
    const node = new TestNode(1, storageWith([1, 2, 3]));
    node.raft.readIndex(bytes('r'));
    expect(node.settle()).toEqual([]);
    expect(node.events.at(-1)).toMatchObject({ event: 'readIndexDropped' });
  });

  it('waits for the first commit of the term, before which the commit index may be old', () => {
    const storage = storageWith([1, 2, 3], [1, 1]);
    const leader = new TestNode(1, storage);
    leader.raft.campaign();
    leader.settle();
    leader.step({ type: 'MsgVoteResp', from: 2, to: 1, term: 2 });
    leader.raft.readIndex(bytes('early'));
    const heartbeats = leader.settle().filter(({ context }) => context !== undefined);
    expect(heartbeats).toEqual([]);
    const sent = leader.step({ type: 'MsgAppResp', from: 2, to: 1, term: 2, index: 3 });
    const heartbeat = sent.find(({ type, to }) => type === 'MsgHeartbeat' && to === 2);
    expect(leader.reads).toEqual([]);
    const context = heartbeat?.context ?? bytes('none');
    leader.step({ type: 'MsgHeartbeatResp', from: 2, to: 1, term: 2, context });
    expect(leader.reads).toEqual([{ index: 3, requestContext: bytes('early') }]);
  });

  it('on a leader that has been replaced without knowing is never answered', () => {
    const cluster = new TestCluster([1, 2, 3]);
    const old = cluster.elect(1);
    cluster.isolate(1);
    cluster.elect(2);
    cluster.propose(2, 'news');
    old.raft.readIndex(bytes('stale'));
    cluster.settle();
    cluster.heal();
    cluster.heartbeat(2);
    cluster.heartbeat(2);
    expect(old.reads).toEqual([]);
    expect(old.applied).toEqual(['news']);
  });

  it('is not confirmed by the late answer to an earlier heartbeat', () => {
    const cluster = new TestCluster([1, 2, 3]);
    const leader = cluster.elect(1);
    leader.raft.readIndex(bytes('first'));
    const [request] = leader.settle().filter(({ to }) => to === 2);
    const [lateAnswer] = cluster.node(2).step(request as never);
    leader.raft.readIndex(bytes('second'));
    leader.settle();
    leader.step(lateAnswer as never);
    expect(contexts(leader)).toEqual(['first']);
  });

  it('in a cluster of one is answered at once', () => {
    const cluster = new TestCluster([1]);
    const leader = cluster.elect(1);
    leader.raft.readIndex(bytes('r'));
    cluster.settle();
    expect(contexts(leader)).toEqual(['r']);
  });

  it('rests on the lease where that is chosen, without a message', () => {
    const cluster = new TestCluster([1, 2, 3], { readOnlyOption: 'leaseBased', checkQuorum: true });
    const leader = cluster.elect(1);
    cluster.isolate(2, 3);
    leader.raft.readIndex(bytes('r'));
    cluster.settle();
    expect(contexts(leader)).toEqual(['r']);
    expect(() => new TestCluster([1], { readOnlyOption: 'leaseBased' })).toThrow(/checkQuorum/);
  });

  it('needs both majorities of a joint configuration', () => {
    const reads = new PendingReads();
    const request = { type: 'MsgReadIndex', from: 0, to: 1, context: bytes('r') } as const;
    reads.add(request, 7);
    const context = reads.heartbeatContext() as Uint8Array;
    const voters = { incoming: new Set([1, 2, 3]), outgoing: new Set([3, 4, 5]) };
    for (const id of [1, 2]) reads.acknowledge(id, context);
    expect(reads.takeConfirmed(voters)).toEqual([]);
    reads.acknowledge(4, context);
    expect(reads.takeConfirmed(voters)).toEqual([]);
    reads.acknowledge(3, context);
    expect(reads.takeConfirmed(voters)).toEqual([{ request, index: 7 }]);
    expect(reads.heartbeatContext()).toBeUndefined();
  });

  it('takes no acknowledgement of what was never asked', () => {
    const reads = new PendingReads();
    const forged = Buffer.alloc(8, 0xff);
    const voters = { incoming: new Set([1]), outgoing: new Set<number>() };
    reads.acknowledge(1, forged);
    reads.acknowledge(1, bytes('short'));
    reads.add({ type: 'MsgReadIndex', from: 0, to: 1 }, 3);
    expect(reads.takeConfirmed(voters)).toEqual([]);
  });
});

describe('the only voter, started again', () => {
  it('answers no read before it has committed an entry of its own term', () => {
    // Its entries are durable, and that they were committed is not on its disk.
    const node = new TestNode(1, storageWith([1], [1, 1, 1]));
    node.raft.campaign();
    while (node.status.role !== 'leader') {
      const { hardState, entries } = node.raft.ready();
      if (hardState !== undefined) node.storage.setHardState(hardState);
      node.storage.append(entries);
      node.raft.advance();
    }
    node.raft.readIndex(bytes('r'));
    node.settle();
    expect(node.reads.map((read) => read.index)).toEqual([4]);
  });
});
