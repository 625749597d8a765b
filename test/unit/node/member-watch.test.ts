import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { peerRoutes } from '../../../api/contract/peer-content.ts';
import { ManualClock } from '../../../base/clock.ts';
import { silentLogger } from '../../../base/logger.ts';
import type { MemberAddress } from '../../../cluster/membership.ts';
import { MemberWatch } from '../../../node/member-watch.ts';
import { MAX_DOCUMENT_BYTES } from '../../../node/peer/content-limits.ts';
import { MEMBERS_ASKED_EVERY_MS } from '../../../node/peer/limits.ts';
import { makeNode, strangerAuthority } from '../../support/api-fixture.ts';
import { CLUSTER_ID } from '../../support/fake-cluster.ts';
import { eventually } from '../../support/real-time.ts';

const closing: (() => void)[] = [];

afterEach(() => {
  for (const close of closing.splice(0)) close();
});

function member(nodeId: string, raftId: number, port: number): MemberAddress {
  const at = `127.0.0.1:${port}`;
  const endpoints = { peer: at, replication: at, api: at, http: at, tftp: at, iscsi: at };
  return { nodeId, raftId, endpoints };
}

interface Told {
  readonly status?: number;
  readonly text: string;
}

/** A member that answers as told, with a certificate of its own. */
async function startMember(
  nodeId: string,
  tell: () => Told,
  tls = makeNode(nodeId),
): Promise<{ readonly port: number; readonly asked: (string | undefined)[] }> {
  const asked: (string | undefined)[] = [];
  const server: Server = createServer(
    { ...tls, minVersion: 'TLSv1.3', requestCert: true },
    (incoming, outgoing) => {
      asked.push(incoming.url);
      const { status = 200, text } = tell();
      outgoing.writeHead(status).end(text);
    },
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closing.push(() => {
    server.close();
    server.closeAllConnections();
  });
  return { port: (server.address() as AddressInfo).port, asked };
}

/** A node n1 that asks these members. */
function watchOf(peers: readonly MemberAddress[]) {
  const clock = new ManualClock();
  const learned: string[][] = [];
  const notTold: string[] = [];
  let removals = 0;
  const watch = new MemberWatch({
    nodeId: 'n1',
    clusterId: CLUSTER_ID,
    tls: makeNode('n1'),
    peers: () => peers,
    learn: (members) => learned.push(members.map((m) => m.nodeId)),
    onRemoved: () => {
      removals++;
    },
    clock,
    logger: {
      ...silentLogger,
      debug: (_event, fields) => notTold.push(`${String(fields?.['peer'])}: ${String(fields?.['message'])}`),
    },
  });
  closing.push(() => watch.stop());
  return { watch, clock, learned, notTold, removals: () => removals };
}

const NOBODY = 1;
const listOf = (...ids: string[]): Told => ({
  text: JSON.stringify({ members: ids.map((id, i) => member(id, i + 1, NOBODY)), removed: ['n9'] }),
});

describe('a node that asks whom the cluster consists of', () => {
  it('learns it from the first member that answers, and passes over those that do not', async () => {
    const { port, asked } = await startMember('n3', () => listOf('n1', 'n2', 'n3', 'n4'));
    const { watch, learned, notTold } = watchOf([member('n2', 2, NOBODY), member('n3', 3, port)]);
    watch.ask();
    await eventually('it has learned', () => learned.length === 1);
    expect(learned).toEqual([['n1', 'n2', 'n3', 'n4']]);
    expect(asked).toEqual([peerRoutes.members.path]);
    expect(notTold).toEqual([expect.stringMatching(/^n2: .*ECONNREFUSED/)]);
  });

  it('asks no more often than every so often', async () => {
    const { port, asked } = await startMember('n2', () => listOf('n1', 'n2'));
    const { watch, clock, learned } = watchOf([member('n2', 2, port)]);
    for (let i = 0; i < 5; i++) watch.ask();
    await eventually('it has learned', () => learned.length === 1);
    clock.advance(MEMBERS_ASKED_EVERY_MS - 1);
    watch.ask();
    clock.advance(1);
    watch.ask();
    await eventually('it has learned again', () => learned.length === 2);
    expect(asked).toHaveLength(2);
  });

  it.each<[string, Told]>([
    ['a list with itself among those that have left', { text: '{"members":[],"removed":["n1"]}' }],
    ['a refusal as a node that has left', { status: 403, text: '{"error":{"code":"node-removed"}}' }],
  ])('takes %s for its removal', async (_name, told) => {
    const { port } = await startMember('n2', () => told);
    const { watch, learned, removals } = watchOf([member('n2', 2, port)]);
    watch.ask();
    await eventually('it is told', () => removals() === 1);
    expect(learned).toEqual([]);
  });

  it.each<[string, Told]>([
    ['what is no document', { text: 'no' }],
    ['null', { text: 'null' }],
    ['a document with parts missing', { text: '{"members":[{"nodeId":"n1"}],"removed":["n1"]}' }],
    ['a list with an error status', { ...listOf('n1'), status: 500 }],
    ['another refusal', { status: 401, text: '{"error":{"code":"not-a-node"}}' }],
    ['more than it reads', { text: `"${'x'.repeat(MAX_DOCUMENT_BYTES)}"` }],
  ])('believes nothing of %s, and asks the next', async (_name, told) => {
    const bad = await startMember('n2', () => told);
    const good = await startMember('n3', () => listOf('n1', 'n3'));
    const { watch, learned, notTold, removals } = watchOf([
      member('n2', 2, bad.port),
      member('n3', 3, good.port),
    ]);
    watch.ask();
    await eventually('it has learned', () => learned.length === 1);
    expect(learned).toEqual([['n1', 'n3']]);
    expect(notTold).toEqual([expect.stringMatching(/^n2: /)]);
    expect(removals()).toBe(0);
  });

  it.each([
    ['of another name', makeNode('n5')],
    ['of another cluster', makeNode('n2', 'another-cluster')],
    ['of another authority', makeNode('n2', CLUSTER_ID, strangerAuthority)],
  ])('does not listen to a node %s', async (_name, tls) => {
    const stranger = await startMember('n2', () => ({ text: '{"members":[],"removed":["n1"]}' }), tls);
    const good = await startMember('n3', () => listOf('n3'));
    const { watch, learned, removals } = watchOf([
      member('n2', 2, stranger.port),
      member('n3', 3, good.port),
    ]);
    watch.ask();
    await eventually('it has learned', () => learned.length === 1);
    expect(stranger.asked).toEqual([]);
    expect(removals()).toBe(0);
  });

  it('asks nobody once it is stopped', async () => {
    const { port, asked } = await startMember('n2', () => listOf('n1'));
    const { watch, learned } = watchOf([member('n2', 2, port)]);
    watch.stop();
    watch.ask();
    const other = watchOf([member('n2', 2, port)]);
    other.watch.ask();
    await eventually('the other has learned', () => other.learned.length === 1);
    expect(learned).toEqual([]);
    expect(asked).toHaveLength(1);
  });
});
