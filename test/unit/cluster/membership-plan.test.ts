import { describe, expect, it } from 'vitest';
import { planMembership, type WantedMember } from '../../../cluster/membership-plan.ts';
import type { ConfState, PeerProgress, RaftStatus } from '../../../cluster/raft/index.ts';

const wanted = (...ids: readonly number[]): WantedMember[] =>
  ids.map((raftId) => ({ raftId, nodeId: `n${raftId}`, leaving: false }));

const leaving = (raftId: number): WantedMember => ({ raftId, nodeId: `n${raftId}`, leaving: true });

const peer = (id: number, match: number, more: Partial<PeerProgress> = {}): PeerProgress => ({
  id,
  match,
  next: match + 1,
  state: 'replicate',
  recentActive: true,
  isLearner: false,
  paused: false,
  pendingSnapshot: 0,
  inflightMessages: 0,
  inflightFull: false,
  ...more,
});

function leaderOf(
  confState: Partial<ConfState>,
  peers: readonly PeerProgress[],
  more: Partial<RaftStatus> = {},
) {
  const status: RaftStatus = {
    id: 1,
    role: 'leader',
    leader: 1,
    leadTransferee: 0,
    hardState: { term: 1, vote: 1, commit: 1000 },
    applied: 1000,
    firstIndex: 1,
    lastIndex: 1000,
    confState: {
      voters: [1],
      learners: [],
      votersOutgoing: [],
      learnersNext: [],
      autoLeave: false,
      ...confState,
    },
    progress: [peer(1, 1000), ...peers],
    ...more,
  };
  return status;
}

const everyone = (): boolean => true;
const but =
  (...down: readonly number[]) =>
  (id: number): boolean =>
    !down.includes(id);

describe('the plan for the members of the cluster log', () => {
  it('does nothing where Raft has what is wanted, or while something is under way', () => {
    const voters = [1, 2, 3];
    const peers = [peer(2, 1000), peer(3, 1000)];
    expect(planMembership(leaderOf({ voters }, peers), wanted(1, 2, 3), everyone)).toBeUndefined();
    const more = wanted(1, 2, 3, 4);
    expect(planMembership(leaderOf({ voters }, peers, { role: 'follower' }), more, everyone)).toBeUndefined();
    expect(
      planMembership(leaderOf({ voters }, peers, { leadTransferee: 2 }), more, everyone),
    ).toBeUndefined();
    const joint = { voters, votersOutgoing: [1, 2], autoLeave: true };
    expect(planMembership(leaderOf(joint, peers), more, everyone)).toBeUndefined();
  });

  it('adds newcomers as learners, however many, and whether they are there or not', () => {
    expect(planMembership(leaderOf({}, []), wanted(1, 2, 3), but(2, 3))).toEqual({
      kind: 'change',
      changes: [
        { type: 'addLearnerNode', nodeId: 2 },
        { type: 'addLearnerNode', nodeId: 3 },
      ],
    });
  });

  it.each([
    ['is far behind', peer(2, 900), everyone],
    ['is still being probed', peer(2, 1000, { state: 'probe' }), everyone],
    ['is being given a snapshot', peer(2, 1000, { state: 'snapshot' }), everyone],
    ['has not answered of late', peer(2, 1000, { recentActive: false }), everyone],
    ['has no link', peer(2, 1000), but(2)],
  ])('gives a learner no vote that %s', (_, learner, isUp) => {
    const status = leaderOf({ learners: [2] }, [learner]);
    expect(planMembership(status, wanted(1, 2), isUp)).toBeUndefined();
  });

  it('gives a learner a vote that has the log', () => {
    const status = leaderOf({ learners: [2, 3] }, [peer(2, 940), peer(3, 1000)]);
    expect(planMembership(status, wanted(1, 2, 3), everyone)).toEqual({
      kind: 'change',
      changes: [
        { type: 'addNode', nodeId: 2 },
        { type: 'addNode', nodeId: 3 },
      ],
    });
  });

  it('gives no vote where that would leave no majority, and one where it brings it back', () => {
    // Of 1, 2, 3 the last does not answer: with 4 and 5 added three of five do.
    const voters = [1, 2, 3];
    const learners = [4, 5];
    const peers = [peer(2, 1000), peer(3, 9, { recentActive: false }), peer(4, 1000), peer(5, 1000)];
    const grown = planMembership(leaderOf({ voters, learners }, peers), wanted(1, 2, 3, 4, 5), everyone);
    expect(grown).toMatchObject({ kind: 'change', changes: [{ nodeId: 4 }, { nodeId: 5 }] });
    // Two of four would be left.
    const thin = leaderOf({ voters: [1, 2, 3, 4, 5] }, [peer(2, 1000), peer(3, 1000)]);
    expect(planMembership(thin, wanted(1, 2, 4, 5), everyone)).toBeUndefined();
  });

  it('removes a dead voter first where all changes at once would leave no majority', () => {
    const status = leaderOf({ voters: [1, 2, 3], learners: [4] }, [
      peer(2, 1000),
      peer(3, 9, { recentActive: false }),
      peer(4, 5),
    ]);
    expect(planMembership(status, wanted(1, 2, 4), everyone)).toEqual({
      kind: 'change',
      changes: [{ type: 'addLearnerNode', nodeId: 3 }],
    });
  });

  it('takes the vote of whoever is to go before it takes it out, in a step of its own', () => {
    const peers = [peer(2, 1000), peer(3, 1000), peer(4, 1000, { isLearner: true })];
    const voters = [1, 2, 3];
    expect(planMembership(leaderOf({ voters, learners: [4] }, peers), wanted(1, 2, 4), everyone)).toEqual({
      kind: 'change',
      changes: [
        { type: 'addNode', nodeId: 4 },
        { type: 'addLearnerNode', nodeId: 3 },
      ],
    });
    const joint = { voters: [1, 2, 4], votersOutgoing: voters, learnersNext: [3], autoLeave: true };
    expect(planMembership(leaderOf(joint, peers), wanted(1, 2, 4), everyone)).toBeUndefined();
    const without = leaderOf({ voters: [1, 2, 4], learners: [3] }, peers);
    // Whether it is heard from or not.
    expect(planMembership(without, wanted(1, 2, 4), but(3))).toEqual({
      kind: 'change',
      changes: [{ type: 'removeNode', nodeId: 3 }],
    });
  });

  it('hands leadership on before the leader leaves, to the voter that has most of the log', () => {
    const status = leaderOf({ voters: [1, 2, 3, 4], learners: [5] }, [
      peer(2, 990),
      peer(3, 995),
      peer(4, 1000),
      peer(5, 1000),
    ]);
    const others = [...wanted(2, 3, 5), leaving(4)];
    expect(planMembership(status, others, everyone)).toEqual({ kind: 'transfer', to: 3 });
    expect(planMembership(status, [leaving(1), ...others], but(3))).toEqual({ kind: 'transfer', to: 2 });
  });

  it('keeps a leader that nobody can follow', () => {
    const status = leaderOf({ voters: [1, 2] }, [peer(2, 10, { recentActive: false })]);
    expect(planMembership(status, [leaving(1), ...wanted(2)], everyone)).toBeUndefined();
    expect(planMembership(status, wanted(2), everyone)).toBeUndefined();
  });
});
