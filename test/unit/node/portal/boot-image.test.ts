import { describe, expect, it } from 'vitest';
import type { ClientRecord, ClusterState, ImageVersionRecord } from '../../../../cluster/state/model.ts';
import { chooseBootImage, lunLengthBlocks } from '../../../../node/portal/boot-image.ts';
import { imageVersion, labGenesis } from './lab-genesis.ts';

function stateWith(versions: ImageVersionRecord[], out: string[] = []): ClusterState {
  const genesis = labGenesis(['n1', 'n2', 'n3']);
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
    const state = stateWith([imageVersion(1, all), imageVersion(2, all), imageVersion(3, ['n1', 'n2'])]);
    expect(chooseBootImage(state, client)).toMatchObject({ kind: 'version', version: { version: 2 } });
    const withoutN3 = stateWith([imageVersion(2, all), imageVersion(3, ['n1', 'n2'])], ['n3']);
    expect(chooseBootImage(withoutN3, client)).toMatchObject({ kind: 'version', version: { version: 3 } });
  });

  it('is the pinned one, or none with the reason', () => {
    const state = stateWith([imageVersion(1, all), imageVersion(2, ['n1'])]);
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
