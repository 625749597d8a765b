import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Clock, Timers } from '../../../../base/clock.ts';
import { CounterSet } from '../../../../base/counters.ts';
import { silentLogger } from '../../../../base/logger.ts';
import type { PeerIdentity, PeerTransport } from '../../../../base/peer-transport.ts';
import type { BlockDevice } from '../../../../storage/block-device.ts';
import type { ImageSource } from '../../../../storage/image/image-source.ts';
import { nodeFileSystem } from '../../../../storage/log/file-system.ts';
import { openSegmentedLog } from '../../../../storage/log/segmented-log.ts';
import { type PortalGroup, ReplicationHost } from '../../../../storage/replication/index.ts';

const clock: Clock & Timers = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
  setTimer: (delayMs, fire) => {
    const timer = setTimeout(fire, delayMs);
    return () => clearTimeout(timer);
  },
};

const images: ImageSource = {
  open: () =>
    Promise.resolve({
      sizeBytes: 1 << 20,
      read: (_, lengthBytes) => Promise.resolve(new Uint8Array(lengthBytes).fill(7)),
      close: () => Promise.resolve(),
    }),
};

/** Links between hosts of one process. */
class Exchange {
  readonly #handlers = new Map<string, (from: PeerIdentity, message: Uint8Array) => void>();
  readonly #links = new Map<string, (peer: PeerIdentity, up: boolean) => void>();

  transport(self: PeerIdentity): PeerTransport {
    return {
      send: (to, parts) => {
        const message = Buffer.concat(parts);
        setImmediate(() => this.#handlers.get(to)?.(self, message));
        return this.#handlers.has(to);
      },
      queuedBytes: () => 0,
      isAbsent: () => false,
      isUp: (nodeId) => this.#handlers.has(nodeId),
      onMessage: (handler) => this.#handlers.set(self.nodeId, handler),
      onLinkChange: (handler) => this.#links.set(self.nodeId, handler),
    };
  }

  connect(peers: readonly PeerIdentity[]): void {
    for (const a of peers) for (const b of peers) if (a !== b) this.#links.get(a.nodeId)?.(b, true);
  }
}

describe('a portal group on real files', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'group-'));
  });
  afterEach(async () => {
    await rm(directory, { recursive: true });
  });

  function makeHost(self: PeerIdentity, exchange: Exchange): ReplicationHost {
    const counters = new CounterSet();
    return new ReplicationHost({
      ...self,
      transport: exchange.transport(self),
      openLog: async (groupId) => {
        const options = { fileSystem: nodeFileSystem, logger: silentLogger, counters };
        return (await openSegmentedLog({ directory: join(directory, self.nodeId, groupId), ...options })).log;
      },
      metaDirectory: join(directory, self.nodeId),
      images,
      clock,
      timers: clock,
      logger: silentLogger,
      counters,
      proposeShrink: () => Promise.resolve('refused'),
      proposeExpand: () => Promise.resolve('refused'),
      onFatal: (error) => {
        throw error;
      },
    });
  }

  async function serving(host: ReplicationHost): Promise<PortalGroup> {
    for (let i = 0; i < 400; i++) {
      const group = host.group('g');
      if (group?.isServing() === true) return group;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    throw new Error(`not serving: ${JSON.stringify(host.group('g')?.status())}`);
  }

  it('keeps what was written on both members, and through a restart of the last one', async () => {
    const peers = ['a', 'b'].map((nodeId) => ({ nodeId, incarnation: `${nodeId}.1` }));
    const exchange = new Exchange();
    const hosts = peers.map((peer) => makeHost(peer, exchange));
    const base = { id: 'g', replicas: ['a', 'b'], minInSync: 1, durability: 'write-back' as const };
    const nodes = peers.map((peer) => ({ ...peer, status: 'up' as const }));
    const both = { groups: [{ ...base, epoch: 3, primary: 'a', inSync: peers }], nodes, leaseMs: 800 };
    for (const host of hosts) host.applyClusterState(both);
    await Promise.all(hosts.map((host) => host.start()));
    exchange.connect(peers);
    const [a, b] = hosts as [ReplicationHost, ReplicationHost];
    const group = await serving(a);
    await group.resetLun({ lunId: 1, base: { name: 'i', version: 1 }, lengthBlocks: 2048 });
    const device = group.openDevice(1) as BlockDevice;
    const writes = Array.from({ length: 200 }, (_, i) =>
      device.write(i * 10, [Buffer.alloc(5120, i)], { forceUnitAccess: i % 50 === 0 }),
    );
    await Promise.all(writes);
    await device.discard(1000, 500);
    await device.discard(2040, 8);
    await device.saveServerState(Buffer.from('reserved'));
    await device.flush();
    const content = Buffer.concat(await device.read(0, 2048));
    expect(content[199 * 5120]).toBe(199);
    expect([content[1000 * 512], content[1499 * 512], content.at(-1)]).toEqual([0, 0, 0]);
    expect(content[2039 * 512]).toBe(7);
    await a.stop();
    // The other takes over, with all of it and without reading its log.
    const [, peerB] = peers as [PeerIdentity, PeerIdentity];
    const alone = (epoch: number, member: PeerIdentity) => ({
      groups: [{ ...base, epoch, primary: 'b', inSync: [member] }],
      nodes: [{ ...member, status: 'up' as const }],
      leaseMs: 800,
    });
    b.applyClusterState(alone(4, peerB));
    const successor = (await serving(b)).openDevice(1) as BlockDevice;
    expect(Buffer.concat(await successor.read(0, 2048)).equals(content)).toBe(true);
    expect(Buffer.from(successor.serverState ?? []).toString()).toBe('reserved');
    await successor.write(3, [Buffer.alloc(512, 0xee)], { forceUnitAccess: true });
    await b.stop();
    const again = { nodeId: 'b', incarnation: 'b.2' };
    const reborn = makeHost(again, new Exchange());
    reborn.applyClusterState(alone(5, again));
    await reborn.start();
    const last = (await serving(reborn)).openDevice(1) as BlockDevice;
    content.fill(0xee, 3 * 512, 4 * 512);
    expect(Buffer.concat(await last.read(0, 2048)).equals(content)).toBe(true);
    expect(Buffer.from(last.serverState ?? []).toString()).toBe('reserved');
    await reborn.stop();
  });
});
