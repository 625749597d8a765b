import { Agent } from 'node:https';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { MembersDocument } from '../../../api/contract/join.ts';
import { peerRoutes } from '../../../api/contract/peer-content.ts';
import { STATE_VERSIONS } from '../../../cluster/state/versions.ts';
import { ContentClient } from '../../../node/peer/content-client.ts';
import { type ApiFixture, makeNode, startApiFixture, strangerAuthority } from '../../support/api-fixture.ts';
import { CLUSTER_ID } from '../../support/fake-cluster.ts';

let api: ApiFixture;
beforeAll(async () => {
  api = await startApiFixture('n1');
});
afterAll(() => api.server.close());

const MANIFEST = '/peer/v1/images/win11/versions/1/manifest';

function clientOf(endpoint: (nodeId: string) => string | undefined = () => `127.0.0.1:${api.server.port}`) {
  return new ContentClient({ tls: makeNode('n2'), clusterId: CLUSTER_ID, apiEndpoint: endpoint });
}

describe('the routes between nodes', () => {
  it('let in a node of the cluster, on a resumed TLS session too', async () => {
    const agent = new Agent({ maxCachedSessions: 10 });
    const client = makeNode('n2');
    for (let i = 0; i < 3; i++) {
      const answer = await api.ask('GET', MANIFEST, { token: null, client, agent });
      expect(answer.status).toBe(200);
      expect(answer.text).toBe('manifest');
    }
    agent.destroy();
  });

  it.each([
    ['nobody in particular', {}],
    ['a token alone', { token: 'bf_a-token-for-tests' }],
    ['a node of another authority', { client: makeNode('n2', CLUSTER_ID, strangerAuthority) }],
    ['a node of another cluster', { client: makeNode('n2', 'another') }],
    ['a name that is no node', { client: makeNode('n9') }],
    ['a name every object has', { client: makeNode('constructor') }],
  ])('refuse %s', async (_name, options) => {
    const answer = await api.ask('GET', MANIFEST, { token: null, ...options });
    expect(answer.status).toBe(401);
    expect(answer.json).toMatchObject({ error: { code: 'not-a-node' } });
  });

  it('are all that a certificate opens', async () => {
    const answer = await api.ask('GET', '/api/v1/status', { token: null, client: makeNode('n2') });
    expect(answer.status).toBe(401);
  });

  it('are open to a node that was removed, for as long as it has a vote', async () => {
    const { cluster } = api;
    cluster.reachVersion(STATE_VERSIONS.newest);
    cluster.voteStill.add('n3');
    cluster.apply({ type: 'fenceNode', nodeId: 'n3', incarnation: 'n3-first', reason: 'silent' });
    cluster.apply({ type: 'removeNode', nodeId: 'n3', atMs: 1, by: 'admin' });
    const ask = () => api.ask('GET', peerRoutes.members.path, { token: null, client: makeNode('n3') });
    const told = await ask();
    expect(told.status).toBe(200);
    const { members, removed } = told.json as MembersDocument;
    expect(removed).toEqual([]);
    expect(members.map(({ nodeId }) => nodeId)).toEqual(['n1', 'n2', 'n3']);
    expect(members[2]).toMatchObject({ raftId: 3, endpoints: { peer: '127.0.0.13:7400' } });
    cluster.voteStill.clear();
    const gone = await ask();
    expect(gone).toMatchObject({ status: 409, json: { error: { code: 'node-removed' } } });
    const other = await api.ask('GET', peerRoutes.members.path, { token: null, client: makeNode('n2') });
    expect(other.json).toMatchObject({ members: [{ nodeId: 'n1' }, { nodeId: 'n2' }], removed: ['n3'] });
  });

  it('say what is malformed', async () => {
    const answer = await api.ask('GET', '/peer/v1/images/win11/versions/1/chunks/-1', {
      client: makeNode('n2'),
    });
    expect(answer.status).toBe(400);
    expect((await api.ask('GET', '/peer/v1/nothing', { client: makeNode('n2') })).status).toBe(404);
  });
});

describe('the content client', () => {
  it('fetches manifests, chunks and boot files', async () => {
    await api.services.addBootFile('a.efi', Buffer.from('hello'));
    const client = clientOf();
    const image = { name: 'win11', version: 1 };
    expect(Buffer.from(await client.manifest('n1', image)).toString()).toBe('manifest');
    const chunk = await client.chunk('n1', image, 1);
    expect(chunk.length).toBe(1 << 20);
    expect(chunk.every((b) => b === 2)).toBe(true);
    const sha256 = '2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824';
    expect(Buffer.from(await client.bootFile('n1', 'a.efi', sha256)).toString()).toBe('hello');
    await expect(client.bootFile('n1', 'a.efi', 'ab'.repeat(32))).rejects.toMatchObject({
      kind: 'unavailable',
    });
    client.close();
  });

  it('has the disk of a client made ready', async () => {
    const client = clientOf();
    expect(await client.beginBoot('n1', 'pc1')).toEqual({ kind: 'ready' });
    expect(await client.beginBoot('n1', 'pc2')).toEqual({
      kind: 'refused',
      reason: 'there is no client "pc2"',
    });
    const path = '/peer/v1/clients/pc1/begin-boot';
    expect((await api.ask('POST', path)).status).toBe(401);
    client.close();
    await expect(clientOf(() => '127.0.0.1:1').beginBoot('n1', 'pc1')).rejects.toMatchObject({
      kind: 'unavailable',
    });
  });

  it('tells what is not held from what cannot be reached', async () => {
    const client = clientOf();
    await expect(client.chunk('n1', { name: 'win11', version: 1 }, 9)).rejects.toMatchObject({
      kind: 'not-found',
    });
    client.close();
    const lost = clientOf(() => '127.0.0.1:1');
    await expect(lost.manifest('n1', { name: 'a', version: 1 })).rejects.toMatchObject({
      kind: 'unavailable',
    });
    const unknown = clientOf(() => undefined);
    await expect(unknown.manifest('n7', { name: 'a', version: 1 })).rejects.toMatchObject({ got: 'n7' });
  });

  it('sends nothing to a node that is not the one it means', async () => {
    const client = clientOf();
    await expect(client.manifest('n3', { name: 'win11', version: 1 })).rejects.toThrow(/is of node n1/);
    client.close();
  });
});
