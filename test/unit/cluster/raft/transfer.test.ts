import { describe, expect, it } from 'vitest';
import { bytes, storageWith, TestCluster, TestNode } from './test-cluster.ts';

describe('a transfer of leadership', () => {
  it.each([
    ['plain', {}],
    ['with pre-vote and check-quorum', { preVote: true, checkQuorum: true }],
  ])('to an up-to-date node succeeds at once, %s', (_, config) => {
    const cluster = new TestCluster([1, 2, 3], config);
    cluster.elect(1).raft.transferLeader(3);
    cluster.settle();
    expect(cluster.node(3).status).toMatchObject({ role: 'leader', hardState: { term: 2 } });
    expect(cluster.node(1).status).toMatchObject({ role: 'follower', leader: 3 });
  });

  it('can be asked of a follower', () => {
    const cluster = new TestCluster([1, 2, 3]);
    cluster.elect(1);
    cluster.node(2).raft.transferLeader(2);
    cluster.settle();
    expect(cluster.node(2).status.role).toBe('leader');
  });

  it('first brings the node up to date, and refuses proposals meanwhile', () => {
    const cluster = new TestCluster([1, 2, 3]);
    const leader = cluster.elect(1);
    cluster.isolate(3);
    cluster.propose(1, 'a');
    leader.raft.transferLeader(3);
    expect(leader.status.leadTransferee).toBe(3);
    expect(leader.raft.propose(bytes('x'))).toEqual({
      outcome: 'dropped',
      reason: 'transferInProgress',
    });
    cluster.heal();
    cluster.heartbeat(1);
    expect(cluster.node(3).status.role).toBe('leader');
    expect(cluster.node(3).applied).toEqual(['a']);
  });

  it('is given up after an election timeout', () => {
    const cluster = new TestCluster([1, 2, 3]);
    const leader = cluster.elect(1);
    cluster.isolate(3);
    leader.raft.transferLeader(3);
    cluster.settle();
    leader.tick(9);
    expect(leader.status.leadTransferee).toBe(3);
    leader.tick(1);
    expect(leader.status).toMatchObject({ leadTransferee: 0, role: 'leader' });
    expect(leader.raft.propose(bytes('x')).outcome).toBe('accepted');
  });

  it('goes to the node named last', () => {
    const cluster = new TestCluster([1, 2, 3]);
    const leader = cluster.elect(1);
    cluster.isolate(3);
    leader.raft.transferLeader(3);
    cluster.settle();
    leader.raft.transferLeader(2);
    cluster.settle();
    expect(leader.events).toContainEqual({ event: 'transferAborted', term: 1, to: 3 });
    expect(cluster.node(2).status.role).toBe('leader');
  });

  it('to itself, to a learner or to a stranger changes nothing', () => {
    const storage = storageWith([1]);
    storage.setConfState({ ...storage.initialState().confState, learners: [2] });
    const leader = new TestNode(1, storage);
    leader.raft.campaign();
    leader.settle();
    for (const to of [1, 2, 9]) leader.raft.transferLeader(to);
    expect(leader.status).toMatchObject({ role: 'leader', leadTransferee: 0 });
  });

  it('ends when its target is removed', () => {
    const cluster = new TestCluster([1, 2, 3]);
    const leader = cluster.elect(1);
    leader.raft.proposeConfChange({ type: 'removeNode', nodeId: 3, context: bytes('') });
    cluster.passes = ({ to, from }) => to !== 3 && from !== 3;
    leader.settle();
    leader.raft.transferLeader(3);
    expect(leader.status.leadTransferee).toBe(3);
    leader.step({ type: 'MsgAppResp', from: 2, to: 1, term: 1, index: 2 });
    expect(leader.status).toMatchObject({ leadTransferee: 0, confState: { voters: [1, 2] } });
  });
});
