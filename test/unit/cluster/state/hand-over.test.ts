import { describe, expect, it } from 'vitest';
import { apply } from '../../../../cluster/state/apply.ts';
import type { Command, CommandRefusal } from '../../../../cluster/state/commands.ts';
import type { ClusterState, PortalGroupRecord } from '../../../../cluster/state/model.ts';
import { HAND_OVER_VERSION, STATE_VERSIONS } from '../../../../cluster/state/versions.ts';
import { applyAll, fence, register, runningCluster } from './fixtures.ts';

const group = (state: ClusterState, id = 'pg1'): PortalGroupRecord =>
  state.portalGroups[id] as PortalGroupRecord;

const members = (state: ClusterState): string[] => group(state).inSync.map(({ nodeId }) => nodeId);

type HandOver = Extract<Command, { type: 'handOverGroup' }>;

function handOver(state: ClusterState, changes: Partial<HandOver> = {}): HandOver {
  const { id, epoch, primary = '' } = group(state);
  return { type: 'handOverGroup', group: id, epoch, primary, ...changes };
}

function refusal(state: ClusterState, command: Command): CommandRefusal {
  const outcome = apply(state, command);
  expect(outcome.state).toBe(state);
  if (outcome.result.ok) throw new Error('was accepted');
  return outcome.result.error;
}

function shrunk(state: ClusterState, remove: string): ClusterState {
  const { id, epoch, primary = '' } = group(state);
  return applyAll(state, { type: 'shrinkInSync', group: id, epoch, primary, remove });
}

const strict = (state: ClusterState, minInSync: number): ClusterState =>
  applyAll(state, { type: 'setPortalGroup', group: 'pg1', minInSync, atMs: 1, by: 'admin' });

describe('a primary that hands its group over', () => {
  const before = runningCluster();

  it('leaves the set, one of the others leads, and the epoch rises by one', () => {
    expect(group(before).primary).toBe('n1');
    const outcome = apply(before, handOver(before));
    const after = outcome.state;
    expect(outcome.result).toEqual({ ok: true, value: { group: 'pg1', epoch: group(before).epoch + 1 } });
    expect(members(after)).toEqual(['n2', 'n3']);
    // Of four groups n2 and n3 lead one each.
    expect(group(after).primary).toBe('n2');
    expect(group(after).epoch).toBe(group(before).epoch + 1);
    expect(group(after).replicas).toEqual(group(before).replicas);
    for (const id of ['pg2', 'pg3', 'pg4']) expect(group(after, id)).toBe(group(before, id));
    expect(after.nodes).toBe(before.nodes);
  });

  it('may come back as a backup', () => {
    const after = applyAll(before, handOver(before));
    const { epoch, primary = '' } = group(after);
    const add = { type: 'expandInSync', group: 'pg1', epoch, primary, add: 'n1', incarnation: 'a' } as const;
    expect(members(applyAll(after, add))).toEqual(['n2', 'n3', 'n1']);
  });

  it('passes over a member whose node is not up', () => {
    const without2 = applyAll(before, fence(2, 'a'));
    expect(members(without2)).toEqual(['n1', 'n3']);
    const after = applyAll(without2, handOver(without2));
    expect(members(after)).toEqual(['n3']);
    expect(group(after).primary).toBe('n3');
  });

  it('is refused in an epoch that is over, and twice', () => {
    const command = handOver(before);
    expect(refusal(before, { ...command, epoch: command.epoch - 1 }).code).toBe('stale-epoch');
    expect(refusal(before, { ...command, epoch: command.epoch + 1 }).code).toBe('stale-epoch');
    expect(refusal(shrunk(before, 'n3'), command).code).toBe('stale-epoch');
    expect(refusal(applyAll(before, command), command).code).toBe('stale-epoch');
    // It was started again meanwhile.
    expect(refusal(applyAll(before, register(1, 'b')), command).code).toBe('stale-epoch');
  });

  it('is refused to one that does not lead, and for a group that is not there', () => {
    expect(refusal(before, handOver(before, { primary: 'n2' })).code).toBe('stale-epoch');
    expect(refusal(before, handOver(before, { group: 'pg9' })).code).toBe('unknown-portal-group');
  });

  it('is refused where nobody else is in sync', () => {
    const alone = shrunk(shrunk(before, 'n2'), 'n3');
    expect(refusal(alone, handOver(alone))).toMatchObject({
      kind: 'conflict',
      code: 'no-successor',
      got: '',
    });
  });

  it('is refused where fewer would be left than writes need', () => {
    const two = strict(before, 2);
    expect(members(applyAll(two, handOver(two)))).toEqual(['n2', 'n3']);
    const three = strict(before, 3);
    expect(refusal(three, handOver(three))).toMatchObject({ code: 'no-successor', got: 'n2, n3' });
    const fewer = shrunk(two, 'n3');
    expect(refusal(fewer, handOver(fewer)).code).toBe('no-successor');
  });

  it('needs every node to know of it', () => {
    expect(STATE_VERSIONS.neededBy(handOver(before))).toBe(HAND_OVER_VERSION);
    expect(STATE_VERSIONS.newest).toBeGreaterThanOrEqual(HAND_OVER_VERSION);
  });
});
