import { describe, expect, it } from 'vitest';
import { apply } from '../../../../cluster/state/apply.ts';
import type { Command } from '../../../../cluster/state/commands.ts';
import { acceptedLoss } from '../../../../cluster/state/disks.ts';
import { makeGenesis } from '../../../../cluster/state/genesis.ts';
import type { ClusterState, PortalGroupRecord } from '../../../../cluster/state/model.ts';
import { waitingReason } from '../../../../cluster/state/waiting.ts';
import { applyAll, fence, genesisInput, register } from './fixtures.ts';

const group = (state: ClusterState): PortalGroupRecord => state.portalGroups['pg1'] as PortalGroupRecord;

const over = (n: number, incarnation: string, disk: string): Command => ({
  ...(register(n, incarnation) as Extract<Command, { type: 'registerNode' }>),
  disks: { pg1: disk },
});

/** Two nodes whose last in-sync member, n2, is down. */
function lastMemberDown(): ClusterState {
  const state = makeGenesis(genesisInput(2, 1));
  return applyAll(
    state,
    over(1, 'a', 'disk-1'),
    over(2, 'a', 'disk-2'),
    fence(1, 'a'),
    fence(2, 'a'),
    over(1, 'b', 'disk-1'),
  );
}

function refusal(state: ClusterState, command: Command): string | undefined {
  const { result } = apply(state, command);
  return result.ok ? undefined : result.error.code;
}

const start = (state: ClusterState, nodeId: string): Command => ({
  type: 'startGroupFrom',
  group: 'pg1',
  epoch: group(state).epoch,
  nodeId,
  atMs: 7,
  by: 'admin',
});

describe('the disk of the last in-sync member', () => {
  it('is what the group waits for', () => {
    const state = lastMemberDown();
    expect(group(state).inSync).toEqual([{ nodeId: 'n2', incarnation: 'a', disk: 'disk-2' }]);
    expect(waitingReason(state, group(state))).toContain('not up');
    const back = applyAll(state, over(2, 'b', 'disk-2'));
    expect(group(back)).toMatchObject({
      primary: 'n2',
      inSync: [{ nodeId: 'n2', incarnation: 'b', disk: 'disk-2' }],
    });
    expect(waitingReason(back, group(back))).toBeUndefined();
  });

  it('is not mistaken for an empty one in its place, however often that comes back', () => {
    let state = lastMemberDown();
    for (const incarnation of ['b', 'c']) {
      state = applyAll(state, over(2, incarnation, 'wiped'));
      expect(group(state).primary).toBeUndefined();
      expect(group(state).inSync).toEqual([{ nodeId: 'n2', incarnation: 'a', disk: 'disk-2' }]);
      expect(waitingReason(state, group(state))).toContain('without the disk');
      const move: Command = { type: 'moveGroup', group: 'pg1', epoch: group(state).epoch, to: 'n2' };
      expect(refusal(state, move)).toBe('not-up');
    }
    // Another start of others changes nothing either.
    state = applyAll(state, fence(1, 'b'), over(1, 'c', 'disk-1'));
    expect(group(state).primary).toBeUndefined();
    expect(group(applyAll(state, over(2, 'd', 'disk-2'))).primary).toBe('n2');
  });

  it('is missed even where the node comes back before it was fenced', () => {
    let state = makeGenesis(genesisInput(2, 1));
    state = applyAll(state, over(1, 'a', 'disk-1'), over(2, 'a', 'disk-2'), fence(1, 'a'));
    expect(group(state).primary).toBe('n2');
    state = applyAll(state, over(2, 'b', 'wiped'));
    expect(group(state).primary).toBeUndefined();
  });
});

describe('startGroupFrom', () => {
  it('goes on from a lesser copy, and is remembered', () => {
    const state = applyAll(lastMemberDown(), over(2, 'b', 'wiped'));
    const started = applyAll(state, start(state, 'n1'));
    expect(group(started)).toMatchObject({
      primary: 'n1',
      inSync: [{ nodeId: 'n1', incarnation: 'b', disk: 'disk-1' }],
      epoch: group(state).epoch + 1,
      lossAcceptedEpoch: group(state).epoch + 1,
    });
    expect(started.audit.at(-1)).toMatchObject({ event: 'group-started-from', atMs: 7 });
    expect(started.audit.at(-1)?.detail).toMatch(/pg1 from n1.* n2 .*by admin/);
    const { epoch } = group(started);
    const since = `since epoch ${epoch}, 1970-01-01T00:00:00.007Z: portal group pg1 from n1`;
    expect(acceptedLoss(started, group(started))).toContain(since);
    expect(acceptedLoss({ ...started, audit: [] }, group(started))).toBe(`since epoch ${epoch}`);
    expect(acceptedLoss(state, group(state))).toBeUndefined();
  });

  it('is refused where nothing needs to be given up, and for whom it cannot be', () => {
    const state = lastMemberDown();
    expect(refusal(state, start(state, 'n2'))).toBe('not-up');
    expect(refusal(state, start(state, 'n9'))).toBe('not-a-replica');
    expect(refusal(state, { ...start(state, 'n1'), epoch: 1 } as Command)).toBe('stale-epoch');
    expect(refusal(state, { ...start(state, 'n1'), group: 'pg9' } as Command)).toBe('unknown-portal-group');
    const serving = applyAll(state, over(2, 'b', 'disk-2'));
    expect(refusal(serving, start(serving, 'n1'))).toBe('has-primary');
  });
});

describe('identifyDisk', () => {
  const identify = (disk: string, incarnation = 'b'): Command => ({
    type: 'identifyDisk',
    nodeId: 'n1',
    incarnation,
    group: 'pg1',
    disk,
  });

  it('must come before a copy made later can be in sync', () => {
    const bare = { ...over(1, 'b', ''), disks: {} } as Command;
    let state = makeGenesis(genesisInput(2, 1));
    state = applyAll(state, over(1, 'a', 'disk-1'), over(2, 'a', 'disk-2'), fence(1, 'a'), bare);
    const expand: Command = {
      type: 'expandInSync',
      group: 'pg1',
      epoch: group(state).epoch,
      primary: 'n2',
      add: 'n1',
      incarnation: 'b',
    };
    expect(refusal(state, expand)).toBe('unknown-disk');
    state = applyAll(state, identify('new'), expand);
    expect(group(state).inSync.at(-1)).toEqual({ nodeId: 'n1', incarnation: 'b', disk: 'new' });
    expect(refusal(state, identify('another'))).toBe('other-disk');
    expect(refusal(state, identify('new', 'a'))).toBe('other-incarnation');
    expect(refusal(state, identify('new'))).toBeUndefined();
  });
});
