import { createSocket } from 'node:dgram';
import { afterEach, describe, expect, it } from 'vitest';
import { CounterSet } from '../../../../base/counters.ts';
import { type Ipv4, parseIpv4 } from '../../../../base/ipv4.ts';
import { silentLogger } from '../../../../base/logger.ts';
import { parseMacAddress } from '../../../../base/mac-address.ts';
import { SeededRandom } from '../../../../base/random.ts';
import { DEFAULT_BOOT_FILES } from '../../../../node/dhcp/boot-decision.ts';
import { startDhcpServer } from '../../../../node/dhcp/server.ts';
import { bootUrls } from '../../../../node/http-boot/boot-urls.ts';
import type { BootAnswer } from '../../../../node/http-boot/ports.ts';
import { startHttpBootServer } from '../../../../node/http-boot/server.ts';
import { startTftpServer } from '../../../../node/tftp/server.ts';
import { type BootStep, networkBoot } from '../../../../scripts/simulator/network-boot.ts';

const NODES = ['127.0.22.1', '127.0.22.2', '127.0.22.3'].map(parseIpv4);
const RELAY = parseIpv4('127.0.22.100');
const MAC = parseMacAddress('52:54:00:12:34:56');
const secret = Buffer.from('cluster secret');
const clock = { monotonicMs: () => performance.now(), wallMs: () => Date.now() };
const timers = {
  setTimer: (delayMs: number, fire: () => void) => {
    const timer = setTimeout(fire, delayMs);
    return () => clearTimeout(timer);
  },
};
const target = {
  targetName: 'iqn.2026-11.test:lab.pc-1',
  initiatorName: 'iqn.2026-11.test:client.pc-1',
  portalAddress: '127.0.23.1',
  portalPort: 3260,
  lun: 0,
};
const settings = { mode: 'full', subnet: '127.0.0.0/8', leaseSeconds: 600 } as const;

/** A UDP port that is free on every one of the addresses; TCP ports are chosen alike. */
function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const socket = createSocket('udp4');
    socket.bind(0, RELAY, () => {
      const { port } = socket.address();
      socket.close(() => resolve(port));
    });
  });
}

describe('a network boot, from power-on to the disk', () => {
  const running: { close(): Promise<void> }[] = [];
  afterEach(async () => {
    await Promise.all(running.splice(0).map((part) => part.close()));
  });

  interface Ports {
    readonly dhcp: number;
    readonly tftp: number;
    readonly http: number;
  }

  async function startNode(
    address: Ipv4,
    ports: Ports,
    beginBoot: () => Promise<BootAnswer>,
  ): Promise<() => Promise<void>> {
    const shared = { clock, timers, logger: silentLogger, counters: new CounterSet() };
    const files = {
      open: (name: string) => Promise.resolve(name.endsWith('pxe') ? new Uint8Array(70_000) : undefined),
    };
    const parts = [
      await startDhcpServer({
        ...shared,
        endpoints: [{ kind: 'address', localAddress: address, port: ports.dhcp }],
        environment: () => ({
          settings,
          bootFiles: DEFAULT_BOOT_FILES,
          isFenced: () => false,
          directory: {
            byMac: (mac) =>
              mac === MAC
                ? { name: 'pc-1', initiatorName: target.initiatorName, address: parseIpv4('127.0.22.100') }
                : undefined,
          },
          urls: bootUrls(ports.http, () => secret),
        }),
        openInterfaceUdp: () => Promise.reject(new Error('unused')),
      }),
      await startTftpServer({ ...shared, address, port: ports.tftp, files }),
      await startHttpBootServer({
        ...shared,
        address,
        port: ports.http,
        clients: { nameByMac: (mac) => (mac === MAC ? 'pc-1' : undefined) },
        boot: { beginBoot },
        files,
        secret: () => secret,
        nodeEndpoints: () => NODES.map((node) => `${node}:${ports.http}`),
      }),
    ];
    let closed: Promise<unknown> | undefined;
    const close = async (): Promise<void> => {
      closed ??= Promise.all(parts.map((part) => part.close()));
      await closed;
    };
    running.push({ close });
    return close;
  }

  const freePorts = async (): Promise<Ports> => ({
    dhcp: await freePort(),
    tftp: await freePort(),
    http: await freePort(),
  });

  const boot = (ports: Ports, onStep: (step: BootStep) => void) =>
    networkBoot({
      mac: MAC,
      relayAddress: RELAY,
      servers: NODES,
      dhcpPort: ports.dhcp,
      tftpPort: ports.tftp,
      random: new SeededRandom(1),
      deadlineMs: 15_000,
      dhcpWaitsMs: [500, 500],
      onStep,
    });

  it('goes through every step', async () => {
    const ports = await freePorts();
    for (const node of NODES)
      await startNode(node, ports, () => Promise.resolve({ kind: 'boot', ...target }));
    const steps: BootStep[] = [];
    expect(await boot(ports, (step) => steps.push(step))).toEqual(target);
    expect(steps.map((step) => step.kind)).toEqual([
      'lease',
      'program',
      'lease',
      'script',
      'script',
      'target',
    ]);
  });

  it('gets its disk from another node when the one it talks to dies between two steps', async () => {
    const ports = await freePorts();
    const stop = new Map<string, () => Promise<void>>();
    let asked = 0;
    const beginBoot = (): Promise<BootAnswer> => {
      asked++;
      const wait: BootAnswer = { kind: 'wait', reason: 'the disk moves', retryAfterSeconds: 1 };
      return Promise.resolve(asked === 1 ? wait : { kind: 'boot', ...target });
    };
    for (const node of NODES) stop.set(node, await startNode(node, ports, beginBoot));
    let killed = '';
    const steps: BootStep[] = [];
    const reached = await boot(ports, (step) => {
      steps.push(step);
      if (step.kind !== 'script' || killed !== '') return;
      killed = new URL(step.url).hostname;
      void stop.get(killed)?.();
    });
    expect(reached).toEqual(target);
    const askedAt = steps.filter((step) => step.kind === 'script').map(({ url }) => new URL(url).hostname);
    // Where to ask; then to wait; then the disk.
    expect(askedAt).toHaveLength(3);
    expect(askedAt.slice(1)).not.toContain(killed);
  });

  it('says why when nothing answers', async () => {
    const ports = await freePorts();
    const hopeless = networkBoot({
      mac: MAC,
      relayAddress: RELAY,
      servers: NODES,
      dhcpPort: ports.dhcp,
      tftpPort: ports.tftp,
      random: new SeededRandom(1),
      deadlineMs: 50,
      dhcpWaitsMs: [30],
    });
    await expect(hopeless).rejects.toThrow(/no DHCP server answered 52:54:00:12:34:56/);
  });
});
