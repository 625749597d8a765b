import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { LunListDocument } from '../../api/contract/luns.ts';
import { clusterForFile, NODE_IDS, until } from './support/cluster-fixture.ts';

const NETWORK = '127.200.23';
const MAC = '52:54:00:cc:23:01';

const shared = clusterForFile(NETWORK);

it('an image version goes once no disk is over it, from every node, also from one that was down', async () => {
  const fixture = shared();
  const { cluster } = fixture;
  const filesOf = (nodeId: string): string =>
    join(cluster.nodeDirectory(nodeId), 'data/images/images/base/1');
  const remove = ['image', 'remove', 'base', '1', '--json'];
  const refusal = async (): Promise<{ code: string; message: string }> => {
    const { status, stderr } = await cluster.cli(remove);
    expect(status).toBe(1);
    return (JSON.parse(stderr) as { error: { code: string; message: string } }).error;
  };

  await fixture.addClient('roamer', MAC);
  expect(await refusal()).toMatchObject({
    code: 'image-version-in-use',
    message: expect.stringContaining('roamer'),
  });
  const first = await fixture.attach(await fixture.boot(MAC));
  await writeFile(fixture.path('next.raw'), Buffer.alloc(64 * 1024, 7));
  await cluster.cliJson(['image', 'import', 'base', fixture.path('next.raw')]);
  // Its configuration says the newest, but its disk is still over what it booted.
  expect(await refusal()).toMatchObject({
    code: 'image-version-in-use',
    message: 'the disk of roamer is over image base version 1',
  });
  expect((await first.read(0, 1)).length).toBe(512);
  first.destroy();

  const again = await fixture.attach(await fixture.boot(MAC));
  expect((await again.read(0, 1))[0]).toBe(7);
  const { luns } = (await cluster.cliJson(['lun', 'list'])) as LunListDocument;
  const primary = luns.find((lun) => lun.client === 'roamer')?.primary;
  const away = NODE_IDS.find((id) => id !== primary) as string;
  await cluster.kill(away);
  // Groups that it led are led elsewhere before anybody can say what their disks are over.
  await until('the version is removed', async () => (await cluster.cli(remove)).status === 0, 60_000);
  const others = NODE_IDS.filter((id) => id !== away);
  await until('the nodes that are up have removed its files', () =>
    Promise.resolve(others.every((id) => !existsSync(filesOf(id)))),
  );
  expect(existsSync(filesOf(away))).toBe(true);
  cluster.start(away);
  await until(
    'the node that was down has removed them, too',
    () => Promise.resolve(!existsSync(filesOf(away))),
    60_000,
  );
  expect((await again.read(0, 1))[0]).toBe(7);
  again.destroy();
}, 240_000);
