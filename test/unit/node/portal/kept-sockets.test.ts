import { beforeEach, describe, expect, it } from 'vitest';
import { parseIpv4 } from '../../../../base/ipv4.ts';
import type { PassedSocket } from '../../../../node/net/socket-passing.ts';
import { TCP_RST } from '../../../../node/net/tcp-segment.ts';
import type { KeepOrder } from '../../../../node/portal/guardian-protocol.ts';
import { KeptSockets } from '../../../../node/portal/kept-sockets.ts';
import { MAX_KEPT_SOCKETS } from '../../../../node/portal/limits.ts';

const portal = { address: parseIpv4('192.0.2.1'), port: 3260 };
const initiator = { address: parseIpv4('192.0.2.77'), port: 40_000 };
const orderOf = (socket: number): KeepOrder => ({ order: 'keep', socket, portal, initiator });

describe('the sockets that a guardian keeps', () => {
  let passed: PassedSocket[];
  let closed: number[];
  let silenced: number[];
  let sequences: readonly number[] | undefined;
  let sockets: KeptSockets;

  beforeEach(() => {
    passed = [];
    closed = [];
    silenced = [];
    sequences = [7];
    sockets = new KeptSockets({
      receive: () => passed.shift(),
      close: (fd) => void closed.push(fd),
      closeSilently: (fd) => {
        silenced.push(fd);
        return sequences;
      },
    });
  });

  function keep(socket: number, fd: number | undefined): void {
    passed.push({ label: socket, fd });
    sockets.keep(orderOf(socket));
  }

  it('are closed as the kernel does it once the node has closed its own, and not twice', () => {
    keep(1, 11);
    keep(2, 12);
    sockets.close(1);
    sockets.close(1);
    expect(closed).toEqual([11]);
  });

  it('are ended without a word when the node is gone, each with what resets it later', async () => {
    keep(1, 11);
    keep(2, 12);
    sockets.close(1);
    sequences = [7, 5];
    const reset = { from: portal, to: initiator, flags: TCP_RST };
    expect(await sockets.forsake()).toEqual([
      { ...reset, sequence: 7 },
      { ...reset, sequence: 5 },
    ]);
    expect(silenced).toEqual([12]);
    expect(closed).toEqual([11]);
    expect(await sockets.forsake()).toEqual([]);
  });

  it('need no reset to be ended', async () => {
    keep(1, 11);
    sequences = undefined;
    expect(await sockets.forsake()).toEqual([]);
    expect(silenced).toEqual([11]);
  });

  it('are so many, and any more are given back at once', () => {
    for (let i = 0; i < MAX_KEPT_SOCKETS; i++) keep(i, 100 + i);
    expect(closed).toEqual([]);
    keep(MAX_KEPT_SOCKETS, 5);
    expect(closed).toEqual([5]);
    sockets.close(0);
    keep(MAX_KEPT_SOCKETS + 1, 6);
    expect(closed).toEqual([5, 100]);
  });

  it('are not mistaken for one another when one could not be received, or orders come in another order', async () => {
    keep(1, undefined);
    passed.push({ label: 2, fd: 12 }, { label: 3, fd: 13 }, { label: 4, fd: 14 });
    for (const socket of [3, 2]) sockets.keep(orderOf(socket));
    sockets.close(1);
    sockets.close(2);
    expect(closed).toEqual([12]);
    await sockets.forsake();
    expect(silenced).toEqual([13]);
  });

  it('are all ended when the node is gone, those included whose order never came', async () => {
    passed.push({ label: 1, fd: 11 });
    keep(2, 12);
    expect(await sockets.forsake()).toHaveLength(1);
    expect(new Set(silenced)).toEqual(new Set([11, 12]));
  });
});
