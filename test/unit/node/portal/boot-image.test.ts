import { describe, expect, it } from 'vitest';
import { makeGenesis } from '../../../../cluster/state/genesis.ts';
import type { ClientRecord, ClusterState, ImageVersionRecord } from '../../../../cluster/state/model.ts';
import { chooseBootImage, lunLengthBlocks } from '../../../../node/portal/boot-image.ts';

const endpoints = { peer: 'h:1', replication: 'h:2', api: 'h:3', http: 'h:4', tftp: 'h:5', iscsi: 'h:6' };

function version(number: number, holders: string[]): ImageVersionRecord {
  return {
    version: number,
    sizeBytes: 4096,
    chunkSizeBytes: 1 << 20,
    manifestSha256: '0'.repeat(64),
    holders,
    createdAtMs: 0,
  };
}

function stateWith(versions: ImageVersionRecord[], out: string[] = []): ClusterState {
  const genesis = makeGenesis({
    clusterId: 'c1',
    clusterName: 'lab',
    settings: {
      dhcp: { mode: 'off', leaseSeconds: 600 },
      iqnPrefix: 'iqn.2026-11.net.bootfabric:lab',
      fenceAfterMs: 700,
      leaseMs: 800,
    },
    nodes: ['n1', 'n2', 'n3'].map((nodeId, i) => ({
      nodeId,
      raftId: i + 1,
      endpoints: { ...endpoints, peer: `${nodeId}:1` },
    })),
    portalGroups: [{ id: 'g1', address: '192.0.2.101', port: 3260 }],
    tokens: [],
  });
  const group = genesis.portalGroups['g1'];
  if (group === undefined) throw new Error('no group');
  const inSync = group.inSync.filter((member) => !out.includes(member.nodeId));
  return {
    ...genesis,
    portalGroups: { g1: { ...group, inSync } },
    images: { win: { name: 'win', versions } },
  };
}

const client: ClientRecord = {
  name: 'pc1',
  macs: ['52:54:00:00:00:01'],
  image: 'win',
  writeCache: 'discard',
  portalGroup: 'g1',
  lunId: 1,
  targetName: 't',
  initiatorName: 'i',
};
const all = ['n1', 'n2', 'n3'];

describe('the image version of a boot', () => {
  it('is the newest that every in-sync replica holds', () => {
    const state = stateWith([version(1, all), version(2, all), version(3, ['n1', 'n2'])]);
    expect(chooseBootImage(state, client)).toMatchObject({ kind: 'version', version: { version: 2 } });
    const withoutN3 = stateWith([version(2, all), version(3, ['n1', 'n2'])], ['n3']);
    expect(chooseBootImage(withoutN3, client)).toMatchObject({ kind: 'version', version: { version: 3 } });
  });

  it('is the pinned one, or none with the reason', () => {
    const state = stateWith([version(1, all), version(2, ['n1'])]);
    expect(chooseBootImage(state, { ...client, imageVersion: 1 })).toMatchObject({ version: { version: 1 } });
    expect(chooseBootImage(state, { ...client, imageVersion: 2 })).toEqual({
      kind: 'none',
      reason: 'not every in-sync replica holds version 2 of image win yet',
    });
    expect(chooseBootImage(state, { ...client, image: 'mac' })).toEqual({
      kind: 'none',
      reason: 'image mac does not exist',
    });
  });

  it('gives a disk of whole 4 KiB blocks', () => {
    expect(lunLengthBlocks(4096)).toBe(8);
    expect(lunLengthBlocks(4096 + 512)).toBe(16);
  });
});
