import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { silentLogger } from '../../../../base/logger.ts';
import type { PeerIdentity } from '../../../../base/peer-transport.ts';
import { LogicalUnit } from '../../../../node/scsi/logical-unit.ts';
import type { ScsiOutcome } from '../../../../node/scsi/prepared-command.ts';
import { UnitState } from '../../../../node/scsi/unit-state.ts';
import type { BlockDevice } from '../../../../storage/block-device.ts';
import type { PortalGroup, ReplicationHost } from '../../../../storage/replication/index.ts';
import { realTime } from '../../../support/real-time.ts';
import { Exchange, makeHost, serving } from '../../../support/replicated-group.ts';
import { IDENTITY, INITIATOR, TARGET } from '../iscsi/target-fixture.ts';

/** Reservations outlive the node that granted them, and the part of the log that they were written to. */

const KEYS = ['00000000000000a1', '00000000000000b2'] as const;
const EXCLUSIVE_ACCESS = 3;

/** Two initiators at whatever node serves the unit now. */
function initiators(group: PortalGroup): [LogicalUnit, LogicalUnit] {
  const device = group.openDevice(1) as BlockDevice;
  const state = new UnitState(device, { timers: realTime, logger: silentLogger });
  const units = [1, 2].map((isid) => {
    const initiatorPort = `${INITIATOR},i,0x${isid.toString(16).padStart(12, '0')}`;
    const identity = { ...IDENTITY, targetName: TARGET };
    return new LogicalUnit({ device, identity, luns: [0], state, initiatorPort, logger: silentLogger });
  });
  for (const unit of units) unit.takeAttention();
  return units as [LogicalUnit, LogicalUnit];
}

function cdbOf(hex: string): Uint8Array {
  return Buffer.from(hex.replaceAll(' ', '').padEnd(32, '0'), 'hex');
}

function run(unit: LogicalUnit, hex: string, data: Uint8Array[] = []): Promise<ScsiOutcome> {
  return unit.run(unit.prepare(cdbOf(hex), 0), data);
}

/** PERSISTENT RESERVE OUT. */
function reserveOut(
  unit: LogicalUnit,
  action: number,
  keys: { readonly key?: string; readonly actionKey?: string },
  type = 0,
): Promise<ScsiOutcome> {
  const none = '0'.repeat(16);
  const list = Buffer.from(`${keys.key ?? none}${keys.actionKey ?? none}${'0'.repeat(16)}`, 'hex');
  const head = [0x5f, action, type].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  return run(unit, `${head} 0000 00000018`, [list]);
}

const READ = '2800 00000000 00 0001';
const WRITE = '2a00 00000000 00 0001';
const RESERVE_6 = '16';
const block = [Buffer.alloc(512, 7)];

describe('a persistent reservation', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'reservation-'));
  });
  afterEach(async () => {
    await rm(directory, { recursive: true });
  });

  async function expectEnforced(group: PortalGroup): Promise<void> {
    const [holder, other] = initiators(group);
    expect((await run(other, READ)).kind).toBe('reservation-conflict');
    expect((await run(other, WRITE, block)).kind).toBe('reservation-conflict');
    expect((await run(holder, READ)).kind).toBe('good');
    expect((await run(holder, WRITE, block)).kind).toBe('good');
    const outcome = await run(other, '5e01 0000000000 00ff');
    const data = outcome.kind === 'good' ? Buffer.concat(outcome.dataIn).toString('hex') : outcome.kind;
    expect(data).toBe(`0000000200000010${KEYS[0]}0000000000030000`);
  }

  it('is enforced by the next primary, after trimming, and after a restart', async () => {
    const peers = ['a', 'b'].map((nodeId) => ({ nodeId, incarnation: `${nodeId}.1` }));
    const [, peerB] = peers as [PeerIdentity, PeerIdentity];
    const exchange = new Exchange();
    const trim = { checkMs: 0, growthBytes: 1 };
    const hosts = peers.map((peer) => makeHost(directory, peer, exchange, { trim }));
    const base = { id: 'g', replicas: ['a', 'b'], minInSync: 1, durability: 'write-back' as const };
    const nodes = peers.map((peer) => ({ ...peer, status: 'up' as const }));
    const both = { groups: [{ ...base, epoch: 3, primary: 'a', inSync: peers }], nodes, leaseMs: 800 };
    for (const host of hosts) host.applyClusterState(both);
    await Promise.all(hosts.map((host) => host.start()));
    exchange.connect(peers);
    const [a, b] = hosts as [ReplicationHost, ReplicationHost];
    const group = await serving(a);
    await group.resetLun({ lunId: 1, base: { name: 'i', version: 1 }, lengthBlocks: 2048 });
    const units = initiators(group);
    for (const [i, unit] of units.entries()) {
      expect((await reserveOut(unit, 0, { actionKey: KEYS[i] as string })).kind).toBe('good');
    }
    expect((await reserveOut(units[0], 1, { key: KEYS[0] }, EXCLUSIVE_ACCESS)).kind).toBe('good');
    await expectEnforced(group);
    await a.stop();

    const alone = (epoch: number, member: PeerIdentity) => ({
      groups: [{ ...base, epoch, primary: 'b', inSync: [member] }],
      nodes: [{ ...member, status: 'up' as const }],
      leaseMs: 800,
    });
    b.applyClusterState(alone(4, peerB));
    const successor = await serving(b);
    await expectEnforced(successor);
    await trimBeyond(successor, successor.status().nextIndex);
    await expectEnforced(successor);
    await b.stop();

    const again = { nodeId: 'b', incarnation: 'b.2' };
    const reborn = makeHost(directory, again, new Exchange(), { trim });
    reborn.applyClusterState(alone(5, again));
    await reborn.start();
    const last = await serving(reborn);
    await expectEnforced(last);
    // The one that was kept out takes over by preempting the holder.
    const [holder, other] = initiators(last);
    const keys = { key: KEYS[1], actionKey: KEYS[0] };
    expect((await reserveOut(other, 4, keys, EXCLUSIVE_ACCESS)).kind).toBe('good');
    expect((await run(other, WRITE, block)).kind).toBe('good');
    holder.takeAttention();
    expect((await run(holder, READ)).kind).toBe('reservation-conflict');
    await reborn.stop();
  });

  it('keeps nobody out by the word of a primary that another has followed', async () => {
    const peers = ['a', 'b'].map((nodeId) => ({ nodeId, incarnation: `${nodeId}.1` }));
    const [, peerB] = peers as [PeerIdentity, PeerIdentity];
    const exchange = new Exchange();
    const [a, b] = peers.map((peer) => makeHost(directory, peer, exchange)) as [
      ReplicationHost,
      ReplicationHost,
    ];
    const base = { id: 'g', replicas: ['a', 'b'], minInSync: 1, durability: 'write-back' as const };
    const nodes = peers.map((peer) => ({ ...peer, status: 'up' as const }));
    const both = { groups: [{ ...base, epoch: 3, primary: 'a', inSync: peers }], nodes, leaseMs: 800 };
    for (const host of [a, b]) host.applyClusterState(both);
    await Promise.all([a.start(), b.start()]);
    exchange.connect(peers);
    const deposed = await serving(a);
    await deposed.resetLun({ lunId: 1, base: { name: 'i', version: 1 }, lengthBlocks: 2048 });
    const [holder, other] = initiators(deposed);
    const late = other.prepare(cdbOf(WRITE), 0);
    expect((await reserveOut(holder, 0, { actionKey: KEYS[0] })).kind).toBe('good');
    expect((await reserveOut(holder, 1, { key: KEYS[0] }, EXCLUSIVE_ACCESS)).kind).toBe('good');
    expect((await run(other, READ)).kind).toBe('reservation-conflict');

    exchange.isolate('a');
    b.applyClusterState({
      groups: [{ ...base, epoch: 4, primary: 'b', inSync: [peerB] }],
      nodes: [{ ...peerB, status: 'up' as const }],
      leaseMs: 800,
    });
    const [holderThere, otherThere] = initiators(await serving(b));
    expect((await reserveOut(holderThere, 3, { key: KEYS[0] })).kind).toBe('good');
    expect((await run(otherThere, WRITE, block)).kind).toBe('good');

    // The old primary knows of nothing, and its lease is over.
    const unanswered = await Promise.all([
      run(other, READ),
      run(other, WRITE, block),
      other.run(late, block),
      run(other, RESERVE_6),
      reserveOut(other, 1, { key: KEYS[1] }, EXCLUSIVE_ACCESS),
      reserveOut(other, 2, { key: KEYS[1] }, EXCLUSIVE_ACCESS),
      run(holder, '5e00 0000000000 00ff'),
    ]);
    expect(unanswered.map(({ kind }) => kind)).toEqual(unanswered.map(() => 'not-serving'));
    await Promise.all([a.stop(), b.stop()]);
  }, 60_000);
});

/** Writes the same block again and again, until no record from before `index` is needed or there. */
async function trimBeyond(group: PortalGroup, index: number): Promise<void> {
  const device = group.openDevice(1) as BlockDevice;
  const data = [Buffer.alloc(1 << 20, 9)];
  for (let i = 0; group.status().firstIndex <= index; i++) {
    if (i > 2000) throw new Error(`still begins at ${group.status().firstIndex}`);
    await device.write(0, data, { forceUnitAccess: false });
    if (i % 20 === 19) await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
