import { describe, expect, it } from 'vitest';
import type { Command } from '../../../../cluster/state/commands.ts';
import { makeGenesis } from '../../../../cluster/state/genesis.ts';
import type { ClusterState, PortalGroupRecord } from '../../../../cluster/state/model.ts';
import { waitingReason } from '../../../../cluster/state/waiting.ts';
import { applyAll, fence, genesisInput, register } from './fixtures.ts';

type Register = Extract<Command, { type: 'registerNode' }>;

const group = (state: ClusterState): PortalGroupRecord => state.portalGroups['pg1'] as PortalGroupRecord;
const why = (state: ClusterState): string => waitingReason(state, group(state)) ?? '';

/** A process of node n, over its first directory, in the first run of its host's kernel unless told otherwise. */
const start = (n: number, incarnation: string, changes: Partial<Register> = {}): Command => ({
  ...(register(n, incarnation) as Register),
  disks: { pg1: `disk-${n}` },
  boot: `boot-${n}`,
  ...changes,
});

/** A process of node n that begins without the copy, which the one before it has put out of the way. */
const startWithout = (
  n: number,
  incarnation: string,
  epoch: number,
  by: string[],
  boot = `boot-${n}`,
): Command =>
  start(n, incarnation, {
    disks: { pg1: `new-${n}-${incarnation}` },
    retired: { pg1: [{ disk: `disk-${n}`, epoch, processes: by }] },
    boot,
  });

/** Of a new cluster; its epoch is that of the three in sync. */
function running(nodes = 3): ClusterState {
  const state = makeGenesis(genesisInput(nodes, 1));
  const starts = Array.from({ length: nodes }, (_, i) => start(i + 1, 'a'));
  return applyAll(state, ...starts);
}

/** n1 and n2 died together; n2 was fenced first, so that n1 is the last one of the set. */
function bothDied(): { state: ClusterState; inSyncEpoch: number } {
  const state = running(2);
  const inSyncEpoch = group(state).epoch;
  return { state: applyAll(state, fence(2, 'a'), fence(1, 'a')), inSyncEpoch };
}

describe('a group whose last copy is damaged', () => {
  it('goes on from one that left when nobody served any more, whichever comes back first', () => {
    const { state, inSyncEpoch } = bothDied();
    const damaged = startWithout(1, 'c', inSyncEpoch, ['b', 'a']);
    for (const commands of [
      [start(1, 'b'), start(2, 'b'), damaged],
      [start(1, 'b'), damaged, start(2, 'b')],
      [start(2, 'b'), start(1, 'b'), damaged],
      // The process that found the damage had ended before its registration went through.
      [start(2, 'b'), damaged],
    ]) {
      const after = applyAll(state, ...commands);
      expect(group(after)).toMatchObject({
        primary: 'n2',
        inSync: [{ nodeId: 'n2', incarnation: 'b', disk: 'disk-2' }],
        resumedEpoch: group(after).epoch,
      });
      expect(group(after).lossAcceptedEpoch).toBeUndefined();
      expect(why(after)).toBe('');
    }
  });

  it('goes on where the members were put out by coming back, not by a fence', () => {
    const state = running(2);
    const { epoch } = group(state);
    // n1 leads, and both are back before anybody missed them: n1 first, which puts it out of the set.
    const after = applyAll(state, start(1, 'b'), start(2, 'b'), startWithout(2, 'c', epoch, ['b']));
    expect(group(after).primary).toBe('n1');
  });

  it('waits where the damaged copy answered without the other, however little', () => {
    const { state, inSyncEpoch } = bothDied();
    const damaged = startWithout(1, 'c', inSyncEpoch + 1, ['b']);
    const after = applyAll(state, start(2, 'b'), start(1, 'b'), damaged);
    expect(group(after).primary).toBeUndefined();
    expect(group(after).inSync).toMatchObject([{ nodeId: 'n1', disk: 'disk-1' }]);
    expect(why(after)).toContain(
      `n2 is up, and may lack what was acknowledged in epochs ${inSyncEpoch + 1} to ${inSyncEpoch + 1}`,
    );
    expect(why(after)).toContain('n1 is up over another, newer directory');
    expect(why(after)).toContain('"bootfabric portal-group start-from pg1 NODE --i-accept-data-loss"');
  });

  it('waits where nothing is said of the copy, or by a process from before the last that had it', () => {
    const { state, inSyncEpoch } = bothDied();
    const gone = start(1, 'c', { disks: { pg1: 'new' } });
    expect(group(applyAll(state, start(2, 'b'), start(1, 'b'), gone)).primary).toBeUndefined();
    const late = startWithout(1, 'd', inSyncEpoch, ['b', 'a']);
    // Somebody put the copy back, and process c served from it.
    const restored = applyAll(state, start(2, 'b'), start(1, 'b'), start(1, 'c'), late);
    expect(group(restored).primary).toBeUndefined();
  });

  it('waits where there was another primary in between', () => {
    const state = running(3);
    const { epoch } = group(state);
    expect(group(state).primary).toBe('n1');
    // n3 leaves; n1, which may have gone on with n2, dies; n2 is the last and finds its copy damaged.
    const left = applyAll(state, fence(3, 'a'), start(3, 'b'), fence(1, 'a'), fence(2, 'a'), start(2, 'b'));
    const after = applyAll(left, startWithout(2, 'c', epoch, ['b']));
    expect(group(after).primary).toBeUndefined();
    // n1 had everything when it left, since n2 never led.
    expect(why(after)).toContain('n1 is not up, and has everything');
    expect(why(after)).toContain('Either start n1, which has everything');
    expect(group(applyAll(after, start(1, 'b'))).primary).toBe('n1');
  });

  it('waits for what was not flushed, unless all have lost it', () => {
    const { state, inSyncEpoch } = bothDied();
    const rebooted = start(2, 'b', { boot: 'later' });
    const damaged = startWithout(1, 'c', inSyncEpoch, ['b']);
    const waits = applyAll(state, rebooted, start(1, 'b'), damaged);
    expect(group(waits).primary).toBeUndefined();
    expect(why(waits)).toContain('n2 is up, and may lack what was not flushed when its host lost power');
    // Another start in the same run of the kernel brings nothing back.
    expect(group(applyAll(waits, start(2, 'c', { boot: 'later' }))).primary).toBeUndefined();
    expect(group(applyAll(waits, start(2, 'c'))).primary).toBeUndefined();

    const allLost = [rebooted, start(1, 'b', { boot: 'later' })];
    const goesOn = applyAll(state, ...allLost, startWithout(1, 'c', inSyncEpoch, ['b'], 'later'));
    expect(group(goesOn).primary).toBe('n2');
    const atOnce = applyAll(state, rebooted, startWithout(1, 'c', inSyncEpoch, ['b', 'a'], 'later'));
    expect(group(atOnce).primary).toBe('n2');
  });

  it('waits for a third one that may still have what the others lost with their power', () => {
    const state = running(3);
    const { epoch } = group(state);
    const allDead = applyAll(state, fence(2, 'a'), fence(3, 'a'), fence(1, 'a'));
    const two = applyAll(
      allDead,
      start(2, 'b', { boot: 'later' }),
      start(1, 'b', { boot: 'later' }),
      startWithout(1, 'c', epoch, ['b'], 'later'),
    );
    expect(group(two).primary).toBeUndefined();
    expect(why(two)).toContain('n3 is not up, and has everything');
    expect(group(applyAll(two, start(3, 'b'))).primary).toBe('n3');
    expect(group(applyAll(two, start(3, 'b', { boot: 'later' }))).primary).toBeDefined();
    const unknown = { ...(start(3, 'b') as Register) };
    expect(
      group(applyAll(two, { ...unknown, boot: undefined } as unknown as Command)).primary,
    ).toBeUndefined();
  });

  it('goes on to the third, where the second is damaged as well', () => {
    const state = running(3);
    const { epoch } = group(state);
    const allDead = applyAll(state, fence(2, 'a'), fence(3, 'a'), fence(1, 'a'));
    const second = applyAll(allDead, start(2, 'b'), start(1, 'b'), startWithout(1, 'c', epoch, ['b']));
    expect(group(second).primary).toBe('n2');
    const both = applyAll(second, startWithout(2, 'c', epoch, ['b']), start(3, 'b'));
    expect(group(both)).toMatchObject({ primary: 'n3', inSync: [{ disk: 'disk-3' }] });
    // Had the second one served, the third would not have everything.
    const served = applyAll(second, startWithout(2, 'c', group(second).epoch, ['b']), start(3, 'b'));
    expect(group(served).primary).toBeUndefined();
  });

  it('counts on nobody whose copy is another one now, or who is to have none', () => {
    const { state, inSyncEpoch } = bothDied();
    const damaged = startWithout(1, 'c', inSyncEpoch, ['b']);
    const wiped = start(2, 'b', { disks: { pg1: 'wiped' } });
    const after = applyAll(state, wiped, start(1, 'b'), damaged);
    expect(group(after).primary).toBeUndefined();
    expect(why(after)).toContain('n2 is up over another directory than the one that was in sync');
    const drop: Command = { type: 'dropReplica', group: 'pg1', epoch: group(state).epoch, drop: 'n2' };
    expect(group(applyAll(state, drop, start(2, 'b'), start(1, 'b'), damaged)).primary).toBeUndefined();
  });

  it('still waits for it while its node dies again, and leads it again when it is put back', () => {
    const { state, inSyncEpoch } = bothDied();
    const waits = applyAll(state, startWithout(1, 'c', inSyncEpoch, ['b', 'a']), fence(1, 'c'));
    expect(why(waits)).toContain('start n2, which has everything');
    expect(group(applyAll(waits, start(2, 'b'))).primary).toBe('n2');
    const back = applyAll(waits, start(1, 'd'));
    expect(group(back)).toMatchObject({ primary: 'n1', inSync: [{ incarnation: 'd', disk: 'disk-1' }] });
    expect(group(back).retired).toBeUndefined();
  });

  it('remembers nothing of members whose nodes do not say what the rule asks for', () => {
    const state = applyAll(
      makeGenesis(genesisInput(2, 1)),
      register(1, 'a'),
      register(2, 'a'),
      fence(2, 'a'),
    );
    expect(group(state)).not.toHaveProperty('departed');
  });
});
