import { describe, expect, it } from 'vitest';
import { apply } from '../../../../cluster/state/apply.ts';
import type { Command } from '../../../../cluster/state/commands.ts';
import { makeGenesis } from '../../../../cluster/state/genesis.ts';
import type { ClusterState, PortalGroupRecord } from '../../../../cluster/state/model.ts';
import { recoverState } from '../../../../cluster/state/recovery.ts';
import { LIVES_VERSION } from '../../../../cluster/state/versions.ts';
import { waitingReason } from '../../../../cluster/state/waiting.ts';
import { applyAll, fence, genesisInput, register } from './fixtures.ts';

type Register = Extract<Command, { type: 'registerNode' }>;

const group = (state: ClusterState): PortalGroupRecord => state.portalGroups['pg1'] as PortalGroupRecord;
const why = (state: ClusterState): string => waitingReason(state, group(state)) ?? '';

/** A process of node n over its one directory, which is open in the last of these lives. */
const start = (
  n: number,
  incarnation: string,
  lives: string[],
  changes: Partial<Register> = {},
): Command => ({
  ...(register(n, incarnation) as Register),
  stateVersion: LIVES_VERSION,
  disks: { pg1: `disk-${n}` },
  boot: `boot-${n}`,
  lives: { pg1: { life: lives.at(-1) as string, former: lives.slice(0, -1) } },
  ...changes,
});

/** n2 is the last in sync, in its life 2a, and down. */
function lastDown(): ClusterState {
  const genesis = { ...makeGenesis(genesisInput(2, 1)), stateVersion: LIVES_VERSION };
  return applyAll(genesis, start(1, 'a', ['1a']), start(2, 'a', ['2a']), fence(1, 'a'), fence(2, 'a'));
}

function refusal(state: ClusterState, command: Command): string | undefined {
  const { result } = apply(state, command);
  return result.ok ? undefined : result.error.code;
}

describe('a directory that is what it was some time ago', () => {
  it('is not what the last member had', () => {
    const state = applyAll(lastDown(), start(1, 'b', ['1a', '1b']), start(2, 'b', ['2-earlier', '2b']));
    expect(group(state).primary).toBeUndefined();
    expect(group(state).inSync).toMatchObject([{ nodeId: 'n2', incarnation: 'a', life: '2a' }]);
    expect(why(state)).toContain('node n2, its last in-sync member, is up over an older copy of the disk');
    expect(why(state)).toContain('n2 is up over an older copy of its directory');
    expect(why(state)).toContain('portal-group start-from pg1 NODE --i-accept-data-loss');
    // However often it comes, and as if it had never been opened before.
    for (const lives of [['2-earlier', '2b', '2c'], ['2d']]) {
      expect(group(applyAll(state, start(2, lives.join(), lives))).primary).toBeUndefined();
    }
    // The right one is put back.
    const back = applyAll(state, start(2, 'd', ['2a', '2d']));
    expect(group(back)).toMatchObject({ primary: 'n2', inSync: [{ incarnation: 'd', life: '2d' }] });
    expect(why(back)).toBe('');
  });

  it('is what the group goes on from where an administrator says so', () => {
    const state = applyAll(lastDown(), start(2, 'b', ['2-earlier', '2b']));
    const { epoch } = group(state);
    const started = applyAll(state, {
      type: 'startGroupFrom',
      group: 'pg1',
      epoch,
      nodeId: 'n2',
      atMs: 7,
      by: 'admin',
    });
    expect(group(started)).toMatchObject({
      primary: 'n2',
      inSync: [{ life: '2b' }],
      lossAcceptedEpoch: epoch + 1,
    });
  });

  it('is no copy that left the set and lacks nothing', () => {
    const retired = { pg1: [{ disk: 'disk-2', epoch: 0, processes: ['a', 'b'], lives: ['2a', '2b'] }] };
    const lost = start(2, 'c', ['new'], { disks: { pg1: 'new-2' }, retired });
    const old = applyAll(lastDown(), start(1, 'b', ['1-earlier', '1b']), lost);
    expect(group(old).primary).toBeUndefined();
    expect(why(old)).toContain('n1 is up over an older copy of the directory that was in sync');
    // The same with what it left with, and with what it has been opened as since.
    for (const starts of [
      [['1a', '1b']],
      [
        ['1a', '1b'],
        ['1b', '1c'],
      ],
      [
        ['1a', '1b'],
        ['1a', '1b', '1c'],
      ],
    ]) {
      const commands = starts.map((lives, i) => start(1, `b${i}`, lives));
      expect(group(applyAll(lastDown(), ...commands, lost)).primary).toBe('n1');
    }
    expect(group(applyAll(old, start(1, 'c', ['1a', '1c']))).primary).toBe('n1');
  });

  it('does not say how far the last copy had been in use', () => {
    const retired = (lives: string[]) => ({
      pg1: [{ disk: 'disk-2', epoch: 0, processes: ['a', 'b'], lives }],
    });
    const without = (lives: string[]): Command =>
      start(2, 'c', ['new'], { disks: { pg1: 'new-2' }, retired: retired(lives) });
    const state = applyAll(lastDown(), start(1, 'b', ['1a', '1b']));
    expect(group(applyAll(state, without(['2-earlier', '2b']))).primary).toBeUndefined();
    expect(group(applyAll(state, without(['2a', '2b']))).primary).toBe('n1');
  });

  it('may join again once it has caught up', () => {
    const state = applyAll(lastDown(), start(2, 'b', ['2a', '2b']), start(1, 'b', ['1-earlier', '1b']));
    const { epoch } = group(state);
    const expand = {
      type: 'expandInSync',
      group: 'pg1',
      epoch,
      primary: 'n2',
      add: 'n1',
      incarnation: 'b',
    } as const;
    expect(group(applyAll(state, expand)).inSync.map(({ life }) => life)).toEqual(['2b', '1b']);
  });
});

describe('a good directory', () => {
  it('is known by whichever life was committed last, however many were begun', () => {
    for (const lives of [
      ['2a', '2b'],
      ['2a', 'lost', 'lost-too', '2b'],
      ['earlier', '2a', 'lost', '2b'],
      ['2a'],
    ]) {
      const state = applyAll(lastDown(), start(2, 'b', lives));
      expect(group(state)).toMatchObject({ primary: 'n2', inSync: [{ life: lives.at(-1) }] });
    }
  });

  it('has had no life before nodes told of them', () => {
    const untold = (n: number, incarnation: string): Command => ({
      ...(register(n, incarnation) as Register),
      disks: { pg1: `disk-${n}` },
    });
    let state = makeGenesis(genesisInput(2, 1));
    state = applyAll(state, untold(1, 'a'), untold(2, 'a'), fence(1, 'a'), fence(2, 'a'));
    expect(group(applyAll(state, untold(2, 'b'))).primary).toBe('n2');
    state = applyAll({ ...state, stateVersion: LIVES_VERSION }, start(2, 'b', ['2b']));
    expect(group(state)).toMatchObject({ primary: 'n2', inSync: [{ life: '2b' }] });
    expect(group(applyAll(state, fence(2, 'b'), start(2, 'c', ['2c']))).primary).toBeUndefined();
  });

  it('may have its life told while its process runs', () => {
    const state = applyAll(lastDown(), start(2, 'b', ['2a'], { lives: {} }));
    // It said nothing of it: nobody knows what is there.
    expect(group(state).primary).toBeUndefined();
    const early = applyAll(
      { ...makeGenesis(genesisInput(2, 1)), stateVersion: LIVES_VERSION },
      start(1, 'a', ['1a'], { lives: {} }),
    );
    const tell = (life: string, incarnation = 'a'): Command => ({
      type: 'identifyDisk',
      nodeId: 'n1',
      incarnation,
      group: 'pg1',
      disk: 'disk-1',
      life: { life, former: [] },
    });
    const told = applyAll(early, tell('1a'));
    expect(group(told).epoch).toBe(group(early).epoch);
    expect(group(told).inSync.find(({ nodeId }) => nodeId === 'n1')?.life).toBe('1a');
    expect(told.nodes['n1']?.lives).toEqual({ pg1: '1a' });
    expect(refusal(told, tell('1a'))).toBeUndefined();
    // Somebody has exchanged the directory under the process.
    expect(refusal(told, tell('1b'))).toBe('other-life');
    expect(refusal(told, tell('1a', 'z'))).toBe('other-incarnation');
  });

  it('may begin another life while its process runs', () => {
    const tell = (life: string, former: string[]): Command => ({
      type: 'identifyDisk',
      nodeId: 'n2',
      incarnation: 'b',
      group: 'pg1',
      disk: 'disk-2',
      life: { life, former },
    });
    let state = applyAll(lastDown(), start(2, 'b', ['2a', '2b']));
    const { epoch } = group(state);
    expect(refusal(state, tell('2c', ['2a']))).toBe('other-life');
    // One before was begun and never told.
    state = applyAll(state, tell('2d', ['2b', '2c']));
    expect(group(state)).toMatchObject({ epoch, inSync: [{ life: '2d' }] });
    // A copy made while the process ran, before that.
    expect(group(applyAll(state, fence(2, 'b'), start(2, 'c', ['2b', '2e']))).primary).toBeUndefined();
    expect(group(applyAll(state, fence(2, 'b'), start(2, 'c', ['2d', '2e']))).primary).toBe('n2');
  });

  it('is registered only with its life, once all nodes know of these', () => {
    const { lives: _, ...untold } = start(2, 'b', ['2a', '2b']) as Register;
    expect(refusal(lastDown(), untold)).toBe('lives-untold');
    const { disks: __, ...bare } = untold;
    expect(refusal(lastDown(), bare)).toBeUndefined();
    expect(refusal({ ...lastDown(), stateVersion: LIVES_VERSION - 1 }, untold)).toBeUndefined();
  });

  it('is not held to a life after a recovery, of which entries may be lost', () => {
    const { state } = recoverState(lastDown(), { self: 'n2', nodes: ['n2'], atMs: 1 });
    expect(group(state).inSync[0]?.life).toBeUndefined();
    expect(group(applyAll(state, start(2, 'b', ['newer', '2b']))).primary).toBe('n2');
  });

  it('tells what can be checked', () => {
    const malformed = [
      { pg1: { life: 7, former: [] } },
      { pg1: { life: 'a', former: 'b' } },
      { pg1: { life: 'a', former: Array.from({ length: 17 }, String) } },
    ];
    for (const lives of malformed) {
      const command = { ...start(2, 'b', ['2a']), lives } as unknown as Command;
      expect(refusal(lastDown(), command)).toBe('malformed-command');
    }
  });
});
