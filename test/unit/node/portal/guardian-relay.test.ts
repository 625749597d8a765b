import { once } from 'node:events';
import { connect as connectTo, createServer, type Socket } from 'node:net';
import { MessageChannel } from 'node:worker_threads';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { KeptSocket } from '../../../../node/iscsi/ports.ts';
import { loadLibc } from '../../../../node/net/libc.ts';
import { descriptorOf, receiveSocket } from '../../../../node/net/socket-passing.ts';
import type { SocketOrder } from '../../../../node/portal/guardian-protocol.ts';
import { GuardianRelay, type RelayedWorker, relayGuardian } from '../../../../node/portal/guardian-relay.ts';
import { eventually } from '../../../support/real-time.ts';

let channel: MessageChannel;
/** Of the first worker's way to pass sockets. */
let passage: number | undefined;
let orders: SocketOrder[];

beforeEach(() => {
  passage = undefined;
  orders = [];
});

afterEach(() => {
  channel.port1.close();
});

/** The first worker's guardian, which refuses 192.0.2.9. */
function connect(): { asked: string[]; lost: string[]; relay: GuardianRelay; serve: () => RelayedWorker } {
  channel = new MessageChannel();
  const { port1, port2 } = channel;
  const asked: string[] = [];
  const lost: string[] = [];
  const guardian = {
    hold: async (address: string, holder: number) => {
      asked.push(`hold ${address} ${holder}`);
      if (address === '192.0.2.9') throw new Error('no such interface');
    },
    drop: async (address: string) => void asked.push(`drop ${address}`),
    renew: (holder: number) => void asked.push(`renew ${holder}`),
    furtherPassage: () => passage,
    relay: (order: SocketOrder) => void orders.push(order),
  };
  const relay = new GuardianRelay(port2, (addresses) => lost.push(...addresses));
  return { asked, lost, relay, serve: () => relayGuardian(port1, 3, guardian) };
}

describe("the guardian of a node's first worker", () => {
  it('does what another worker asks, in its name, and only once it may', async () => {
    const { asked, relay, serve } = connect();
    const held = relay.hold('192.0.2.1');
    relay.renew();
    await new Promise((resolve) => setImmediate(resolve));
    expect(asked).toEqual([]);
    serve();
    await held;
    await relay.drop('192.0.2.1');
    expect(asked).toEqual(['hold 192.0.2.1 3', 'renew 3', 'drop 192.0.2.1']);
  });

  it('says what it cannot do, and which addresses it has given up', async () => {
    const { lost, relay, serve } = connect();
    const relayed = serve();
    await expect(relay.hold('192.0.2.9')).rejects.toThrow('no such interface');
    relayed.expired(['192.0.2.1']);
    await eventually('it is told', () => lost.length > 0);
    expect(lost).toEqual(['192.0.2.1']);
  });

  it.skipIf(process.platform !== 'linux')(
    'keeps sockets of another worker under a number of its own',
    async () => {
      const path = `\0bootfabric-relay-${process.pid}`;
      const [near, far] = await socketPair(path);
      const [initiator, accepted] = await socketPair();
      const { relay, serve } = connect();
      let kept: KeptSocket | undefined;
      try {
        expect(relay.keep(accepted)).toBeUndefined();
        passage = descriptorOf(near);
        serve();
        await eventually('it is kept', () => {
          kept ??= relay.keep(accepted);
          return kept !== undefined;
        });
        await eventually('the order has come', () => orders.length > 0);
        const label = orders[0]?.socket;
        expect(label).toBe(3 * 2 ** 26);
        const passed = receiveSocket(descriptorOf(far) as number);
        expect(passed?.label).toBe(label);
        loadLibc().close(passed?.fd as number);
        kept?.release();
        await eventually('it is let go of', () => orders.length > 1);
        expect(orders[1]).toEqual({ order: 'release', socket: label });
      } finally {
        for (const socket of [near, far, initiator, accepted]) socket.destroy();
      }
    },
  );
});

/** Two ends of one connection, from which nobody reads. */
async function socketPair(path?: string): Promise<[Socket, Socket]> {
  const server = createServer({ pauseOnConnect: true });
  server.listen(path === undefined ? { host: '127.0.0.1', port: 0 } : { path });
  await once(server, 'listening');
  const address = server.address();
  const arrived = once(server, 'connection') as Promise<[Socket]>;
  const near =
    typeof address === 'string' || address === null
      ? connectTo({ path: path as string })
      : connectTo(address.port);
  await once(near, 'connect');
  const [far] = await arrived;
  server.close();
  return [near, far];
}
