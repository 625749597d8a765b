import { describe, expect, it } from 'vitest';
import { apply } from '../../../../cluster/state/apply.ts';
import type { Command } from '../../../../cluster/state/commands.ts';
import { isRemoved, newestNumber } from '../../../../cluster/state/image-removal.ts';
import type { ClusterState, ImageRecord } from '../../../../cluster/state/model.ts';
import { REMOVAL_VERSION, STATE_VERSIONS } from '../../../../cluster/state/versions.ts';
import { addVersion, applyAll, runningCluster, sha } from './fixtures.ts';

const held = (version: number, holder: string): Command => ({
  type: 'imageHeld',
  image: 'win',
  version,
  holder,
});

/** Versions 1 and 2 of "win" are held by all of three nodes. */
function cluster(): ClusterState {
  return applyAll(runningCluster(), addVersion('win', 'n1', sha('b')), held(2, 'n2'), held(2, 'n3'));
}

interface Asked {
  readonly image?: string;
  readonly nodes?: readonly string[];
}

function remove(state: ClusterState, version: number, changes: Asked = {}): Command {
  const asked = { image: 'win', nextLunId: state.nextLunId, nodes: Object.keys(state.nodes), ...changes };
  return { type: 'removeImageVersion', version, ...asked, atMs: 7, by: 'admin' };
}

function refusalOf(state: ClusterState, command: Command) {
  const outcome = apply(state, command);
  if (outcome.result.ok) return undefined;
  expect(outcome.state).toBe(state);
  return outcome.result.error;
}

const image = (state: ClusterState): ImageRecord => state.images['win'] as ImageRecord;
const pc = (name: string, n: number, more: { readonly imageVersion?: number } = {}): Command => ({
  type: 'addClient',
  name,
  macs: [`52:54:00:00:00:0${n}`],
  image: 'win',
  writeCache: 'keep',
  ...more,
});

describe('the removal of an image version', () => {
  it('takes it out, remembers who said so, and needs every node to know of it', () => {
    const before = applyAll(cluster(), pc('free', 1));
    const after = applyAll(before, remove(before, 1));
    expect(image(after).versions.map((v) => v.version)).toEqual([2]);
    expect(after.audit.at(-1)).toMatchObject({
      atMs: 7,
      event: 'image-version-removed',
      detail: 'win version 1, by admin',
    });
    expect(refusalOf(after, remove(after, 1))).toMatchObject({
      code: 'unknown-image-version',
      accepted: '2',
    });
    expect(STATE_VERSIONS.neededBy(remove(before, 1))).toBe(REMOVAL_VERSION);
  });

  it('gives its number to no other, whichever versions are left', () => {
    const before = cluster();
    const without2 = applyAll(before, remove(before, 2));
    const next = applyAll(without2, addVersion('win', 'n1', sha('c')));
    expect(image(next).versions.map((v) => v.version)).toEqual([1, 3]);
    const none = applyAll(without2, remove(without2, 1));
    expect(image(none)).toMatchObject({ versions: [], lastVersion: 2 });
    // What would be accepted is an image that can be booted, not one that is remembered for its numbers.
    const nothing = 'no image has a version; import one first';
    expect(refusalOf(none, pc('x', 1))).toMatchObject({ code: 'unknown-image-version', accepted: nothing });
    const another = applyAll(none, addVersion('mint', 'n1', sha('d')));
    expect(refusalOf(another, pc('x', 1))).toMatchObject({ accepted: 'mint' });
    expect(refusalOf(another, remove(another, 1, { image: 'none' }))).toMatchObject({ accepted: 'mint' });
    // The same content as that of a version that was removed.
    const again = applyAll(none, addVersion('win', 'n1', sha('b')));
    expect(image(again).versions.map((v) => v.version)).toEqual([3]);
    expect(newestNumber(image(again))).toBe(3);
  });

  it('is told of by the image itself: what is not known at all is not taken for removed', () => {
    const before = cluster();
    const after = applyAll(before, remove(before, 2));
    expect([1, 2, 3].map((version) => isRemoved(after, { name: 'win', version }))).toEqual([
      false,
      true,
      false,
    ]);
    expect([1, 2, 3].some((version) => isRemoved(before, { name: 'win', version }))).toBe(false);
    expect(isRemoved(after, { name: 'other', version: 1 })).toBe(false);
  });

  it('is refused where a client is pinned to it, and names the client', () => {
    const state = applyAll(cluster(), pc('kiosk', 1, { imageVersion: 1 }));
    expect(refusalOf(state, remove(state, 1))).toMatchObject({
      kind: 'conflict',
      code: 'image-version-in-use',
      message: 'image win version 1 is what kiosk is to boot',
    });
    expect(refusalOf(state, remove(state, 2))).toBeUndefined();
  });

  it('is refused where a client may boot it next: it is the newest, or not every node holds a newer one', () => {
    const all = applyAll(cluster(), pc('free', 1));
    expect(refusalOf(all, remove(all, 2))).toMatchObject({
      code: 'image-version-in-use',
      message: 'image win version 2 is the newest, which free will boot',
    });
    expect(refusalOf(all, remove(all, 1))).toBeUndefined();
    const some = applyAll(runningCluster(), pc('free', 1), addVersion('win', 'n1', sha('b')), held(2, 'n2'));
    expect(refusalOf(some, remove(some, 1))).toMatchObject({
      code: 'image-version-in-use',
      message: 'image win version 1 may be what free will boot: n3 lacks version 2',
    });
  });

  it('is refused where a client or a node has come since it was asked who uses it', () => {
    const asked = applyAll(cluster(), pc('free', 1));
    const command = remove(asked, 1);
    const client = applyAll(asked, pc('late', 2));
    expect(refusalOf(client, command)).toMatchObject({
      code: 'image-use-changed',
      message: expect.stringContaining('client late'),
    });
    const nodes = Object.keys(asked.nodes).slice(1);
    expect(refusalOf(asked, remove(asked, 1, { nodes }))).toMatchObject({
      code: 'image-use-changed',
      message: expect.stringContaining('node n1'),
    });
  });

  it('is refused of what there is not', () => {
    const state = cluster();
    expect(refusalOf(state, remove(state, 3))).toMatchObject({
      code: 'unknown-image-version',
      accepted: '1, 2',
    });
    expect(refusalOf(state, remove(state, 1, { image: 'none' }))).toMatchObject({
      code: 'unknown-image',
      accepted: 'win',
    });
  });
});
