import { createSocket } from 'node:dgram';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { parseIpv4 } from '../../base/ipv4.ts';
import { parseMacAddress } from '../../base/mac-address.ts';
import { SeededRandom } from '../../base/random.ts';
import { mintBootToken } from '../../node/http-boot/boot-token.ts';
import { TOKEN_LIFETIME_SECONDS } from '../../node/http-boot/limits.ts';
import { NODE_FILES } from '../../node/setup/node-directory.ts';
import { LOCAL_PORTS } from '../../scripts/demo/local-cluster.ts';
import type { BootTarget } from '../../scripts/simulator/boot-script.ts';
import { acquireLease, DhcpTimeoutError } from '../../scripts/simulator/dhcp-client.ts';
import { httpRequest } from '../../scripts/simulator/http-client.ts';
import type { InitiatorChap } from '../../scripts/simulator/iscsi-chap.ts';
import { LoginRefusedError, login, openWire } from '../../scripts/simulator/iscsi-wire.ts';
import { TftpRefusedError, tftpGet } from '../../scripts/simulator/tftp-client.ts';
import { type ClusterFixture, clusterForFile, NODE_IDS, until } from './support/cluster-fixture.ts';

const NETWORK = '127.200.2';
const KNOWN_MAC = '52:54:00:bb:00:01';
const UNKNOWN_MAC = '52:54:00:bb:ff:ff';
const CLOCK_ALLOWANCE_MS = 120_000;

const shared = clusterForFile(NETWORK);
let fixture: ClusterFixture;
let known: BootTarget;

beforeAll(async () => {
  fixture = shared();
  await fixture.addClient('known', KNOWN_MAC);
  known = await fixture.boot(KNOWN_MAC);
}, 60_000);

const everyNode = <T>(ask: (nodeId: string) => Promise<T>): Promise<T[]> => Promise.all(NODE_IDS.map(ask));

describe('a machine that is not registered', () => {
  it.each(['pxe', 'ipxe', 'http'] as const)(
    'gets no answer from any node to DHCP as %s',
    async (firmware) => {
      const before = await everyNode((id) => fixture.counter(id, 'dhcp.ignored.*'));
      const asking = acquireLease({
        identity: { mac: parseMacAddress(UNKNOWN_MAC), firmware, architectureType: 0 },
        relayAddress: parseIpv4(`${NETWORK}.60`),
        port: LOCAL_PORTS.dhcp,
        servers: NODE_IDS.map((id) => parseIpv4(fixture.cluster.nodeAddress(id))),
        random: new SeededRandom(1),
        waitsMs: [300, 300, 300],
      });
      await expect(asking).rejects.toBeInstanceOf(DhcpTimeoutError);
      const after = await everyNode((id) => fixture.counter(id, 'dhcp.ignored.*'));
      for (const [i, count] of after.entries()) expect(count - (before[i] ?? 0)).toBeGreaterThanOrEqual(3);
    },
  );

  it('gets no boot script, whatever it shows', async () => {
    const url = (id: string, token: string): string => scriptUrl(id, UNKNOWN_MAC, token);
    const secret = await clusterSecret();
    const token = mintBootToken(secret, 'known', Date.now());
    const answers = await everyNode(async (id) => [
      (await httpRequest(url(id, ''))).status,
      (await httpRequest(url(id, token))).status,
    ]);
    expect(answers.flat()).toEqual(NODE_IDS.flatMap(() => [404, 404]));
  });
});

function scriptUrl(nodeId: string, mac: string, token: string): string {
  const query = token === '' ? '' : `?token=${token}`;
  const place = `${fixture.cluster.nodeAddress(nodeId)}:${LOCAL_PORTS.http}`;
  return `http://${place}/boot/${mac.replaceAll(':', '-')}${query}`;
}

async function clusterSecret(): Promise<Uint8Array> {
  const file = join(fixture.cluster.nodeDirectory('n1'), NODE_FILES.clusterSecret);
  return Buffer.from((await readFile(file, 'utf8')).trim(), 'hex');
}

describe('a boot script', () => {
  it('is given for the right token only, by every node', async () => {
    const secret = await clusterSecret();
    const nowMs = Date.now();
    const valid = mintBootToken(secret, 'known', nowMs);
    const expired = mintBootToken(
      secret,
      'known',
      nowMs - TOKEN_LIFETIME_SECONDS * 1000 - CLOCK_ALLOWANCE_MS,
    );
    const forged = mintBootToken(new Uint8Array(32), 'known', nowMs);
    const ofAnother = mintBootToken(secret, 'other', nowMs);
    for (const id of NODE_IDS) {
      for (const token of ['', 'nonsense', expired, forged, ofAnother, `${valid}x`]) {
        expect((await httpRequest(scriptUrl(id, KNOWN_MAC, token))).status, `token ${token}`).toBe(403);
      }
    }
    expect((await httpRequest(scriptUrl('n1', KNOWN_MAC, valid))).status).toBe(200);
    expect(await fixture.counter('n1', 'http-boot.token.expired')).toBe(1);
    expect(await fixture.counter('n1', 'http-boot.token.forged')).toBeGreaterThanOrEqual(2);
  });
});

describe('TFTP', () => {
  it.each(['nothing-here', 'autoexec.ipxe'])('refuses the unknown file %s with error 1', async (fileName) => {
    const codes = await everyNode((id) => refusal(id, fileName));
    expect(codes).toEqual([1, 1, 1]);
  });

  it.each(['../n1/tls/node.key', '/etc/passwd', '..\\cluster.secret'])(
    'gives nothing outside its folder: %s',
    async (fileName) => {
      expect(await everyNode((id) => refusal(id, fileName))).toEqual([2, 2, 2]);
    },
  );

  async function refusal(nodeId: string, fileName: string): Promise<number> {
    const server = fixture.cluster.nodeAddress(nodeId);
    try {
      await tftpGet({ server, port: LOCAL_PORTS.tftp, fileName });
      return 0;
    } catch (error) {
      if (error instanceof TftpRefusedError) return error.code;
      throw error;
    }
  }

  it('takes no file', async () => {
    const socket = createSocket('udp4');
    const reply = new Promise<Buffer>((resolve) => socket.once('message', resolve));
    const request = Buffer.from('\0\x02secret\0octet\0', 'latin1');
    socket.send(request, LOCAL_PORTS.tftp, fixture.cluster.nodeAddress('n1'));
    const bytes = await reply;
    socket.close();
    expect([...bytes.subarray(0, 4)]).toEqual([0, 5, 0, 2]);
  });
});

describe('iSCSI', () => {
  const attempt = async (targetName: string, initiatorName: string): Promise<number> => {
    try {
      const { wire } = await login({
        host: known.portalAddress,
        port: known.portalPort,
        targetName,
        initiatorName,
      });
      wire.destroy();
      return 0;
    } catch (error) {
      if (error instanceof LoginRefusedError) return error.status;
      throw error;
    }
  };

  it('refuses another initiator at a known disk, and everyone at an unknown one', async () => {
    expect(await attempt(known.targetName, `${known.initiatorName}x`)).toBe(0x0202);
    expect(await attempt(`${known.targetName}x`, known.initiatorName)).toBe(0x0203);
    expect(await attempt(known.targetName, known.initiatorName)).toBe(0);
  });
});

describe('a disk that wants proof', () => {
  const MAC = '52:54:00:bb:00:02';

  /** @returns the status of the login, 0 when it succeeds */
  async function logIn(
    target: BootTarget,
    chap: InitiatorChap | undefined,
    localAddress?: string,
  ): Promise<number> {
    const { portalAddress: host, portalPort: port, targetName, initiatorName } = target;
    const proof = chap === undefined ? {} : { chap };
    const open = (to: string, at: number) => openWire(to, at, undefined, localAddress);
    try {
      const options = { host, port, targetName, initiatorName, openWire: open, ...proof };
      const { wire } = await login(options);
      wire.destroy();
      return 0;
    } catch (error) {
      if (error instanceof LoginRefusedError) return error.status;
      throw error;
    }
  }

  it('lets in whoever has the secret of its boot script, through a rotation until the next', async () => {
    await fixture.addClient('guarded', MAC, '--chap', 'mutual');
    const first = await fixture.boot(MAC);
    const { chap } = first;
    if (chap?.mutual === undefined) throw new Error('the boot script has no secrets');
    // MD5, SHA-256 and SHA3-256.
    for (const algorithm of [5, 7, 8]) {
      expect(await logIn(first, { ...chap, algorithms: [algorithm] }), `algorithm ${algorithm}`).toBe(0);
      const wrong = { ...chap, secret: `${chap.secret}x`, algorithms: [algorithm] };
      expect(await logIn(first, wrong)).toBe(0x0201);
    }
    expect(await logIn(first, undefined)).toBe(0x0201);

    await fixture.cluster.cliJson(['client', 'chap', 'guarded', '--rotate']);
    expect(await logIn(first, chap), 'a machine that runs is not locked out').toBe(0);
    const next = await fixture.boot(MAC);
    expect(next.chap?.secret).not.toBe(chap.secret);
    await until('the new secret is good', async () => (await logIn(next, next.chap)) === 0);
    await until('the old one is not', async () => (await logIn(next, chap)) === 0x0201);
  }, 60_000);

  it('lets in nobody from other addresses than its own', async () => {
    const mac = '52:54:00:bb:00:03';
    await fixture.addClient('bound', mac, '--from', `${NETWORK}.200`);
    const target = await fixture.boot(mac);
    await until('from its own', async () => (await logIn(target, undefined, `${NETWORK}.200`)) === 0);
    expect(await logIn(target, undefined, `${NETWORK}.201`)).toBe(0x0202);
  }, 60_000);
});

describe('the API', () => {
  it.each([
    ['no token', null, 'no-token'],
    ['a wrong token', 'bf_0123456789abcdef0123456789abcdef0123456789a', 'bad-token'],
  ])('answers 401 to %s, on every node and for every path', async (_name, token, code) => {
    for (const id of NODE_IDS) {
      for (const path of ['/api/v1/status', '/api/v1/clients', '/api/v1/nothing', '/']) {
        const answer = await fixture.api(id, path, token);
        expect(answer.status, path).toBe(401);
        expect(answer.json).toMatchObject({ error: { code } });
      }
      expect(await fixture.counter(id, `api.refused.${code}`)).toBeGreaterThanOrEqual(4);
    }
  });

  it('gives no content of nodes to an administrator or a stranger', async () => {
    for (const token of [null, fixture.profile.token]) {
      const answer = await fixture.api('n1', '/peer/v1/images/base/versions/1/manifest', token);
      expect(answer.status).toBe(401);
    }
  });
});
