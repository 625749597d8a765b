import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { API_ERRORS, errorSchema } from '../../../api/contract/errors.ts';
import { type Route, routePath, routes } from '../../../api/contract/routes.ts';
import { InvariantError } from '../../../base/errors.ts';
import { findSchemaFault } from '../../../base/schema-check.ts';
import { type ApiFixture, startApiFixture } from '../../support/api-fixture.ts';
import { unavailable } from '../../support/fake-cluster.ts';

let api: ApiFixture;
beforeAll(async () => {
  api = await startApiFixture();
  api.cluster.addImage('win11');
});
afterAll(() => api.server.close());

const PARAMS = { name: 'pc1', version: 1 };
const allRoutes = Object.entries(routes) as [string, Route][];
const pc1 = { name: 'pc1', macs: ['52-54-00-12-34-56'], image: 'win11' };

describe('the server', () => {
  it('gives the process its turns while it is made, in which the other nodes hear from it', async () => {
    let turns = 0;
    let isCounting = true;
    const count = (): void => {
      turns++;
      if (isCounting) setImmediate(count);
    };
    setImmediate(count);
    const { server } = await startApiFixture();
    isCounting = false;
    await server.close();
    expect(turns).toBeGreaterThanOrEqual(5);
  });
});

describe('a caller without the right token', () => {
  it.each(allRoutes)('is refused by %s', async (_name, route) => {
    const path = routePath(route, PARAMS);
    const none = await api.ask(route.method, path, { token: null });
    expect(none.status).toBe(401);
    expect(none.headers['www-authenticate']).toBe('Bearer');
    expect(none.json).toMatchObject({ error: { code: 'no-token' } });
    const wrong = await api.ask(route.method, path, { token: 'bf_other' });
    expect(wrong.status).toBe(401);
    expect(wrong.json).toMatchObject({ error: { code: 'bad-token' } });
    expect(wrong.text).not.toContain('bf_other');
  });

  it('is counted', async () => {
    const before = api.counters.get('api.refused.no-token');
    await api.ask('GET', '/api/v1/status', { token: null });
    expect(api.counters.get('api.refused.no-token')).toBe(before + 1);
  });

  it('learns not even which routes exist', async () => {
    expect((await api.ask('GET', '/api/v1/nothing', { token: null })).status).toBe(401);
    expect((await api.ask('GET', '/', { token: null })).status).toBe(401);
    expect((await api.ask('GET', '/api/v1/%ff', { token: null })).status).not.toBe(200);
  });

  it.each([
    ['another scheme', 'Basic YTpi'],
    ['no scheme', 'bf_a-token-for-tests'],
    ['two words', 'Bearer a b'],
    ['an endless token', `Bearer ${'a'.repeat(5000)}`],
    ['the hash instead of the token', `Bearer ${'ab'.repeat(32)}`],
  ])('who sends %s', async (_name, authorization) => {
    const answer = await api.ask('GET', '/api/v1/status', { token: null, headers: { authorization } });
    expect(answer.status).toBe(401);
  });
});

describe('every route', () => {
  it('answers as its schema says', async () => {
    await api.cluster.propose({
      type: 'addClient',
      ...pc1,
      macs: ['52:54:00:00:00:99'],
      name: 'pc9',
      writeCache: 'keep',
    });
    for (const [name, route] of allRoutes.filter(([, r]) => r.method === 'GET')) {
      const answer = await api.ask(
        'GET',
        routePath(route, { name: name === 'getClient' ? 'pc9' : 'win11', version: 1 }),
      );
      expect(answer.status, name).toBe(200);
      expect(findSchemaFault(route.response, answer.json), name).toBeUndefined();
    }
  });

  it('is in the OpenAPI document, and the peer routes are not', async () => {
    const document = (await api.ask('GET', '/api/v1/openapi.json')).json as {
      openapi: string;
      paths: Record<string, Record<string, unknown>>;
    };
    expect(document.openapi).toBe('3.1.0');
    for (const [, route] of allRoutes) {
      const path = `/api/v1${route.path.replaceAll(/:(\w+)/g, '{$1}')}`;
      expect(document.paths[path]?.[route.method.toLowerCase()], path).toMatchObject({
        summary: route.summary,
      });
    }
    expect(Object.keys(document.paths).filter((path) => path.startsWith('/peer'))).toEqual([]);
  });
});

describe('clients', () => {
  it('are added in any spelling of a MAC, listed, shown and removed', async () => {
    const added = await api.ask('POST', '/api/v1/clients', { json: pc1 });
    expect(added.status).toBe(201);
    expect(added.json).toMatchObject({
      name: 'pc1',
      macs: ['52:54:00:12:34:56'],
      imageVersion: null,
      writeCache: 'discard',
      portal: '127.0.0.21:3260',
    });
    expect(findSchemaFault(routes.addClient.response, added.json)).toBeUndefined();
    const list = (await api.ask('GET', '/api/v1/clients')).json as { clients: { name: string }[] };
    expect(list.clients.map((c) => c.name)).toContain('pc1');
    expect((await api.ask('GET', '/api/v1/clients/pc1')).json).toEqual(added.json);
    expect((await api.ask('DELETE', '/api/v1/clients/pc1')).status).toBe(200);
    const gone = await api.ask('GET', '/api/v1/clients/pc1');
    expect(gone.status).toBe(404);
    expect(gone.json).toMatchObject({ error: { code: 'unknown-client', got: 'pc1' } });
  });

  it('get CHAP secrets, which are shown once when asked for and never again', async () => {
    const secretOf = (): string => api.cluster.state().clients['pc1']?.chap?.current?.secret ?? '';
    const added = await api.ask('POST', '/api/v1/clients', { json: { ...pc1, chap: 'mutual' } });
    expect(added.json).toMatchObject({ chap: 'mutual', chapAwaitsBoot: false, sources: null });
    const first = secretOf();
    expect(first).toMatch(/^[A-Za-z0-9][A-Za-z0-9._]{15}$/);
    const rotated = await api.ask('PUT', '/api/v1/clients/pc1/chap', { json: { reveal: true } });
    expect(rotated.json).toMatchObject({
      client: { chap: 'mutual', chapAwaitsBoot: true },
      initiator: { username: 'pc1', secret: secretOf() },
      target: { username: 'bootfabric' },
    });
    expect(findSchemaFault(routes.setClientChap.response, rotated.json)).toBeUndefined();
    const second = secretOf();
    expect(second).not.toBe(first);
    const silent = await api.ask('PUT', '/api/v1/clients/pc1/chap', {
      json: { mode: 'one-way', revoke: true },
    });
    expect(silent.json).toMatchObject({
      client: { chap: 'one-way', chapAwaitsBoot: false },
      initiator: null,
    });
    const shown = [added, silent];
    for (const path of ['/clients', '/clients/pc1', '/luns', '/status', '/images']) {
      shown.push(await api.ask('GET', `/api/v1${path}`));
    }
    for (const { text } of shown) {
      for (const secret of [first, second, secretOf()]) expect(text).not.toContain(secret);
    }
    await api.ask('PUT', '/api/v1/clients/pc1/chap', { json: { mode: 'off', revoke: true } });
    const refused = await api.ask('PUT', '/api/v1/clients/pc1/chap', { json: {} });
    expect([refused.status, refused.json]).toMatchObject([409, { error: { code: 'chap-off' } }]);
    await api.ask('DELETE', '/api/v1/clients/pc1');
  });

  it('find their disks at one address, or at all nodes that keep a copy', async () => {
    const added = await api.ask('POST', '/api/v1/clients', { json: pc1 });
    expect(added.json).toMatchObject({ multipath: false, paths: ['127.0.0.21:3260,1'] });
    const set = (enabled: unknown) => api.ask('PUT', '/api/v1/clients/pc1/multipath', { json: { enabled } });
    const all = ['127.0.0.21:3260,1', '127.0.0.11:3260,2', '127.0.0.12:3260,3', '127.0.0.13:3260,4'];
    expect((await set(true)).json).toMatchObject({ multipath: true, paths: all });
    expect((await set('yes')).json).toMatchObject({ error: { code: 'bad-value', got: 'yes' } });
    expect((await set(false)).json).toMatchObject({ multipath: false, paths: ['127.0.0.21:3260,1'] });
    await api.ask('DELETE', '/api/v1/clients/pc1');
  });

  it('are bound to source addresses', async () => {
    const added = await api.ask('POST', '/api/v1/clients', { json: { ...pc1, sources: ['192.0.2.0/24'] } });
    expect(added.json).toMatchObject({ sources: ['192.0.2.0/24'], chap: 'off' });
    const set = (sources: string[]) => api.ask('PUT', '/api/v1/clients/pc1/sources', { json: { sources } });
    expect((await set(['192.0.2.7'])).json).toMatchObject({ sources: ['192.0.2.7'] });
    expect((await set(['nowhere'])).json).toMatchObject({ error: { code: 'bad-source', got: 'nowhere' } });
    expect((await set([])).json).toMatchObject({ sources: null });
    await api.ask('DELETE', '/api/v1/clients/pc1');
  });

  it.each([
    ['no body', {}, 400, 'bad-value'],
    ['an unknown field', { ...pc1, colour: 'red' }, 400, 'bad-value'],
    ['no MACs', { ...pc1, macs: [] }, 400, 'bad-value'],
    ['MACs that are no list', { ...pc1, macs: '52:54:00:12:34:56' }, 400, 'bad-value'],
    ['a MAC that is none', { ...pc1, macs: ['52:54'] }, 400, 'bad-value'],
    ['a group MAC', { ...pc1, macs: ['01:00:5e:00:00:01'] }, 400, 'bad-mac'],
    ['a bad name', { ...pc1, name: 'PC 1' }, 400, 'bad-value'],
    ['a bad write cache', { ...pc1, writeCache: 'maybe' }, 400, 'bad-value'],
    ['a version of 0', { ...pc1, imageVersion: 0 }, 400, 'bad-value'],
    ['an unknown image', { ...pc1, image: 'win12' }, 404, 'unknown-image'],
    ['a name of every object', { ...pc1, image: 'constructor' }, 404, 'unknown-image'],
    ['an unknown portal group', { ...pc1, portalGroup: 'pg9' }, 404, 'unknown-portal-group'],
    ['a MAC that is taken', { ...pc1, macs: ['52:54:00:00:00:99'] }, 409, 'mac-taken'],
    ['a list', [], 400, 'bad-value'],
    ['null', null, 400, 'bad-value'],
  ])('with %s are refused, told why', async (_name, json, status, code) => {
    const answer = await api.ask('POST', '/api/v1/clients', { json });
    expect(answer.json).toMatchObject({ error: { code } });
    expect(answer.status).toBe(status);
    expect(findSchemaFault(errorSchema, answer.json)).toBeUndefined();
    expect((answer.json as { error: { accepted: string } }).error.accepted).toBeTruthy();
  });

  it('names field, value and what is accepted', async () => {
    const answer = await api.ask('POST', '/api/v1/clients', { json: { ...pc1, writeCache: 'maybe' } });
    expect(answer.json).toEqual({
      error: {
        code: 'bad-value',
        message: 'in the body, writeCache is "maybe"',
        got: 'maybe',
        accepted: '"discard" (dropped at each boot) or "keep" (persists)',
      },
    });
  });
});

describe('a malformed request', () => {
  const json = { 'content-type': 'application/json' };
  it.each([
    ['broken JSON', { body: '{"name":', headers: json }, 400, 'bad-json'],
    ['an empty body', { body: '', headers: json }, 400, 'bad-json'],
    ['XML', { body: '<a/>', headers: { 'content-type': 'application/xml' } }, 415, 'bad-media-type'],
    ['a poisoned prototype', { body: '{"__proto__": {"a": 1}}', headers: json }, 400, 'bad-json'],
    ['too much', { body: `{"name": "${'a'.repeat(70_000)}"}`, headers: json }, 413, 'body-too-large'],
  ])('with %s is refused', async (_name, options, status, code) => {
    const answer = await api.ask('POST', '/api/v1/clients', options);
    expect(answer.json).toMatchObject({ error: { code } });
    expect(answer.status).toBe(status);
  });

  it('for a route that does not exist is told so', async () => {
    const answer = await api.ask('PATCH', '/api/v1/clients');
    expect(answer.status).toBe(404);
    expect(answer.json).toMatchObject({ error: { code: 'unknown-route', got: 'PATCH /api/v1/clients' } });
  });

  it.each([
    ['GET', '/api/v1/clients?consistency=maybe', 'in the query, consistency is "maybe"'],
    ['GET', '/api/v1/clients?limit=5', 'in the query, limit is not known'],
    ['GET', '/api/v1/images/win11/versions/latest', 'in the path, version is "latest"'],
    ['GET', '/api/v1/clients/PC%201', 'in the path, name is "PC 1"'],
    ['GET', `/api/v1/clients/${'a'.repeat(100)}`, 'in the path, name is'],
  ])('%s %s says which part is wrong', async (method, path, message) => {
    const answer = await api.ask(method, path);
    expect(answer.status).toBe(400);
    expect((answer.json as { error: { message: string } }).error.message).toContain(message);
  });
});

describe('without a majority', () => {
  it('changes and linearizable reads say so; local reads still answer', async () => {
    api.cluster.failure = unavailable();
    try {
      const read = await api.ask('GET', '/api/v1/clients');
      expect(read.status).toBe(503);
      expect(read.json).toMatchObject({ error: { code: 'no-leader' } });
      expect((await api.ask('POST', '/api/v1/clients', { json: pc1 })).status).toBe(503);
      expect((await api.ask('GET', '/api/v1/clients?consistency=local')).status).toBe(200);
      expect((await api.ask('GET', '/api/v1/status')).status).toBe(200);
    } finally {
      api.cluster.failure = undefined;
    }
  });
});

describe('a failure of this node', () => {
  it('is answered without its details, and a bug of ours is passed on', async () => {
    api.services.statusError = new InvariantError('secret detail');
    const answer = await api.ask('GET', '/api/v1/status');
    api.services.statusError = undefined;
    expect(answer.status).toBe(API_ERRORS.internal.status);
    expect(answer.text).not.toContain('secret detail');
    expect(api.invariantFailures.map((e) => e.message)).toEqual(['secret detail']);
  });
});
