import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { ApiClient } from '../../../../api/cli/api-client.ts';
import { type Profile, rememberNodes } from '../../../../api/cli/profile.ts';
import { routes } from '../../../../api/contract/routes.ts';
import { type ApiFixture, authority, startApiFixture } from '../../../support/api-fixture.ts';
import { CLUSTER_ID, TOKEN } from '../../../support/fake-cluster.ts';

const DEAD_URL = 'https://127.0.0.1:1';

let api: ApiFixture;
let folder: string;
beforeEach(async () => {
  api = await startApiFixture('n1');
  folder = await mkdtemp(join(tmpdir(), 'bootfabric-profile-'));
});
afterEach(async () => {
  await api.server.close();
  await rm(folder, { recursive: true });
});

it('the profile learns where nodes are, and forgets where none is and nobody answers', async () => {
  const file = join(folder, 'admin.json');
  const answering = `https://127.0.0.1:${api.server.port}`;
  const caCertificate = authority.certificatePem;
  const profile: Profile = {
    ...{ clusterName: 'lab', clusterId: CLUSTER_ID, caCertificate, token: TOKEN },
    apiUrls: [DEAD_URL, answering],
  };
  const client = new ApiClient(profile, undefined, (nodes, dead) =>
    rememberNodes(file, profile, nodes, dead),
  );
  const { nodes } = await client.call(routes.getStatus, {});
  expect(nodes.length).toBeGreaterThan(1);
  const expected = [answering, ...nodes.map((node) => `https://${node.address}`)];
  expect(JSON.parse(await readFile(file, 'utf8'))).toEqual({ ...profile, apiUrls: expected });
  expect((await stat(file)).mode & 0o077).toBe(0);
});

it('a profile that cannot be written is no failure', async () => {
  const profile = { apiUrls: [DEAD_URL] } as unknown as Profile;
  await rememberNodes(join(folder, 'nowhere/admin.json'), profile, ['https://127.0.0.1:2'], []);
});
