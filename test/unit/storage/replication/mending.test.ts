import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CounterSet } from '../../../../base/counters.ts';
import type { PeerIdentity } from '../../../../base/peer-transport.ts';
import type { BlockDevice } from '../../../../storage/block-device.ts';
import type { PortalGroup, ReplicationHost } from '../../../../storage/replication/index.ts';
import { Exchange, makeHost, serving } from '../../../support/replicated-group.ts';

const BLOCK_BYTES = 4096;
const BLOCKS = 16;

describe('damage in the log of a portal group', () => {
  let directory: string;
  let hosts: ReplicationHost[] = [];
  let counters = new CounterSet();
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'mending-'));
    counters = new CounterSet();
  });
  afterEach(async () => {
    await Promise.all(hosts.map((host) => host.stop()));
    hosts = [];
    await rm(directory, { recursive: true });
  });

  /** Members in sync, the first of them primary. */
  async function start(members: readonly PeerIdentity[], epoch: number): Promise<PortalGroup> {
    const exchange = new Exchange();
    hosts = members.map((member) => makeHost(directory, member, exchange, { counters }));
    const replicas = members.map(({ nodeId }) => nodeId);
    const group = { id: 'g', replicas, minInSync: 1, durability: 'write-back' as const };
    const nodes = members.map((member) => ({ ...member, status: 'up' as const }));
    const state = { groups: [{ ...group, epoch, primary: 'a', inSync: members }], nodes, leaseMs: 800 };
    for (const host of hosts) host.applyClusterState(state);
    await Promise.all(hosts.map((host) => host.start()));
    exchange.connect(members);
    return serving(hosts[0] as ReplicationHost);
  }

  /** A block for each byte value from 1 on, as its content. */
  async function fill(group: PortalGroup): Promise<BlockDevice> {
    await group.resetLun({ lunId: 1, base: { name: 'i', version: 1 }, lengthBlocks: BLOCKS * 8 });
    const device = group.openDevice(1) as BlockDevice;
    for (let block = 0; block < BLOCKS; block++) {
      await device.write(block * 8, [Buffer.alloc(BLOCK_BYTES, block + 1)], { forceUnitAccess: false });
    }
    await device.flush();
    return device;
  }

  async function logFile(
    member: string,
    block: number,
  ): Promise<{ path: string; at: number; bytes: Buffer }> {
    const folder = join(directory, member, 'g');
    for (const name of await readdir(folder)) {
      const bytes = await readFile(join(folder, name));
      const at = bytes.indexOf(Buffer.alloc(BLOCK_BYTES, block + 1));
      if (name.endsWith('.segment') && at !== -1) return { path: join(folder, name), at, bytes };
    }
    throw new Error(`block ${block} of ${member} is nowhere`);
  }

  async function damage(member: string, block: number): Promise<string> {
    const { path, at, bytes } = await logFile(member, block);
    bytes.writeUInt8(bytes.readUInt8(at + 100) ^ 0x10, at + 100);
    await writeFile(path, bytes);
    return path;
  }

  async function until(what: string, holds: () => Promise<boolean> | boolean): Promise<void> {
    for (let i = 0; i < 500; i++) {
      if (await holds()) return;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    throw new Error(`in vain: ${what}`);
  }

  async function isWhole(member: string, block: number): Promise<boolean> {
    return logFile(member, block).then(
      () => true,
      () => false,
    );
  }

  async function verifyAll(group: PortalGroup): Promise<void> {
    for (let at = 0, end = 1; at < end; ) {
      const part = await group.verifyPart(at, 10_000);
      at = part.nextIndex;
      end = part.endIndex;
    }
  }

  const both = ['a', 'b'].map((nodeId) => ({ nodeId, incarnation: `${nodeId}.1` }));
  const sole = [{ nodeId: 'a', incarnation: 'a.1' }];

  it('never reaches a client: it is answered from the other member, and the file is mended', async () => {
    const group = await start(both, 3);
    const device = await fill(group);
    await damage('a', 5);
    const [read] = await device.read(5 * 8, 8);
    expect(Buffer.compare(read as Uint8Array, Buffer.alloc(BLOCK_BYTES, 6))).toBe(0);
    await until('the file is whole', () => isWhole('a', 5));
    await until('it is known', () => group.damage().mended === 1);
    expect(group.damage()).toEqual({ found: 1, mended: 1, left: [] });
    // Writes go on where they would have gone.
    await device.write(5 * 8, [Buffer.alloc(BLOCK_BYTES, 99)], { forceUnitAccess: true });
    expect((await device.read(5 * 8, 1))[0]?.[0]).toBe(99);
  });

  it('is found on a backup that nobody reads from, and mended from the primary', async () => {
    await fill(await start(both, 3));
    const backup = (hosts[1] as ReplicationHost).group('g') as PortalGroup;
    await damage('b', 7);
    await until('it is committed there', async () => (await backup.verifyPart(0, 1)).endIndex > BLOCKS);
    await verifyAll(backup);
    await until('the file is whole', () => isWhole('b', 7));
    await until('it is known', () => backup.damage().mended === 1);
  });

  it('is mended after a restart with it', async () => {
    await fill(await start(both, 3));
    await Promise.all(hosts.map((host) => host.stop()));
    await damage('a', 2);
    await damage('b', 9);
    const again = both.map(({ nodeId }) => ({ nodeId, incarnation: `${nodeId}.2` }));
    const group = await start(again, 4);
    await until('the files are whole', async () => (await isWhole('a', 2)) && (await isWhole('b', 9)));
    const device = group.openDevice(1) as BlockDevice;
    const content = Buffer.concat(await device.read(0, BLOCKS * 8));
    for (let block = 0; block < BLOCKS; block++) expect(content[block * BLOCK_BYTES + 100]).toBe(block + 1);
  });

  it('on the only member is a medium error for these blocks alone, and said, also after a restart', async () => {
    let device = await fill(await start(sole, 3));
    await damage('a', 3);
    for (const restart of [false, true]) {
      if (restart) {
        await (hosts[0] as ReplicationHost).stop();
        const group = await start([{ nodeId: 'a', incarnation: 'a.2' }], 4);
        device = group.openDevice(1) as BlockDevice;
      }
      await expect(device.read(2 * 8, 16)).rejects.toMatchObject({ kind: 'medium-error', lba: 24 });
      expect((await device.read(0, 24)).length).toBeGreaterThan(0);
      expect((await device.read(32, BLOCKS * 8 - 32)).length).toBeGreaterThan(0);
      const group = (hosts[0] as ReplicationHost).group('g') as PortalGroup;
      await until('it is said', () => group.damage().left.length === 1);
    }
    // It was looked for once in each life, however often it is read.
    for (let i = 0; i < 20; i++) {
      await expect(device.read(3 * 8, 8)).rejects.toMatchObject({ kind: 'medium-error', lba: 24 });
    }
    expect(counters.get('replication.block-searches')).toBe(2);
    // Whole new content is as good as any.
    await device.write(3 * 8, [Buffer.alloc(BLOCK_BYTES, 77)], { forceUnitAccess: false });
    expect((await device.read(3 * 8, 1))[0]?.[0]).toBe(77);
  });
});
