import { describe, expect, it } from 'vitest';
import { SeededRandom } from '../../../../base/random.ts';
import { storageWith, TestCluster, TestNode } from './test-cluster.ts';

describe('an election', () => {
  it.each([1, 3, 5])('is won by whoever campaigns first among %i', (size) => {
    const ids = Array.from({ length: size }, (_, at) => at + 1);
    const cluster = new TestCluster(ids);
    const leader = cluster.elect(1);
    expect(leader.status).toMatchObject({ role: 'leader', leader: 1, hardState: { term: 1, vote: 1 } });
    for (const id of ids.slice(1)) {
      expect(cluster.node(id).status).toMatchObject({ role: 'follower', leader: 1 });
    }
  });

  it('is not won without a majority', () => {
    const cluster = new TestCluster([1, 2, 3, 4, 5]);
    cluster.isolate(3, 4, 5);
    expect(cluster.elect(1).status).toMatchObject({ role: 'candidate', hardState: { term: 1 } });
  });

  it('starts between one and two election timeouts after the last word of a leader', () => {
    const random = new SeededRandom(1);
    const timeouts = new Set<number>();
    for (let run = 0; run < 200; run++) {
      const node = new TestNode(1, storageWith([1, 2, 3]), { random: (bound) => random.below(bound) });
      let ticks = 0;
      while (node.status.role === 'follower') {
        node.tick(1);
        ticks++;
      }
      timeouts.add(ticks);
    }
    expect(Math.min(...timeouts)).toBe(10);
    expect(Math.max(...timeouts)).toBe(19);
    expect(timeouts.size).toBe(10);
  });

  it('gives one vote a term, to the first that asks, and the same answer when asked again', () => {
    const node = new TestNode(1, storageWith([1, 2, 3]));
    const ask = (from: number) => node.step({ type: 'MsgVote', from, to: 1, term: 5, index: 0, logTerm: 0 });
    expect(ask(2)).toMatchObject([{ type: 'MsgVoteResp', to: 2, term: 5 }]);
    expect(ask(2)[0]?.reject).toBeUndefined();
    expect(ask(3)).toMatchObject([{ type: 'MsgVoteResp', to: 3, term: 5, reject: true }]);
    expect(node.storage.initialState().hardState).toEqual({ term: 5, vote: 2, commit: 0 });
  });

  it.each([
    { index: 3, logTerm: 3, granted: true },
    { index: 4, logTerm: 3, granted: true },
    { index: 1, logTerm: 4, granted: true },
    { index: 2, logTerm: 3, granted: false },
    { index: 9, logTerm: 2, granted: false },
  ])('a log that ends at $index in term $logTerm gets the vote: $granted', ({ granted, ...last }) => {
    const node = new TestNode(1, storageWith([1, 2], [1, 2, 3]));
    const [answer] = node.step({ type: 'MsgVote', from: 2, to: 1, term: 9, ...last });
    expect(answer?.reject === true).toBe(!granted);
  });

  it('ends for a candidate that hears from the winner of its term', () => {
    const cluster = new TestCluster([1, 2, 3]);
    cluster.isolate(3);
    cluster.node(3).raft.campaign();
    cluster.settle();
    cluster.elect(1);
    cluster.heal();
    cluster.heartbeat(1);
    expect(cluster.node(3).status).toMatchObject({ role: 'follower', leader: 1, hardState: { term: 1 } });
  });

  it('deposes a leader of an earlier term', () => {
    const cluster = new TestCluster([1, 2, 3]);
    cluster.elect(1);
    cluster.isolate(1);
    cluster.elect(2);
    cluster.heal();
    cluster.heartbeat(2);
    expect(cluster.node(1).status).toMatchObject({ role: 'follower', leader: 2, hardState: { term: 2 } });
  });

  it('is not called by a learner, nor by one with a committed configuration change to apply', () => {
    const storage = storageWith([2, 3]);
    storage.setConfState({ ...storage.initialState().confState, learners: [1] });
    const learner = new TestNode(1, storage);
    learner.raft.campaign();
    expect(learner.events.at(-1)).toMatchObject({ event: 'campaignRefused', reason: 'unpromotable' });

    const behind = storageWith([1, 2]);
    behind.append([{ index: 1, term: 1, type: 'confChangeV2', data: new Uint8Array(0) }]);
    behind.setHardState({ term: 1, vote: 0, commit: 1 });
    const node = new TestNode(1, behind);
    node.raft.campaign();
    expect(node.events.at(-1)).toMatchObject({ event: 'campaignRefused', reason: 'unappliedConfChange' });
    expect(node.status.role).toBe('follower');
  });

  it('lets a learner vote, which may be a voter that has not learned of it', () => {
    const storage = storageWith([2, 3]);
    storage.setConfState({ ...storage.initialState().confState, learners: [1] });
    const [answer] = new TestNode(1, storage).step({ type: 'MsgVote', from: 2, to: 1, term: 2 });
    expect(answer).toMatchObject({ type: 'MsgVoteResp', term: 2 });
    expect(answer?.reject).toBeUndefined();
  });
});

describe('pre-vote', () => {
  const config = { preVote: true, checkQuorum: true };

  it('elects as usual when nobody leads', () => {
    expect(new TestCluster([1, 2, 3], config).elect(2).status).toMatchObject({
      role: 'leader',
      hardState: { term: 1 },
    });
  });

  it('keeps a node that returns from isolation from disturbing the leader', () => {
    const cluster = new TestCluster([1, 2, 3], config);
    cluster.elect(1);
    cluster.isolate(3);
    cluster.node(3).tick(100);
    cluster.settle();
    expect(cluster.node(3).status).toMatchObject({ role: 'preCandidate', hardState: { term: 1 } });
    cluster.heal();
    cluster.node(3).tick(20);
    cluster.settle();
    cluster.heartbeat(1);
    expect(cluster.node(1).status).toMatchObject({ role: 'leader', hardState: { term: 1 } });
    expect(cluster.node(3).status).toMatchObject({ role: 'follower', leader: 1 });
  });

  it('neither asks nor answers with a change of term or vote', () => {
    const node = new TestNode(1, storageWith([1, 2, 3]), config);
    const [answer] = node.step({ type: 'MsgPreVote', from: 2, to: 1, term: 1 });
    expect(answer).toMatchObject({ type: 'MsgPreVoteResp', term: 1 });
    expect(node.status.hardState).toEqual({ term: 0, vote: 0, commit: 0 });
    node.raft.campaign();
    expect(node.settle().map(({ type, term }) => [type, term])).toEqual([
      ['MsgPreVote', 1],
      ['MsgPreVote', 1],
    ]);
    expect(node.status.hardState.term).toBe(0);
  });

  it('tells an asker of a lower term the present one', () => {
    const node = new TestNode(1, storageWith([1, 2, 3], [1, 4]), config);
    expect(node.step({ type: 'MsgPreVote', from: 2, to: 1, term: 2 })).toMatchObject([
      { type: 'MsgPreVoteResp', to: 2, term: 4, reject: true },
    ]);
  });
});

describe('check-quorum', () => {
  it('makes a leader step down that hears from no quorum for an election timeout', () => {
    const cluster = new TestCluster([1, 2, 3], { checkQuorum: true });
    const leader = cluster.elect(1);
    cluster.isolate(1);
    leader.tick(9);
    cluster.settle();
    expect(leader.status.role).toBe('leader');
    // The first check still counts what was heard before the isolation.
    leader.tick(11);
    cluster.settle();
    expect(leader.status).toMatchObject({ role: 'follower', leader: 0, hardState: { term: 1 } });
    expect(leader.events).toContainEqual({ event: 'quorumLost' });
  });

  it('keeps a leader that hears from a quorum', () => {
    const cluster = new TestCluster([1, 2, 3], { checkQuorum: true });
    const leader = cluster.elect(1);
    cluster.isolate(3);
    for (let tick = 0; tick < 50; tick++) cluster.heartbeat(1);
    expect(leader.status.role).toBe('leader');
  });

  it('ignores requests for votes while the lease of the leader runs, unless the leader hands over', () => {
    const cluster = new TestCluster([1, 2, 3], { checkQuorum: true });
    cluster.elect(1);
    const request = { type: 'MsgVote', from: 3, to: 2, term: 9, index: 9, logTerm: 9 } as const;
    expect(cluster.node(2).step(request)).toEqual([]);
    expect(cluster.node(2).status.hardState.term).toBe(1);
    cluster.node(1).raft.transferLeader(3);
    cluster.settle();
    expect(cluster.node(3).status).toMatchObject({ role: 'leader', hardState: { term: 2 } });
    expect(cluster.node(2).status.leader).toBe(3);
  });

  it('brings back a node that ran ahead in terms, by an answer that carries its term', () => {
    const cluster = new TestCluster([1, 2, 3], { checkQuorum: true });
    cluster.elect(1);
    cluster.isolate(3);
    cluster.node(3).tick(40);
    cluster.settle();
    const ahead = cluster.node(3).status.hardState.term;
    expect(ahead).toBeGreaterThan(1);
    cluster.heal();
    cluster.heartbeat(1);
    expect(cluster.node(1).status).toMatchObject({ role: 'follower', hardState: { term: ahead } });
  });
});

describe('a leader that is told to resign', () => {
  it('follows in the same term, and another can be elected', () => {
    const cluster = new TestCluster([1, 2, 3], { checkQuorum: true, preVote: true });
    const leader = cluster.elect(1);
    leader.raft.resign();
    expect(leader.status).toMatchObject({ role: 'follower', leader: 0, hardState: { term: 1 } });
    cluster.node(2).tick(10);
    cluster.settle();
    expect(cluster.node(2).status).toMatchObject({ role: 'leader', hardState: { term: 2 } });
  });

  it('leaves others as they are', () => {
    const cluster = new TestCluster([1, 2, 3]);
    cluster.elect(1);
    cluster.node(2).raft.resign();
    expect(cluster.node(2).status.leader).toBe(1);
  });
});

describe('forgetting the leader', () => {
  it('lets a follower vote before the lease ends, and hear from the leader again', () => {
    const cluster = new TestCluster([1, 2, 3], { checkQuorum: true, preVote: true });
    cluster.elect(1);
    cluster.node(2).raft.forgetLeader();
    expect(cluster.node(2).status.leader).toBe(0);
    cluster.heartbeat(1);
    expect(cluster.node(2).status.leader).toBe(1);
    cluster.node(2).raft.forgetLeader();
    cluster.node(3).raft.forgetLeader();
    cluster.elect(3);
    expect(cluster.node(3).status).toMatchObject({ role: 'leader', hardState: { term: 2 } });
  });

  it('is refused where reads rest on the lease, and means nothing to a leader', () => {
    const cluster = new TestCluster([1, 2, 3], { checkQuorum: true, readOnlyOption: 'leaseBased' });
    const leader = cluster.elect(1);
    cluster.node(2).raft.forgetLeader();
    expect(cluster.node(2).status.leader).toBe(1);
    expect(cluster.node(2).events.at(-1)).toEqual({ event: 'forgetLeaderRefused' });
    leader.raft.forgetLeader();
    expect(leader.status).toMatchObject({ role: 'leader', leader: 1 });
  });
});
