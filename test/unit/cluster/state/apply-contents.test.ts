import { describe, expect, it } from 'vitest';
import { apply } from '../../../../cluster/state/apply.ts';
import type { Command, CommandRefusal } from '../../../../cluster/state/commands.ts';
import { makeGenesis } from '../../../../cluster/state/genesis.ts';
import type { ClientRecord, ClusterState } from '../../../../cluster/state/model.ts';
import { addClient, addVersion, applyAll, genesisInput, register, runningCluster, sha } from './fixtures.ts';

const MAC = '52:54:00:00:00:01';

function refusal(state: ClusterState, command: Command): CommandRefusal {
  const outcome = apply(state, command);
  expect(outcome.state).toBe(state);
  if (outcome.result.ok) throw new Error('was accepted');
  return outcome.result.error;
}

function added(state: ClusterState, command: Command): [ClusterState, ClientRecord] {
  const outcome = apply(state, command);
  if (!outcome.result.ok) throw new Error(outcome.result.error.message);
  return [outcome.state, outcome.result.value as ClientRecord];
}

describe('addClient', () => {
  it('gives place, LUN number, names and the next free address', () => {
    const [one, a] = added(runningCluster(), addClient('pc-1', MAC));
    expect(a).toEqual({
      name: 'pc-1',
      macs: [MAC],
      image: 'win',
      writeCache: 'keep',
      portalGroup: 'pg1',
      lunId: 1,
      // .11 to .14 belong to portal groups.
      address: '192.0.2.10',
      targetName: 'iqn.2026-11.net.example:lab:client-pc-1',
      initiatorName: 'iqn.2026-11.net.example:lab:initiator-pc-1',
    });
    const [two, b] = added(one, addClient('pc-2', '52:54:00:00:00:02'));
    expect(b).toMatchObject({ portalGroup: 'pg2', lunId: 2, address: '192.0.2.15' });
    expect(refusal(two, addClient('pc-3', '52:54:00:00:00:03')).code).toBe('address-range-full');
    const removed = applyAll(two, { type: 'removeClient', name: 'pc-1' });
    const [, c] = added(removed, addClient('pc-3', '52:54:00:00:00:03'));
    // The address is free again; the LUN number never is.
    expect(c).toMatchObject({ portalGroup: 'pg1', lunId: 3, address: '192.0.2.10' });
  });

  it('refuses a name or a MAC address that is taken, naming the holder', () => {
    const state = applyAll(runningCluster(), addClient('pc-1', MAC));
    expect(refusal(state, addClient('pc-1', '52:54:00:00:00:02')).code).toBe('client-exists');
    expect(refusal(state, addClient('pc-2', MAC))).toMatchObject({
      kind: 'conflict',
      code: 'mac-taken',
      message: expect.stringContaining('"pc-1"'),
      got: MAC,
    });
  });

  it.each([
    ['Upper', 'bad-name'],
    ['-x', 'bad-name'],
    ['', 'bad-name'],
    ['a'.repeat(64), 'bad-name'],
    ['constructor', 'bad-name'],
  ])('refuses the name %j', (name, code) => {
    expect(refusal(runningCluster(), addClient(name, MAC)).code).toBe(code);
  });

  it.each([
    '52:54:00:00:00:0G',
    '52-54-00-00-00-01',
    '52:54:00:00:00:0A',
    '01:00:5e:00:00:01',
    '00:00:00:00:00:00',
  ])('refuses the MAC address %s', (mac) => {
    expect(refusal(runningCluster(), addClient('pc-1', mac)).code).toBe('bad-mac');
  });

  it('refuses MAC lists that are empty, too long or repeat themselves', () => {
    const state = runningCluster();
    const withMacs = (macs: string[]): Command => ({ ...addClient('pc-1', MAC), macs }) as Command;
    expect(refusal(state, withMacs([])).code).toBe('bad-mac-count');
    expect(refusal(state, withMacs(Array.from({ length: 17 }, () => MAC))).code).toBe('bad-mac-count');
    expect(refusal(state, withMacs([MAC, MAC])).code).toBe('mac-twice');
  });

  it('refuses what does not exist', () => {
    const state = runningCluster();
    expect(refusal(state, addClient('pc-1', MAC, 'linux')).code).toBe('unknown-image');
    expect(refusal(state, { ...addClient('pc-1', MAC), imageVersion: 2 } as Command).code).toBe(
      'unknown-image-version',
    );
    expect(refusal(state, { ...addClient('pc-1', MAC), portalGroup: 'pg9' } as Command).code).toBe(
      'unknown-portal-group',
    );
    expect(refusal(state, { type: 'removeClient', name: 'pc-1' }).code).toBe('unknown-client');
  });

  it('waits until every replica that is up holds the image', () => {
    const state = applyAll(
      makeGenesis(genesisInput()),
      register(1, 'a'),
      register(2, 'a'),
      addVersion('win', 'n1'),
    );
    expect(refusal(state, addClient('pc-1', MAC))).toMatchObject({
      code: 'image-not-held',
      message: expect.stringMatching(/^1 of 2 nodes .* n2 still fetching/),
    });
    const held = applyAll(state, { type: 'imageHeld', image: 'win', version: 1, holder: 'n2' });
    expect(added(held, addClient('pc-1', MAC))[1].lunId).toBe(1);
  });

  it('reserves only free addresses of the range, and none where none are handed out', () => {
    const state = runningCluster();
    const at = (address: string): Command => ({ ...addClient('pc-1', MAC), address }) as Command;
    expect(added(state, at('192.0.2.15'))[1].address).toBe('192.0.2.15');
    expect(refusal(state, at('192.0.2.16')).code).toBe('address-out-of-range');
    expect(refusal(state, at('hello')).code).toBe('address-out-of-range');
    expect(refusal(state, at('192.0.2.11'))).toMatchObject({
      code: 'address-taken',
      message: expect.stringContaining('"pg1"'),
    });
    const off: ClusterState = {
      ...state,
      settings: { ...state.settings, dhcp: { mode: 'off', leaseSeconds: 1 } },
    };
    expect(refusal(off, at('192.0.2.15')).code).toBe('no-addresses-served');
    expect(added(off, addClient('pc-1', MAC))[1].address).toBeUndefined();
  });
});

describe('images and boot files', () => {
  it('number versions on, and answer the same content with the version that exists', () => {
    const state = runningCluster();
    const outcome = apply(state, addVersion('win', 'n2', sha('b')));
    expect(outcome.result).toEqual({ ok: true, value: { image: 'win', version: 2 } });
    const again = apply(outcome.state, addVersion('win', 'n3', sha('b')));
    expect(again.result).toEqual({ ok: true, value: { image: 'win', version: 2 } });
    expect(again.state.images['win']?.versions[1]?.holders).toEqual(['n2', 'n3']);
  });

  it.each([
    [{ sizeBytes: 0 }, 'bad-image-size'],
    [{ sizeBytes: 513 }, 'bad-image-size'],
    [{ chunkSizeBytes: 1000 }, 'bad-chunk-size'],
    [{ chunkSizeBytes: 0 }, 'bad-chunk-size'],
    [{ manifestSha256: 'zz' }, 'bad-sha256'],
    [{ image: 'Win' }, 'bad-name'],
    [{ holder: 'n9' }, 'unknown-node'],
  ])('refuses %j', (change, code) => {
    expect(refusal(runningCluster(), { ...addVersion('win', 'n1', sha('c')), ...change }).code).toBe(code);
  });

  it('replaces a boot file and its holders with new content', () => {
    const add = (sha256: string, holder: string): Command => ({
      type: 'addBootFile',
      name: 'ipxe.efi',
      sizeBytes: 9,
      sha256,
      holder,
    });
    const held = (sha256: string, holder: string): Command => ({
      type: 'bootFileHeld',
      name: 'ipxe.efi',
      sha256,
      holder,
    });
    let state = runningCluster();
    expect(refusal(state, held(sha('a'), 'n1')).code).toBe('unknown-boot-file');
    state = applyAll(state, add(sha('a'), 'n1'), held(sha('a'), 'n2'), held(sha('a'), 'n2'));
    expect(state.bootFiles['ipxe.efi']?.holders).toEqual(['n1', 'n2']);
    state = applyAll(state, add(sha('b'), 'n3'));
    expect(state.bootFiles['ipxe.efi']).toMatchObject({ sha256: sha('b'), holders: ['n3'] });
    expect(refusal(state, held(sha('a'), 'n2')).code).toBe('boot-file-replaced');
    expect(refusal(state, { ...add(sha('a'), 'n1'), name: '../x' } as Command).code).toBe('bad-name');
  });
});

describe('removeBootFile', () => {
  const file = {
    type: 'addBootFile',
    name: 'ipxe.efi',
    sizeBytes: 9,
    sha256: sha('a'),
    holder: 'n1',
  } as const;
  const remove: Command = { type: 'removeBootFile', name: 'ipxe.efi', atMs: 5, by: 'admin' };

  it('forgets it, once, remembers who said so, and leaves the name free', () => {
    const state = applyAll(runningCluster(), file, { ...file, name: 'other.efi' }, remove);
    expect(Object.keys(state.bootFiles)).toEqual(['other.efi']);
    expect(state.audit.at(-1)).toMatchObject({ event: 'boot-file-removed', atMs: 5 });
    expect(refusal(state, remove)).toMatchObject({ code: 'unknown-boot-file', accepted: 'other.efi' });
    expect(applyAll(state, file).bootFiles['ipxe.efi']?.holders).toEqual(['n1']);
  });
});

describe('malformed commands', () => {
  it.each([
    [undefined, 'unknown-command'],
    [null, 'unknown-command'],
    [7, 'unknown-command'],
    [{ type: 'toString' }, 'unknown-command'],
    [{ type: 'removeClient' }, 'malformed-command'],
    [{ type: 'removeClient', name: 'x'.repeat(1001) }, 'malformed-command'],
    [{ type: 'imageHeld', image: 'win', version: 1.5, holder: 'n1' }, 'malformed-command'],
    [{ type: 'registerNode', nodeId: 'n1', incarnation: 'b', endpoints: { peer: 'x' } }, 'malformed-command'],
  ])('%j is refused', (command, code) => {
    expect(refusal(runningCluster(), command as unknown as Command).code).toBe(code);
  });
});
