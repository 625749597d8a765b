import { createSocket } from 'node:dgram';
import { afterEach, describe, expect, it } from 'vitest';
import { CounterSet } from '../../../../base/counters.ts';
import { parseIpv4 } from '../../../../base/ipv4.ts';
import { silentLogger } from '../../../../base/logger.ts';
import { SeededRandom } from '../../../../base/random.ts';
import { type DhcpServer, startDhcpServer } from '../../../../node/dhcp/server.ts';
import { acquireLease, DhcpTimeoutError } from '../../../../scripts/simulator/dhcp-client.ts';
import { CLIENT_ADDRESS, environment, fullSettings, KNOWN_MAC, STRANGE_MAC } from './dhcp-fixtures.ts';

const NODES = ['127.0.21.1', '127.0.21.2', '127.0.21.3'].map(parseIpv4);
const RELAY_ADDRESS = parseIpv4('127.0.21.100');
const clock = { monotonicMs: () => 0, wallMs: () => 5_000 };

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const socket = createSocket('udp4');
    socket.bind(0, RELAY_ADDRESS, () => {
      const { port } = socket.address();
      socket.close(() => resolve(port));
    });
  });
}

describe('DHCP server behind a relay, on loopback', () => {
  const running: DhcpServer[] = [];
  afterEach(async () => {
    await Promise.all(running.splice(0).map((server) => server.close()));
  });

  async function start(localAddress: string, port: number, counters: CounterSet): Promise<DhcpServer> {
    const server = await startDhcpServer({
      endpoints: [{ kind: 'address', localAddress: parseIpv4(localAddress), port }],
      environment: () => environment(fullSettings),
      openInterfaceUdp: () => Promise.reject(new Error('no interface is used here')),
      clock,
      logger: silentLogger,
      counters,
    });
    running.push(server);
    return server;
  }

  const boot = (port: number, firmware: 'pxe' | 'ipxe', mac = KNOWN_MAC, waitsMs = [2_000, 2_000]) =>
    acquireLease({
      identity: { mac, firmware, architectureType: 0 },
      relayAddress: RELAY_ADDRESS,
      port,
      servers: NODES,
      random: new SeededRandom(7),
      waitsMs,
    });

  it('takes firmware and then iPXE through the four messages, three nodes answering', async () => {
    const port = await freePort();
    const counters = new CounterSet();
    for (const node of NODES) await start(node, port, counters);
    const lease = await boot(port, 'pxe');
    expect(lease).toMatchObject({
      address: CLIENT_ADDRESS,
      bootFileName: 'undionly.kpxe',
      leaseSeconds: 3600,
    });
    expect(NODES).toContain(lease.nextServer);
    const second = await boot(port, 'ipxe');
    expect(second.bootFileName).toBe(
      `http://${second.serverIdentifier}:8080/boot/${KNOWN_MAC}?token=pc-1.5000`,
    );
    expect(second.initiatorName).toBe('iqn.2026-11.test:pc-1');
    expect(counters.get('dhcp.ack')).toBe(2);
    expect(counters.get('dhcp.nak')).toBe(0);
  });

  it('goes on with one node of three', async () => {
    const port = await freePort();
    await start(NODES[2] as string, port, new CounterSet());
    expect((await boot(port, 'pxe')).serverIdentifier).toBe(NODES[2]);
  });

  it('keeps silent to strangers, and counts them', async () => {
    const port = await freePort();
    const counters = new CounterSet();
    await start(NODES[0] as string, port, counters);
    await expect(boot(port, 'pxe', STRANGE_MAC, [60])).rejects.toThrow(DhcpTimeoutError);
    expect(counters.get('dhcp.ignored.unknown-client')).toBe(1);
  });

  it('counts rubbish and still answers', async () => {
    const port = await freePort();
    const counters = new CounterSet();
    await start(NODES[0] as string, port, counters);
    const random = new SeededRandom(3);
    const socket = createSocket('udp4');
    for (let i = 0; i < 60; i++) {
      await new Promise((sent) => socket.send(random.bytes(random.below(400)), port, NODES[0], sent));
    }
    socket.close();
    await boot(port, 'pxe');
    await expect.poll(() => counters.get('dhcp.malformed')).toBe(60);
  });

  it('reports a port that is taken', async () => {
    const port = await freePort();
    await start(NODES[0] as string, port, new CounterSet());
    await expect(start(NODES[0] as string, port, new CounterSet())).rejects.toThrow(/EADDRINUSE/);
  });
});
