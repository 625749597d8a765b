import { mkdir, readdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import type { ClientListDocument } from '../../api/contract/clients.ts';
import type { ImageListDocument } from '../../api/contract/images.ts';
import type { LunListDocument } from '../../api/contract/luns.ts';
import { imageBlock } from '../../scripts/demo/demo-image.ts';
import { type ClusterFixture, clusterForFile, NODE_IDS, until } from './support/cluster-fixture.ts';

const NETWORK = '127.200.3';
const FIRST_MAC = '52:54:00:cc:00:01';

const shared = clusterForFile(NETWORK);
let fixture: ClusterFixture;

beforeAll(async () => {
  fixture = shared();
  await fixture.addClient('first', FIRST_MAC);
  await writeFile(fixture.path('empty.raw'), '');
  await writeFile(fixture.path('odd.raw'), Buffer.alloc(1_000));
  await writeFile(fixture.path('good.raw'), Buffer.alloc(4_096, 1));
  await writeFile(fixture.path('vast.raw'), '');
  await truncate(fixture.path('vast.raw'), 3 * 1024 ** 4);
  await mkdir(fixture.path('folder.raw'));
}, 60_000);

/** All that a refused command must leave as it was. */
async function everything(): Promise<unknown> {
  const lists = await Promise.all(
    ['images', 'clients', 'boot-files'].map((what) => fixture.api('n2', `/api/v1/${what}`)),
  );
  const staging = await Promise.all(
    NODE_IDS.map((id) => readdir(join(fixture.cluster.nodeDirectory(id), 'data/images/staging'))),
  );
  return { lists, staging };
}

/** One of the API's lists, as a node shows it. */
async function listed<T>(nodeId: string, what: string): Promise<T> {
  const { status, json } = await fixture.api(nodeId, `/api/v1/${what}`);
  expect(status).toBe(200);
  return json as T;
}

const add = (name: string, mac: string, image: string, ...more: string[]): string[] => [
  ...['client', 'add', name, '--mac', mac, '--image', image],
  ...more,
];

describe('a command that cannot be carried out', () => {
  const importOf = (name: string, file: string): string[] => ['image', 'import', name, file];
  const cases: readonly [string, () => string[], number, string][] = [
    ['import of an empty file', () => importOf('x', fixture.path('empty.raw')), 1, 'bad-file'],
    ['import of a file of odd size', () => importOf('x', fixture.path('odd.raw')), 1, 'bad-file'],
    ['import of a missing file', () => importOf('x', fixture.path('missing.raw')), 1, 'bad-file'],
    ['import of a directory', () => importOf('x', fixture.path('folder.raw')), 1, 'bad-file'],
    ['import of more than an image may have', () => importOf('x', fixture.path('vast.raw')), 1, 'bad-file'],
    ['import under a bad name', () => importOf('Bad_Name', fixture.path('good.raw')), 1, 'bad-value'],
    ['a client whose MAC is taken', () => add('second', FIRST_MAC, 'base'), 1, 'mac-taken'],
    ['a client whose name is taken', () => add('first', '52:54:00:cc:00:09', 'base'), 1, 'client-exists'],
    ['a client without such an image', () => add('c', '52:54:00:cc:00:09', 'none'), 1, 'unknown-image'],
    [
      'a client without such a version',
      () => add('c', '52:54:00:cc:00:09', 'base', '--image-version', '7'),
      1,
      'unknown-image-version',
    ],
    [
      'a client in no such portal group',
      () => add('c', '52:54:00:cc:00:09', 'base', '--portal-group', 'pg9'),
      1,
      'unknown-portal-group',
    ],
    ['a client with a bad MAC', () => add('c', '52:54:00', 'base'), 1, 'bad-value'],
    ['a client under a bad name', () => add('C!', '52:54:00:cc:00:09', 'base'), 1, 'bad-value'],
    [
      'an address outside the range',
      () => add('c', '52:54:00:cc:00:09', 'base', '--address', '10.0.0.1'),
      1,
      '',
    ],
    ['removal of an unknown client', () => ['client', 'remove', 'nobody'], 1, 'unknown-client'],
    ['a boot file that is empty', () => ['boot-file', 'add', fixture.path('empty.raw')], 1, 'bad-file'],
    ['a command that there is not', () => ['image', 'destroy', 'base'], 2, 'usage'],
    ['a write cache that there is not', () => add('c', FIRST_MAC, 'base', '--write-cache', 'x'), 2, 'usage'],
  ];

  it.each(cases)('%s: one clear error, and nothing is left', async (_name, args, exitCode, code) => {
    const before = await everything();
    const outcome = await fixture.cluster.cli([...args(), '--json']);
    expect(outcome.status).toBe(exitCode);
    expect(outcome.stdout).toBe('');
    const said = JSON.parse(outcome.stderr) as { error: { code: string; message: string } };
    if (code !== '') expect(said.error.code).toBe(code);
    expect(said.error.message).not.toBe('');
    expect(await everything()).toEqual(before);
  });

  it('says what was wrong, what was given and what would do, in words', async () => {
    const { stderr } = await fixture.cluster.cli(add('second', FIRST_MAC, 'base'));
    expect(stderr).toMatch(/^error: .*\n {2}got: .*\n/);
    expect(stderr).toContain(FIRST_MAC);
    expect(stderr).not.toMatch(/\n\s+at /);
  });

  it('is refused by every node alike', async () => {
    for (const id of NODE_IDS) {
      const { status, stderr } = await fixture.cluster.cli([
        ...add('second', FIRST_MAC, 'base'),
        '--node',
        id,
      ]);
      expect([status, stderr.split('\n')[0]]).toEqual([1, expect.stringContaining(FIRST_MAC)]);
    }
  });

  it('with a token of nobody: 401, and no token is shown', async () => {
    const profile = JSON.parse(await readFile(fixture.cluster.profile, 'utf8')) as Record<string, unknown>;
    const forged = fixture.path('forged.json');
    const token = `bf_${'A'.repeat(43)}`;
    await writeFile(forged, JSON.stringify({ ...profile, token }));
    const outcome = await fixture.cluster.cliAs(forged, ['client', 'list', '--json']);
    expect(outcome.status).toBe(1);
    expect(JSON.parse(outcome.stderr)).toMatchObject({ error: { code: 'bad-token' } });
    expect(outcome.stderr).not.toContain(token);
  });
});

describe('an administrator', () => {
  it('adds an image and a client on any node, and every node knows both at once', async () => {
    for (const [i, id] of NODE_IDS.entries()) {
      const image = `img-${id}`;
      await writeFile(fixture.path(`${image}.raw`), Buffer.alloc(64 * 1024, i + 1));
      await fixture.cluster.cliJson(['image', 'import', image, fixture.path(`${image}.raw`), '--node', id]);
      const mac = `52:54:00:cc:01:0${i}`;
      await fixture.cluster.cliJson([...add(`on-${id}`, mac, image), '--node', id]);
      for (const asked of NODE_IDS) {
        const { clients } = await listed<ClientListDocument>(asked, 'clients');
        expect(clients.find((c) => c.name === `on-${id}`)).toMatchObject({ macs: [mac], image });
        const { images } = await listed<ImageListDocument>(asked, 'images');
        const version = images.find((one) => one.name === image)?.versions[0];
        expect([...(version?.holders ?? [])].sort()).toEqual([...NODE_IDS]);
      }
      const initiator = await fixture.attach(await fixture.boot(mac));
      expect((await initiator.read(0, 1))[0]).toBe(i + 1);
      initiator.destroy();
    }
  }, 60_000);
});

describe('a write cache', () => {
  const data = Buffer.alloc(4096, 'what the machine wrote ');
  const LBA = 16;

  async function writeAndReboot(mac: string): Promise<Uint8Array> {
    const first = await fixture.attach(await fixture.boot(mac));
    await first.write(LBA, data);
    // No flush: an acknowledgement alone must do. Power off without a word.
    first.destroy();
    const second = await fixture.attach(await fixture.boot(mac));
    const read = Uint8Array.from(await second.read(LBA, 8));
    second.destroy();
    return read;
  }

  it('that is kept holds the writes over a reboot', async () => {
    await fixture.addClient('keeper', '52:54:00:cc:02:01', '--write-cache', 'keep');
    expect(Buffer.compare(await writeAndReboot('52:54:00:cc:02:01'), data)).toBe(0);
  });

  it('that is discarded shows the image again after a reboot', async () => {
    await fixture.addClient('loser', '52:54:00:cc:02:02', '--write-cache', 'discard');
    expect(Buffer.compare(await writeAndReboot('52:54:00:cc:02:02'), imageBlock(2))).toBe(0);
  });

  it('goes with its client, on every node, and its machine is cut off', async () => {
    const { lunId } = await fixture.addClient('leaver', '52:54:00:cc:02:03', '--write-cache', 'keep');
    const target = await fixture.boot('52:54:00:cc:02:03');
    const initiator = await fixture.attach(target);
    await initiator.write(LBA, data);
    const cut = new Promise<void>((resolve) => initiator.onClose(() => resolve()));
    await fixture.cluster.cliJson(['client', 'remove', 'leaver']);
    await cut;
    const { luns } = await listed<LunListDocument>('n1', 'luns');
    expect(luns.some((lun) => lun.lunId === lunId)).toBe(false);
    await expect(fixture.attach(target, 0)).rejects.toThrow(/0x0203/);
    await until('the primary has dropped the LUN', async () => {
      const logs = await Promise.all(NODE_IDS.map((id) => fixture.log(id)));
      return logs.some((log) => log.includes('"lun.drop"') && log.includes(`"lunId":${lunId},`));
    });
    // The same machine again is another client, with nothing of the old one's.
    await fixture.addClient('leaver', '52:54:00:cc:02:03', '--write-cache', 'keep');
    const again = await fixture.attach(await fixture.boot('52:54:00:cc:02:03'));
    expect(Buffer.compare(await again.read(LBA, 8), imageBlock(2))).toBe(0);
    again.destroy();
  });
});
