import { expect, test } from 'vitest';
import type { ClientRecord, ClusterState } from '../../../../cluster/state/model.ts';
import { isBarred, losesPathAt } from '../../../../node/portal/client-access.ts';

const client: ClientRecord = {
  name: 'pc1',
  macs: ['52:54:00:12:34:56'],
  image: 'win11',
  writeCache: 'discard',
  portalGroup: 'pg1',
  lunId: 1,
  targetName: 'iqn.2026-11.net.example:client-pc1',
  initiatorName: 'iqn.2026-11.net.example:initiator-pc1',
};
const one = { username: 'pc1', secret: 'aSecretNumber1' };
const two = { username: 'pc1', secret: 'aSecretNumber2' };

test.each<[string, Partial<ClientRecord>, Partial<ClientRecord> | undefined, boolean]>([
  ['removed', {}, undefined, true],
  ['unchanged', { chap: { current: one } }, { chap: { current: one } }, false],
  ['CHAP turned on', {}, { chap: { current: one, previous: null } }, false],
  ['CHAP turned on at once', {}, { chap: { current: one } }, true],
  ['rotated', { chap: { current: one } }, { chap: { current: two, previous: one } }, false],
  ['revoked', { chap: { current: one } }, { chap: { current: two } }, true],
  ['settled as it boots', { chap: { current: two, previous: one } }, { chap: { current: two } }, false],
  ['turned off', { chap: { current: one } }, { chap: { current: null, previous: one } }, false],
  ['bound to a source', {}, { sources: ['192.0.2.9'] }, true],
  ['bound no more', { sources: ['192.0.2.9'] }, {}, false],
  ['another image', {}, { image: 'win12' }, false],
])('sessions of a client that is %s', (_name, before, after, ends) => {
  const now = after === undefined ? undefined : { ...client, ...after };
  expect(isBarred({ ...client, ...before }, now)).toBe(ends);
});

test('a client has lost its path at a node where it has none any more, though another copy is there', () => {
  const state = (replicas: string[], multipath?: true): ClusterState =>
    ({
      clients: { pc1: { ...client, ...(multipath && { multipath }) } },
      portalGroups: { pg1: { replicas } },
    }) as unknown as ClusterState;
  const loses = (before: ClusterState, now: ClusterState): boolean => losesPathAt('n1', before, now, 'pc1');
  const both = state(['n1', 'n2'], true);
  expect(loses(both, both)).toBe(false);
  expect(loses(both, state(['n2'], true))).toBe(true);
  expect(loses(both, state(['n1', 'n2']))).toBe(true);
  expect(loses(state(['n1', 'n2']), state(['n2']))).toBe(false);
});
