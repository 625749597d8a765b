import { describe, expect, it } from 'vitest';
import type { Logger } from '../../../base/logger.ts';
import { DiskRegistration } from '../../../cluster/disk-registration.ts';
import { apply } from '../../../cluster/state/apply.ts';
import type { Command } from '../../../cluster/state/commands.ts';
import { makeGenesis } from '../../../cluster/state/genesis.ts';
import type { RetiredCopy } from '../../../cluster/state/model.ts';
import { LIVES_VERSION } from '../../../cluster/state/versions.ts';
import { applyAll, fence, genesisInput, register } from './state/fixtures.ts';

const over = (n: number, incarnation: string, disk: string): Command => ({
  ...(register(n, incarnation) as Extract<Command, { type: 'registerNode' }>),
  disks: { pg1: disk },
});

function make() {
  let state = applyAll(makeGenesis(genesisInput(2, 2)), over(1, 'a', 'd1'));
  const said: string[] = [];
  const note =
    (level: string) =>
    (event: string, fields?: Readonly<Record<string, unknown>>): void => {
      said.push(`${level} ${event} ${String(fields?.['group'])}`);
    };
  const logger: Logger = {
    debug: note('debug'),
    info: note('info'),
    warn: note('warn'),
    error: note('error'),
  };
  const proposals: Command[] = [];
  const retired: Record<string, RetiredCopy[]> = {};
  const begun: string[] = [];
  /** What another life is called. */
  const next: { life?: string } = {};
  const settled: string[] = [];
  const registration = new DiskRegistration({
    nodeId: 'n1',
    incarnation: 'a',
    groupDisks: {
      present: () => Promise.resolve(['old', 'pg1']),
      identify: (group) => Promise.resolve(`disk-of-${group}`),
      begin: (group) => {
        begun.push(group);
        const former = next.life === undefined ? ['earlier'] : ['earlier', `life-of-${group}`];
        return Promise.resolve({ life: next.life ?? `life-of-${group}`, former });
      },
      settle: (group, life) => {
        settled.push(`${group} ${life}`);
        return Promise.resolve();
      },
      retired: () => Promise.resolve(retired),
    },
    propose: (command) => {
      proposals.push(command);
      const outcome = apply(state, command);
      state = outcome.state;
      return Promise.resolve(outcome.result);
    },
    logger,
    onFatal: (error) => {
      throw error;
    },
  });
  const to = (...commands: Command[]): void => {
    state = applyAll(state, ...commands);
    registration.follow(state);
  };
  const know = (stateVersion: number): void => {
    state = { ...state, stateVersion };
  };
  return { registration, proposals, retired, said, begun, next, settled, to, know, state: () => state };
}

describe('the registration of disks', () => {
  it('tells of the newest few copies that were put out of the way', async () => {
    const { registration, retired } = make();
    expect(await registration.retired()).toBeUndefined();
    const copies = Array.from({ length: 6 }, (_, epoch) => ({ disk: 'd', epoch, processes: ['a'] }));
    retired['pg1'] = copies;
    expect(await registration.retired()).toEqual({ pg1: copies.slice(2) });
  });

  it('names every directory, of groups known and not known yet', async () => {
    const { registration, state } = make();
    expect(await registration.all(state())).toEqual({
      old: 'disk-of-old',
      pg1: 'disk-of-pg1',
      pg2: 'disk-of-pg2',
    });
  });

  it('tells once of a group that came while the node ran', async () => {
    const { registration, proposals, state } = make();
    registration.follow(state());
    registration.follow(state());
    await new Promise((resolve) => setImmediate(resolve));
    expect(proposals).toEqual([
      { type: 'identifyDisk', nodeId: 'n1', incarnation: 'a', group: 'pg2', disk: 'disk-of-pg2' },
    ]);
    registration.follow(state());
    expect(proposals).toHaveLength(1);
    expect(state().nodes['n1']?.disks).toEqual({ pg1: 'd1', pg2: 'disk-of-pg2' });
  });

  it('begins a life of each directory once, and forgets the former ones once the cluster knows of it', async () => {
    const { registration, begun, settled, proposals, know, state } = make();
    expect(await registration.lives(['pg1'])).toEqual({ pg1: { life: 'life-of-pg1', former: ['earlier'] } });
    // Its registration was not answered.
    await registration.lives(['pg1']);
    expect(begun).toEqual(['pg1']);
    know(LIVES_VERSION);
    expect(settled).toEqual([]);
    registration.follow(state());
    await new Promise((resolve) => setImmediate(resolve));
    // It had registered before all nodes knew of them.
    const told = { nodeId: 'n1', incarnation: 'a', disk: 'disk-of-pg2', group: 'pg2' };
    expect(proposals).toContainEqual({
      type: 'identifyDisk',
      ...told,
      life: { life: 'life-of-pg2', former: ['earlier'] },
    });
    registration.follow(state());
    registration.follow(state());
    await new Promise((resolve) => setImmediate(resolve));
    expect(settled).toEqual(['pg2 life-of-pg2']);
    expect(begun).toEqual(['pg1', 'pg2']);
  });

  it('begins another life where one in sync has changed, and of no others', async () => {
    const { registration, begun, next, proposals, know, to, state } = make();
    await registration.renew(state(), ['pg2']);
    know(LIVES_VERSION);
    registration.follow(state());
    await new Promise((resolve) => setImmediate(resolve));
    expect(begun).toEqual(['pg1', 'pg2']);
    // Its life is the one that the cluster knows already: the disk is full.
    proposals.length = 0;
    await registration.renew(state(), ['pg2', 'gone']);
    expect(begun).toEqual(['pg1', 'pg2', 'pg2']);
    expect(proposals).toEqual([]);
    next.life = 'another-life';
    await registration.renew(state(), ['pg2']);
    expect(state().nodes['n1']?.lives).toEqual({ pg2: 'another-life' });
    const members = state().portalGroups['pg2']?.inSync ?? [];
    expect(members.find(({ nodeId }) => nodeId === 'n1')?.life).toBe('another-life');
    to(fence(1, 'a'));
    await registration.renew(state(), ['pg2']);
    expect(begun).toHaveLength(4);
  });

  it('raises the alarm for a group that nobody can serve, once for each reason', () => {
    const { said, to } = make();
    to(over(2, 'a', 'd2'), fence(1, 'a'));
    expect(said).toEqual([]);
    to(fence(2, 'a'));
    expect(said).toEqual(['error portal-group.waits pg1', 'error portal-group.waits pg2']);
    said.length = 0;
    to(over(2, 'b', 'wiped'));
    // pg2 was never told its disk, so nothing speaks against it.
    expect(said).toEqual(['error portal-group.waits pg1', 'info portal-group.waits-no-more pg2']);
    said.length = 0;
    to(over(2, 'c', 'd2'));
    expect(said).toEqual(['info portal-group.waits-no-more pg1']);
  });
});
