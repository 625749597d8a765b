import { describe, expect, it } from 'vitest';
import { bytes, entry, storageWith, TestCluster, TestNode } from './test-cluster.ts';

describe('replication', () => {
  it('applies what is proposed, in order, on every node', () => {
    const cluster = new TestCluster([1, 2, 3]);
    cluster.elect(1);
    for (const text of ['a', 'b', 'c']) expect(cluster.propose(1, text)).toEqual({ outcome: 'accepted' });
    for (const node of cluster.nodes.values()) expect(node.applied).toEqual(['a', 'b', 'c']);
  });

  it('forwards proposals to the leader, or drops them where that is switched off or nobody leads', () => {
    const cluster = new TestCluster([1, 2, 3]);
    expect(cluster.propose(2, 'early')).toEqual({ outcome: 'dropped', reason: 'noLeader' });
    cluster.elect(1);
    cluster.propose(2, 'from a follower');
    expect(cluster.node(3).applied).toEqual(['from a follower']);

    const strict = new TestCluster([1, 2, 3], { disableProposalForwarding: true });
    strict.elect(1);
    expect(strict.propose(2, 'x')).toEqual({ outcome: 'dropped', reason: 'forwardingDisabled' });
  });

  it('commits nothing without a majority, and all of it once there is one', () => {
    const cluster = new TestCluster([1, 2, 3]);
    const leader = cluster.elect(1);
    const before = leader.commit;
    cluster.isolate(2, 3);
    cluster.propose(1, 'lonely');
    expect(leader.commit).toBe(before);
    cluster.heal();
    cluster.heartbeat(1);
    expect(cluster.node(3).applied).toEqual(['lonely']);
  });

  // Raft figure 7: every way a follower's log can differ from that of the leader of term 8.
  it.each([
    ['lacks the last', [1, 1, 1, 4, 4, 5, 5, 6, 6]],
    ['lacks many', [1, 1, 1, 4]],
    ['has one more', [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6]],
    ['has an unknown term', [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7]],
    ['lacks some and has others', [1, 1, 1, 4, 4, 4, 4]],
    ['went its own way early', [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3]],
    ['is empty', []],
  ])('repairs a log that %s', (_, terms) => {
    const leaderTerms = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6];
    const leader = new TestNode(1, storageWith([1, 2, 3], leaderTerms));
    const follower = new TestNode(2, storageWith([1, 2, 3], terms));
    // A third voter, without entries, sees to it that there is a term above all others.
    leader.step({ type: 'MsgVote', from: 3, to: 1, term: 7, index: 0, logTerm: 0 });
    leader.raft.campaign();
    leader.settle();
    leader.raft.step({ type: 'MsgVoteResp', from: 3, to: 1, term: 8 });
    let messages = leader.settle();
    for (let round = 0; round < 20 && messages.length > 0; round++) {
      const answers = messages.filter(({ to }) => to === 2).flatMap((message) => follower.step(message));
      messages = answers.flatMap((answer) => leader.step(answer));
    }
    const log = (node: TestNode) => node.storage.entries(1, node.storage.lastIndex() + 1, Infinity);
    expect(leader.status.role).toBe('leader');
    expect(log(follower)).toEqual(log(leader));
    expect(leader.commit).toBe(11);
  });

  it('skips a whole term of differing entries with each probe', () => {
    const leader = new TestNode(1, storageWith([1, 2], [1, 3, 3, 3, 5, 5, 5, 5, 5]));
    const follower = new TestNode(2, storageWith([1, 2], [1, 1, 1, 1, 2, 2]));
    leader.raft.campaign();
    let messages = leader.settle();
    let probes = 0;
    for (let round = 0; round < 20 && messages.length > 0; round++) {
      probes += messages.filter(({ type }) => type === 'MsgApp').length;
      messages = messages.flatMap((message) => follower.step(message)).flatMap((a) => leader.step(a));
    }
    // At 9 refused, at 1 accepted, then the commit index.
    expect(probes).toBe(3);
    expect(follower.commit).toBe(10);
  });

  it('answers what is committed already without looking at it', () => {
    const storage = storageWith([1, 2], [1, 1, 1]);
    storage.setHardState({ term: 1, vote: 0, commit: 3 });
    const node = new TestNode(2, storage);
    const stale = { type: 'MsgApp', from: 1, to: 2, term: 1, index: 1, logTerm: 1 } as const;
    expect(node.step({ ...stale, entries: [entry(2, 1)] })).toMatchObject([{ type: 'MsgAppResp', index: 3 }]);
    expect(node.storage.lastIndex()).toBe(3);
  });

  it('keeps entries that an old, shorter append does not mention', () => {
    const node = new TestNode(2, storageWith([1, 2], [1, 1, 1]));
    node.step({ type: 'MsgApp', from: 1, to: 2, term: 1, index: 0, logTerm: 0, entries: [entry(1, 1)] });
    expect(node.storage.lastIndex()).toBe(3);
  });

  it('ignores messages that make no sense', () => {
    const node = new TestNode(2, storageWith([1, 2], [1]));
    const gap = { type: 'MsgApp', from: 1, to: 2, term: 1, index: 1, logTerm: 1, entries: [entry(3, 1)] };
    const ignored = (message: object) => node.raft.step(message as never);
    expect(ignored(gap)).toEqual({ outcome: 'ignored', reason: 'malformed' });
    expect(ignored({ ...gap, entries: [entry(2, 9)] })).toEqual({ outcome: 'ignored', reason: 'malformed' });
    expect(ignored({ type: 'MsgSnap', from: 1, to: 2, term: 1 })).toMatchObject({ reason: 'malformed' });
    expect(ignored({ type: 'MsgProp', from: 1, to: 2 })).toMatchObject({ reason: 'malformed' });
    const change = { index: 0, term: 0, type: 'confChange', data: bytes('?') };
    expect(ignored({ type: 'MsgProp', from: 1, to: 2, entries: [change] })).toMatchObject({
      reason: 'malformed',
    });
    expect(ignored({ type: 'MsgHup', from: 1, to: 2 })).toMatchObject({ reason: 'localMessage' });
    expect(ignored({ type: 'MsgAppResp', from: 7, to: 2, term: 1 })).toMatchObject({
      reason: 'unknownPeer',
    });
  });
});

describe('the commit rule', () => {
  // Raft figure 8: an entry of an earlier term may be on a majority and still be replaced.
  it('does not commit an entry of an earlier term for being on a majority', () => {
    const leader = new TestNode(1, storageWith([1, 2, 3], [1, 2]));
    leader.raft.campaign();
    leader.settle();
    leader.raft.step({ type: 'MsgVoteResp', from: 2, to: 1, term: 3 });
    leader.settle();
    expect(leader.status).toMatchObject({ role: 'leader', lastIndex: 3 });
    for (const from of [2, 3]) {
      leader.step({ type: 'MsgAppResp', from, to: 1, term: 3, index: 2 });
      expect(leader.commit).toBe(0);
    }
    leader.step({ type: 'MsgAppResp', from: 2, to: 1, term: 3, index: 3 });
    expect(leader.commit).toBe(3);
  });

  it('does not let a follower commit beyond what it knows to agree', () => {
    const node = new TestNode(2, storageWith([1, 2, 3], [1, 1, 1]));
    node.step({ type: 'MsgApp', from: 1, to: 2, term: 1, index: 1, logTerm: 1, commit: 3 });
    expect(node.commit).toBe(1);
  });

  it('needs both majorities of a joint configuration', () => {
    const storage = storageWith([1, 2, 3], [1]);
    storage.setConfState({ ...storage.initialState().confState, votersOutgoing: [1, 4, 5] });
    const leader = new TestNode(1, storage);
    leader.raft.campaign();
    leader.settle();
    for (const from of [2, 3]) leader.step({ type: 'MsgVoteResp', from, to: 1, term: 2 });
    expect(leader.status.role).toBe('candidate');
    leader.step({ type: 'MsgVoteResp', from: 4, to: 1, term: 2 });
    expect(leader.status.role).toBe('leader');
    for (const from of [2, 3]) leader.step({ type: 'MsgAppResp', from, to: 1, term: 2, index: 2 });
    expect(leader.commit).toBe(0);
    leader.step({ type: 'MsgAppResp', from: 5, to: 1, term: 2, index: 2 });
    expect(leader.commit).toBe(2);
  });

  it('goes by voters only', () => {
    const cluster = new TestCluster([1, 2, 3, 4], {}, [1, 2, 3]);
    const leader = cluster.elect(1);
    leader.raft.proposeConfChange({ type: 'addLearnerNode', nodeId: 4, context: bytes('') });
    cluster.settle();
    cluster.isolate(2, 3);
    const before = leader.commit;
    cluster.propose(1, 'seen by the learner only');
    expect(leader.status.progress.find(({ id }) => id === 4)?.match).toBe(before + 1);
    expect(leader.commit).toBe(before);
  });
});

describe('flow control', () => {
  function pair(config: object) {
    const leader = new TestNode(1, storageWith([1, 2]), config);
    leader.raft.campaign();
    leader.settle();
    leader.step({ type: 'MsgVoteResp', from: 2, to: 1, term: 1 });
    leader.step({ type: 'MsgAppResp', from: 2, to: 1, term: 1, index: 1 });
    const appends = () => leader.settle().filter(({ type }) => type === 'MsgApp');
    return { leader, appends };
  }

  it('stops at the number of messages in flight, and goes on when they are answered', () => {
    const { leader, appends } = pair({ maxInflightMessages: 3, maxSizePerMessageBytes: 0 });
    for (let n = 0; n < 10; n++) leader.raft.propose(bytes('x'));
    expect(appends().flatMap(({ entries = [] }) => entries).length).toBe(3);
    expect(leader.status.progress[1]).toMatchObject({
      paused: true,
      inflightFull: true,
      inflightMessages: 3,
    });
    leader.raft.step({ type: 'MsgAppResp', from: 2, to: 1, term: 1, index: 3 });
    expect(
      appends()
        .flatMap(({ entries = [] }) => entries)
        .map(({ index }) => index),
    ).toEqual([5, 6]);
  });

  it('stops at the number of bytes in flight', () => {
    const { leader, appends } = pair({ maxInflightBytes: 100, maxSizePerMessageBytes: 50 });
    for (let n = 0; n < 10; n++) leader.raft.propose(Buffer.alloc(40));
    expect(appends().flatMap(({ entries = [] }) => entries).length).toBe(3);
  });

  it('sends one empty append for each heartbeat answered while the window is full', () => {
    const { leader, appends } = pair({ maxInflightMessages: 1, maxSizePerMessageBytes: 0 });
    leader.raft.propose(bytes('x'));
    appends();
    leader.raft.propose(bytes('y'));
    expect(appends()).toEqual([]);
    for (let beat = 0; beat < 3; beat++) {
      leader.raft.step({ type: 'MsgHeartbeatResp', from: 2, to: 1, term: 1 });
      leader.raft.propose(bytes('z'));
      expect(appends().map(({ entries = [] }) => entries.length)).toEqual([0]);
    }
  });

  it('probes one at a time after an unreachable peer', () => {
    const { leader, appends } = pair({});
    leader.raft.reportUnreachable(2);
    for (let n = 0; n < 3; n++) leader.raft.propose(bytes('x'));
    expect(appends().length).toBe(1);
    expect(leader.status.progress[1]).toMatchObject({ state: 'probe', paused: true });
    leader.raft.step({ type: 'MsgAppResp', from: 2, to: 1, term: 1, index: 2 });
    expect(leader.status.progress[1]).toMatchObject({ state: 'replicate', paused: false });
    expect(
      appends()
        .flatMap(({ entries = [] }) => entries)
        .map(({ index }) => index),
    ).toEqual([3, 4]);
  });

  it('drops proposals beyond the limit on uncommitted data, but never the first or an empty one', () => {
    const { leader } = pair({ maxUncommittedEntriesBytes: 100 });
    expect(leader.raft.propose(Buffer.alloc(500)).outcome).toBe('accepted');
    expect(leader.raft.propose(Buffer.alloc(1))).toEqual({
      outcome: 'dropped',
      reason: 'tooMuchUncommitted',
    });
    expect(leader.raft.propose(Buffer.alloc(0)).outcome).toBe('accepted');
    leader.settle();
    leader.step({ type: 'MsgAppResp', from: 2, to: 1, term: 1, index: 3 });
    expect(leader.raft.propose(Buffer.alloc(1)).outcome).toBe('accepted');
  });
});

describe('snapshots', () => {
  function lagging() {
    const cluster = new TestCluster([1, 2, 3]);
    const leader = cluster.elect(1);
    cluster.isolate(3);
    for (const text of ['a', 'b', 'c']) cluster.propose(1, text);
    leader.storage.createSnapshot(leader.commit, leader.status.confState, bytes('abc'));
    leader.storage.compact(leader.commit);
    return { cluster, leader };
  }
  const peer3 = (leader: TestNode) => leader.status.progress[2];

  it('bring a node up that lacks compacted entries; replication goes on from there', () => {
    const { cluster, leader } = lagging();
    cluster.heal();
    cluster.heartbeat(1);
    cluster.propose(1, 'd');
    expect(cluster.node(3).storage.snapshot().data).toEqual(bytes('abc'));
    expect(cluster.node(3).applied).toEqual(['d']);
    expect(peer3(leader)).toMatchObject({ state: 'replicate', match: leader.status.lastIndex });
  });

  it('stop everything else to that node until their outcome is known', () => {
    const { cluster, leader } = lagging();
    cluster.passes = ({ type, to }) => !(type === 'MsgSnap' && to === 3);
    cluster.heartbeat(1);
    expect(peer3(leader)).toMatchObject({ state: 'snapshot', paused: true, pendingSnapshot: 4 });
    cluster.propose(1, 'd');
    expect(cluster.node(3).applied).toEqual([]);
    leader.raft.reportSnapshot(3, 'failure');
    expect(peer3(leader)).toMatchObject({ state: 'probe', next: 2, paused: true });
    cluster.heal();
    cluster.heartbeat(1);
    expect(peer3(leader)).toMatchObject({ state: 'replicate', match: leader.status.lastIndex });
  });

  it('that are older than what is committed change nothing', () => {
    const { cluster, leader } = lagging();
    const snapshot = leader.storage.snapshot();
    const [answer] = cluster.node(2).step({ type: 'MsgSnap', from: 1, to: 2, term: 1, snapshot });
    expect(answer).toMatchObject({ type: 'MsgAppResp', index: 4 });
    expect(cluster.node(2).storage.firstIndex()).toBe(1);
  });

  it('of entries the log has already only move the commit index', () => {
    const node = new TestNode(2, storageWith([1, 2], [1, 1, 1]));
    const { confState } = node.storage.initialState();
    const snapshot = { metadata: { index: 2, term: 1, confState }, data: bytes('') };
    node.step({ type: 'MsgSnap', from: 1, to: 2, term: 1, snapshot });
    expect(node.commit).toBe(2);
    expect(node.storage.lastIndex()).toBe(3);
  });

  it('of a cluster that does not know this node are not taken', () => {
    const node = new TestNode(2, storageWith([1, 2]));
    const confState = { ...node.storage.initialState().confState, voters: [1, 3] };
    const snapshot = { metadata: { index: 9, term: 1, confState }, data: bytes('') };
    node.step({ type: 'MsgSnap', from: 1, to: 2, term: 1, snapshot });
    expect(node.commit).toBe(0);
  });
});
