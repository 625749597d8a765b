import type { Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { descriptorOf } from '../../../../node/net/socket-passing.ts';
import { connectInitiator, type Initiator } from '../../../../scripts/simulator/iscsi-initiator.ts';
import { login } from '../../../../scripts/simulator/iscsi-wire.ts';
import { INITIATOR, startTarget, TARGET, type TestTarget } from './target-fixture.ts';

describe('a socket that somebody else holds too', () => {
  let target: TestTarget;
  let told: string[];
  let sockets: Socket[];

  beforeEach(async () => {
    told = [];
    sockets = [];
    target = await startTarget({
      keep: (socket) => {
        sockets.push(socket);
        told.push('keep');
        return {
          abort: () => told.push(socket.destroyed ? 'abort too late' : 'abort'),
          release: () => told.push(socket.destroyed ? 'release' : 'release too early'),
        };
      },
    });
  });

  afterEach(async () => {
    await target.portal.close();
  });

  const logIn = (): Promise<Initiator> =>
    connectInitiator({ host: target.host, port: target.port, targetName: TARGET, initiatorName: INITIATOR });

  async function gone(initiator: Initiator): Promise<void> {
    const { socket } = initiator.loggedIn.wire;
    if (!socket.destroyed) await new Promise<void>((done) => socket.once('close', () => done()));
    while (sockets.some((s) => !s.destroyed)) await new Promise((done) => setImmediate(done));
    await new Promise((done) => setImmediate(done));
  }

  it('is kept once its session has begun, and let go of when the initiator has closed it', async () => {
    const initiator = await logIn();
    expect(told).toEqual(['keep']);
    const [socket] = sockets as [Socket];
    expect(descriptorOf(socket)).toBeGreaterThan(2);
    expect(socket.remotePort).toBe(initiator.loggedIn.wire.socket.localPort);
    initiator.destroy();
    await gone(initiator);
    expect(descriptorOf(socket)).toBeUndefined();
    expect(told.at(-1)).toBe('release');
    expect(told.filter((what) => what === 'release')).toHaveLength(1);
  });

  it('is reset by itself before it is closed', async () => {
    const initiator = await logIn();
    target.portal.closeTarget(TARGET);
    await gone(initiator);
    expect(told).toEqual(['keep', 'abort', 'release']);
  });

  it('is not kept for a discovery', async () => {
    const { wire } = await login({ host: target.host, port: target.port, initiatorName: INITIATOR });
    wire.destroy();
    expect(told).toEqual([]);
  });
});
