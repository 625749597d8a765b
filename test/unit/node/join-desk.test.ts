import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type ApiServer, startApiServer } from '../../../api/server.ts';
import { ManualClock } from '../../../base/clock.ts';
import { CounterSet } from '../../../base/counters.ts';
import { silentLogger } from '../../../base/logger.ts';
import { SeededRandom } from '../../../base/random.ts';
import type { ClusterView } from '../../../cluster/ports.ts';
import { apply } from '../../../cluster/state/apply.ts';
import type { ClusterState } from '../../../cluster/state/model.ts';
import { STATE_VERSIONS } from '../../../cluster/state/versions.ts';
import { JoinDesk } from '../../../node/join-desk.ts';
import { runInit } from '../../../node/setup/init.ts';
import { runJoin } from '../../../node/setup/join.ts';
import { decodeJoinToken, encodeJoinToken } from '../../../node/setup/join-token.ts';
import { loadNodeDirectory } from '../../../node/setup/node-directory.ts';
import { FakeCluster } from '../../support/fake-cluster.ts';
import { FakeNodeServices } from '../../support/fake-node-services.ts';

let scratch: string;
let clock: ManualClock;
let state: ClusterState;
let server: ApiServer | undefined;

beforeEach(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'bootfabric-join-'));
  clock = new ManualClock(Date.now());
});

afterEach(async () => {
  await server?.close();
  server = undefined;
  await rm(scratch, { recursive: true, force: true });
});

async function captured(
  run: (out: { out: (t: string) => void; err: (t: string) => void }) => Promise<number>,
) {
  let out = '';
  let err = '';
  const code = await run({
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
  });
  return { code, out, err };
}

/** Makes a cluster of one and serves its API, its cluster log being the bare reducer. @returns a join token for it */
async function serveCluster(name = 'lab', portals: readonly string[] = ['--portal', '127.0.0.21']) {
  const made = await captured((output) =>
    runInit(
      ['--cluster', name, '--out', join(scratch, name), '--node', 'n1=127.0.0.1', ...portals, '--json'],
      { clock, random: new SeededRandom(name.length) },
      output,
    ),
  );
  expect(made.err).toBe('');
  const directory = await loadNodeDirectory(join(scratch, name, 'n1'));
  const { endpoints } = directory.self;
  const stateVersion = STATE_VERSIONS.newest;
  const up = { type: 'registerNode', nodeId: 'n1', incarnation: 'a', endpoints, stateVersion } as const;
  state = apply(directory.genesis, up).state;
  const cluster: ClusterView = {
    nodeId: 'n1',
    state: () => state,
    linearizableState: () => Promise.resolve(state),
    subscribe: () => () => {},
    propose: (command) => {
      const outcome = apply(state, command);
      state = outcome.state;
      return Promise.resolve(outcome.result);
    },
    hasLeft: () => false,
    status: () => {
      throw new Error('not asked for');
    },
  };
  const logger = silentLogger;
  const desk = new JoinDesk({ cluster, directory, clock, random: new SeededRandom(5), logger });
  const services = Object.assign(new FakeNodeServices(new FakeCluster()), { membership: desk });
  server = await startApiServer({
    cluster,
    services,
    logger,
    random: new SeededRandom(6),
    counters: new CounterSet(),
    tls: directory.tls,
    host: '127.0.0.1',
    port: 0,
    onInvariantFailure: () => {},
  });
  const { joinToken } = JSON.parse(made.out) as { joinToken: string };
  return { desk, joinToken: at(joinToken), directory };
}

/** The same token with the port that the test happens to have. */
function at(token: string): string {
  return encodeJoinToken({ ...decodeJoinToken(token), apiEndpoints: [`127.0.0.1:${server?.port ?? 0}`] });
}

const joinAs = (token: string, id: string, ...more: readonly string[]) =>
  captured((output) =>
    runJoin(
      [token, '--id', id, '--address', '127.0.0.12', '--out', join(scratch, id), '--json', ...more],
      output,
    ),
  );

const codeOf = ({ err }: { err: string }): string =>
  (JSON.parse(err) as { error: { code: string } }).error.code;

describe('joining', () => {
  it('makes a directory from which the new node can start, whose key nobody else has seen', async () => {
    const { joinToken, directory } = await serveCluster();
    const joined = await joinAs(joinToken, 'n2');
    expect(joined).toMatchObject({ code: 0, err: '' });
    expect(JSON.parse(joined.out)).toMatchObject({ nodeId: 'n2', clusterName: 'lab' });
    const made = await loadNodeDirectory(join(scratch, 'n2'));
    expect(made.self).toMatchObject({ nodeId: 'n2', raftId: 2 });
    expect(made.self.endpoints.peer).toBe('127.0.0.12:7400');
    expect(made.joined?.members.map((m) => m.nodeId)).toEqual(['n1', 'n2']);
    expect(made.genesis).toEqual(directory.genesis);
    expect(made.tls.ca).toBe(directory.tls.ca);
    expect(made.clusterSecret).toBe(directory.clusterSecret);
    expect(state.nodes['n2']).toMatchObject({ raftId: 2, status: 'new' });
    for (const file of ['tls/node.key', 'tls/ca.key', 'cluster.secret']) {
      expect((await stat(join(scratch, 'n2', file))).mode & 0o777).toBe(0o600);
    }
    expect(JSON.stringify(state)).not.toContain(decodeJoinToken(joinToken).secret);
  });

  it('is possible once with each token, and not after it has expired', async () => {
    const { joinToken, desk } = await serveCluster();
    expect((await joinAs(joinToken, 'n2')).code).toBe(0);
    const again = await joinAs(joinToken, 'n3', '--address', '127.0.0.13');
    expect(again.code).toBe(1);
    expect(codeOf(again)).toBe('join-token-used');
    expect(await readdir(scratch)).not.toContain('n3');
    const { token } = await desk.createJoinToken(60_000, 'admin');
    clock.advance(60_000);
    expect(codeOf(await joinAs(at(token), 'n3', '--address', '127.0.0.13'))).toBe('join-token-expired');
  });

  it('tells its secret to nobody whose authority is not the token’s', async () => {
    const { joinToken } = await serveCluster();
    const other = { ...decodeJoinToken(joinToken), authoritySha256: 'ab'.repeat(32) };
    const before = state;
    const refused = await joinAs(encodeJoinToken(other), 'n2');
    expect(codeOf(refused)).toBe('other-authority');
    expect(state).toBe(before);
  });

  it('spends no token on what could not work', async () => {
    const { joinToken } = await serveCluster('lan', ['--portal', '192.0.2.21', '--portal-interface', 'eth0']);
    expect(codeOf(await joinAs(joinToken, 'n2'))).toBe('no-portal-interface');
    expect((await joinAs(joinToken, 'N2')).code).toBe(1);
    expect(codeOf(await joinAs(joinToken, 'n1', '--portal-interface', 'eth0'))).toBe('node-exists');
    expect((await joinAs(joinToken, 'n2', '--portal-interface', 'eth0')).code).toBe(0);
    // There is something in its directory now.
    expect(codeOf(await joinAs(joinToken, 'n2'))).toBe('directory-taken');
  });

  it('is refused without the private half of the key', async () => {
    const { joinToken, desk } = await serveCluster();
    const { secret } = decodeJoinToken(joinToken);
    const publicKey = await readFile(join(scratch, 'lab/n1/tls/node.key'), 'utf8');
    const endpoints = { ...(state.nodes['n1']?.endpoints as object) } as never;
    await expect(
      desk.join({
        secret,
        nodeId: 'n2',
        address: '127.0.0.1',
        endpoints,
        portalInterface: null,
        publicKey,
        proof: 'AAAA',
      }),
    ).rejects.toMatchObject({ code: 'bad-proof' });
    expect(state.nodes['n2']).toBeUndefined();
  });

  it('says which word is wrong with a token that is none', async () => {
    for (const token of ['', 'bfj_', 'bfj_e30', 'abc']) {
      const refused = await joinAs(token, 'n2');
      expect(refused.code, token).toBe(1);
      expect(codeOf(refused)).toBe('bad-join-token');
      expect(refused.err).not.toContain('e30');
    }
  });
});
