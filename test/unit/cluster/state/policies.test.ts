import { describe, expect, it } from 'vitest';
import { apply } from '../../../../cluster/state/apply.ts';
import type { Command } from '../../../../cluster/state/commands.ts';
import {
  MAX_CATCH_UP_BYTES_PER_SECOND,
  MIN_CATCH_UP_BYTES_PER_SECOND,
} from '../../../../cluster/state/limits.ts';
import { rackOf, weightOf } from '../../../../cluster/state/node-placement.ts';
import { PACE_VERSION, STATE_VERSIONS } from '../../../../cluster/state/versions.ts';
import { CATCH_UP_MAX_BYTES_PER_SECOND } from '../../../../storage/replication/limits.ts';
import { applyAll, fence, runningCluster } from './fixtures.ts';

const who = { atMs: 7, by: 'admin' };
const state = runningCluster(3, 4);

const setNode = (fields: { weight?: number; rack?: string; clear?: string[] }): Command => ({
  type: 'setNode',
  nodeId: 'n1',
  clear: [],
  ...fields,
  ...who,
});
const describeNode = (fields: { weight?: number; rack?: string }, incarnation = 'a'): Command => ({
  type: 'describeNode',
  nodeId: 'n1',
  incarnation,
  ...fields,
});
const codeOf = (command: Command): string | undefined => {
  const { state: after, result } = apply(state, command);
  if (result.ok) return undefined;
  expect(after).toBe(state);
  return result.error.code;
};

describe('what is said of a node', () => {
  it('counts 1, and no rack, where nobody says anything', () => {
    expect([weightOf(state.nodes['n1']), rackOf(state.nodes['n1'])]).toEqual([1, undefined]);
    expect(weightOf(undefined)).toBe(1);
  });

  it("is the administrator's word before that of its own settings, until that is taken back", () => {
    const described = applyAll(state, describeNode({ weight: 3, rack: 'a' }));
    expect([weightOf(described.nodes['n1']), rackOf(described.nodes['n1'])]).toEqual([3, 'a']);
    const set = applyAll(described, setNode({ weight: 5 }), setNode({ rack: 'b' }));
    expect([weightOf(set.nodes['n1']), rackOf(set.nodes['n1'])]).toEqual([5, 'b']);
    const cleared = applyAll(set, setNode({ clear: ['weight'] }));
    expect([weightOf(cleared.nodes['n1']), rackOf(cleared.nodes['n1'])]).toEqual([3, 'b']);
    // Nothing is left of what is not said any more.
    const none = applyAll(cleared, setNode({ clear: ['rack'] }), describeNode({}));
    expect(none.nodes['n1']).toEqual(state.nodes['n1']);
    expect(set.audit.at(-1)).toMatchObject({ event: 'node-set', detail: 'n1: rack b, by admin' });
  });

  it('is refused where it makes no sense', () => {
    expect(codeOf(setNode({ weight: 0 }))).toBe('bad-weight');
    expect(codeOf(setNode({ weight: 1001 }))).toBe('bad-weight');
    expect(codeOf(setNode({ rack: 'no good' }))).toBe('bad-name');
    expect(codeOf(setNode({ clear: ['status'] }))).toBe('bad-setting');
    expect(codeOf(describeNode({ weight: 2 }, 'another'))).toBe('other-incarnation');
    expect(codeOf({ ...setNode({}), nodeId: 'n9' } as Command)).toBe('unknown-node');
  });

  it('gives a heavier node more to lead of what a dead one led', () => {
    const heavy = applyAll(state, { ...setNode({ weight: 4 }), nodeId: 'n3' } as Command);
    const leads = (nodeId: string): number =>
      Object.values(applyAll(heavy, fence(1, 'a')).portalGroups).filter((g) => g.primary === nodeId).length;
    expect([leads('n2'), leads('n3')]).toEqual([1, 3]);
  });
});

describe('settings of the cluster', () => {
  const set = (fields: Partial<Extract<Command, { type: 'setCluster' }>>): Command => ({
    type: 'setCluster',
    ...fields,
    ...who,
  });

  it('change where they are given, and stay where not', () => {
    const off = applyAll(state, set({ rebalance: 'off' }), set({ replicasPerGroup: 2, replaceAfterMs: 5 }));
    expect(off.settings).toEqual({
      ...state.settings,
      rebalance: 'off',
      replicasPerGroup: 2,
      replaceAfterMs: 5,
    });
    expect(off.audit.map((a) => a.detail)).toEqual([
      'rebalance off, by admin',
      'replicasPerGroup 2, replaceAfterMs 5, by admin',
    ]);
  });

  it('say how fast copies may catch up, within what replication itself keeps to', () => {
    expect(MAX_CATCH_UP_BYTES_PER_SECOND).toBe(CATCH_UP_MAX_BYTES_PER_SECOND);
    for (const pace of [MIN_CATCH_UP_BYTES_PER_SECOND, MAX_CATCH_UP_BYTES_PER_SECOND]) {
      const { settings } = applyAll(state, set({ catchUpBytesPerSecond: pace }));
      expect(settings).toEqual({ ...state.settings, catchUpBytesPerSecond: pace });
    }
    expect(STATE_VERSIONS.neededBy(set({ catchUpBytesPerSecond: MIN_CATCH_UP_BYTES_PER_SECOND }))).toBe(
      PACE_VERSION,
    );
    expect(STATE_VERSIONS.neededBy(set({ replicasPerGroup: 2 }))).toBe(2);
  });

  it('are refused where they make no sense', () => {
    expect(codeOf(set({ replicasPerGroup: 0 }))).toBe('bad-replica-count');
    expect(codeOf(set({ rebalanceDelayMs: 1e12 }))).toBe('bad-duration');
    expect(codeOf(set({ catchUpBytesPerSecond: MIN_CATCH_UP_BYTES_PER_SECOND - 1 }))).toBe(
      'bad-catch-up-pace',
    );
    expect(codeOf(set({ catchUpBytesPerSecond: MAX_CATCH_UP_BYTES_PER_SECOND + 1 }))).toBe(
      'bad-catch-up-pace',
    );
    expect(codeOf(set({ rebalance: 'maybe' as 'on' }))).toBe('malformed-command');
    const strict = applyAll(state, { type: 'setPortalGroup', group: 'pg1', minInSync: 2, ...who });
    expect(apply(strict, set({ replicasPerGroup: 1 })).result).toMatchObject({
      ok: false,
      error: { code: 'below-min-in-sync' },
    });
  });
});

describe("what a portal group's writes need", () => {
  const set = (fields: Partial<Extract<Command, { type: 'setPortalGroup' }>>): Command => ({
    type: 'setPortalGroup',
    group: 'pg1',
    ...fields,
    ...who,
  });

  it('is set without a new epoch, since nobody joins or leaves by it', () => {
    const changed = applyAll(state, set({ minInSync: 2 }), set({ durability: 'durable' }));
    expect(changed.portalGroups['pg1']).toEqual({
      ...state.portalGroups['pg1'],
      minInSync: 2,
      durability: 'durable',
    });
    expect(changed.audit.map((a) => a.detail)).toEqual([
      'pg1: minInSync 2, by admin',
      'pg1: durable, by admin',
    ]);
  });

  it('is refused where it could never be', () => {
    expect(codeOf(set({ minInSync: 0 }))).toBe('bad-min-in-sync');
    expect(codeOf(set({ minInSync: 4 }))).toBe('bad-min-in-sync');
    expect(codeOf({ ...set({}), group: 'pg9' } as Command)).toBe('unknown-portal-group');
    expect(codeOf(set({ durability: 'never' as 'durable' }))).toBe('malformed-command');
  });
});

it('is all of the second version of the configuration', () => {
  expect(STATE_VERSIONS.newest).toBeGreaterThanOrEqual(2);
  for (const type of ['describeNode', 'setNode', 'setCluster', 'setPortalGroup'] as const) {
    expect(STATE_VERSIONS.neededBy({ type } as unknown as Command)).toBe(2);
  }
  expect(STATE_VERSIONS.neededBy({ type: 'drainNode', nodeId: 'n1', ...who })).toBe(1);
});
