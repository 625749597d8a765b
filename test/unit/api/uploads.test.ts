import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ApiFixture, authority, startApiFixture } from '../../support/api-fixture.ts';
import { TOKEN } from '../../support/fake-cluster.ts';
import { eventually } from '../../support/real-time.ts';

let api: ApiFixture;
beforeAll(async () => {
  api = await startApiFixture();
});
afterAll(() => api.server.close());

const octets = { 'content-type': 'application/octet-stream' };

function upload(path: string, headers: Readonly<Record<string, string>> = {}) {
  return request({
    host: '127.0.0.1',
    port: api.server.port,
    method: 'PUT',
    path,
    ca: authority.certificatePem,
    agent: false,
    headers: { ...octets, authorization: `Bearer ${TOKEN}`, ...headers },
  });
}

describe('an image', () => {
  it('arrives as it was sent, and is told with who holds it', async () => {
    const bytes = randomBytes(3 << 20);
    const answer = await api.ask('PUT', `/api/v1/images/win11/versions?sizeBytes=${bytes.length}`, {
      body: bytes,
      headers: octets,
    });
    expect(answer.json).toEqual({ image: 'win11', version: 1 });
    expect(answer.status).toBe(201);
    expect(Buffer.compare(api.services.images.get('win11') ?? Buffer.of(), bytes)).toBe(0);
    expect((await api.ask('GET', '/api/v1/images/win11/versions/1')).json).toMatchObject({
      holders: ['n1', 'n2'],
      awaited: ['n3'],
      absent: [],
    });
  });

  it('is read while it arrives, not gathered first', async () => {
    const half = Buffer.alloc(1 << 20, 7);
    const sending = upload(`/api/v1/images/slow/versions?sizeBytes=${half.length * 2}`);
    sending.write(half);
    await eventually('half of it has arrived', () => api.services.arrivedBytes === half.length);
    expect(api.services.images.has('slow')).toBe(false);
    sending.end(half);
    const [response] = (await once(sending, 'response')) as [{ statusCode: number }];
    expect(response.statusCode).toBe(201);
    expect(api.services.images.get('slow')?.length).toBe(half.length * 2);
    sending.destroy();
  });

  it('whose upload breaks off is not taken for whole', async () => {
    api.services.ended = undefined;
    api.services.aborted = false;
    const sending = upload('/api/v1/images/broken/versions?sizeBytes=2097152');
    sending.on('error', () => {});
    sending.write(Buffer.alloc(1 << 20));
    await eventually('half of it has arrived', () => api.services.arrivedBytes === 1 << 20);
    sending.destroy();
    await eventually('the import ends', () => api.services.ended !== undefined);
    expect(api.services.ended).toBe('refused');
    await eventually('its signal is aborted', () => api.services.aborted);
    expect(api.services.images.has('broken')).toBe(false);
  });

  it.each([
    ['shorter than announced', 1024, 512],
    ['longer than announced', 512, 1024],
  ])('%s is refused', async (_name, sizeBytes, sent) => {
    const sending = upload(`/api/v1/images/wrong/versions?sizeBytes=${sizeBytes}`, {
      'transfer-encoding': 'chunked',
    });
    sending.end(Buffer.alloc(sent));
    const [response] = (await once(sending, 'response')) as [{ statusCode: number }];
    expect(response.statusCode).toBe(400);
    expect(api.services.images.has('wrong')).toBe(false);
    sending.destroy();
  });

  it('whose Content-Length contradicts sizeBytes is refused before it is read', async () => {
    const answer = await api.ask('PUT', '/api/v1/images/wrong/versions?sizeBytes=1024', {
      body: Buffer.alloc(512),
      headers: octets,
    });
    expect(answer.status).toBe(400);
    expect(answer.json).toMatchObject({
      error: { code: 'wrong-length', got: 512, accepted: 'exactly 1024 bytes' },
    });
  });

  it.each([
    ['no size', '', 'sizeBytes is missing'],
    ['a size of no whole sectors', '?sizeBytes=1000', 'sizeBytes is 1000'],
    ['a size of 0', '?sizeBytes=0', 'sizeBytes is 0'],
    ['a size too large', '?sizeBytes=999999999999999', 'sizeBytes is 999999999999999'],
    ['a negative size', '?sizeBytes=-512', 'sizeBytes is "-512"'],
  ])('with %s is refused', async (_name, query, message) => {
    const answer = await api.ask('PUT', `/api/v1/images/wrong/versions${query}`, {
      body: '',
      headers: octets,
    });
    expect(answer.status).toBe(400);
    expect((answer.json as { error: { message: string } }).error.message).toContain(message);
  });

  it.each([
    ['at once', 1],
    ['in the middle', 3 << 20],
  ])(
    'that finds the disk full %s is answered while it is still being sent',
    async (_name, fullAfterBytes) => {
      api.services.fullAfterBytes = fullAfterBytes;
      const sending = upload('/api/v1/images/big/versions?sizeBytes=1099511627776');
      sending.on('error', () => {});
      const part = Buffer.alloc(1 << 20);
      const stop = setInterval(() => sending.write(part), 1);
      const [response] = (await once(sending, 'response')) as [IncomingMessage];
      clearInterval(stop);
      api.services.fullAfterBytes = Number.POSITIVE_INFINITY;
      expect(response.statusCode).toBe(507);
      expect(await text(response)).toContain('"code":"no-space"');
      sending.destroy();
    },
  );

  it('is one of a bounded number at once', async () => {
    const sendings = Array.from({ length: 4 }, (_, i) =>
      upload(`/api/v1/images/many${i}/versions?sizeBytes=1024`),
    );
    for (const sending of sendings) {
      sending.on('error', () => {});
      sending.write(Buffer.alloc(512));
    }
    let refusedWith = 0;
    const started = Date.now();
    while (refusedWith !== 503 && Date.now() - started < 5000) {
      const probe = upload('/api/v1/images/probe/versions?sizeBytes=512');
      probe.end(Buffer.alloc(512));
      const [response] = (await once(probe, 'response')) as [{ statusCode: number }];
      refusedWith = response.statusCode;
      probe.destroy();
    }
    for (const sending of sendings) sending.destroy();
    expect(refusedWith).toBe(503);
  });
});

describe('a boot file', () => {
  it('is stored and listed', async () => {
    const answer = await api.ask('PUT', '/api/v1/boot-files/snponly.efi', {
      body: 'MZ boot',
      headers: octets,
    });
    expect(answer.status).toBe(201);
    expect(answer.json).toMatchObject({ name: 'snponly.efi', sizeBytes: 7 });
    expect((await api.ask('GET', '/api/v1/boot-files')).json).toMatchObject({
      bootFiles: [{ name: 'snponly.efi', sizeBytes: 7, holders: ['n1'] }],
    });
  });

  it('with a path in its name, of another media type or too large is refused', async () => {
    const path = await api.ask('PUT', '/api/v1/boot-files/..%2Fetc', { body: 'x', headers: octets });
    expect(path.status).toBe(400);
    const json = await api.ask('PUT', '/api/v1/boot-files/a.efi', { json: {} });
    expect(json.json).toMatchObject({ error: { code: 'bad-media-type' } });
    expect(json.status).toBe(415);
    const sending = upload('/api/v1/boot-files/a.efi', { 'content-length': String(65 << 20) });
    sending.on('error', () => {});
    sending.write('x');
    const [response] = (await once(sending, 'response')) as [{ statusCode: number }];
    expect(response.statusCode).toBe(413);
    sending.destroy();
  });
});
