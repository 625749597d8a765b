import { describe, expect, it } from 'vitest';
import {
  LOCAL_APPEND_THREAD,
  LOCAL_APPLY_THREAD,
  type Message,
  RawNode,
} from '../../../../cluster/raft/index.ts';
import { bytes, DEFAULTS, entry, storageWith, TestCluster, TestNode } from './test-cluster.ts';

const PROMISES = ['MsgVoteResp', 'MsgPreVoteResp', 'MsgAppResp'];

function asyncNode(storage = storageWith([1, 2, 3])): { raft: RawNode; storage: typeof storage } {
  return { storage, raft: new RawNode({ ...DEFAULTS, id: 1, storage, asyncStorageWrites: true }) };
}

/** All there is to do, by where it goes. */
function drain(raft: RawNode): { append: Message[]; apply: Message[]; peers: Message[] } {
  const messages: Message[] = [];
  while (raft.hasReady()) messages.push(...raft.ready().messages);
  return {
    append: messages.filter(({ to }) => to === LOCAL_APPEND_THREAD),
    apply: messages.filter(({ to }) => to === LOCAL_APPLY_THREAD),
    peers: messages.filter(({ to }) => to < LOCAL_APPLY_THREAD),
  };
}

function write(storage: ReturnType<typeof storageWith>, message: Message): readonly Message[] {
  const { term = 0, vote = 0, commit = 0, entries = [], snapshot, responses = [] } = message;
  if (term !== 0) storage.setHardState({ term, vote, commit });
  if (snapshot !== undefined) storage.applySnapshot(snapshot);
  storage.append(entries);
  return responses;
}

describe('what must be on disk first', () => {
  it('a vote goes out with the Ready that persists it, which must be synced', () => {
    const raft = new RawNode({ ...DEFAULTS, id: 1, storage: storageWith([1, 2, 3]) });
    raft.step({ type: 'MsgVote', from: 2, to: 1, term: 3 });
    const ready = raft.ready();
    expect(ready).toMatchObject({ hardState: { term: 3, vote: 2 }, mustSync: true });
    expect(ready.messages).toMatchObject([{ type: 'MsgVoteResp', to: 2 }]);
  });

  it('a commit index alone need not be synced', () => {
    const node = new TestNode(2, storageWith([1, 2], [1]));
    node.settle();
    node.raft.step({ type: 'MsgHeartbeat', from: 1, to: 2, term: 1, commit: 1 });
    expect(node.raft.ready()).toMatchObject({ hardState: { commit: 1 }, mustSync: false });
  });

  it('a node that voted votes for nobody else in that term after a restart', () => {
    const storage = storageWith([1, 2, 3]);
    new TestNode(1, storage).step({ type: 'MsgVote', from: 2, to: 1, term: 3 });
    const again = new TestNode(1, storage);
    const ask = (from: number) => again.step({ type: 'MsgVote', from, to: 1, term: 3 })[0];
    expect(ask(3)).toMatchObject({ type: 'MsgVoteResp', reject: true });
    expect(ask(2)?.reject).toBeUndefined();
  });

  it('with asynchronous writes no promise leaves but as the response of a write', () => {
    const { raft } = asyncNode();
    raft.step({ type: 'MsgVote', from: 2, to: 1, term: 3 });
    const vote = drain(raft);
    expect(vote.peers).toEqual([]);
    expect(vote.append).toMatchObject([
      { type: 'MsgStorageAppend', term: 3, vote: 2, responses: [{ type: 'MsgVoteResp', to: 2 }] },
    ]);
    raft.step({
      type: 'MsgApp',
      from: 2,
      to: 1,
      term: 3,
      index: 0,
      logTerm: 0,
      entries: [entry(1, 3, 'a')],
    });
    const append = drain(raft);
    expect(append.peers.filter(({ type }) => PROMISES.includes(type))).toEqual([]);
    expect(append.append).toMatchObject([
      {
        entries: [{ index: 1 }],
        responses: [
          { type: 'MsgAppResp', to: 2, index: 1 },
          { type: 'MsgStorageAppendResp', to: 1, index: 1, logTerm: 3 },
        ],
      },
    ]);
  });

  it('a candidate counts its own vote, and a leader its own entries, only once written', () => {
    const { raft, storage } = asyncNode(storageWith([1]));
    raft.campaign();
    expect(raft.status().role).toBe('candidate');
    for (const response of drain(raft).append.flatMap((m) => write(storage, m))) raft.step(response);
    expect(raft.status()).toMatchObject({ role: 'leader', hardState: { commit: 0 } });
    raft.propose(bytes('x'));
    const { append, apply } = drain(raft);
    expect(apply).toEqual([]);
    for (const response of append.flatMap((m) => write(storage, m))) raft.step(response);
    expect(raft.status().hardState.commit).toBe(2);
    expect(
      drain(raft)
        .apply.flatMap(({ entries = [] }) => entries)
        .map(({ index }) => index),
    ).toEqual([1, 2]);
  });

  it('with asynchronous writes nothing is applied that is not in the local log', () => {
    const { raft } = asyncNode();
    const entries = [entry(1, 1, 'a'), entry(2, 1, 'b')];
    raft.step({ type: 'MsgApp', from: 2, to: 1, term: 1, index: 0, logTerm: 0, entries, commit: 2 });
    expect(drain(raft).apply).toEqual([]);
  });
});

describe('an answer to a write', () => {
  // The entries of term 1 are replaced by those of term 2 and then come back: the first write's answer,
  // which names the entries that are in the log again, arrives while the second is still to be carried out.
  it('of an earlier term does not count, for a later write may take it back', () => {
    const { raft, storage } = asyncNode(storageWith([1, 2, 3, 4, 5]));
    const appendFrom = (from: number, term: number, entryTerm: number) =>
      raft.step({
        type: 'MsgApp',
        from,
        to: 1,
        term,
        index: 0,
        logTerm: 0,
        entries: [entry(1, entryTerm), entry(2, entryTerm)],
      });
    const work: Message[] = [];
    for (const [from, term, entryTerm] of [
      [2, 1, 1],
      [3, 2, 2],
      [2, 3, 1],
    ] as const) {
      appendFrom(from, term, entryTerm);
      work.push(...drain(raft).append);
    }
    expect(work.map(({ entries = [] }) => entries.map(({ term }) => term))).toEqual([
      [1, 1],
      [2, 2],
      [1, 1],
    ]);
    const local = (responses: readonly Message[]) => responses.filter(({ to }) => to === 1);
    const hasUnstable = () => raft.status().lastIndex === 2 && probeTerm() === 1;
    /** The term at index 2 as the node sees it: from its unstable log, or else from storage. */
    const probeTerm = () => {
      const probe = { type: 'MsgApp', from: 2, to: 1, term: 3, index: 2, logTerm: 1 } as const;
      raft.step(probe);
      const [answer] = drain(raft).append.flatMap(({ responses = [] }) => responses);
      return answer?.reject === true ? 0 : 1;
    };
    for (const [at, message] of work.entries()) {
      for (const response of local(write(storage, message))) raft.step(response);
      expect(hasUnstable(), `after write ${at}`).toBe(true);
    }
    expect(storage.term(2)).toBe(1);
  });
});

describe('a restart', () => {
  it('goes on from the stored state and applies nothing twice', () => {
    const cluster = new TestCluster([1, 2, 3]);
    cluster.elect(1);
    cluster.propose(1, 'a');
    const { storage, status } = cluster.node(2);
    const again = new TestNode(2, storage, { applied: status.applied });
    again.settle();
    expect(again.applied).toEqual([]);
    expect(again.status).toMatchObject({ role: 'follower', leader: 0, hardState: status.hardState });
  });

  it('hands out again what was not applied yet', () => {
    const cluster = new TestCluster([1]);
    cluster.elect(1);
    cluster.propose(1, 'a');
    const again = new TestNode(1, cluster.node(1).storage, { applied: 1 });
    again.settle();
    expect(again.applied).toEqual(['a']);
  });

  it('takes what was applied as committed, though the commit index on disk lags', () => {
    const node = new TestNode(1, storageWith([1, 2], [1, 1, 1]), { applied: 2 });
    expect(node.status).toMatchObject({ applied: 2, hardState: { commit: 2 } });
  });

  it('is refused by a log that ends before the commit index', () => {
    const storage = storageWith([1, 2], [1]);
    storage.setHardState({ term: 1, vote: 0, commit: 5 });
    expect(() => new TestNode(1, storage)).toThrow(/commit index 5/);
  });
});

describe('advance', () => {
  it('must stand between two readies, and has no meaning with asynchronous writes', () => {
    const raft = new RawNode({ ...DEFAULTS, id: 1, storage: storageWith([1]) });
    raft.campaign();
    raft.ready();
    expect(() => raft.ready()).toThrow(/before advance/);
    raft.advance();
    expect(() => raft.advance()).toThrow(/without a ready/);
    expect(() => asyncNode().raft.advance()).toThrow(/no meaning/);
  });
});

describe('applying', () => {
  it('is handed out within the limit on bytes, the rest as some of it is done', () => {
    const storage = storageWith([1, 2], [1, 1, 1, 1]);
    storage.setHardState({ term: 1, vote: 0, commit: 4 });
    const raft = new RawNode({
      ...DEFAULTS,
      id: 1,
      storage,
      asyncStorageWrites: true,
      maxCommittedSizePerReadyBytes: 60,
    });
    const batches: number[][] = [];
    for (let round = 0; round < 10; round++) {
      const { apply } = drain(raft);
      expect(apply.length).toBeLessThanOrEqual(1);
      for (const { entries = [], responses = [] } of apply) {
        batches.push(entries.map(({ index }) => index));
        for (const response of responses) raft.step(response);
      }
    }
    expect(batches).toEqual([
      [1, 2],
      [3, 4],
    ]);
  });
});
