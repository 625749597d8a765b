import { type ChildProcess, spawn } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { CounterSet } from '../../../base/counters.ts';
import { parseIpv4 } from '../../../base/ipv4.ts';
import { silentLogger } from '../../../base/logger.ts';
import { parseMacAddress } from '../../../base/mac-address.ts';
import { DEFAULT_BOOT_FILES } from '../../../node/dhcp/boot-decision.ts';
import { startDhcpServer } from '../../../node/dhcp/server.ts';
import { bootUrls } from '../../../node/http-boot/boot-urls.ts';
import type { BootAnswer } from '../../../node/http-boot/ports.ts';
import { startHttpBootServer } from '../../../node/http-boot/server.ts';
import { openInterfaceUdp } from '../../../node/net/interface-udp.ts';
import { startTftpServer } from '../../../node/tftp/server.ts';
import { describeWhere, type Requirements } from '../../support/requirements.ts';
import { enterNamespace, homeNamespacePath, ip, namespacePath } from '../namespaces.ts';

/** Real firmware in a virtual machine: iPXE's ROM under SeaBIOS, and the network stack of OVMF (edk2). */
const QEMU = '/usr/bin/qemu-system-x86_64';
const DNSMASQ = '/usr/sbin/dnsmasq';
const OVMF_CODE = '/usr/share/OVMF/OVMF_CODE_4M.fd';
const OVMF_VARIABLES = '/usr/share/OVMF/OVMF_VARS_4M.fd';
/** The card's ROM, which QEMU loads by itself. */
const IPXE_ROM = '/usr/lib/ipxe/qemu/efi-virtio.rom';
const SNPONLY = '/usr/lib/ipxe/snponly.efi';

const NEEDS: Requirements = {
  root: true,
  commands: ['ip'],
  files: [QEMU, DNSMASQ, OVMF_CODE, OVMF_VARIABLES, IPXE_ROM, SNPONLY, '/dev/net/tun'],
  enableWith: 'apt-get install qemu-system-x86 dnsmasq-base ovmf ipxe ipxe-qemu iproute2 (and run as root)',
};

/** The node and the machine's tap on a bridge; the site's own DHCP server on that bridge. */
const SPACE = `bf${process.pid}q`;
const SITE_SPACE = `bf${process.pid}s`;
const MAC = parseMacAddress('52:54:00:12:34:56');
const NODE = parseIpv4('10.9.3.1');
const HTTP_PORT = 8080;
const secret = Buffer.from('cluster secret');
const clock = { monotonicMs: () => performance.now(), wallMs: () => Date.now() };
const timers = {
  setTimer: (delayMs: number, fire: () => void) => {
    const timer = setTimeout(fire, delayMs);
    return () => clearTimeout(timer);
  },
};
const BOOT_WITHIN_MS = 120_000;

describeWhere(NEEDS, 'real firmware', () => {
  const running: { close(): Promise<void> }[] = [];
  let folder: string;
  let machine: ChildProcess | undefined;
  let screen: string;
  let counters: CounterSet;
  let begun: number;

  beforeAll(() => {
    ip('netns', 'add', SPACE);
    ip('netns', 'add', SITE_SPACE);
    ip('-n', SPACE, 'link', 'add', 'br0', 'type', 'bridge', 'forward_delay', '0', 'stp_state', '0');
    ip('-n', SPACE, 'tuntap', 'add', 'tap0', 'mode', 'tap');
    ip('-n', SPACE, 'link', 'add', 'to-site', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', SITE_SPACE);
    for (const port of ['tap0', 'to-site']) ip('-n', SPACE, 'link', 'set', port, 'master', 'br0', 'up');
    ip('-n', SPACE, 'address', 'add', `${NODE}/24`, 'dev', 'br0');
    ip('-n', SPACE, 'link', 'set', 'br0', 'up');
    ip('-n', SITE_SPACE, 'address', 'add', '10.9.3.2/24', 'dev', 'eth0');
    ip('-n', SITE_SPACE, 'link', 'set', 'eth0', 'up');
    ip('-n', SPACE, 'link', 'set', 'lo', 'up');
    enterNamespace(namespacePath(SPACE));
  });
  afterAll(() => {
    enterNamespace(homeNamespacePath);
    ip('netns', 'del', SPACE);
    ip('netns', 'del', SITE_SPACE);
  });
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'bootfabric-firmware-'));
    counters = new CounterSet();
    screen = '';
    begun = 0;
  });
  afterEach(async () => {
    machine?.kill('SIGKILL');
    await Promise.all(running.splice(0).map((part) => part.close()));
    rmSync(folder, { recursive: true, force: true });
  });

  async function serve(answer: () => BootAnswer, mode: 'full' | 'proxy' = 'full'): Promise<void> {
    const shared = { clock, timers, logger: silentLogger, counters };
    const files = {
      open: (name: string) => Promise.resolve(name === 'snponly.efi' ? readFileSync(SNPONLY) : undefined),
    };
    running.push(
      await startDhcpServer({
        ...shared,
        endpoints: [{ kind: 'interface', interfaceName: 'br0', localAddress: NODE }],
        environment: () => ({
          settings: { mode, subnet: '10.9.3.0/24', leaseSeconds: 600 },
          bootFiles: DEFAULT_BOOT_FILES,
          isFenced: () => false,
          directory: {
            byMac: (mac) =>
              mac === MAC
                ? { name: 'pc-1', initiatorName: 'iqn.2026-11.test:i', address: parseIpv4('10.9.3.100') }
                : undefined,
          },
          urls: bootUrls(HTTP_PORT, () => secret),
        }),
        openInterfaceUdp,
      }),
      await startTftpServer({ ...shared, address: NODE, port: 69, files }),
      await startHttpBootServer({
        ...shared,
        address: NODE,
        port: HTTP_PORT,
        clients: { nameByMac: (mac) => (mac === MAC ? 'pc-1' : undefined) },
        boot: {
          beginBoot: () => {
            begun++;
            return Promise.resolve(answer());
          },
        },
        files,
        secret: () => secret,
        nodeEndpoints: () => [`${NODE}:${HTTP_PORT}`],
      }),
    );
  }

  function powerOn(firmware: readonly string[]): void {
    const network = ['-netdev', 'tap,id=n,ifname=tap0,script=no,downscript=no'];
    // Emulated throughout, so that it runs alike everywhere; the card's ROM wants the default devices.
    const base = ['-accel', 'tcg', '-m', '512', '-nographic', '-serial', 'stdio', '-monitor', 'none'];
    machine = spawn(QEMU, [...base, ...network, ...firmware], { stdio: ['ignore', 'pipe', 'pipe'] });
    const show = (text: Buffer): void => {
      screen += text.toString('latin1');
    };
    machine.stdout?.on('data', show);
    machine.stderr?.on('data', show);
  }

  const bios = ['-device', `virtio-net-pci,netdev=n,mac=${MAC},bootindex=0`];
  function uefi(): readonly string[] {
    const variables = join(folder, 'variables.fd');
    copyFileSync(OVMF_VARIABLES, variables);
    return [
      '-drive',
      `if=pflash,format=raw,readonly=on,file=${OVMF_CODE}`,
      '-drive',
      `if=pflash,format=raw,file=${variables}`,
      '-device',
      `virtio-net-pci,netdev=n,mac=${MAC},bootindex=0,romfile=`,
    ];
  }

  /** Waits until something holds; otherwise fails with what stands on the machine's screen. */
  async function until(holds: () => boolean): Promise<void> {
    const endMs = performance.now() + BOOT_WITHIN_MS;
    while (!holds()) {
      if (performance.now() > endMs) throw new Error(`not in time; on the screen:\n${screen.slice(-2000)}`);
      await new Promise((next) => setTimeout(next, 100));
    }
  }

  it('iPXE asks again while it has to wait, and after a disk that is not there', async () => {
    await serve(() => {
      if (begun === 1) return { kind: 'wait', reason: 'the disk moves', retryAfterSeconds: 1 };
      return {
        kind: 'boot',
        targetName: 'iqn.2026-11.test:t',
        initiatorName: 'iqn.2026-11.test:i',
        portalAddress: NODE,
        portalPort: 3260,
        lun: 0,
      };
    });
    powerOn(bios);
    await until(() => begun >= 4);
    expect(counters.get('http-boot.script.wait')).toBe(1);
    expect(counters.get('http-boot.script.boot')).toBeGreaterThanOrEqual(3);
    expect(counters.get('dhcp.nak')).toBe(0);
  }, 200_000);

  it('iPXE gets a new token by DHCP when its script server was away', async () => {
    await serve(() => ({ kind: 'refused', reason: 'no image yet' }));
    powerOn(bios);
    await until(() => begun >= 1);
    const acksBefore = counters.get('dhcp.ack');
    // A secret that changed makes every token wrong, as one that has expired is.
    secret.fill(7);
    await until(() => begun >= 2);
    expect(counters.get('http-boot.token.forged')).toBeGreaterThanOrEqual(1);
    expect(counters.get('dhcp.ack')).toBeGreaterThan(acksBefore);
  }, 200_000);

  /** A site's own server: addresses and nothing else. */
  function startSiteDhcp(): void {
    const settings = [
      '--no-daemon',
      '--conf-file=/dev/null',
      '--port=0',
      '--interface=eth0',
      '--dhcp-range=10.9.3.150,10.9.3.160,600',
      `--dhcp-leasefile=${join(folder, 'leases')}`,
    ];
    const site = spawn('ip', ['netns', 'exec', SITE_SPACE, DNSMASQ, ...settings], { stdio: 'ignore' });
    running.push({
      close: () =>
        new Promise((ended) => {
          site.once('exit', () => ended());
          site.kill('SIGKILL');
        }),
    });
  }

  it.each(['iPXE', 'OVMF'])(
    '%s takes its address from the site and what to boot from the proxy',
    async (which) => {
      startSiteDhcp();
      await serve(() => ({ kind: 'wait', reason: 'x', retryAfterSeconds: 1 }), 'proxy');
      powerOn(which === 'iPXE' ? bios : uefi());
      await until(() => begun >= 2);
      expect(counters.get('tftp.complete')).toBe(which === 'iPXE' ? 0 : 1);
      expect(readFileSync(join(folder, 'leases'), 'latin1')).toContain(MAC);
    },
    200_000,
  );

  it('OVMF loads the boot program by TFTP, and that fetches the script', async () => {
    await serve(() => ({ kind: 'wait', reason: 'x', retryAfterSeconds: 1 }));
    powerOn(uefi());
    await until(() => begun >= 2);
    expect(screen).toContain('PXE');
    expect(counters.get('tftp.complete')).toBeGreaterThanOrEqual(1);
    expect(counters.get('tftp.malformed')).toBe(0);
    expect(counters.get('dhcp.malformed')).toBe(0);
  }, 200_000);
});
