import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../../../../base/clock.ts';
import { SeededRandom } from '../../../../base/random.ts';
import type { ClusterState } from '../../../../cluster/state/model.ts';
import { loadNodeDirectory } from '../../../../node/setup/node-directory.ts';
import { runRestore } from '../../../../node/setup/restore.ts';
import { addClient, applyAll, runningCluster } from '../../cluster/state/fixtures.ts';

let scratch: string;
beforeEach(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'bootfabric-restore-'));
});
afterEach(async () => {
  await rm(scratch, { recursive: true, force: true });
});

const before = (): ClusterState => applyAll(runningCluster(3, 2), addClient('pc-1', '52:54:00:00:00:01'));

async function backup(change: Record<string, unknown> = {}): Promise<string> {
  const state = JSON.stringify(before());
  const file = join(scratch, 'backup.json');
  const document = {
    format: 'bootfabric-backup',
    version: 1,
    clusterId: 'c-1',
    clusterName: 'lab',
    takenAt: '2026-11-25T00:00:00.000Z',
    sha256: createHash('sha256').update(state).digest('hex'),
    state,
    ...change,
  };
  await writeFile(file, JSON.stringify(document));
  return file;
}

async function restore(file: string, ...more: readonly string[]) {
  let out = '';
  let err = '';
  const nodes = ['--node', 'm1=192.0.2.1', '--node', 'm2=192.0.2.2', '--portal-interface', 'eth0'];
  const code = await runRestore(
    [file, '--out', join(scratch, 'new'), ...nodes, ...more, '--json'],
    { clock: new ManualClock(1_000_000), random: new SeededRandom(3) },
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

const codeOf = ({ err }: { err: string }): string =>
  (JSON.parse(err) as { error: { code: string } }).error.code;

describe('bootfabric restore', () => {
  it('makes a new cluster that has the other one’s configuration', async () => {
    expect(await restore(await backup())).toMatchObject({ code: 0, err: '' });
    const { genesis } = await loadNodeDirectory(join(scratch, 'new', 'm2'));
    const from = before();
    expect(genesis.clients).toEqual(from.clients);
    expect(genesis.settings).toEqual(from.settings);
    expect(genesis.nextLunId).toBe(from.nextLunId);
    expect(genesis.clusterId).not.toBe(from.clusterId);
    expect(Object.keys(genesis.nodes)).toEqual(['m1', 'm2']);
    expect(genesis.tokens.map((t) => t.id)).toEqual(['admin']);
    for (const [id, group] of Object.entries(genesis.portalGroups)) {
      const { address, port } = from.portalGroups[id] ?? {};
      expect(group).toMatchObject({ address, port, replicas: ['m1', 'm2'], epoch: 1 });
    }
    // Nobody has the content yet; the same content will be known as the same version.
    expect(genesis.images['win']?.versions).toEqual([{ ...from.images['win']?.versions[0], holders: [] }]);
    const again = applyAll(genesis, {
      type: 'addImageVersion',
      image: 'win',
      sizeBytes: 1 << 20,
      chunkSizeBytes: 1 << 16,
      manifestSha256: from.images['win']?.versions[0]?.manifestSha256 ?? '',
      holder: 'm1',
      atMs: 9,
    });
    expect(again.images['win']?.versions.map((v) => [v.version, v.holders])).toEqual([[1, ['m1']]]);
    expect(genesis.audit).toMatchObject([{ event: 'configuration-restored', detail: 'of cluster lab, c-1' }]);
  });

  it.each([
    ['damaged', { state: JSON.stringify({ ...runningCluster(3, 2), nextLunId: 9 }) }, 'damaged-backup'],
    ['of another format', { version: 2 }, 'backup-version'],
    ['something else', { format: 'poem' }, 'bad-backup'],
  ])('refuses a file that is %s', async (_, change, code) => {
    const refused = await restore(await backup(change));
    expect(refused.code).toBe(1);
    expect(codeOf(refused)).toBe(code);
    expect(await readdir(scratch)).toEqual(['backup.json']);
  });

  it('refuses a truncated file, one that is not there, and a directory with anything in it', async () => {
    const file = await backup();
    const text = await readFile(file, 'utf8');
    await writeFile(file, text.slice(0, -10));
    const truncated = await restore(file);
    expect(codeOf(truncated)).toBe('bad-backup');
    // Whatever is in it, a key perhaps, is not shown.
    expect(JSON.parse(truncated.err)).toMatchObject({ error: { message: `${file} is not a backup` } });
    expect(codeOf(await restore(join(scratch, 'none')))).toBe('bad-backup');
    await mkdir(join(scratch, 'new'));
    await writeFile(join(scratch, 'new', 'data'), 'x');
    expect(codeOf(await restore(await backup()))).toBe('directory-taken');
  });

  it('checks the nodes as for any new cluster', async () => {
    const refused = await restore(await backup(), '--node', 'm3=192.0.2.11');
    expect(codeOf(refused)).toBe('portal-is-node');
  });
});
