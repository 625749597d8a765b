import { setTimeout as sleep } from 'node:timers/promises';
import { describeError } from '../../base/errors.ts';
import type { Ipv4 } from '../../base/ipv4.ts';
import type { MacAddress } from '../../base/mac-address.ts';
import type { RandomSource } from '../../base/random.ts';
import { type BootTarget, parseBootScript } from './boot-script.ts';
import { acquireLease } from './dhcp-client.ts';
import type { DhcpLease } from './dhcp-messages.ts';
import { httpRequest } from './http-client.ts';
import { tftpGet } from './tftp-client.ts';

/**
 * A machine without a disk, from power-on to the moment it attaches its LUN: DHCP as its boot ROM, the boot
 * program by TFTP, DHCP again as iPXE, its script by HTTP. What fails is tried again, on any node, as the real
 * ones do.
 */
export interface NetworkBootOptions {
  readonly mac: MacAddress;
  /** An address of this machine that no other simulated client uses at the same time, as 127.0.1.7. */
  readonly relayAddress: Ipv4;
  /** Every node's address. */
  readonly servers: readonly Ipv4[];
  readonly dhcpPort: number;
  readonly tftpPort: number;
  readonly random: RandomSource;
  /** 0 is BIOS (the default), 7 is UEFI on x64. */
  readonly architectureType?: number;
  /** For the whole boot. */
  readonly deadlineMs?: number;
  /** How long DHCP waits for each answer. */
  readonly dhcpWaitsMs?: readonly number[];
  /** Told of each step, for showing. */
  readonly onStep?: (step: BootStep) => void;
}

export type BootStep =
  | { readonly kind: 'lease'; readonly firmware: 'pxe' | 'ipxe'; readonly lease: DhcpLease }
  | { readonly kind: 'program'; readonly name: string; readonly server: Ipv4; readonly sizeBytes: number }
  | { readonly kind: 'script'; readonly url: string; readonly shown: readonly string[] }
  | { readonly kind: 'target'; readonly target: BootTarget }
  /** Something did not work, and is tried again. */
  | { readonly kind: 'retry'; readonly stage: 'firmware' | 'ipxe' | 'script'; readonly problem: string };

const DEFAULT_DEADLINE_MS = 120_000;
const PAUSE_MS = 500;

/** @throws Error when no disk is reached before the deadline; the message is the last problem met */
export async function networkBoot(options: NetworkBootOptions): Promise<BootTarget> {
  const boot = new Boot(options);
  await boot.untilDone('firmware', () => boot.loadProgram());
  const firstUrl = await boot.untilDone('ipxe', () => boot.scriptUrl());
  return boot.followScripts([firstUrl]);
}

class Boot {
  readonly #options: NetworkBootOptions;
  readonly #endMs: number;

  constructor(options: NetworkBootOptions) {
    this.#options = options;
    this.#endMs = performance.now() + (options.deadlineMs ?? DEFAULT_DEADLINE_MS);
  }

  async untilDone<T>(stage: 'firmware' | 'ipxe' | 'script', attempt: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await attempt();
      } catch (error) {
        if (performance.now() >= this.#endMs) throw error;
        this.#tell({ kind: 'retry', stage, problem: describeError(error) });
        await sleep(PAUSE_MS);
      }
    }
  }

  /** The boot ROM's part. */
  async loadProgram(): Promise<void> {
    const lease = await this.#lease('pxe');
    const { tftpPort: port } = this.#options;
    const { nextServer: server, bootFileName: fileName } = lease;
    if (fileName === '') throw new Error('DHCP named no boot file');
    const { bytes } = await tftpGet({ server, port, fileName });
    this.#tell({ kind: 'program', name: fileName, server, sizeBytes: bytes.length });
  }

  /** iPXE's part. */
  async scriptUrl(): Promise<string> {
    const lease = await this.#lease('ipxe');
    if (!lease.bootFileName.startsWith('http://')) throw new Error('DHCP named no boot script');
    return lease.bootFileName;
  }

  async followScripts(urls: readonly string[]): Promise<BootTarget> {
    let next = urls;
    for (;;) {
      const text = await this.untilDone('script', () => this.#firstOf(next));
      const script = parseBootScript(text);
      if (script.kind === 'boot') {
        this.#tell({ kind: 'target', target: script.target });
        return script.target;
      }
      if (performance.now() >= this.#endMs) throw new Error(script.shown.join('; '));
      await sleep(script.afterSeconds * 1000);
      next = script.retryUrls;
    }
  }

  /** Tries the URLs in order, and at last asks DHCP for another, as the script's loop does. */
  async #firstOf(urls: readonly string[]): Promise<string> {
    for (const url of urls) {
      try {
        return await this.#fetchScript(url);
      } catch (error) {
        this.#tell({ kind: 'retry', stage: 'script', problem: describeError(error) });
      }
    }
    return this.#fetchScript(await this.scriptUrl());
  }

  async #fetchScript(url: string): Promise<string> {
    const reply = await httpRequest(url);
    const text = Buffer.from(reply.body).toString('latin1');
    if (reply.status !== 200) throw new Error(`${url} answered ${reply.status}`);
    const script = parseBootScript(text);
    this.#tell({ kind: 'script', url, shown: script.kind === 'ask-again' ? script.shown : [] });
    return text;
  }

  async #lease(firmware: 'pxe' | 'ipxe'): Promise<DhcpLease> {
    const { mac, relayAddress, servers, dhcpPort, random, architectureType = 0, dhcpWaitsMs } = this.#options;
    const lease = await acquireLease({
      identity: { mac, firmware, architectureType },
      relayAddress,
      port: dhcpPort,
      servers,
      random,
      ...(dhcpWaitsMs === undefined ? {} : { waitsMs: dhcpWaitsMs }),
    });
    this.#tell({ kind: 'lease', firmware, lease });
    return lease;
  }

  #tell(step: BootStep): void {
    this.#options.onStep?.(step);
  }
}
