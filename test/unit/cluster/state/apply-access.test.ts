import { describe, expect, test } from 'vitest';
import { apply } from '../../../../cluster/state/apply.ts';
import type { Command } from '../../../../cluster/state/commands.ts';
import { makeGenesis } from '../../../../cluster/state/genesis.ts';
import type { ChapCredentials, ClientRecord, ClusterState } from '../../../../cluster/state/model.ts';
import { targetPaths } from '../../../../cluster/state/target-paths.ts';
import { STATE_VERSIONS } from '../../../../cluster/state/versions.ts';
import { applyAll, genesisInput, register } from './fixtures.ts';

const credentials = (n: number): ChapCredentials => ({ username: 'pc1', secret: `aSecretNumber${n}` });
const mutual = { ...credentials(1), mutual: { username: 'target', secret: 'anotherSecret1' } };
const addClient: Command = {
  type: 'addClient',
  name: 'pc1',
  macs: ['52:54:00:00:00:01'],
  image: 'win11',
  writeCache: 'discard',
};

function start(changes: Partial<Extract<Command, { type: 'addClient' }>> = {}): ClusterState {
  const image = {
    image: 'win11',
    sizeBytes: 1_048_576,
    chunkSizeBytes: 65_536,
    manifestSha256: 'ab'.repeat(32),
  };
  return applyAll(
    makeGenesis(genesisInput(1, 1)),
    register(1, 'a'),
    { type: 'addImageVersion', ...image, holder: 'n1', atMs: 1 },
    { ...addClient, ...changes } as Command,
  );
}

const chap = (n: number | null, revoke = false): Command => ({
  type: 'setClientChap',
  name: 'pc1',
  credentials: n === null ? null : credentials(n),
  revoke,
});
const settle: Command = { type: 'settleClientChap', name: 'pc1' };
const chapOf = (state: ClusterState) => state.clients['pc1']?.chap;

describe('CHAP of a client', () => {
  test('is set as it is added', () => {
    expect(chapOf(start({ chap: mutual }))).toEqual({ current: mutual });
    expect(chapOf(start())).toBeUndefined();
  });

  test.each<[string, Command[], unknown]>([
    ['turned on', [chap(1)], { current: credentials(1), previous: null }],
    ['turned on, then booted', [chap(1), settle], { current: credentials(1) }],
    ['rotated', [chap(1), settle, chap(2)], { current: credentials(2), previous: credentials(1) }],
    [
      'rotated twice: what runs has the oldest',
      [chap(1), settle, chap(2), chap(3)],
      { current: credentials(3), previous: credentials(1) },
    ],
    ['rotated, then booted', [chap(1), settle, chap(2), settle], { current: credentials(2) }],
    ['turned off', [chap(1), settle, chap(null)], { current: null, previous: credentials(1) }],
    ['turned off, then booted', [chap(1), settle, chap(null), settle], undefined],
    ['turned on and off again', [chap(1), chap(null)], undefined],
    ['revoked', [chap(1), settle, chap(2, true)], { current: credentials(2) }],
    ['turned off at once', [chap(1), settle, chap(null, true)], undefined],
  ])('%s', (_name, commands, expected) => {
    expect(chapOf(applyAll(start(), ...commands))).toEqual(expected);
  });

  test.each<[string, ChapCredentials]>([
    ['a short secret', { username: 'pc1', secret: 'tooShort' }],
    ['a long secret', { username: 'pc1', secret: 'a'.repeat(17) }],
    ['a secret that a script would read', { username: 'pc1', secret: 'abc ${def} ghi' }],
    ['a name with a space', { username: 'pc 1', secret: 'aSecretNumber1' }],
    ['one secret for both directions', { ...mutual, mutual: { username: 't', secret: mutual.secret } }],
  ])('refuses %s, and does not repeat it', (_name, wrong) => {
    const state = start();
    for (const command of [
      { type: 'setClientChap', name: 'pc1', credentials: wrong, revoke: false },
      { ...addClient, name: 'pc2', macs: ['52:54:00:00:00:02'], chap: wrong },
    ] as Command[]) {
      const { result, state: after } = apply(state, command);
      expect(after).toBe(state);
      expect(result).toMatchObject({ ok: false, error: { code: 'bad-chap-credentials' } });
      expect(JSON.stringify(result)).not.toContain(wrong.secret);
    }
  });

  test('malformed credentials are refused, and not repeated', () => {
    const wrong = { username: 'pc1', secret: 'aSecretNumber1', mutual: 'aSecretNumber2' };
    const command = { type: 'setClientChap', name: 'pc1', credentials: wrong, revoke: false };
    const { result } = apply(start(), command as unknown as Command);
    expect(result).toMatchObject({ ok: false, error: { code: 'malformed-command' } });
    expect(JSON.stringify(result)).not.toContain('aSecretNumber');
  });
});

describe('sources of a client', () => {
  const set = (...sources: string[]): Command => ({ type: 'setClientSources', name: 'pc1', sources });

  test('are set, changed and lifted', () => {
    const state = start({ sources: ['192.0.2.10'] });
    expect(state.clients['pc1']?.sources).toEqual(['192.0.2.10']);
    const changed = applyAll(state, set('198.51.100.0/24', '192.0.2.11'));
    expect(changed.clients['pc1']?.sources).toEqual(['198.51.100.0/24', '192.0.2.11']);
    expect(applyAll(changed, set()).clients['pc1']).not.toHaveProperty('sources');
  });

  test.each(['192.0.2', '192.0.2.1/24', '192.0.2.0/33', 'node.example', ''])('refuse %j', (source) => {
    expect(apply(start(), set(source)).result).toMatchObject({
      ok: false,
      error: { code: 'bad-source', got: source },
    });
  });
});

describe('several paths to a disk', () => {
  const set = (enabled: boolean): Command => ({ type: 'setClientMultipath', name: 'pc1', enabled });

  test('are off, unless asked for; now or later', () => {
    expect(start().clients['pc1']).not.toHaveProperty('multipath');
    expect(start({ multipath: false }).clients['pc1']).not.toHaveProperty('multipath');
    const on = start({ multipath: true });
    expect(on.clients['pc1']).toMatchObject({ multipath: true });
    expect(applyAll(on, set(false)).clients['pc1']).not.toHaveProperty('multipath');
    expect(applyAll(start(), set(true)).clients['pc1']).toEqual(on.clients['pc1']);
  });

  test('are no business of a program that does not know them', () => {
    expect(STATE_VERSIONS.neededBy(set(false))).toBe(3);
    expect(STATE_VERSIONS.neededBy({ ...addClient, multipath: true })).toBe(3);
    expect(STATE_VERSIONS.neededBy(addClient)).toBe(1);
  });

  test('have tags of their own, the same for ever', () => {
    const state = start();
    const { pc1 } = state.clients;
    expect(targetPaths(state, pc1 as ClientRecord).map(({ tag }) => tag)).toEqual([1]);
    const on = start({ multipath: true });
    const nodes = { ...on.nodes, n1: { ...on.nodes['n1'], raftId: 7 } } as ClusterState['nodes'];
    const paths = targetPaths({ ...on, nodes }, on.clients['pc1'] as ClientRecord);
    expect(paths.map(({ tag, nodeId }) => [tag, nodeId])).toEqual([
      [1, undefined],
      [8, 'n1'],
    ]);
  });
});

test.each<Command>([
  { type: 'setClientMultipath', name: 'nobody', enabled: true },
  { type: 'setClientChap', name: 'nobody', credentials: null, revoke: false },
  { type: 'settleClientChap', name: 'nobody' },
  { type: 'setClientSources', name: 'nobody', sources: [] },
])('$type of a client that is not there', (command) => {
  const error = { code: 'unknown-client', got: 'nobody', accepted: 'the name of a registered client' };
  expect(apply(start(), command).result).toMatchObject({ ok: false, error });
});
