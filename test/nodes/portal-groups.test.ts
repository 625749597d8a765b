import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AddedPortalGroupDocument } from '../../api/contract/portal-groups.ts';
import { ClusterFixture, FILLED_BLOCKS, NODE_IDS, until } from './support/cluster-fixture.ts';

const NETWORK = '127.200.41';
const MAC = '52:54:00:99:00:01';
const PORTAL = `${NETWORK}.99`;
const WRITTEN_BLOCKS = 200;

describe('portal groups that come and go in a cluster that runs', () => {
  let fixture: ClusterFixture;
  let added: AddedPortalGroupDocument;

  beforeAll(async () => {
    fixture = await ClusterFixture.start(NETWORK);
  }, 120_000);
  afterAll(() => fixture?.stop(), 60_000);

  async function groupAt(nodeId: string) {
    const { portalGroups } = await fixture.status(nodeId);
    return portalGroups.find(({ id }) => id === added.id);
  }

  it('are served by one node, with all copies in sync, a moment after they were added', async () => {
    added = (await fixture.cluster.cliJson(['portal-group', 'add', PORTAL])) as AddedPortalGroupDocument;
    expect(added).toMatchObject({ id: 'pg4', replicas: [...NODE_IDS] });
    await until('the group is served', async () => {
      const here = await Promise.all(NODE_IDS.map(groupAt));
      return here.filter((group) => group?.serving === true).length === 1;
    });
    expect((await groupAt('n1'))?.inSync).toHaveLength(NODE_IDS.length);
  }, 60_000);

  it('hold disks that go on elsewhere when their node is killed, with every write', async () => {
    await fixture.addClient('guest', MAC, '--portal-group', added.id, '--write-cache', 'keep');
    const target = await fixture.boot(MAC);
    expect(target.portalAddress).toBe(PORTAL);
    const before = await fixture.attach(target);
    for (let n = 0; n < WRITTEN_BLOCKS; n++) {
      await before.write((FILLED_BLOCKS + n) * 8, Buffer.alloc(4096, n + 1));
    }
    const primary = (await groupAt('n1'))?.primary as string;
    await fixture.cluster.kill(primary);
    const other = NODE_IDS.find((id) => id !== primary) as string;
    const after = await fixture.attach(target, 30_000);
    before.destroy();
    expect((await groupAt(other))?.primary).not.toBe(primary);
    for (let n = 0; n < WRITTEN_BLOCKS; n++) {
      const read = Buffer.from(await after.read((FILLED_BLOCKS + n) * 8, 8));
      expect(read.equals(Buffer.alloc(4096, n + 1)), `block ${n}`).toBe(true);
    }
    after.destroy();
    fixture.cluster.start(primary);
    await until('all copies are in sync again', async () => {
      return (await groupAt(other))?.inSync.length === NODE_IDS.length;
    });
  }, 120_000);

  it('are removed once no client is in them, and leave their address', async () => {
    const refused = await fixture.cluster.cli(['portal-group', 'remove', added.id]);
    expect(refused.status).toBe(1);
    expect(refused.stderr).toContain('has the disks of 1 client (guest)');
    await fixture.cluster.cli(['client', 'remove', 'guest']);
    await fixture.cluster.cli(['portal-group', 'remove', added.id]);
    await until('nobody knows it', async () => {
      return (await Promise.all(NODE_IDS.map(groupAt))).every((group) => group === undefined);
    });
    // Its address is free: another group may have it at once.
    const again = (await fixture.cluster.cliJson([
      'portal-group',
      'add',
      PORTAL,
    ])) as AddedPortalGroupDocument;
    expect(again.id).toBe('pg5');
    added = again;
    await until('the other group is served', async () => {
      const here = await Promise.all(NODE_IDS.map(groupAt));
      return here.some((group) => group?.serving === true);
    });
  }, 120_000);
});
