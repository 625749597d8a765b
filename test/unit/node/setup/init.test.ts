import { createHash, X509Certificate } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../../../../base/clock.ts';
import { SeededRandom } from '../../../../base/random.ts';
import type { ClusterState } from '../../../../cluster/state/model.ts';
import { STATE_VERSIONS } from '../../../../cluster/state/versions.ts';
import type { NodeConfig } from '../../../../node/config.ts';
import { runInit } from '../../../../node/setup/init.ts';
import { loadNodeDirectory } from '../../../../node/setup/node-directory.ts';

const NOW_MS = Date.UTC(2026, 10, 20);

let scratch: string;
beforeEach(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'bootfabric-init-'));
});
afterEach(async () => {
  await rm(scratch, { recursive: true, force: true });
});

const THREE = ['--node', 'n1=127.0.0.11', '--node', 'n2=127.0.0.12', '--node', 'n3=127.0.0.13'];
const PORTALS = ['--portal', '127.0.0.21', '--portal', '127.0.0.22:3270'];

async function init(args: readonly string[], seed = 1) {
  let out = '';
  let err = '';
  const code = await runInit(
    args,
    { clock: new ManualClock(NOW_MS), random: new SeededRandom(seed) },
    {
      out: (text) => {
        out += text;
      },
      err: (text) => {
        err += text;
      },
    },
  );
  return { code, out, err };
}

const lab = (...more: string[]) => ['--cluster', 'lab', '--out', join(scratch, 'lab'), ...more];

async function readJson<T>(...path: string[]): Promise<T> {
  return JSON.parse(await readFile(join(scratch, ...path), 'utf8')) as T;
}

describe('bootfabric init', () => {
  it('writes a directory per node, the same genesis in each, and a profile', async () => {
    const result = await init(lab(...THREE, ...PORTALS, '--json'));
    expect(result).toMatchObject({ code: 0, err: '' });
    const report = JSON.parse(result.out) as Record<string, unknown>;
    expect(report).toMatchObject({
      clusterName: 'lab',
      directory: join(scratch, 'lab'),
      profile: join(scratch, 'lab', 'admin.json'),
      portals: ['127.0.0.21:3260', '127.0.0.22:3270'],
    });
    expect((await readdir(scratch)).sort()).toEqual(['lab']);
    expect((await readdir(join(scratch, 'lab'))).sort()).toEqual(['admin.json', 'ca.key', 'n1', 'n2', 'n3']);
    const genesis = await readFile(join(scratch, 'lab/n1/genesis.json'), 'utf8');
    for (const id of ['n2', 'n3']) {
      expect(await readFile(join(scratch, 'lab', id, 'genesis.json'), 'utf8')).toBe(genesis);
    }
    const state = JSON.parse(genesis) as ClusterState;
    expect(state.clusterId).toBe(report['clusterId']);
    expect(Object.keys(state.nodes)).toEqual(['n1', 'n2', 'n3']);
    expect(state.nodes['n2']?.endpoints.iscsi).toBe('127.0.0.12:3260');
    expect(Object.values(state.portalGroups).map((g) => `${g.address}:${g.port}`)).toEqual(report['portals']);
  });

  it('keeps secrets to their owner and knows the token only by its hash', async () => {
    await init(lab(...THREE, ...PORTALS));
    for (const file of ['admin.json', 'ca.key', 'n1/tls/node.key', 'n1/cluster.secret']) {
      expect((await stat(join(scratch, 'lab', file))).mode & 0o777, file).toBe(0o600);
    }
    const profile = await readJson<{ token: string; apiUrls: string[] }>('lab/admin.json');
    const genesis = await readFile(join(scratch, 'lab/n1/genesis.json'), 'utf8');
    expect(genesis).not.toContain(profile.token);
    expect(genesis).toContain(createHash('sha256').update(profile.token).digest('hex'));
    expect(profile.apiUrls).toEqual(
      ['127.0.0.11', '127.0.0.12', '127.0.0.13'].map((a) => `https://${a}:7443`),
    );
    const secrets = await Promise.all(
      ['n1', 'n2'].map((id) => readFile(join(scratch, 'lab', id, 'cluster.secret'), 'utf8')),
    );
    expect(secrets[0]).toBe(secrets[1]);
    expect(secrets[0]).toMatch(/^[0-9a-f]{64}\n$/);
  });

  it('is read back by what start uses', async () => {
    await init(lab(...THREE, ...PORTALS, '--ports', 'api=8443,dhcp=6700', '--ipxe-dir', '/opt/ipxe'));
    const node = await loadNodeDirectory(join(scratch, 'lab/n2'));
    expect(node.config).toMatchObject({
      nodeId: 'n2',
      address: '127.0.0.12',
      portal: { interface: null },
      dhcp: { interfaces: [] },
      ipxeDir: '/opt/ipxe',
      dataDir: join(scratch, 'lab/n2/data'),
    });
    expect(node.config.ports).toMatchObject({ api: 8443, dhcp: 6700, http: 7480 });
    const certificate = new X509Certificate(node.tls.cert);
    expect(certificate.verify(new X509Certificate(node.tls.ca).publicKey)).toBe(true);
    expect(certificate.subject).toBe(`O=${node.genesis.clusterId}\nCN=n2`);
  });

  it('refuses to start a node whose directory names a stranger', async () => {
    await init(lab(...THREE, ...PORTALS));
    const file = join(scratch, 'lab/n2/bootfabric.yaml');
    await writeFile(file, (await readFile(file, 'utf8')).replace('nodeId: n2', 'nodeId: n9'));
    await expect(loadNodeDirectory(join(scratch, 'lab/n2'))).rejects.toMatchObject({
      code: 'bad-value',
      got: 'n9',
      accepted: 'a node of this cluster: n1, n2, n3',
    });
  });

  it('puts the whole of DHCP into the genesis', async () => {
    const network = '--node n1=192.0.2.11 --portal 192.0.2.50 --portal-interface br0';
    const interfaces = '--dhcp full --dhcp-interface br0 --dhcp-interface br1';
    const addresses = '--dhcp-subnet 192.0.2.0/24 --dhcp-range 192.0.2.100-192.0.2.199';
    const more = '--dhcp-router 192.0.2.1 --dhcp-dns 192.0.2.2,198.51.100.2 --dhcp-lease 600';
    const result = await init(lab(...`${network} ${interfaces} ${addresses} ${more}`.split(' ')));
    expect(result.err).toBe('');
    expect((await readJson<ClusterState>('lab/n1/genesis.json')).settings.dhcp).toEqual({
      mode: 'full',
      subnet: '192.0.2.0/24',
      rangeStart: '192.0.2.100',
      rangeEnd: '192.0.2.199',
      router: '192.0.2.1',
      dnsServers: ['192.0.2.2', '198.51.100.2'],
      leaseSeconds: 600,
    });
    const { config } = await loadNodeDirectory(join(scratch, 'lab/n1'));
    expect(config).toMatchObject({ portal: { interface: 'br0' }, dhcp: { interfaces: ['br0', 'br1'] } });
  });

  it('gives nodes as many data-plane workers as it is told, and one otherwise', async () => {
    const network = '--node n1=192.0.2.11 --portal 192.0.2.50 --portal-interface br0'.split(' ');
    const made: (readonly [string, readonly string[], NodeConfig['dataPlane']])[] = [
      ['one', network, undefined],
      ['told', [...network, '--workers', '4'], { workers: 4 }],
      ['chosen', [...THREE, ...PORTALS, '--workers', 'auto'], { workers: 'auto' }],
    ];
    for (const [name, options, dataPlane] of made) {
      await init(['--cluster', 'lab', '--out', join(scratch, name), ...options]);
      const { config, genesis } = await loadNodeDirectory(join(scratch, name, 'n1'));
      expect(config.dataPlane).toEqual(dataPlane);
      expect(genesis.stateVersion).toBe(STATE_VERSIONS.newest);
    }
  });

  it('refuses a directory that has a cluster, and leaves it alone', async () => {
    await init(lab(...THREE, ...PORTALS));
    const before = await readFile(join(scratch, 'lab/admin.json'), 'utf8');
    const again = await init(lab(...THREE, ...PORTALS, '--json'), 2);
    expect(again).toMatchObject({ code: 1, out: '' });
    expect(JSON.parse(again.err)).toMatchObject({
      error: { code: 'cluster-exists', got: join(scratch, 'lab'), accepted: expect.any(String) as string },
    });
    expect(await readFile(join(scratch, 'lab/admin.json'), 'utf8')).toBe(before);
    expect(await readdir(scratch)).toEqual(['lab']);
  });

  it('refuses a file in its way and leaves nothing half-made', async () => {
    await writeFile(join(scratch, 'lab'), 'mine');
    expect(await init(lab(...THREE, ...PORTALS, '--json'))).toMatchObject({ code: 1 });
    expect(await readFile(join(scratch, 'lab'), 'utf8')).toBe('mine');
    expect(await readdir(scratch)).toEqual(['lab']);
  });
});

describe('bootfabric init refuses', () => {
  const N1 = ['--node', 'n1=127.0.0.11'];
  const P1 = ['--portal', '127.0.0.21'];
  const REAL = ['--node', 'n1=192.0.2.11', '--portal', '192.0.2.50', '--portal-interface', 'br0'];
  const FULL = [...REAL, '--dhcp', 'full', '--dhcp-subnet', '192.0.2.0/24'];
  const cases: readonly (readonly [string, readonly string[], string, unknown])[] = [
    ['an id twice', [...N1, '--node', 'n1=127.0.0.12', ...P1], 'node-twice', 'n1=127.0.0.12'],
    ['an address twice', [...N1, '--node', 'n2=127.0.0.11', ...P1], 'address-twice', 'n2=127.0.0.11'],
    ['a portal twice', [...N1, ...P1, ...P1], 'portal-twice', '127.0.0.21'],
    ['a bad id', ['--node', 'N_1=127.0.0.11', ...P1], 'bad-name', 'N_1'],
    ['a node without address', ['--node', 'n1', ...P1], 'bad-node', 'n1'],
    ['a host name', ['--node', 'n1=host', ...P1], 'bad-address', 'host'],
    ['multicast', ['--node', 'n1=224.0.0.1', ...P1], 'bad-address', '224.0.0.1'],
    ['a portal port of 0', [...N1, '--portal', '127.0.0.21:0'], 'bad-port', '127.0.0.21:0'],
    ['an IPv6 portal', [...N1, '--portal', '::1'], 'bad-address', ''],
    ['an unknown service', [...N1, ...P1, '--ports', 'ssh=22'], 'bad-port', 'ssh=22'],
    ['two services on a port', [...N1, ...P1, '--ports', 'api=7400'], 'port-twice', 7400],
    [
      'no portal interface',
      ['--node', 'n1=192.0.2.11', '--portal', '192.0.2.50'],
      'no-portal-interface',
      '192.0.2.50',
    ],
    ['a portal at a node', [...N1, '--portal', '127.0.0.11'], 'portal-is-node', '127.0.0.11:3260'],
    ['an unreachable portal', ['--node', 'n1=192.0.2.11', ...P1], 'portal-on-loopback', '127.0.0.21'],
    ['a bad interface', [...N1, ...P1, '--portal-interface', 'a b'], 'bad-interface', 'a b'],
    ['no workers', [...N1, ...P1, '--workers', '0'], 'bad-workers', '0'],
    ['DHCP options that would be ignored', [...N1, ...P1, '--dhcp-lease', '600'], 'unused-option', '600'],
    ['full DHCP without a range', FULL, 'missing-option', undefined],
    [
      'a subnet with host bits',
      [...REAL, '--dhcp', 'full', '--dhcp-subnet', '192.0.2.1/24'],
      'bad-subnet',
      '192.0.2.1/24',
    ],
    ['a range outside', [...FULL, '--dhcp-range', '192.0.3.1-192.0.3.9'], 'outside-subnet', '192.0.3.1'],
    [
      'a range backwards',
      [...FULL, '--dhcp-range', '192.0.2.99-192.0.2.90'],
      'bad-range',
      '192.0.2.99-192.0.2.90',
    ],
    [
      'a range over a node',
      [...FULL, '--dhcp-range', '192.0.2.9-192.0.2.20'],
      'range-overlaps',
      '192.0.2.9-192.0.2.20',
    ],
    [
      'a silly lease',
      [...FULL, '--dhcp-range', '192.0.2.100-192.0.2.120', '--dhcp-lease', '1'],
      'bad-lease',
      '1',
    ],
  ];
  it.each(cases)('%s', async (_name, args, code, got) => {
    const result = await init(lab(...args, '--json'));
    expect(result).toMatchObject({ code: 1, out: '' });
    const { error } = JSON.parse(result.err) as { error: Record<string, unknown> };
    expect(error['code']).toBe(code);
    expect(error['got']).toEqual(got);
    expect(error['accepted']).toEqual(expect.any(String));
    expect(await readdir(scratch)).toEqual([]);
  });

  it('a bad cluster name, in words', async () => {
    const named = await init(['--cluster', 'Lab', '--out', join(scratch, 'x'), ...N1, ...P1]);
    expect(named.code).toBe(1);
    expect(named.err).toBe(
      'error: --cluster: "Lab" is not a usable name\n' +
        '  got:      Lab\n' +
        '  accepted: lower-case letters, digits and hyphens, 1 to 32, not beginning with a hyphen\n',
    );
  });

  it.each([
    ['an unknown option', ['--colour', 'red']],
    ['an unknown DHCP mode', ['--dhcp', 'maybe']],
    ['a stray word', ['word']],
  ])('%s as wrong usage', async (_name, args) => {
    const result = await init(lab(...N1, ...P1, ...args));
    expect(result.code).toBe(2);
    expect(result.err).toMatch(/^error: .+\n {2}accepted: see bootfabric init --help\n$/s);
  });

  it('nothing when asked for help', async () => {
    const result = await init(['--help']);
    expect(result).toMatchObject({ code: 0, err: '' });
    expect(result.out).toContain('--portal-interface');
    expect(result.out).toMatch(/--cluster <name> +name of the cluster \(required\)\n/);
  });
});
