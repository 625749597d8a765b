import { beforeEach, expect, test } from 'vitest';
import { silentLogger } from '../../../base/logger.ts';
import type { Command } from '../../../cluster/state/commands.ts';
import type { ChapCredentials } from '../../../cluster/state/model.ts';
import { ClusterBootService } from '../../../node/boot-service.ts';
import { FakeCluster, unavailable } from '../../support/fake-cluster.ts';

const older: ChapCredentials = { username: 'pc1', secret: 'olderSecret1234' };
const newer: ChapCredentials = { username: 'pc1', secret: 'newerSecret1234' };
const request = { mac: '52:54:00:12:34:56', remoteAddress: '192.0.2.9' };

let cluster: FakeCluster;
let boot: ClusterBootService;

beforeEach(() => {
  cluster = new FakeCluster();
  cluster.addImage('win11');
  const client = { name: 'pc1', macs: [request.mac], image: 'win11', writeCache: 'discard' } as const;
  cluster.apply({ type: 'addClient', ...client, chap: older });
  const ready = async () => ({ kind: 'ready' }) as const;
  boot = new ClusterBootService({
    nodeId: 'n1',
    state: () => cluster.state(),
    beginBootHere: ready,
    beginBootElsewhere: ready,
    propose: (command: Command) => cluster.propose(command),
    logger: silentLogger,
  });
});

const rotate = () => cluster.apply({ type: 'setClientChap', name: 'pc1', credentials: newer, revoke: false });
const chapOf = () => cluster.state().clients['pc1']?.chap;

test('a client that boots gets its secrets', async () => {
  expect(await boot.beginBoot(request)).toMatchObject({ kind: 'boot', chap: older });
});

test('with new secrets handed out, those of the system that ran before are good no longer', async () => {
  rotate();
  expect(chapOf()).toEqual({ current: newer, previous: older });
  expect(await boot.beginBoot(request)).toMatchObject({ kind: 'boot', chap: newer });
  expect(chapOf()).toEqual({ current: newer });
});

test('without a majority it boots all the same, and both stay good', async () => {
  rotate();
  cluster.failure = unavailable();
  expect(await boot.beginBoot(request)).toMatchObject({ kind: 'boot', chap: newer });
  expect(chapOf()).toEqual({ current: newer, previous: older });
});

test('once turned off, none are handed out', async () => {
  cluster.apply({ type: 'setClientChap', name: 'pc1', credentials: null, revoke: false });
  expect(await boot.beginBoot(request)).not.toHaveProperty('chap');
  expect(chapOf()).toBeUndefined();
});
