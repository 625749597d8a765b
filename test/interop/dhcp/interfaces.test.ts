import { execFile } from 'node:child_process';
import type { Socket } from 'node:dgram';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { CounterSet } from '../../../base/counters.ts';
import { IPV4_ANY, type Ipv4, parseIpv4 } from '../../../base/ipv4.ts';
import { silentLogger } from '../../../base/logger.ts';
import { parseMacAddress } from '../../../base/mac-address.ts';
import { DEFAULT_BOOT_FILES } from '../../../node/dhcp/boot-decision.ts';
import { type DhcpMessage, decodeDhcpMessage, encodeDhcpMessage } from '../../../node/dhcp/message.ts';
import { dhcpOption, MESSAGE_TYPE, readOption } from '../../../node/dhcp/option-registry.ts';
import { type DhcpServer, startDhcpServer } from '../../../node/dhcp/server.ts';
import { announceAddress } from '../../../node/net/gratuitous-arp.ts';
import {
  addInterfaceAddress,
  interfaceIpv4,
  removeInterfaceAddress,
} from '../../../node/net/interface-address.ts';
import { openInterfaceUdp } from '../../../node/net/interface-udp.ts';
import { discoverMessage, selectingMessage } from '../../../scripts/simulator/dhcp-messages.ts';
import { describeWhere, type Requirements } from '../../support/requirements.ts';
import { enterNamespace, homeNamespacePath, ip, namespacePath } from '../namespaces.ts';

const run = promisify(execFile);

const NEEDS: Requirements = {
  root: true,
  commands: ['ip', 'busybox'],
  enableWith: 'apt-get install iproute2 busybox-static (and run as root)',
};

const tag = `bf${process.pid}`;
const nodeSpace = `${tag}n`;
const MAC = { a: parseMacAddress('52:54:00:00:00:0a'), b: parseMacAddress('52:54:00:00:00:0b') };
const ADDRESS: Record<'a' | 'b', Ipv4> = { a: parseIpv4('10.9.1.100'), b: parseIpv4('10.9.2.100') };
const links = ['a', 'b'] as const;

/** node(a) --- client a, node(b) --- client b; each client in a namespace of its own. */
function buildNetwork(): void {
  ip('netns', 'add', nodeSpace);
  links.forEach((link, i) => {
    const client = `${tag}${link}`;
    ip('netns', 'add', client);
    ip(
      '-n',
      nodeSpace,
      'link',
      'add',
      `node-${link}`,
      'type',
      'veth',
      'peer',
      'name',
      'eth0',
      'netns',
      client,
    );
    ip('-n', client, 'link', 'set', 'eth0', 'address', MAC[link]);
    ip('-n', nodeSpace, 'address', 'add', `10.9.${i + 1}.1/24`, 'dev', `node-${link}`);
    ip('-n', nodeSpace, 'link', 'set', `node-${link}`, 'up');
    ip('-n', client, 'link', 'set', 'eth0', 'up');
  });
}

function removeNetwork(): void {
  for (const name of [`${tag}a`, `${tag}b`, nodeSpace]) {
    try {
      ip('netns', 'del', name);
    } catch {
      // It was not made.
    }
  }
}

async function serve(mode: 'full' | 'proxy', counters: CounterSet): Promise<DhcpServer> {
  enterNamespace(namespacePath(nodeSpace));
  return startDhcpServer({
    endpoints: links.map((link) => ({
      kind: 'interface',
      interfaceName: `node-${link}`,
      localAddress: interfaceIpv4(`node-${link}`),
    })),
    environment: () => ({
      settings: { mode, subnet: '10.9.1.0/24', leaseSeconds: 600 },
      bootFiles: DEFAULT_BOOT_FILES,
      isFenced: () => false,
      directory: {
        byMac: (mac) => {
          const link = links.find((l) => MAC[l] === mac);
          if (link === undefined) return undefined;
          return { name: link, initiatorName: `iqn.2026-11.test:${link}`, address: ADDRESS[link] };
        },
      },
      urls: {
        script: (mac, _client, at) => `http://${at}/boot/${mac}`,
        file: (name, at) => `http://${at}/${name}`,
      },
    }),
    openInterfaceUdp,
    clock: { monotonicMs: () => 0, wallMs: () => 0 },
    logger: silentLogger,
    counters,
  });
}

/** A client's socket in its own namespace. */
async function clientSocket(link: 'a' | 'b', port: number): Promise<Socket> {
  enterNamespace(namespacePath(`${tag}${link}`));
  try {
    return await openInterfaceUdp('eth0', port);
  } finally {
    enterNamespace(namespacePath(nodeSpace));
  }
}

function nextReply(socket: Socket, waitMs = 3_000): Promise<DhcpMessage | undefined> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, waitMs, undefined);
    socket.once('message', (bytes) => {
      clearTimeout(timer);
      resolve(decodeDhcpMessage(bytes));
    });
  });
}

describeWhere(NEEDS, 'DHCP on two real interfaces', () => {
  const open: { close(): unknown }[] = [];
  beforeAll(() => {
    buildNetwork();
  });
  afterEach(async () => {
    for (const thing of open.splice(0)) await thing.close();
  });
  afterAll(() => {
    enterNamespace(homeNamespacePath);
    removeNetwork();
  });

  const identity = (link: 'a' | 'b') => ({ mac: MAC[link], firmware: 'pxe' as const, architectureType: 7 });

  it('answers each link on its own interface, with that interface as the server', async () => {
    open.push(await serve('full', new CounterSet()));
    const sockets = { a: await clientSocket('a', 68), b: await clientSocket('b', 68) };
    open.push(sockets.a, sockets.b);
    for (const link of links) {
      const other = sockets[link === 'a' ? 'b' : 'a'];
      const overheard = nextReply(other, 150);
      const reply = nextReply(sockets[link]);
      sockets[link].send(
        encodeDhcpMessage(discoverMessage(identity(link), 1, IPV4_ANY)),
        67,
        '255.255.255.255',
      );
      const offer = await reply;
      const here = link === 'a' ? '10.9.1.1' : '10.9.2.1';
      expect(offer).toMatchObject({ yiaddr: ADDRESS[link], siaddr: here, file: 'snponly.efi' });
      expect(readOption(offer?.options ?? new Map(), dhcpOption.serverIdentifier)).toBe(here);
      expect(await overheard).toBeUndefined();
    }
  });

  it('gives a real DHCP client its address', async () => {
    const counters = new CounterSet();
    open.push(await serve('full', counters));
    const client = [
      'netns',
      'exec',
      `${tag}a`,
      'busybox',
      'udhcpc',
      '-i',
      'eth0',
      '-f',
      '-q',
      '-n',
      '-t',
      '5',
      '-T',
      '1',
      '-s',
      '/bin/true',
    ];
    const { stderr, stdout } = await run('ip', client, { timeout: 15_000 });
    expect(stderr + stdout).toMatch(/lease of 10\.9\.1\.100 obtained/);
    expect(counters.get('dhcp.ack')).toBe(1);
  });

  it('as proxy offers no address on 67 and answers on 4011 to the sender', async () => {
    open.push(await serve('proxy', new CounterSet()));
    const socket = await clientSocket('a', 68);
    open.push(socket);
    const first = nextReply(socket);
    socket.send(encodeDhcpMessage(discoverMessage(identity('a'), 2, IPV4_ANY)), 67, '255.255.255.255');
    expect(await first).toMatchObject({ yiaddr: IPV4_ANY, siaddr: '10.9.1.1', file: 'snponly.efi' });

    ip('-n', `${tag}a`, 'address', 'add', '10.9.1.77/24', 'dev', 'eth0');
    const second = nextReply(socket);
    const asking = selectingMessage(identity('a'), 3, IPV4_ANY, {
      address: parseIpv4('10.9.1.77'),
      serverIdentifier: parseIpv4('10.9.1.1'),
    });
    socket.send(encodeDhcpMessage({ ...asking, ciaddr: parseIpv4('10.9.1.77') }), 4011, '10.9.1.1');
    const ack = await second;
    ip('-n', `${tag}a`, 'address', 'flush', 'dev', 'eth0');
    expect(ack).toMatchObject({ file: 'snponly.efi', ciaddr: '10.9.1.77' });
    expect(readOption(ack?.options ?? new Map(), dhcpOption.messageType)).toBe(MESSAGE_TYPE.ack);
  });

  it('refuses a second server on the same interface', async () => {
    open.push(await serve('full', new CounterSet()));
    await expect(serve('full', new CounterSet())).rejects.toMatchObject({ code: 'eaddrinuse' });
  });

  it('moves an address to an interface, announces it, and takes it away again', async () => {
    enterNamespace(namespacePath(nodeSpace));
    const movable = parseIpv4('10.9.1.50');
    ip('-n', `${tag}a`, 'address', 'add', '10.9.1.77/24', 'dev', 'eth0');
    ip(
      '-n',
      `${tag}a`,
      'neighbour',
      'replace',
      movable,
      'lladdr',
      '02:00:00:00:00:01',
      'dev',
      'eth0',
      'nud',
      'stale',
    );
    for (let twice = 0; twice < 2; twice++) await addInterfaceAddress(movable, 'node-a');
    expect(interfaceIpv4('node-a')).toBe('10.9.1.1');
    announceAddress(movable, 'node-a');
    const nodeMac = /link\/ether (\S+)/.exec(ip('link', 'show', 'node-a'))?.[1];
    const learnt = async (): Promise<string> => {
      for (let i = 0; i < 40; i++) {
        const entry = ip('-n', `${tag}a`, 'neighbour', 'show', movable, 'dev', 'eth0');
        if (nodeMac !== undefined && entry.includes(nodeMac)) return entry;
        await new Promise((next) => setTimeout(next, 50));
      }
      return 'not learnt';
    };
    expect(await learnt()).toContain(nodeMac);
    for (let twice = 0; twice < 2; twice++) await removeInterfaceAddress(movable, 'node-a');
    expect(ip('address', 'show', 'dev', 'node-a')).not.toContain(movable);
    ip('-n', `${tag}a`, 'address', 'flush', 'dev', 'eth0');
  });
});
