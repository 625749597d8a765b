import { beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../../../base/clock.ts';
import { silentLogger } from '../../../base/logger.ts';
import { BALANCE_PAUSE_MS, PLACEMENT_INTERVAL_MS } from '../../../cluster/limits.ts';
import { PlacementKeeper } from '../../../cluster/placement-keeper.ts';
import { apply } from '../../../cluster/state/apply.ts';
import type { Command } from '../../../cluster/state/commands.ts';
import { DEFAULT_REBALANCE_DELAY_MS, DEFAULT_REPLACE_AFTER_MS } from '../../../cluster/state/limits.ts';
import type { ClusterState } from '../../../cluster/state/model.ts';
import { placementReport } from '../../../cluster/state/placement-report.ts';
import {
  applyAll,
  endpointsOf,
  fence,
  register as registerOld,
  runningCluster,
  sha,
} from './state/fixtures.ts';

const register = (n: number, incarnation: string): Command =>
  ({ ...registerOld(n, incarnation), stateVersion: 2 }) as Command;

let clock: ManualClock;
let state: ClusterState;
let done: Command[];
let keeper: PlacementKeeper;
/** Whether new copies catch up at once. */
let catchesUp: boolean;

beforeEach(() => {
  clock = new ManualClock();
  state = { ...runningCluster(3, 6), stateVersion: 2 };
  done = [];
  catchesUp = true;
  keeper = newKeeper();
});

function newKeeper(): PlacementKeeper {
  return new PlacementKeeper({
    clock,
    logger: silentLogger,
    propose: (command) => {
      done.push(command);
      const { state: next, result } = apply(state, command);
      state = next;
      return Promise.resolve(result);
    },
  });
}

function catchUp(): void {
  for (const group of Object.values(state.portalGroups)) {
    for (const add of group.replicas) {
      const { epoch, primary = '', inSync } = state.portalGroups[group.id] ?? group;
      const node = state.nodes[add];
      if (inSync.some((m) => m.nodeId === add) || node?.status !== 'up') continue;
      const { incarnation } = node;
      state = applyAll(state, { type: 'expandInSync', group: group.id, epoch, primary, add, incarnation });
    }
  }
}

/** @returns what the keeper did meanwhile */
async function pass(ms: number): Promise<Command[]> {
  const before = done.length;
  for (let passed = 0; passed < ms; passed += PLACEMENT_INTERVAL_MS) {
    clock.advance(PLACEMENT_INTERVAL_MS);
    keeper.tick(state);
    await Promise.resolve();
    await Promise.resolve();
    await Promise.resolve();
    if (catchesUp) catchUp();
  }
  return done.slice(before);
}

const joining = (n: number): Command[] => [
  { type: 'createJoinToken', id: `t${n}`, secretSha256: sha(String(n)), expiresAtMs: 9, atMs: 1, by: 'a' },
  {
    type: 'addNode',
    nodeId: `n${n}`,
    endpoints: endpointsOf(n),
    secretSha256: sha(String(n)),
    keySha256: sha('e'),
    atMs: 2,
  },
  register(n, 'a'),
];

const led = (nodeId: string): number =>
  Object.values(state.portalGroups).filter((g) => g.primary === nodeId).length;

describe('the keeper of placement', { timeout: 120_000 }, () => {
  it('does nothing where all is well', async () => {
    expect(await pass(3 * DEFAULT_REBALANCE_DELAY_MS)).toEqual([]);
    expect(placementReport(state, keeper.calmNeededMs(state))).toEqual({
      doing: [],
      next: undefined,
      waitingFor: undefined,
      warnings: [],
    });
  });

  it('moves copies to a newcomer once the cluster has been calm, one at a time, and says so', async () => {
    await pass(1000);
    state = applyAll(state, ...joining(4));
    expect(await pass(DEFAULT_REBALANCE_DELAY_MS - 1000)).toEqual([]);
    const report = placementReport(state, keeper.calmNeededMs(state));
    expect(report.next).toMatch(
      /^the copy of portal group pg\d on n\d moves to n4, since n\d keeps 6 by weight 1, n4 keeps 0/,
    );
    expect(report.waitingFor).toMatch(/^\d+ more of 30 s of calm$/);
    catchesUp = false;
    const first = await pass(20_000);
    // The next one waits for the first to be in sync, however long that takes.
    expect(first).toMatchObject([{ type: 'addReplica', add: 'n4', why: expect.any(String) as string }]);
    expect(placementReport(state, 0).doing).toEqual([
      expect.stringMatching(/^the copy of portal group pg\d on n\d moves to n4, which is catching up$/),
    ]);
    for (const { inSync } of Object.values(state.portalGroups)) expect(inSync).toHaveLength(3);
    catchesUp = true;
    await pass(120_000);
    const counts = Object.keys(state.nodes).map(
      (id) => Object.values(state.portalGroups).filter((g) => g.replicas.includes(id)).length,
    );
    expect(counts.toSorted((a, b) => a - b)).toEqual([4, 4, 5, 5]);
    expect(
      Object.keys(state.nodes)
        .map(led)
        .toSorted((a, b) => a - b),
    ).toEqual([1, 1, 2, 2]);
    expect(await pass(120_000)).toEqual([]);
    const events = state.audit.map((a) => a.event);
    expect(events).toEqual(expect.arrayContaining(['copy-added', 'copy-dropped', 'group-moved']));
  });

  it('pauses between two moves', async () => {
    state = applyAll(state, ...joining(4));
    await pass(DEFAULT_REBALANCE_DELAY_MS + 1000);
    const at: number[] = [];
    let seen = done.filter((c) => c.type !== 'dropReplica').length;
    for (let i = 0; i < 100; i++) {
      await pass(PLACEMENT_INTERVAL_MS);
      const now = done.filter((c) => c.type !== 'dropReplica').length;
      if (now > seen) at.push(clock.monotonicMs());
      expect(now - seen).toBeLessThanOrEqual(1);
      seen = now;
    }
    expect(at.length).toBeGreaterThan(2);
    for (const [i, ms] of at.slice(1).entries())
      expect(ms - (at[i] as number)).toBeGreaterThanOrEqual(BALANCE_PAUSE_MS);
  });

  it('moves nothing while switched off, but what a leaving node needs', async () => {
    state = applyAll(state, { type: 'setCluster', rebalance: 'off', atMs: 1, by: 'a' }, ...joining(4));
    expect(await pass(3 * DEFAULT_REBALANCE_DELAY_MS)).toEqual([]);
    expect(placementReport(state, 0).waitingFor).toContain('switched on');
    state = applyAll(state, { type: 'drainNode', nodeId: 'n1', atMs: 1, by: 'a' });
    await pass(60_000);
    expect(led('n1')).toBe(0);
    expect(Object.values(state.portalGroups).filter((g) => g.replicas.includes('n1'))).toEqual([]);
  });

  it('gives nothing back to a node that returns before it has stayed for a while', async () => {
    await pass(DEFAULT_REBALANCE_DELAY_MS + 1000);
    state = applyAll(state, fence(1, 'a'));
    expect(led('n1')).toBe(0);
    expect(await pass(10_000)).toEqual([]);
    // It comes and goes: nothing moves.
    for (const incarnation of ['b', 'c', 'd']) {
      state = applyAll(state, register(1, incarnation));
      catchUp();
      expect(await pass(DEFAULT_REBALANCE_DELAY_MS - 1000)).toEqual([]);
      state = applyAll(state, fence(1, incarnation));
    }
    state = applyAll(state, register(1, 'e'));
    catchUp();
    expect(await pass(DEFAULT_REBALANCE_DELAY_MS - 1000)).toEqual([]);
    const moves = await pass(60_000);
    expect(moves.map((c) => c.type)).toEqual(['moveGroup', 'moveGroup']);
    expect(led('n1')).toBe(2);
  });

  it('lets a group stay where an administrator moved it until the cluster has been calm since', async () => {
    await pass(DEFAULT_REBALANCE_DELAY_MS + 1000);
    const byHand = (to: string, from: string): void => {
      const group = Object.values(state.portalGroups).find((g) => g.primary === from);
      const { id = '', epoch = 0 } = group ?? {};
      state = applyAll(state, { type: 'moveGroup', group: id, epoch, to, atMs: 1, why: 'asked for by a' });
    };
    byHand('n2', 'n1');
    expect(await pass(20_000)).toEqual([]);
    byHand('n2', 'n3');
    expect(await pass(DEFAULT_REBALANCE_DELAY_MS - 1000)).toEqual([]);
    expect(led('n2')).toBe(4);
    // What the plan itself moves is no reason to wait.
    const moves = await pass(1000 + 3 * BALANCE_PAUSE_MS);
    expect(moves.map((c) => c.type)).toEqual(['moveGroup', 'moveGroup']);
    expect(led('n2')).toBe(2);
  });

  it('begins to wait anew when leadership of the cluster log comes to it', async () => {
    state = applyAll(state, ...joining(4));
    await pass(DEFAULT_REBALANCE_DELAY_MS - 1000);
    clock.advance(60_000);
    expect(keeper.calmNeededMs(state)).toBeUndefined();
    expect(await pass(DEFAULT_REBALANCE_DELAY_MS - 1000)).toEqual([]);
    expect(await pass(5000)).not.toEqual([]);
  });

  it('makes the copies of a node anew that is down for long, and not before', async () => {
    const replaceAfterMs = 60_000;
    expect(replaceAfterMs).toBeLessThan(DEFAULT_REPLACE_AFTER_MS);
    const soon: Command = { type: 'setCluster', replaceAfterMs, atMs: 1, by: 'a' };
    state = applyAll(state, soon, ...joining(4), ...joining(5));
    await pass(120_000);
    const kept = Object.values(state.portalGroups).filter((g) => g.replicas.includes('n1'));
    expect(kept.length).toBeGreaterThan(0);
    state = applyAll(state, fence(1, 'a'));
    expect(await pass(replaceAfterMs - 1000)).toEqual([]);
    await pass(120_000);
    for (const { inSync, replicas } of Object.values(state.portalGroups)) {
      expect(replicas).not.toContain('n1');
      expect(inSync).toHaveLength(3);
    }
    // Back again it gets its share, after a while.
    state = applyAll(state, register(1, 'b'));
    expect(await pass(DEFAULT_REBALANCE_DELAY_MS - 1000)).toEqual([]);
    await pass(200_000);
    const again = Object.values(state.portalGroups).filter((g) => g.replicas.includes('n1'));
    // 18 copies on five nodes.
    expect([3, 4]).toContain(again.length);
  });

  it('moves copies apart that share a rack, and warns where it cannot', async () => {
    const rack = (nodeId: string, name: string): Command => ({
      type: 'setNode',
      nodeId,
      rack: name,
      clear: [],
      atMs: 1,
      by: 'a',
    });
    state = applyAll(state, rack('n1', 'a'), rack('n2', 'a'), rack('n3', 'b'));
    expect(await pass(60_000)).toEqual([]);
    expect(placementReport(state, 0).warnings[0]).toBe(
      'portal group pg1 has copies that share a rack: rack a has those of n1 and n2 (racks with nodes that are up: 2)',
    );
    state = applyAll(state, ...joining(4), rack('n4', 'c'));
    await pass(200_000);
    expect(placementReport(state, 0).warnings).toEqual([]);
    for (const { replicas } of Object.values(state.portalGroups)) {
      expect(replicas).toContain('n3');
      expect(replicas).toContain('n4');
    }
  });
});
