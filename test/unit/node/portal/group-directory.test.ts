import { expect, test } from 'vitest';
import type { ClientRecord, ClusterState } from '../../../../cluster/state/model.ts';
import { GroupDirectory } from '../../../../node/portal/group-directory.ts';
import { FakeCluster } from '../../../support/fake-cluster.ts';
import { MemoryDevice } from '../iscsi/memory-device.ts';

const credentials = { username: 'pc1', secret: 'forwardSecret12' };
const older = { username: 'pc1', secret: 'olderSecret1234' };

function directoryWith(changes: Partial<ClientRecord>) {
  const cluster = new FakeCluster();
  cluster.addImage('win11');
  for (const [n, name] of ['pc1', 'pc2'].entries()) {
    const macs = [`52:54:00:12:34:5${n}`];
    cluster.apply({ type: 'addClient', name, macs, image: 'win11', writeCache: 'discard' });
  }
  const before = cluster.state();
  const client = { ...(before.clients['pc1'] as ClientRecord), ...changes };
  const state: ClusterState = { ...before, clients: { ...before.clients, pc1: client } };
  const groups = { isServing: () => true, device: async () => new MemoryDevice(64) };
  const directory = new GroupDirectory({ state: () => state, groups, mayGrant: true });
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
