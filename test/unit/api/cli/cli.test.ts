import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { CliIo } from '../../../../api/cli/cli-io.ts';
import { routes } from '../../../../api/contract/routes.ts';
import { ManualClock } from '../../../../base/clock.ts';
import { OperationError } from '../../../../base/errors.ts';
import { findSchemaFault } from '../../../../base/schema-check.ts';
import { type ApiFixture, startApiFixture } from '../../../support/api-fixture.ts';
import { errorOf, profileFor, runCommand } from '../../../support/cli-session.ts';
import { unavailable } from '../../../support/fake-cluster.ts';

const DEAD_URL = 'https://127.0.0.1:1';

let api: ApiFixture;
let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'bootfabric-cli-'));
});
afterAll(() => rm(scratch, { recursive: true, force: true }));

beforeEach(async () => {
  api = await startApiFixture('n1');
  api.cluster.addImage('win11');
  await profile({});
  return () => api.server.close();
});

async function profile(changes: object, name = 'admin.json'): Promise<string> {
  const file = join(scratch, name);
  await writeFile(file, JSON.stringify({ ...profileFor(api.server.port), ...changes }));
  return file;
}

async function cli(args: readonly string[], changes: Partial<CliIo> = {}) {
  const nodeRuns: (readonly string[])[] = [];
  const runNode: CliIo['runNode'] = async (nodeArgs) => {
    nodeRuns.push(nodeArgs);
    return 17;
  };
  const io = { homeDirectory: scratch, runNode, ...changes };
  return { ...(await runCommand(args, join(scratch, 'admin.json'), io)), nodeRuns };
}

describe('clients from the command line', () => {
  const add = [
    'client',
    'add',
    'pc1',
    '--mac',
    '52-54-00-12-34-56',
    '--mac',
    '525400123457',
    '--image',
    'win11',
  ];

  it('are added, listed and removed, in words', async () => {
    const added = await cli([...add, '--write-cache', 'keep']);
    expect(added).toMatchObject({ code: 0, err: '' });
    expect(added.out).toContain('Client pc1 is registered\n');
    expect(added.out).toContain('  image         win11, version newest\n');
    expect((await cli(['client', 'list'])).out).toBe(
      'CLIENT  MAC                                   IMAGE           WRITE CACHE  ADDRESS  PORTAL GROUP            ACCESS\n' +
        'pc1     52:54:00:12:34:56, 52:54:00:12:34:57  win11 (newest)  keep         -        pg1 at 127.0.0.21:3260  -\n',
    );
    const removed = await cli(['client', 'remove', 'pc1']);
    expect(removed).toMatchObject({ code: 0, out: 'Client pc1 is forgotten and its writes are dropped\n' });
    expect((await cli(['client', 'list'])).out).toBe('No clients are registered\n');
  });

  it('get secrets, which are shown only when asked for', async () => {
    const added = await cli([...add, '--chap', '--from', '192.0.2.7', '--from', '198.51.100.0/24']);
    expect(added.out).toContain('  CHAP          one-way\n  from          192.0.2.7, 198.51.100.0/24\n');
    const access = async (): Promise<string> => (await cli(['client', 'list'])).out;
    expect(await access()).toContain('  CHAP one-way; from 192.0.2.7, 198.51.100.0/24\n');
    expect(await cli(['client', 'chap', 'pc1', '--rotate'])).toMatchObject({
      code: 0,
      out: 'CHAP of client pc1: one-way, from its next boot on; its running system is let in as before\n',
    });
    const shown = await cli(['client', 'chap', 'pc1', '--mutual', '--revoke', '--show']);
    expect(shown.out).toMatch(
      /^CHAP of client pc1: mutual\n {2}initiator {2}pc1 \S{16}\n {2}target {5}bootfabric \S{16}\n$/,
    );
    expect((await cli(['client', 'chap', 'pc1', '--off'])).out).toContain(
      'CHAP of client pc1: off, from its next boot',
    );
    expect((await cli(['client', 'sources', 'pc1'])).out).toBe(
      'Client pc1 may attach its disk from anywhere\n',
    );
    const refused = await cli(['client', 'chap', 'pc1', '--rotate', '--off']);
    expect(refused).toMatchObject({ code: 2, out: '' });
    expect(refused.err).toContain('accepted: one of --rotate, --one-way, --mutual and --off');
  });

  it('find their disks at several nodes where that is asked for', async () => {
    expect((await cli([...add, '--multipath'])).out).toContain(
      '  paths         127.0.0.21:3260,1, 127.0.0.11',
    );
    expect((await cli(['client', 'multipath', 'pc1', '--off'])).out).toBe(
      'Client pc1 finds its disk at 127.0.0.21:3260,1\n',
    );
    expect((await cli(['client', 'multipath', 'pc1', '--on'])).out).toContain(' and 127.0.0.12:3260,3 and ');
    const refused = await cli(['client', 'multipath', 'pc1']);
    expect(refused).toMatchObject({ code: 2, out: '' });
    expect(refused.err).toContain('accepted: one of --on and --off');
    await cli(['client', 'remove', 'pc1']);
  });

  it('are JSON documents for machines', async () => {
    const added = await cli([...add, '--image-version', '1', '--portal-group', 'pg1', '--json']);
    expect(findSchemaFault(routes.addClient.response, JSON.parse(added.out))).toBeUndefined();
    expect(JSON.parse(added.out)).toMatchObject({ imageVersion: 1 });
    const list = await cli(['--json', 'client', 'list']);
    expect(findSchemaFault(routes.listClients.response, JSON.parse(list.out))).toBeUndefined();
  });

  it('are refused with what was wrong, given and accepted', async () => {
    const refused = await cli(['client', 'add', 'pc1', '--mac', '52:54:00:12:34:56', '--image', 'win12']);
    expect(refused).toMatchObject({ code: 1, out: '' });
    expect(refused.err).toBe('error: there is no image "win12"\n  got:      win12\n  accepted: win11\n');
    const asJson = await cli(['client', 'remove', 'pc1', '--json']);
    expect(asJson).toMatchObject({ code: 1, out: '' });
    expect(errorOf(asJson.err)).toMatchObject({ code: 'unknown-client', got: 'pc1' });
  });

  it('that do not fit the contract are refused before anything is sent', async () => {
    await api.server.close();
    const refused = await cli([
      'client',
      'add',
      'PC 1',
      '--mac',
      '52:54:00:12:34:56',
      '--image',
      'win11',
      '--json',
    ]);
    expect(refused.code).toBe(1);
    expect(errorOf(refused.err)).toMatchObject({ code: 'bad-value', got: 'PC 1' });
  });
});

describe('wrong usage', () => {
  it.each([
    ['an unknown command', ['colour']],
    ['an unknown option', ['status', '--colour']],
    ['a missing argument', ['client', 'remove']],
    ['a missing option', ['client', 'add', 'pc1', '--image', 'win11']],
    [
      'a version that is no number',
      ['client', 'add', 'a', '--mac', 'b', '--image', 'c', '--image-version', 'x'],
    ],
    [
      'a write cache that is none',
      ['client', 'add', 'a', '--mac', 'b', '--image', 'c', '--write-cache', 'x'],
    ],
    ['no data directory', ['start']],
    ['options before init', ['--node', 'n1', 'init']],
  ])('as %s ends with 2 and one error', async (_name, args) => {
    const result = await cli([...args, '--json']);
    expect(result).toMatchObject({ code: 2, out: '', nodeRuns: [] });
    expect(errorOf(result.err)).toMatchObject({ code: 'usage' });
    const inWords = await cli(args);
    expect(inWords.err).toMatch(/^error: [^\n]+\n {2}accepted: [^\n]+\n$/);
  });

  it('shows help where a command is missing, and where it is asked for', async () => {
    expect(await cli([])).toMatchObject({ code: 2, out: '' });
    const help = await cli(['client', 'add', '--help']);
    expect(help).toMatchObject({ code: 0, err: '' });
    expect(help.out).toContain('--write-cache');
  });
});

describe('the profile', () => {
  it.each([
    ['that is missing', async () => join(scratch, 'none.json'), 'cannot be read'],
    ['without a token', () => profile({ token: undefined }, 'b.json'), 'is not complete'],
    [
      'with URLs of another kind',
      () => profile({ apiUrls: ['http://127.0.0.1'] }, 'b.json'),
      'is not complete',
    ],
    [
      'that is not JSON',
      async () => {
        await writeFile(join(scratch, 'c.json'), '{');
        return join(scratch, 'c.json');
      },
      'is not JSON',
    ],
  ])('%s is named', async (_name, make, message) => {
    const file = await make();
    const result = await cli(['status', '--profile', file, '--json']);
    expect(result.code).toBe(2);
    expect(errorOf(result.err)).toMatchObject({ code: 'usage', got: file });
    expect(errorOf(result.err)['message']).toContain(message);
  });

  it('comes from the option, the environment or the home directory, in this order', async () => {
    const bad = join(scratch, 'none.json');
    const good = join(scratch, 'admin.json');
    expect((await cli(['status', '--profile', good], { profileVariable: bad })).code).toBe(0);
    expect((await cli(['status'], { profileVariable: good })).code).toBe(0);
    const home = await cli(['status', '--json'], { profileVariable: undefined });
    expect(errorOf(home.err)['got']).toBe(join(scratch, '.config/bootfabric/admin.json'));
  });

  it('of another cluster lets nobody in and shows the token to nobody', async () => {
    const token = await cli(['status', '--json', '--profile', await profile({ token: 'wrong' }, 'b.json')]);
    expect(token.code).toBe(1);
    expect(errorOf(token.err)['code']).toBe('bad-token');
    const cluster = await cli([
      'status',
      '--json',
      '--profile',
      await profile({ clusterId: 'other' }, 'b.json'),
    ]);
    expect(cluster.code).toBe(3);
    expect(cluster.err).toContain('of another cluster');
  });
});

describe('reaching the cluster', () => {
  it('asks the next node when one is down', async () => {
    const file = await profile({ apiUrls: [DEAD_URL, `https://127.0.0.1:${api.server.port}`] });
    expect(await cli(['status', '--profile', file])).toMatchObject({ code: 0, err: '' });
  });

  it('ends with 3 when none answers', async () => {
    const result = await cli(['status', '--json', '--profile', await profile({ apiUrls: [DEAD_URL] })]);
    expect(result).toMatchObject({ code: 3, out: '' });
    expect(errorOf(result.err)['code']).toBe('unreachable');
    expect(errorOf(result.err)['got']).toContain(DEAD_URL);
  });

  it('asks the very node that is wanted', async () => {
    const other = await startApiFixture('n2');
    try {
      const apiUrls = [`https://127.0.0.1:${api.server.port}`, `https://127.0.0.1:${other.server.port}`];
      await other.services.addBootFile('only-n2.efi', Buffer.from('x'));
      const file = await profile({ apiUrls });
      const n2 = await cli(['boot-file', 'list', '--json', '--node', 'n2', '--profile', file]);
      expect(n2.out).toContain('only-n2.efi');
      const n1 = await cli(['boot-file', 'list', '--json', '--node', 'n1', '--profile', file]);
      expect(n1.out).not.toContain('only-n2.efi');
      const n9 = await cli(['status', '--json', '--node', 'n9', '--profile', file]);
      expect(n9.code).toBe(3);
      expect(errorOf(n9.err)).toMatchObject({
        message: 'no node that the profile knows of is n9',
        got: 'n9',
        accepted: 'a node that answers: n1, n2; or no --node',
      });
      const halfDead = await profile({ apiUrls: [...apiUrls.slice(0, 1), DEAD_URL] });
      const dead = await cli(['status', '--json', '--node', 'n2', '--profile', halfDead]);
      expect(errorOf(dead.err)).toMatchObject({
        message: 'node n2 cannot be reached',
        got: expect.stringContaining(DEAD_URL),
        accepted: 'a node that answers: n1; or no --node',
      });
    } finally {
      await other.server.close();
    }
  });

  it('asks the next node when one has no leader, and ends with 1 when none has', async () => {
    const other = await startApiFixture('n2');
    try {
      const apiUrls = [`https://127.0.0.1:${other.server.port}`, `https://127.0.0.1:${api.server.port}`];
      const file = await profile({ apiUrls });
      other.cluster.failure = unavailable();
      expect((await cli(['image', 'list', '--profile', file])).out).toContain('win11');
      api.cluster.failure = unavailable();
      const none = await cli(['image', 'list', '--profile', file, '--json']);
      expect(none.code).toBe(1);
      expect(errorOf(none.err)['code']).toBe('no-leader');
    } finally {
      await other.server.close();
    }
  });

  it('never repeats a change of unknown outcome', async () => {
    const other = await startApiFixture('n2');
    try {
      let proposals = 0;
      api.cluster.propose = () => {
        proposals++;
        void api.server.close();
        return new Promise(() => {});
      };
      const apiUrls = [`https://127.0.0.1:${api.server.port}`, `https://127.0.0.1:${other.server.port}`];
      const file = await profile({ apiUrls });
      const result = await cli(['client', 'remove', 'pc1', '--profile', file, '--json']);
      expect(result.code).toBe(1);
      expect(errorOf(result.err)['code']).toBe('unknown-outcome');
      expect(proposals).toBe(1);
    } finally {
      await other.server.close();
    }
  });
});

describe('image import', () => {
  async function diskFile(sizeBytes: number, name = 'disk.raw'): Promise<{ file: string; bytes: Buffer }> {
    const bytes = randomBytes(sizeBytes);
    const file = join(scratch, name);
    await writeFile(file, bytes);
    return { file, bytes };
  }

  it('sends the file and waits until every node that is up holds it', async () => {
    const { file, bytes } = await diskFile(3 << 20);
    let slept = 0;
    const result = await cli(['image', 'import', 'debian', file], {
      sleep: async () => {
        slept++;
        if (slept === 2) api.cluster.apply({ type: 'imageHeld', image: 'debian', version: 1, holder: 'n3' });
      },
    });
    expect(result.code).toBe(0);
    expect(slept).toBe(2);
    expect(Buffer.compare(api.services.images.get('debian') ?? Buffer.of(), bytes)).toBe(0);
    expect(result.err).toBe(
      'sent 3 MiB of 3 MiB (100 %)\ndistributed to 2 of 3 nodes\ndistributed to 3 of 3 nodes\n',
    );
    expect(result.out).toBe('Image debian has version 1, held by 3 nodes\n');
  });

  it('does not wait when told not to, nor for a node that is not up', async () => {
    const { file } = await diskFile(1 << 20);
    const asked = await cli(['image', 'import', 'debian', file, '--no-wait', '--json']);
    expect(asked).toMatchObject({ code: 0, err: '' });
    expect(JSON.parse(asked.out)).toMatchObject({ holders: ['n1', 'n2'], awaited: ['n3'] });
    api.cluster.apply({ type: 'fenceNode', nodeId: 'n3', incarnation: 'n3-first', reason: 'test' });
    const waited = await cli(['image', 'import', 'debian', file]);
    expect(waited.out).toBe(
      'Image debian has version 1, held by 2 of 3: n1, n2\nNot up, to fetch it when back: n3\n',
    );
  });

  it('gives up waiting when no node fetches it', async () => {
    const { file } = await diskFile(1 << 20);
    const result = await cli(['image', 'import', 'debian', file, '--json'], {
      ...(() => {
        const clock = new ManualClock();
        return { clock, sleep: async () => clock.advance(60_000) };
      })(),
    });
    expect(result.code).toBe(1);
    expect(errorOf(result.err)).toMatchObject({ code: 'not-distributed', got: 'held by n1, n2' });
  });

  it('writes its progress over on a terminal', async () => {
    const { file } = await diskFile(4 << 20);
    let nowMs = 0;
    const clock = { monotonicMs: () => (nowMs += 300), wallMs: () => 0 };
    const result = await cli(['image', 'import', 'debian', file, '--no-wait'], {
      errIsTerminal: true,
      clock,
    });
    expect(result.err).toMatch(/^sent 1 MiB of 4 MiB \(25 %\), [\d.]+ MiB\/s *\rsent 2 MiB of 4 MiB/);
    expect(result.err).toContain('(100 %)');
    expect(result.err.endsWith('\n')).toBe(true);
  });

  it('shows the refusal of a node that stops it midway', async () => {
    const { file } = await diskFile(24 << 20);
    api.services.fullAfterBytes = 1;
    const result = await cli(['image', 'import', 'debian', file, '--json']);
    expect(result.code).toBe(1);
    expect(errorOf(result.err)).toMatchObject({ code: 'no-space', message: 'the disk is full' });
  });

  it.each([
    ['is missing', async () => join(scratch, 'no.raw'), 'bad-file'],
    ['is a directory', async () => scratch, 'bad-file'],
    ['is empty', async () => (await diskFile(0)).file, 'bad-file'],
    ['has no whole sectors', async () => (await diskFile(1000)).file, 'bad-file'],
  ])('refuses a file that %s', async (_name, make, code) => {
    const file = await make();
    const result = await cli(['image', 'import', 'debian', file, '--json']);
    expect(result.code).toBe(1);
    expect(errorOf(result.err)['code']).toBe(code);
    expect(api.services.images.size).toBe(0);
  });
});

describe('what else there is to see', () => {
  it('the status, in words', async () => {
    const { out } = await cli(['status']);
    expect(out).toContain('Cluster lab: leader n1, term 2, applied 7 of 7 committed\n');
    expect(out).toMatch(/^n3 {4}127\.0\.0\.13:7443 {2}fenced {2}voter {2}no {9}- {11}-$/m);
    expect(out).toMatch(
      /^pg1 .* 2 of 3: n1, n2 {2}write-back {2}n3 \(120 records behind\) {2}primary {5}yes$/m,
    );
    expect(out).toContain('Missing on n1:\n  undionly.kpxe is not in');
  });

  it('the LUNs', async () => {
    const { out } = await cli(['lun', 'list']);
    expect(out).toMatch(/^1 +pc1 +win11 \(1\) +1 GiB +discard +4 KiB +pg1 at 127\.0\.0\.21:3260 +n1 +1$/m);
  });
});

describe('init and start', () => {
  it('are the node program’s, with its exit code', async () => {
    const args = ['init', '--cluster', 'lab', '--node', 'n1=127.0.0.11', '--json', '--help'];
    expect(await cli(args)).toMatchObject({ code: 17, nodeRuns: [args] });
    expect(await cli(['start', '--data', 'lab/n1'])).toMatchObject({
      code: 17,
      nodeRuns: [['start', '--data', 'lab/n1']],
    });
  });
});

describe('a failure nobody foresaw', () => {
  it('is shown as this node’s', async () => {
    api.services.statusError = new Error('inner detail');
    const result = await cli(['status', '--json']);
    expect(result.code).toBe(1);
    expect(errorOf(result.err)).toEqual({ code: 'internal', message: 'this node failed; its log says how' });
    api.services.statusError = new OperationError('not now', { kind: 'unavailable', code: 'starting' });
    expect(errorOf((await cli(['status', '--json'])).err)['code']).toBe('starting');
  });
});
