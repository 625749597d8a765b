import type { ChildProcess } from 'node:child_process';
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { Console, type ConsoleMatch } from './console.ts';
import { type Lab, TAP } from './lab.ts';
import { kill } from './process-run.ts';

const OVMF_CODE = '/usr/share/OVMF/OVMF_CODE_4M.fd';
const OVMF_VARS = '/usr/share/OVMF/OVMF_VARS_4M.fd';

export const MACHINE_NEEDS = {
  commands: ['qemu-system-x86_64'],
  files: [OVMF_CODE, OVMF_VARS, '/usr/lib/ipxe/qemu/efi-virtio.rom'],
  packages: ['ipxe-qemu', 'ovmf', 'qemu-system-x86'],
} as const;

export interface MachineOptions {
  readonly mac: string;
  /** bios: SeaBIOS and the iPXE ROM of the card. uefi: OVMF and its own PXE client, the card without a ROM. */
  readonly firmware: 'bios' | 'uefi';
  /** Where the machine's own files go. */
  readonly folder: string;
}

/** A diskless machine on the lab's network, which knows nothing but its firmware and its MAC. */
export class Machine {
  readonly console: Console;
  readonly poweredOnAtMs: number;
  readonly #process: ChildProcess;

  constructor(lab: Lab, options: MachineOptions) {
    this.poweredOnAtMs = performance.now();
    this.#process = lab.spawnOnBridge('qemu-system-x86_64', machineArguments(options), 'pipe');
    this.console = new Console(this.#process);
  }

  /** Waits until the system on the LUN runs and returns what it says of itself. */
  async ready(timeoutMs: number): Promise<GuestReport & { readonly sinceStartMs: number }> {
    const startMs = performance.now();
    const line = await this.console.waitFor(/BOOTFABRIC-GUEST (ready .*|failed.*)/, timeoutMs);
    const text = line.match[1] ?? '';
    if (!text.startsWith('ready')) throw new Error(`the guest says: ${text}\n${this.console.tail()}`);
    return { ...parseReport(text), sinceStartMs: line.atMs - startMs };
  }

  /** Sends the agent a line and waits for its answer. */
  async ask(line: string, answer: RegExp, timeoutMs: number): Promise<ConsoleMatch> {
    this.console.send(line);
    return await this.console.waitFor(answer, timeoutMs);
  }

  async status(): Promise<GuestReport> {
    this.console.send('status');
    const line = await this.console.waitFor(/BOOTFABRIC-GUEST (status .*)/, ANSWER_TIMEOUT_MS);
    return parseReport(line.match[1] ?? '');
  }

  /** SHA-256 of the guest's stamped blocks, read anew from its disk. */
  async sum(): Promise<string> {
    this.console.send('sum');
    const line = await this.console.waitFor(/BOOTFABRIC-GUEST sum (\S+)/, ANSWER_TIMEOUT_MS);
    return line.match[1] ?? '';
  }

  /** Leaves a file that only an earlier life of this disk can have left. */
  async mark(): Promise<void> {
    this.console.send('mark');
    await this.console.waitFor(/BOOTFABRIC-GUEST marked/, ANSWER_TIMEOUT_MS);
  }

  reboot(): void {
    this.console.send('reboot');
  }

  async powerOff(): Promise<void> {
    await kill(this.#process);
  }
}

const ANSWER_TIMEOUT_MS = 120_000;

export interface GuestReport {
  /** Seconds since the guest's kernel started. */
  readonly uptimeSeconds: number;
  /** New at each start of the kernel. */
  readonly bootId: string;
  readonly markerPresent: boolean;
}

function parseReport(text: string): GuestReport {
  const fields = new Map(text.split(' ').map((word) => [word.split('=')[0], word.split('=')[1] ?? '']));
  const uptimeSeconds = Number(fields.get('uptime'));
  const bootId = fields.get('boot') ?? '';
  const marker = fields.get('marker');
  if (!(uptimeSeconds > 0) || bootId === '' || (marker !== 'absent' && marker !== 'present')) {
    throw new Error(`not a report of the guest: ${text}`);
  }
  return { uptimeSeconds, bootId, markerPresent: marker === 'present' };
}

function machineArguments(options: MachineOptions): string[] {
  // The ROM of the card wants a machine with its default devices; -nographic takes nothing away from it.
  const base = [
    '-accel',
    'tcg',
    '-cpu',
    'max',
    '-m',
    '512',
    '-nographic',
    '-serial',
    'stdio',
    '-monitor',
    'none',
  ];
  const netdev = ['-netdev', `tap,id=lan,ifname=${TAP},script=no,downscript=no`];
  const card = `virtio-net-pci,netdev=lan,mac=${options.mac},bootindex=0`;
  if (options.firmware === 'bios') return [...base, ...netdev, '-device', card];
  const variables = join(options.folder, 'firmware-variables.fd');
  copyFileSync(OVMF_VARS, variables);
  const flash = (file: string, extra: string): string[] => [
    '-drive',
    `if=pflash,format=raw,file=${file}${extra}`,
  ];
  return [
    ...base,
    ...flash(OVMF_CODE, ',readonly=on'),
    ...flash(variables, ''),
    ...netdev,
    '-device',
    `${card},romfile=`,
  ];
}
