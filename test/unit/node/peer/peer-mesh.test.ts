import { connect, createServer, type Server } from 'node:tls';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { CounterSet } from '../../../../base/counters.ts';
import type { Logger } from '../../../../base/logger.ts';
import type { PeerIdentity } from '../../../../base/peer-transport.ts';
import { SeededRandom } from '../../../../base/random.ts';
import { encodeFrame, FrameDecoder, FrameType } from '../../../../node/peer/frame-codec.ts';
import {
  decodeRefusal,
  encodeHello,
  PROTOCOL,
  type ProtocolRange,
} from '../../../../node/peer/hello-codec.ts';
import type { PeerAddress } from '../../../../node/peer/outbound-link.ts';
import { PeerMesh, type PeerMeshOptions } from '../../../../node/peer/peer-mesh.ts';
import { eventually, realTime } from '../../../support/real-time.ts';
import { makeTestAuthority, type TestAuthority } from '../../../support/test-certificates.ts';

const HOST = '127.0.0.1';
let authority: TestAuthority;
const cleanups: (() => Promise<void> | void)[] = [];

interface Running {
  readonly mesh: PeerMesh;
  readonly counters: CounterSet;
  readonly warnings: { event: string; code: unknown }[];
  readonly received: { from: PeerIdentity; text: string }[];
  readonly changes: string[];
}

beforeAll(async () => {
  authority = await makeTestAuthority();
});

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function startMesh(
  nodeId: string,
  incarnation: string,
  change: Partial<PeerMeshOptions> & { readonly certName?: string; readonly certCluster?: string } = {},
): Promise<Running> {
  const counters = new CounterSet();
  const warnings: Running['warnings'] = [];
  const ignore = (): void => {};
  const logger: Logger = {
    debug: ignore,
    info: ignore,
    error: ignore,
    warn: (event, fields) => warnings.push({ event, code: fields?.['code'] }),
  };
  const mesh = new PeerMesh({
    self: { clusterId: 'c1', nodeId, incarnation },
    listen: { host: HOST, port: 0 },
    peers: [],
    credentials: await authority.issue(change.certName ?? nodeId, change.certCluster ?? 'c1'),
    clock: realTime,
    timers: realTime,
    random: new SeededRandom(7),
    logger,
    counters,
    ...change,
  });
  const received: Running['received'] = [];
  const changes: string[] = [];
  mesh.onMessage((from, message) => received.push({ from, text: Buffer.from(message).toString() }));
  mesh.onLinkChange((peer, up) => changes.push(`${peer.nodeId}:${peer.incarnation} ${up ? 'up' : 'down'}`));
  await mesh.start();
  cleanups.push(() => mesh.stop());
  return { mesh, counters, warnings, received, changes };
}

function join(...nodes: readonly { id: string; node: Running }[]): void {
  for (const { node } of nodes) {
    node.mesh.setPeers(nodes.map((n) => ({ nodeId: n.id, host: HOST, port: n.node.mesh.port })));
  }
}

describe('a mesh of nodes that know each other', () => {
  it('delivers messages whole and in order, with their sender', async () => {
    const a = await startMesh('n1', 'a1');
    const b = await startMesh('n2', 'b1');
    expect(a.mesh.send('n2', [Buffer.from('x')])).toBe(false);
    join({ id: 'n1', node: a }, { id: 'n2', node: b });
    await eventually('both links are up', () => a.mesh.isUp('n2') && b.mesh.isUp('n1'));
    for (let i = 0; i < 500; i++)
      expect(a.mesh.send('n2', [Buffer.from('m'), Buffer.from(`${i}`)])).toBe(true);
    const big = Buffer.alloc(3_000_000, 'z');
    expect(a.mesh.send('n2', [big.subarray(0, 1), big.subarray(1)])).toBe(true);
    expect(b.mesh.send('n1', [])).toBe(true);
    await eventually('all has arrived', () => b.received.length === 501 && a.received.length === 1);
    expect(b.received.slice(0, 500).map((r) => r.text)).toEqual(
      Array.from({ length: 500 }, (_, i) => `m${i}`),
    );
    expect(b.received[500]?.text.length).toBe(3_000_000);
    expect(b.received[0]?.from).toEqual({ nodeId: 'n1', incarnation: 'a1' });
    expect(a.received[0]).toEqual({ from: { nodeId: 'n2', incarnation: 'b1' }, text: '' });
    await eventually('the queue has drained', () => a.mesh.queuedBytes('n2') === 0);
  });

  it('lends messages memory that is used again once it has been given back', async () => {
    const a = await startMesh('n1', 'a1');
    const b = await startMesh('n2', 'b1', { lendsMemory: true });
    join({ id: 'n1', node: a }, { id: 'n2', node: b });
    await eventually('the link is up', () => a.mesh.isUp('n2') && b.mesh.isUp('n1'));
    const seen: number[] = [];
    const buffers = new Set<ArrayBufferLike>();
    let intact = 0;
    b.mesh.onMessage((_from, message, lent) => {
      seen.push(message[0] as number);
      if (message.every((byte) => byte === message[0])) intact++;
      if (lent === undefined) return;
      buffers.add(message.buffer);
      lent.giveBack();
    });
    // The sender's own memory is its again as soon as send has returned.
    const part = Buffer.alloc(300_000);
    for (let i = 0; i < 60; i++) {
      expect(a.mesh.send('n2', [part.fill(i)])).toBe(true);
      if (i % 5 === 4) await eventually('it has arrived', () => seen.length === i + 1);
    }
    expect(seen).toEqual(Array.from({ length: 60 }, (_, i) => i));
    expect(intact).toBe(60);
    expect(buffers.size).toBeLessThan(4);
  });

  it('leaves messages that are kept as they were, long and short, where it lends memory', async () => {
    const a = await startMesh('n1', 'a1');
    const b = await startMesh('n2', 'b1', { lendsMemory: true });
    join({ id: 'n1', node: a }, { id: 'n2', node: b });
    await eventually('the link is up', () => a.mesh.isUp('n2') && b.mesh.isUp('n1'));
    const kept: Uint8Array[] = [];
    b.mesh.onMessage((_from, message, lent) => {
      kept.push(message);
      // What is given back is not looked at again.
      if (kept.length % 3 !== 0) return;
      kept[kept.length - 1] = message.slice();
      lent?.giveBack();
    });
    const lengths = Array.from({ length: 400 }, (_, i) => [40, 900, 4_200, 16_000, 70_000][i % 5] as number);
    for (const [i, length] of lengths.entries()) {
      expect(a.mesh.send('n2', [Buffer.alloc(length, i)])).toBe(true);
      if (i % 50 === 49) await eventually('it has arrived', () => kept.length === i + 1);
    }
    expect(kept.map((message) => message.length)).toEqual(lengths);
    expect(kept.filter((message, i) => message.every((byte) => byte === (i & 0xff)))).toHaveLength(400);
  });

  it('bounds what waits for a peer that does not read', async () => {
    const a = await startMesh('n1', 'a1');
    const { server, port } = await silentPeer();
    a.mesh.setPeers([{ nodeId: 'n2', host: HOST, port }]);
    await eventually('the link is up', () => a.mesh.isUp('n2'));
    const part = Buffer.alloc(8_000_000);
    let accepted = 0;
    while (accepted < 50 && a.mesh.send('n2', [part])) accepted += 1;
    expect(accepted).toBe(8);
    expect(a.mesh.queuedBytes('n2')).toBeLessThanOrEqual(64 * 1024 * 1024 + 1000);
    expect(a.counters.get('peer.dropped.full')).toBe(1);
    // Nothing moves, so the link is taken for dead, and the peer dialled again.
    await eventually('the dead link is noticed', () => a.changes.includes('n2:s1 down'));
    server.close();
  });

  it('comes back to a peer that has started again, as another incarnation', async () => {
    const a = await startMesh('n1', 'a1');
    const b = await startMesh('n2', 'b1');
    join({ id: 'n1', node: a }, { id: 'n2', node: b });
    await eventually('the link is up', () => a.mesh.isUp('n2') && b.mesh.isUp('n1'));
    const { port } = b.mesh;
    await b.mesh.stop();
    await eventually('the link is down', () => !a.mesh.isUp('n2'));
    await eventually('its host says that it is gone', () => a.mesh.isAbsent('n2'));
    const again = await startMesh('n2', 'b2', {
      listen: { host: HOST, port },
      peers: [{ nodeId: 'n1', host: HOST, port: a.mesh.port }],
    });
    await eventually('the link is up again', () => a.mesh.isUp('n2') && again.mesh.isUp('n1'));
    expect(a.mesh.isAbsent('n2')).toBe(false);
    expect(a.changes).toEqual(['n2:b1 up', 'n2:b1 down', 'n2:b2 up']);
    expect(a.mesh.send('n2', [Buffer.from('again')])).toBe(true);
    await eventually('it arrives', () => again.received.length === 1);
  });
});

describe('a mesh of nodes with several workers', () => {
  const at = (worker: number, node: Running): PeerAddress => ({
    nodeId: 'n2',
    worker,
    host: HOST,
    port: node.mesh.port,
  });

  it('has a link to each, and takes none for another', async () => {
    const a = await startMesh('n1', 'a1');
    const peers = [{ nodeId: 'n1', host: HOST, port: a.mesh.port }];
    const workers = await Promise.all(
      [0, 1].map((worker) =>
        startMesh('n2', 'b1', { self: { clusterId: 'c1', nodeId: 'n2', incarnation: 'b1', worker }, peers }),
      ),
    );
    const [first, second] = workers as [Running, Running];
    const links: string[] = [];
    a.mesh.onLinkChange(({ nodeId }, up, link) => links.push(`${nodeId} ${link} ${up ? 'up' : 'down'}`));
    a.mesh.setPeers([at(0, first), at(1, second)]);
    await eventually('all links are up', () => a.mesh.isUp('n2') && a.mesh.isUp('n2/1'));
    await eventually('both have one here', () => first.mesh.isUp('n1') && second.mesh.isUp('n1'));
    expect([...links].sort()).toEqual(['n2 n2 up', 'n2 n2/1 up']);
    expect(a.mesh.send('n2', [Buffer.from('to the first')])).toBe(true);
    expect(a.mesh.send('n2/1', [Buffer.from('to the second')])).toBe(true);
    for (const { mesh } of workers) expect(mesh.send('n1', [Buffer.from('back')])).toBe(true);
    await eventually('all has arrived', () => a.received.length + first.received.length === 3);
    await eventually('all has arrived', () => second.received.length === 1);
    expect(first.received[0]?.text).toBe('to the first');
    expect(second.received[0]?.text).toBe('to the second');
    // Neither has displaced the other's connection.
    expect(first.changes).toEqual(['n1:a1 up']);
    expect(second.changes).toEqual(['n1:a1 up']);
    await second.mesh.stop();
    await eventually('one link is down', () => !a.mesh.isUp('n2/1'));
    expect(a.mesh.isUp('n2')).toBe(true);
  });

  it('does not speak to a worker that is where another one should be', async () => {
    const a = await startMesh('n1', 'a1');
    const peers = [{ nodeId: 'n1', host: HOST, port: a.mesh.port }];
    const b = await startMesh('n2', 'b1', { peers });
    a.mesh.setPeers([at(1, b)]);
    await eventually('it is refused', () => a.warnings.some(({ code }) => code === 'other-worker'));
    expect(a.mesh.isUp('n2/1')).toBe(false);
  });
});

describe('a mesh whose members change', () => {
  it('drops a node that was removed, and tells it so whenever it dials', async () => {
    let told = 0;
    const toldRemoved = (): void => {
      told++;
    };
    const a = await startMesh('n1', 'a1');
    const b = await startMesh('n2', 'b1', { toldRemoved });
    join({ id: 'n1', node: a }, { id: 'n2', node: b });
    await eventually('the link is up', () => a.mesh.isUp('n2') && b.mesh.isUp('n1'));
    a.mesh.setPeers([], new Set(['n2']));
    await eventually('the link is gone', () => !a.mesh.isUp('n2') && !b.mesh.isUp('n1'));
    expect(a.mesh.send('n2', [Buffer.from('x')])).toBe(false);
    await eventually('it is told, and told again', () => told > 1);
    expect(a.warnings.map((w) => w.code)).toContain('node-removed');
  });

  it('says who knocks that shows a certificate of the cluster and is not known', async () => {
    const strangers: string[] = [];
    const a = await startMesh('n1', 'a1', { metStranger: (id) => strangers.push(id) });
    let told = 0;
    await startMesh('n7', 'g1', {
      peers: [{ nodeId: 'n1', host: HOST, port: a.mesh.port }],
      toldRemoved: () => {
        told++;
      },
    });
    await eventually('it has knocked', () => strangers.includes('n7'));
    expect(told).toBe(0);
  });
});

/** A listener that says a proper hello as n2:s1 and then never reads again. */
async function silentPeer(): Promise<{ server: Server; port: number }> {
  const server = createServer({ ...(await authority.issue('n2', 'c1')), requestCert: true }, (socket) => {
    socket.on('error', () => {});
    cleanups.push(() => void socket.destroy());
    socket.once('data', () => {
      socket.pause();
      const hello = { service: 'cluster', clusterId: 'c1', nodeId: 'n2', incarnation: 's1' };
      socket.write(encodeFrame(FrameType.hello, encodeHello(hello)));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, HOST, resolve));
  cleanups.push(() => void server.close());
  return { server, port: (server.address() as { port: number }).port };
}

/** Dials `mesh` as n2 unless told otherwise, sends `bytes`, and gives the refusal code that comes back. */
async function refusalOf(mesh: PeerMesh, bytes: Uint8Array, certName = 'n2'): Promise<string> {
  const credentials = await authority.issue(certName, 'c1');
  return await new Promise((resolve) => {
    const decoder = new FrameDecoder(1000);
    const socket = connect({
      host: HOST,
      port: mesh.port,
      ...credentials,
      checkServerIdentity: () => undefined,
    });
    socket.once('secureConnect', () => socket.write(bytes));
    socket.on('data', (chunk: Uint8Array) => {
      for (const frame of decoder.push(chunk)) {
        if (frame.type === FrameType.refusal) resolve(decodeRefusal(frame.body).code);
      }
    });
    socket.on('error', () => resolve('connection-error'));
    socket.once('close', () => resolve('closed'));
  });
}

const helloFrame = (change: Record<string, string>, version?: ProtocolRange): Uint8Array => {
  const hello = { service: 'cluster', clusterId: 'c1', nodeId: 'n2', incarnation: 'x', ...change };
  return encodeFrame(FrameType.hello, encodeHello(hello, version));
};

describe('nodes of several versions', () => {
  it('speak the newest that both know, whichever of them is the newer', async () => {
    const a = await startMesh('n1', 'a1', { protocol: { oldest: 2, newest: 2 } });
    const b = await startMesh('n2', 'b1', { protocol: { oldest: 2, newest: 4 } });
    const c = await startMesh('n3', 'c1', { protocol: { oldest: 2, newest: 3 } });
    join({ id: 'n1', node: a }, { id: 'n2', node: b }, { id: 'n3', node: c });
    const all = [a, b, c];
    await eventually('all are up', () =>
      all.every((n) => ['n1', 'n2', 'n3'].filter((id) => n.mesh.isUp(id)).length === 2),
    );
    expect(['n2', 'n3'].map((id) => a.mesh.protocolVersion(id))).toEqual([2, 2]);
    expect(['n1', 'n3'].map((id) => b.mesh.protocolVersion(id))).toEqual([2, 3]);
    a.mesh.send('n2', [Buffer.from('old to new')]);
    b.mesh.send('n1', [Buffer.from('new to old')]);
    await eventually('both arrive', () => a.received.length > 0 && b.received.length > 0);
  });

  it('keep apart when they have none in common, and both say so', async () => {
    const a = await startMesh('n1', 'a1', { protocol: { oldest: 2, newest: 2 } });
    const b = await startMesh('n2', 'b1', { protocol: { oldest: 3, newest: 4 } });
    join({ id: 'n1', node: a }, { id: 'n2', node: b });
    const refused = { event: 'peer.link.refused', code: 'protocol-version' };
    await eventually('both have been told', () =>
      [a, b].every((n) => n.warnings.some((w) => w.code === 'protocol-version' && w.event === refused.event)),
    );
    expect([a.mesh.isUp('n2'), b.mesh.isUp('n1')]).toEqual([false, false]);
    a.mesh.send('n2', [Buffer.from('nothing')]);
    expect(b.received).toEqual([]);
  });
});

describe('a mesh refuses', () => {
  it.each([
    ['a node of another cluster', helloFrame({ clusterId: 'c2' }), 'other-cluster'],
    ['another service', helloFrame({ service: 'replication' }), 'other-service'],
    ['a node with its own id', helloFrame({ nodeId: 'n1' }), 'same-node-id'],
    ['a node it does not know', helloFrame({ nodeId: 'n9' }), 'unknown-node'],
    ['a node that bears the certificate of another', helloFrame({ nodeId: 'n3' }), 'certificate-mismatch'],
    ['a node without an incarnation', helloFrame({ incarnation: '' }), 'no-incarnation'],
    [
      'another version of the protocol',
      helloFrame({}, { oldest: PROTOCOL.newest + 1, newest: PROTOCOL.newest + 2 }),
      'protocol-version',
    ],
    ['a message before the hello', encodeFrame(FrameType.message), 'unexpected-frame'],
    ['a hello that is too long', encodeFrame(FrameType.hello, Buffer.alloc(5000)), 'frame-too-large'],
    ['a second hello', Buffer.concat([helloFrame({}), helloFrame({})]), 'unexpected-frame'],
  ])('%s, and says why', async (_, bytes, code) => {
    const a = await startMesh('n1', 'a1');
    a.mesh.setPeers(['n2', 'n3'].map((nodeId) => ({ nodeId, host: HOST, port: 1 })));
    expect(await refusalOf(a.mesh, bytes)).toBe(code);
    expect(a.warnings).toContainEqual({ event: 'peer.inbound.refused', code });
  });

  it('a second process with the id of a node that is connected, and lets it in once that is gone', async () => {
    const a = await startMesh('n1', 'a1');
    const b = await startMesh('n2', 'b1');
    join({ id: 'n1', node: a }, { id: 'n2', node: b });
    await eventually('the link is up', () => a.mesh.isUp('n2') && b.mesh.isUp('n1'));
    const copy = await startMesh('n2', 'copy', { peers: [{ nodeId: 'n1', host: HOST, port: a.mesh.port }] });
    await eventually('the copy is refused', () => copy.counters.get('peer.link.refused') > 1);
    expect(copy.warnings).toEqual([{ event: 'peer.link.refused', code: 'same-node-id' }]);
    expect(a.warnings).toEqual([{ event: 'peer.inbound.refused', code: 'same-node-id' }]);
    expect(b.changes).toEqual(['n1:a1 up']);
    await b.mesh.stop();
    await eventually('it is let in', () => copy.mesh.isUp('n1'));
  });

  it('a certificate of another authority', async () => {
    const a = await startMesh('n1', 'a1');
    const foreign = await (await makeTestAuthority('another')).issue('n2', 'c1');
    const b = await startMesh('n2', 'b1', { credentials: { ...foreign } });
    join({ id: 'n1', node: a }, { id: 'n2', node: b });
    await eventually(
      'both have seen it',
      () => a.counters.get('peer.link.refusing') > 1 && b.counters.get('peer.inbound.refused') > 1,
    );
    expect(a.mesh.isUp('n2')).toBe(false);
    expect(b.mesh.isUp('n1')).toBe(false);
    // Tried again and again, complained of once.
    const code = 'foreign-certificate';
    expect(a.warnings.filter((w) => w.event === 'peer.link.refusing')).toEqual([
      { event: 'peer.link.refusing', code },
    ]);
    expect(a.warnings.filter((w) => w.event === 'peer.inbound.refused')).toEqual([
      { event: 'peer.inbound.refused', code },
    ]);
  });

  it('to send to a node that is not the one it dialled', async () => {
    const a = await startMesh('n1', 'a1');
    const b = await startMesh('n2', 'b1');
    b.mesh.setPeers([{ nodeId: 'n1', host: HOST, port: a.mesh.port }]);
    a.mesh.setPeers(['n2', 'n3'].map((nodeId) => ({ nodeId, host: HOST, port: b.mesh.port })));
    await eventually('n2 is up', () => a.mesh.isUp('n2'));
    await eventually('n3 is refused', () => a.warnings.some((w) => w.code === 'other-node'));
    expect(a.mesh.isUp('n3')).toBe(false);
  });
});
