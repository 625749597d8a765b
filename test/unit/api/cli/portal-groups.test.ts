import { describe, expect, it } from 'vitest';
import { groupTable } from '../../../../api/cli/commands/status.ts';
import type { NodeStatusDocument } from '../../../../api/contract/status.ts';
import { eachTestHasSession, errorOf } from '../../../support/cli-session.ts';
import { SAMPLE_STATUS } from '../../../support/fake-node-services.ts';

const session = eachTestHasSession();
const cli = session.run;

describe('portal-group list', () => {
  it('is the table of the status, and the part of its document', async () => {
    const { code, out } = await cli(['portal-group', 'list']);
    expect(code).toBe(0);
    expect(out).toMatch(/^PORTAL GROUP +PORTAL +EPOCH +PRIMARY +IN SYNC /);
    expect(out).toMatch(/^pg1 /m);
    expect((await cli(['status'])).out).toContain(out);
    const { portalGroups } = JSON.parse((await cli(['status', '--json'])).out) as NodeStatusDocument;
    expect(JSON.parse((await cli(['portal-group', 'list', '--json'])).out)).toEqual({
      nodeId: 'n1',
      portalGroups,
    });
  });
});

describe('the table of portal groups', () => {
  const row = (more: Partial<NodeStatusDocument['portalGroups'][number]>): string => {
    const [sample] = SAMPLE_STATUS.portalGroups;
    if (sample === undefined) throw new Error('the sample has a group');
    const shown = groupTable({ ...SAMPLE_STATUS, portalGroups: [{ ...sample, ...more }] });
    return shown.split('\n')[1] ?? '';
  };

  it("says what a group's writes need", () => {
    expect(row({ minInSync: 1, durability: 'write-back' })).toMatch(/ {2}write-back {2}/);
    expect(row({ minInSync: 2, durability: 'durable' })).toContain('  durable, on 2 or more  ');
  });

  it('says on a node that does not lead the group who knows how far a copy is', () => {
    const behind = { replicas: ['n1', 'n2', 'n3'], inSync: ['n2'], primary: 'n2', catchUp: [] };
    expect(row({ ...behind, role: 'backup' })).toContain('  n1, n3 (--node n2 knows how far)  ');
    // Nobody does, or it has not heard from them.
    expect(row({ ...behind, role: 'backup', primary: null })).not.toContain('knows');
    expect(row({ ...behind, role: 'primary' })).not.toContain('knows');
    expect(row({ ...behind, role: 'backup', inSync: ['n1', 'n2', 'n3'] })).not.toContain('knows');
  });
});

describe('portal-group add and remove', () => {
  it('numbers the group as init does, and says where it is', async () => {
    const before = Object.keys(session.api.cluster.state().portalGroups).length;
    const [first] = Object.values(session.api.cluster.state().portalGroups);
    const added = await cli(['portal-group', 'add', '127.0.0.77', '--on', 'n1', '--on', 'n3']);
    const id = `pg${before + 1}`;
    expect(added).toMatchObject({
      code: 0,
      out: `Portal group ${id} at 127.0.0.77:${first?.port}, on n1, n3\n`,
    });
    expect(session.api.cluster.state().portalGroups[id]).toMatchObject({
      replicas: ['n1', 'n3'],
      founding: true,
    });
    expect(session.api.cluster.state().audit.at(-1)?.detail).toContain('by admin');
    expect(await cli(['portal-group', 'remove', id])).toMatchObject({
      code: 0,
      out: `Portal group ${id} is removed\n`,
    });
    expect(session.api.cluster.state().portalGroups[id]).toBeUndefined();
  });

  it('says what does not fit', async () => {
    const taken = Object.values(session.api.cluster.state().portalGroups)[0]?.address ?? '';
    const add = async (...args: string[]) =>
      errorOf((await cli(['portal-group', 'add', ...args, '--json'])).err);
    expect(await add(taken)).toMatchObject({ code: 'portal-taken' });
    expect(await add('nowhere')).toMatchObject({ code: 'bad-address', accepted: 'such as 192.0.2.10' });
    expect(await add('127.0.0.77', '--on', 'n9')).toMatchObject({ code: 'unknown-node' });
    const gone = await cli(['portal-group', 'remove', 'pg77', '--json']);
    expect(errorOf(gone.err)).toMatchObject({ code: 'unknown-portal-group' });
  });
});
