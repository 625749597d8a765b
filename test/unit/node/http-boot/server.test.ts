import { connect } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../../../../base/clock.ts';
import { CounterSet } from '../../../../base/counters.ts';
import { silentLogger } from '../../../../base/logger.ts';
import { parseMacAddress } from '../../../../base/mac-address.ts';
import { mintBootToken } from '../../../../node/http-boot/boot-token.ts';
import type { BootAnswer } from '../../../../node/http-boot/ports.ts';
import { type HttpBootServer, startHttpBootServer } from '../../../../node/http-boot/server.ts';
import { parseBootScript } from '../../../../scripts/simulator/boot-script.ts';
import { type HttpReply, httpRequest } from '../../../../scripts/simulator/http-client.ts';

const MAC = parseMacAddress('52:54:00:12:34:56');
const secret = Buffer.from('cluster secret');
const file = Buffer.from('0123456789');
const text = (reply: HttpReply): string => Buffer.from(reply.body).toString();

describe('HTTP boot server on loopback', () => {
  let server: HttpBootServer;
  let counters: CounterSet;
  let clock: ManualClock;
  let answer: () => Promise<BootAnswer>;
  let begun: unknown[];

  beforeEach(async () => {
    counters = new CounterSet();
    clock = new ManualClock(1_800_000_000_000);
    begun = [];
    answer = () => Promise.resolve({ kind: 'wait', reason: 'soon', retryAfterSeconds: 2 });
    server = await startHttpBootServer({
      address: '127.0.0.1',
      port: 0,
      clients: { nameByMac: (mac) => (mac === MAC ? 'pc-1' : undefined) },
      boot: {
        beginBoot: (request) => {
          begun.push(request);
          return answer();
        },
      },
      files: {
        open: (name) =>
          name === 'broken.efi'
            ? Promise.reject(new Error('disk gone'))
            : Promise.resolve(name === 'snponly.efi' ? file : undefined),
      },
      secret: () => secret,
      nodeEndpoints: () => ['192.0.2.11:8080', '192.0.2.12:8080'],
      clock,
      timers: clock,
      logger: silentLogger,
      counters,
    });
  });
  afterEach(() => server.close());

  const get = (path: string, options = {}): Promise<HttpReply> =>
    httpRequest(`http://127.0.0.1:${server.port}${path}`, options);
  const getScript = (): Promise<HttpReply> =>
    get(`/boot/52-54-00-12-34-56?token=${mintBootToken(secret, 'pc-1', clock.wallMs())}`);

  it('gives a registered client its script, with a fresh token for every node', async () => {
    answer = () =>
      Promise.resolve({
        kind: 'boot',
        targetName: 'iqn.2026-11.test:t',
        initiatorName: 'iqn.2026-11.test:i',
        portalAddress: '192.0.2.50',
        portalPort: 3260,
        lun: 0,
      });
    const reply = await getScript();
    expect(reply.status).toBe(200);
    expect(reply.headers['cache-control']).toBe('no-store');
    const script = parseBootScript(text(reply));
    expect(script).toMatchObject({ kind: 'boot', target: { portalAddress: '192.0.2.50', lun: 0 } });
    const fresh = mintBootToken(secret, 'pc-1', clock.wallMs());
    expect(script.retryUrls).toEqual([
      `http://192.0.2.11:8080/boot/52-54-00-12-34-56?token=${fresh}`,
      `http://192.0.2.12:8080/boot/52-54-00-12-34-56?token=${fresh}`,
    ]);
    expect(begun).toEqual([{ mac: MAC, remoteAddress: '127.0.0.1' }]);
  });

  it('says at once where to ask, and begins no boot with that', async () => {
    answer = () => new Promise(() => {});
    const token = mintBootToken(secret, 'pc-1', clock.wallMs());
    const reply = await get(`/first/52-54-00-12-34-56?token=${token}`);
    expect(reply.status).toBe(200);
    const script = parseBootScript(text(reply));
    expect(script).toMatchObject({ kind: 'ask-again', afterSeconds: 0 });
    expect(script.retryUrls.map((url) => new URL(url).host)).toEqual(['192.0.2.11:8080', '192.0.2.12:8080']);
    expect((await get('/first/52-54-00-12-34-56')).status).toBe(403);
    expect(begun).toEqual([]);
  });

  it.each([
    ['no token', '/boot/52-54-00-12-34-56', 403],
    ['a forged token', `/boot/52-54-00-12-34-56?token=zzzzzz.${'A'.repeat(22)}`, 403],
    ['another client’s token', `/boot/52-54-00-12-34-56?token=${mintBootToken(secret, 'pc-2', 1.8e12)}`, 403],
    ['an old token', `/boot/52-54-00-12-34-56?token=${mintBootToken(secret, 'pc-1', 1.7e12)}`, 403],
    ['a stranger', '/boot/52-54-00-99-99-99?token=x', 404],
    ['another path', '/admin', 404],
  ])('begins no boot for %s', async (_what, path, status) => {
    const reply = await get(path);
    expect(reply.status).toBe(status);
    expect(text(reply)).toMatch(/^(forbidden|not found)\n$/);
    expect(begun).toEqual([]);
  });

  it('has a client wait when its disk takes long', async () => {
    answer = () => new Promise(() => {});
    const reply = getScript();
    await expect.poll(() => begun.length).toBe(1);
    clock.advance(20_000);
    expect(parseBootScript(text(await reply))).toMatchObject({ kind: 'ask-again' });
  });

  it('answers 503 to what fails, and goes on', async () => {
    answer = () => Promise.reject(new Error('no quorum'));
    expect((await getScript()).status).toBe(503);
    expect((await get('/files/broken.efi')).status).toBe(503);
    expect((await get('/files/snponly.efi')).status).toBe(200);
  });

  it('gives out files, whole, in part, or only their size', async () => {
    const whole = await get('/files/snponly.efi');
    expect([whole.status, text(whole), whole.headers['content-length']]).toEqual([200, '0123456789', '10']);
    const part = await get('/files/snponly.efi', { headers: { Range: 'bytes=2-4' } });
    expect([part.status, text(part), part.headers['content-range']]).toEqual([206, '234', 'bytes 2-4/10']);
    const outside = await get('/files/snponly.efi', { headers: { Range: 'bytes=10-' } });
    expect([outside.status, outside.headers['content-range']]).toEqual([416, 'bytes */10']);
    const head = await get('/files/snponly.efi', { method: 'HEAD' });
    expect([head.status, text(head), head.headers['content-length']]).toEqual([200, '', '10']);
    expect((await get('/files/missing.efi')).status).toBe(404);
  });

  it('refuses other methods', async () => {
    expect((await get('/files/snponly.efi', { method: 'DELETE' })).status).toBe(405);
    expect((await get('/boot/52-54-00-12-34-56', { method: 'POST' })).status).toBe(405);
  });

  const raw = (bytes: string | Uint8Array): Promise<string> =>
    new Promise((resolve) => {
      const socket = connect(server.port, '127.0.0.1', () => socket.write(bytes));
      let reply = '';
      socket.on('data', (data) => {
        reply += data.toString('latin1');
      });
      socket.on('error', () => resolve(reply));
      socket.on('close', () => resolve(reply));
    });

  it('refuses rubbish and headers without end', async () => {
    expect(await raw('rubbish\r\n\r\n')).toMatch(/^HTTP\/1.1 400/);
    expect(await raw(`GET / HTTP/1.1\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`)).toMatch(/^HTTP\/1.1 400/);
    expect(await raw(Uint8Array.from({ length: 300 }, (_, i) => i & 0xff))).toMatch(/^HTTP\/1.1 400/);
    expect(counters.get('http-boot.malformed')).toBe(3);
    expect((await get('/files/snponly.efi')).status).toBe(200);
  });
});
