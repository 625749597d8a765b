import { randomUUID } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { runCli } from '../../../../api/cli/program.ts';
import { ManualClock } from '../../../../base/clock.ts';
import { type ApiFixture, authority, startApiFixture } from '../../../support/api-fixture.ts';
import { CLUSTER_ID, TOKEN } from '../../../support/fake-cluster.ts';

let api: ApiFixture;
let profile: string;

beforeEach(async () => {
  api = await startApiFixture('n1');
  profile = join(tmpdir(), `bootfabric-${randomUUID()}.json`);
  const document = {
    clusterName: 'lab',
    clusterId: CLUSTER_ID,
    apiUrls: [`https://127.0.0.1:${api.server.port}`],
    caCertificate: authority.certificatePem,
    token: TOKEN,
  };
  await writeFile(profile, JSON.stringify(document));
  return async () => {
    await api.server.close();
    await rm(profile);
  };
});

async function cli(args: readonly string[]) {
  let out = '';
  let err = '';
  const clock = new ManualClock();
  const code = await runCli(args, {
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    errIsTerminal: false,
    profileVariable: profile,
    homeDirectory: tmpdir(),
    clock,
    sleep: async (ms) => clock.advance(ms),
    runNode: () => Promise.resolve(17),
  });
  return { code, out, err };
}

const errorOf = (text: string) => (JSON.parse(text) as { error: Record<string, unknown> }).error;

describe('portal-group start-from', () => {
  const start = ['portal-group', 'start-from', 'pg1', 'n2'];

  it('wants it said that data may be lost', async () => {
    const refused = await cli(start);
    expect(refused).toMatchObject({ code: 2, out: '' });
    expect(refused.err).toContain('--i-accept-data-loss');
  });

  it('is refused while the group can be served, and works when it cannot', async () => {
    const refused = await cli([...start, '--i-accept-data-loss', '--json']);
    expect(refused).toMatchObject({ code: 1, out: '' });
    expect(errorOf(refused.err)).toMatchObject({ code: 'has-primary' });
    for (const nodeId of ['n2', 'n3', 'n1']) {
      const incarnation = `${nodeId}-first`;
      api.cluster.apply({ type: 'fenceNode', nodeId, incarnation, reason: 'silent' });
    }
    const { endpoints } = api.cluster.state().nodes['n2'] ?? {};
    if (endpoints === undefined) throw new Error('n2 is known');
    api.cluster.apply({ type: 'registerNode', nodeId: 'n2', incarnation: 'n2-second', endpoints });
    const { epoch = 0 } = api.cluster.state().portalGroups['pg1'] ?? {};
    const started = await cli([...start, '--i-accept-data-loss']);
    expect(started).toMatchObject({
      code: 0,
      out: `Portal group pg1 starts from n2, epoch ${epoch + 1}\n`,
    });
    expect(api.cluster.state().portalGroups['pg1']?.primary).toBe('n2');
    expect(api.cluster.state().audit.at(-1)?.detail).toContain('by admin');
    const unknown = await cli(['portal-group', 'start-from', 'pg7', 'n2', '--i-accept-data-loss', '--json']);
    expect(errorOf(unknown.err)).toMatchObject({ code: 'unknown-portal-group', accepted: 'pg1' });
  });
});
