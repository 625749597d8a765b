import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ProtocolError } from '../../../../base/errors.ts';
import {
  changeMembership,
  type Membership,
  restoreMembership,
} from '../../../../cluster/raft/conf-changer.ts';
import { ascending, confStateOf, EMPTY_CONFIGURATION } from '../../../../cluster/raft/configuration.ts';
import {
  type ConfChange,
  type ConfChangeSingle,
  decodeConfChange,
  encodeConfChange,
  LEAVE_JOINT,
} from '../../../../cluster/raft/index.ts';
import { Inflights } from '../../../../cluster/raft/inflights.ts';
import { Progress } from '../../../../cluster/raft/progress.ts';
import { bytes, TestCluster } from './test-cluster.ts';

const NONE = bytes('');

function change(...changes: ConfChangeSingle[]): ConfChange {
  return { transition: 'auto', changes, context: NONE };
}

const add = (nodeId: number): ConfChangeSingle => ({ type: 'addNode', nodeId });
const remove = (nodeId: number): ConfChangeSingle => ({ type: 'removeNode', nodeId });
const learn = (nodeId: number): ConfChangeSingle => ({ type: 'addLearnerNode', nodeId });

describe('a change of configuration', () => {
  it('adds a voter, which then counts', () => {
    const cluster = new TestCluster([1, 2, 3, 4], {}, [1, 2, 3]);
    const leader = cluster.elect(1);
    leader.raft.proposeConfChange(change(add(4)));
    cluster.settle();
    for (const { status } of cluster.nodes.values()) expect(status.confState.voters).toEqual([1, 2, 3, 4]);
    cluster.isolate(3, 4);
    const before = leader.commit;
    cluster.propose(1, 'needs three of four');
    expect(leader.commit).toBe(before);
  });

  it('of several nodes goes through a joint configuration, and out of it by itself', () => {
    const cluster = new TestCluster([1, 2, 3, 4, 5], {}, [1, 2, 3]);
    const leader = cluster.elect(1);
    leader.raft.proposeConfChange(change(add(4), add(5), remove(2), learn(3)));
    cluster.settle();
    expect(leader.events.filter(({ event }) => event === 'autoLeaveProposed').length).toBe(1);
    for (const id of [1, 4, 5]) {
      expect(cluster.node(id).status.confState).toEqual({
        voters: [1, 4, 5],
        learners: [3],
        votersOutgoing: [],
        learnersNext: [],
        autoLeave: false,
      });
    }
  });

  it('waits in an explicit joint configuration until told to leave', () => {
    const cluster = new TestCluster([1, 2, 3, 4], {}, [1, 2, 3]);
    const leader = cluster.elect(1);
    leader.raft.proposeConfChange({ ...change(add(4), learn(3)), transition: 'jointExplicit' });
    cluster.settle();
    expect(leader.status.confState).toMatchObject({
      voters: [1, 2, 4],
      votersOutgoing: [1, 2, 3],
      learnersNext: [3],
    });
    leader.raft.proposeConfChange(change(add(3)));
    cluster.settle();
    expect(leader.events.findLast(({ event }) => event === 'confChangeRefused')).toMatchObject({
      reason: { check: 'alreadyJoint' },
    });
    leader.raft.proposeConfChange(LEAVE_JOINT);
    cluster.settle();
    expect(leader.status.confState).toMatchObject({ voters: [1, 2, 4], votersOutgoing: [], learners: [3] });
  });

  it('is refused while another is not applied, and becomes an entry with no effect', () => {
    const cluster = new TestCluster([1, 2, 3]);
    const leader = cluster.elect(1);
    cluster.isolate(2, 3);
    leader.raft.proposeConfChange(change(remove(3)));
    expect(leader.raft.proposeConfChange(change(remove(2))).outcome).toBe('accepted');
    cluster.heal();
    cluster.settle();
    cluster.heartbeat(1);
    expect(leader.status.confState.voters).toEqual([1, 2]);
    const refused = leader.events.find(({ event }) => event === 'confChangeRefused');
    expect(refused).toMatchObject({ reason: { check: 'pending' } });
  });

  it('takes force when it is applied, not when it is appended', () => {
    const cluster = new TestCluster([1, 2, 3]);
    const leader = cluster.elect(1);
    cluster.isolate(2, 3);
    leader.raft.proposeConfChange(change(remove(3)));
    cluster.settle();
    expect(leader.status.confState.voters).toEqual([1, 2, 3]);
  });

  it.each([true, false])('that removes the leader makes it step down only if configured: %s', (stepDown) => {
    const cluster = new TestCluster([1, 2, 3], { stepDownOnRemoval: stepDown });
    const leader = cluster.elect(1);
    leader.raft.proposeConfChange(change(remove(1)));
    cluster.settle();
    expect(cluster.node(2).status.confState.voters).toEqual([2, 3]);
    expect(leader.status.role).toBe(stepDown ? 'follower' : 'leader');
    if (!stepDown) expect(leader.raft.propose(bytes('x'))).toMatchObject({ reason: 'notMember' });
    leader.tick(100);
    expect(leader.status.role).not.toBe('candidate');
  });

  it('can leave a cluster of one and bring it back', () => {
    const cluster = new TestCluster([1, 2]);
    const leader = cluster.elect(1);
    leader.raft.proposeConfChange(change(remove(2)));
    cluster.settle();
    cluster.isolate(2);
    cluster.propose(1, 'alone');
    expect(leader.applied).toEqual(['alone']);
  });
});

describe('the arithmetic of configurations', () => {
  const context = {
    lastIndex: 10,
    newProgress: (start: ConstructorParameters<typeof Progress>[0]) =>
      new Progress(start, new Inflights(10, Infinity)),
  };
  const empty: Membership = { configuration: EMPTY_CONFIGURATION, progress: new Map() };

  const anyChange: fc.Arbitrary<ConfChange> = fc.record({
    transition: fc.constantFrom('auto', 'jointImplicit', 'jointExplicit'),
    changes: fc.array(
      fc.record({
        type: fc.constantFrom('addNode', 'removeNode', 'updateNode', 'addLearnerNode'),
        nodeId: fc.nat(6),
      }),
      { maxLength: 4 },
    ),
    context: fc.constant(NONE),
  });

  it('holds its invariants under any sequence of changes, and restores each result from its ConfState', () => {
    let joint = 0;
    const run = (changes: readonly ConfChange[]) => {
      // What breaks an invariant throws from within.
      let membership = restoreMembership(
        empty,
        { voters: [1], learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false },
        context,
      );
      for (const one of changes) {
        const outcome = changeMembership(membership, one, context);
        if ('refused' in outcome) continue;
        const { incoming, outgoing, learners } = outcome.configuration;
        expect(incoming.size).toBeGreaterThan(0);
        expect([...learners].some((id) => incoming.has(id) || outgoing.has(id))).toBe(false);
        if (outgoing.size > 0) {
          joint++;
          // No decision of the old configuration can be missed by the new one.
          expect(ascending(outgoing)).toEqual(ascending(membership.configuration.incoming));
        }
        const confState = confStateOf(outcome.configuration);
        const restored = restoreMembership(empty, confState, context);
        expect(confStateOf(restored.configuration)).toEqual(confState);
        expect(ascending(restored.progress.keys())).toEqual(ascending(outcome.progress.keys()));
        membership = outcome;
      }
    };
    fc.assert(fc.property(fc.array(anyChange, { maxLength: 12 }), run), { numRuns: 300 });
    expect(joint).toBeGreaterThan(50);
  });

  it('encodes a change to these bytes', () => {
    const hex = (data: Uint8Array) => Buffer.from(data).toString('hex');
    expect(hex(encodeConfChange({ ...learn(258), context: bytes('c') }).data)).toBe('03000000000000010263');
    const joint = { ...change(add(1), remove(2)), transition: 'jointExplicit' as const };
    expect(hex(encodeConfChange(joint).data)).toBe(
      ['02', '0002', '00', '0000000000000001', '01', '0000000000000002'].join(''),
    );
    expect(encodeConfChange(LEAVE_JOINT)).toEqual({ type: 'confChangeV2', data: new Uint8Array(0) });
  });

  it('decodes what it encodes', () => {
    const withContext = fc.tuple(anyChange, fc.uint8Array({ maxLength: 8 }));
    fc.assert(
      fc.property(withContext, ([one, context]) => {
        const original = { ...one, context };
        const decoded = decodeConfChange(encodeConfChange(original));
        expect({ ...decoded, context: Buffer.from(decoded.context) }).toEqual({
          ...original,
          context: Buffer.from(context),
        });
      }),
    );
  });

  it('refuses bytes cut short anywhere, and values it does not know', () => {
    for (const encoded of [
      encodeConfChange(change(add(1), add(2))),
      encodeConfChange({ ...add(1), context: NONE }),
    ]) {
      for (let length = encoded.type === 'confChange' ? 0 : 1; length < encoded.data.length; length++) {
        const cut = { ...encoded, data: encoded.data.subarray(0, length) };
        expect(() => decodeConfChange(cut)).toThrow(ProtocolError);
      }
    }
    const bad = (hex: string) => () =>
      decodeConfChange({ type: 'confChange', data: Buffer.from(hex, 'hex') });
    expect(bad('090000000000000001')).toThrow(ProtocolError);
    expect(bad('00ffffffffffffffff')).toThrow(ProtocolError);
    expect(() => decodeConfChange({ type: 'normal', data: NONE })).toThrow(ProtocolError);
  });
});
