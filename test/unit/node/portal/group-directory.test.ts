import { expect, test } from 'vitest';
import type { ClientRecord, ClusterState } from '../../../../cluster/state/model.ts';
import { GroupDirectory } from '../../../../node/portal/group-directory.ts';
import { SINGLE_PATH } from '../../../../node/scsi/access-state.ts';
import { FakeCluster } from '../../../support/fake-cluster.ts';
import { MemoryDevice } from '../iscsi/memory-device.ts';

const credentials = { username: 'pc1', secret: 'forwardSecret12' };
const older = { username: 'pc1', secret: 'olderSecret1234' };

interface Where {
  readonly fixedAt?: string;
  readonly serves?: boolean;
  readonly hasCopy?: boolean;
  hasMoved?: boolean;
  /** The group is another worker's. */
  readonly elsewhere?: { readonly address: string; readonly port: number };
}

function directoryWith(changes: Partial<ClientRecord>, where: Where = {}) {
  const cluster = new FakeCluster();
  cluster.addImage('win11');
  for (const [n, name] of ['pc1', 'pc2'].entries()) {
    const macs = [`52:54:00:12:34:5${n}`];
    cluster.apply({ type: 'addClient', name, macs, image: 'win11', writeCache: 'discard' });
  }
  const before = cluster.state();
  const client = { ...(before.clients['pc1'] as ClientRecord), ...changes };
  const state: ClusterState = { ...before, clients: { ...before.clients, pc1: client } };
  const groups = {
    isServing: () => where.serves ?? true,
    hasMoved: () => where.hasMoved ?? false,
    device: async () => new MemoryDevice(64),
    standbyDevice: () => (where.hasCopy === false ? undefined : new MemoryDevice(32)),
    paths: (_groupId: string, ownPort: number) => ({ ...SINGLE_PATH, ownPort }),
    forward: async () => ({ kind: 'not-serving' }) as const,
  };
  const fixed = where.fixedAt === undefined ? {} : { fixedAt: where.fixedAt };
  const elsewhere = (): Where['elsewhere'] => where.elsewhere;
  const directory = new GroupDirectory({ state: () => state, groups, elsewhere, ...fixed });
  const { targetName, initiatorName } = client;
  const login = (sourceAddress: string) => directory.login({ targetName, initiatorName, sourceAddress });
  return { directory, login, targetName, initiatorName, other: before.clients['pc2'] as ClientRecord };
}

test('an initiator sees its own target, and gets no other', async () => {
  const { directory, targetName, initiatorName, other } = directoryWith({});
  const sourceAddress = '192.0.2.9';
  const listed = directory.list({ initiatorName, sourceAddress });
  expect(listed.map((listing) => listing.targetName)).toEqual([targetName]);
  const stolen = { targetName: other.targetName, initiatorName, sourceAddress };
  expect(await directory.login(stolen)).toEqual({ kind: 'refused', reason: 'forbidden' });
});

test.each([
  ['192.0.2.9', true],
  ['::ffff:192.0.2.9', true],
  ['198.51.100.200', true],
  ['192.0.2.10', false],
  ['198.51.101.1', false],
  ['2001:db8::1', false],
])('bound to sources, from %s: %s', async (sourceAddress, isLetIn) => {
  const { directory, login, initiatorName } = directoryWith({ sources: ['192.0.2.9', '198.51.100.0/24'] });
  expect((await login(sourceAddress)).kind).toBe(isLetIn ? 'granted' : 'refused');
  expect(directory.list({ initiatorName, sourceAddress })).toHaveLength(isLetIn ? 1 : 0);
});

test.each([
  ['none', {}, undefined],
  ['settled', { chap: { current: credentials } }, { credentials: [credentials], optional: false }],
  [
    'just turned on',
    { chap: { current: credentials, previous: null } },
    { credentials: [credentials], optional: true },
  ],
  [
    'rotated',
    { chap: { current: credentials, previous: older } },
    { credentials: [credentials, older], optional: false },
  ],
  ['just turned off', { chap: { current: null, previous: older } }, { credentials: [older], optional: true }],
])('what is to be proven: %s', async (_name, changes, authentication) => {
  const { directory, login, initiatorName } = directoryWith(changes);
  const decision = await login('192.0.2.9');
  expect(decision.kind === 'granted' && decision.authentication).toEqual(authentication);
  const initiator = { initiatorName, sourceAddress: '192.0.2.9' };
  expect(directory.authenticationForDiscovery(initiator)).toEqual(authentication);
});

test.each([
  ['of its portal group', {}, { kind: 'granted' }],
  ['that moves, before it is served', { serves: false }, { kind: 'refused', reason: 'unavailable' }],
  ['of a node', { fixedAt: 'n2', serves: false }, { kind: 'redirect', address: '127.0.0.21', port: 3260 }],
])('a client with one path is at the portal %s: %j', async (_name, where, decision) => {
  const { directory, login, initiatorName } = directoryWith({}, where);
  expect(await login('192.0.2.9')).toMatchObject(decision);
  const [listed] = directory.list({ initiatorName, sourceAddress: '192.0.2.9' });
  expect(listed?.portals).toEqual([{ address: '127.0.0.21', port: 3260, tag: 1 }]);
  expect(await login('192.0.2.9')).not.toHaveProperty('paths');
});

test.each([
  ['where it moves', {}, 1, 64],
  ["of its primary's own", { fixedAt: 'n1' }, 2, 64],
  ['of a node in standby', { fixedAt: 'n2', serves: false }, 3, 32],
])(
  'a client with several paths is granted its disk at the portal %s',
  async (_name, where, tag, lengthBlocks) => {
    const { directory, login, initiatorName } = directoryWith({ multipath: true }, where);
    const decision = await login('192.0.2.9');
    if (decision.kind !== 'granted') throw new Error(decision.kind);
    expect(decision.paths?.ownPort).toBe(tag);
    expect(decision.luns.get(0)?.lengthBlocks).toBe(lengthBlocks);
    const [listed] = directory.list({ initiatorName, sourceAddress: '192.0.2.9' });
    expect(listed?.portals.map((portal) => portal.tag)).toEqual([1, 2, 3, 4]);
  },
);

test.each([
  ['its primary, which does not serve it yet', { fixedAt: 'n1', serves: false }],
  ['a node that has no such disk yet', { fixedAt: 'n2', serves: false, hasCopy: false }],
  ['the movable portal, before it is served', { serves: false }],
])('it is to come again at %s', async (_name, where) => {
  const { login } = directoryWith({ multipath: true }, where);
  expect(await login('192.0.2.9')).toEqual({ kind: 'refused', reason: 'unavailable' });
});

test('a disk that another node serves by now has moved, but not at a fixed portal', () => {
  const { directory, targetName } = directoryWith({}, { hasMoved: true });
  expect(directory.hasMoved(targetName)).toBe(true);
  expect(directory.hasMoved('iqn.2026-11.net.example:nobody')).toBe(false);
  expect(directoryWith({}, {}).directory.hasMoved(targetName)).toBe(false);
  expect(directoryWith({}, { hasMoved: true, fixedAt: 'n1' }).directory.hasMoved(targetName)).toBe(false);
});

test("a group of another worker's is found where that one is", async () => {
  const elsewhere = { address: '192.0.2.1', port: 7501 };
  const movable = { kind: 'redirect', address: expect.any(String) as string, port: 3260 };
  const atMovable = directoryWith({ multipath: true }, { elsewhere });
  expect(await atMovable.login('192.0.2.9')).toMatchObject(movable);
  const atFixed = directoryWith({ multipath: true }, { elsewhere, fixedAt: 'n1' });
  expect(await atFixed.login('192.0.2.9')).toEqual({ kind: 'redirect', ...elsewhere });
  // Never to a fixed portal where the initiator has no other path.
  const single = directoryWith({}, { elsewhere, fixedAt: 'n1' });
  const redirected = await single.login('192.0.2.9');
  expect(redirected).toMatchObject(movable);
  expect(redirected).not.toMatchObject({ address: elsewhere.address });
});
