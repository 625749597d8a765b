import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import { finish, succeed, systemEnvironment } from './process-run.ts';

/** Every namespace is named after the process that made it, so that a dead run's leftovers are known as such. */
const NAME_PREFIX = 'bootfabric-test-';

export const LAB_SUBNET = '10.77.0.0/24';
const LAB_PREFIX_LENGTH = 24;
export const SITE_ADDRESS = '10.77.0.2';
/** Where a machine is plugged in. */
export const TAP = 'tap0';
const LAN = 'lan';
/** More than the longest frame. */
const BURST_BYTES = 4096;
const QUEUE_BYTES = 1024 * 1024;
const NOBODY = '02:00:00:00:00:fe';

export interface Station {
  readonly name: string;
  readonly address: string;
}

/**
 * A network of its own: a bridge in one namespace, each station in a namespace with its eth0 on the bridge,
 * and a tap for a machine. Nothing of it is visible to the host.
 *
 *   n1 eth0 --+
 *   n2 eth0 --+-- br0 (lan) -- tap0 -- machine
 *   site eth0 +
 */
export class Lab {
  readonly #prefix = `${NAME_PREFIX}${process.pid}-`;
  readonly #namespaces: string[] = [];

  constructor(stations: readonly Station[]) {
    removeLeftovers();
    try {
      this.#addNamespace(LAN);
      // Without forwarding delay, a port forwards as soon as it is up: PXE ROMs do not wait half a minute.
      this.ip(LAN, ['link', 'add', 'br0', 'type', 'bridge', 'forward_delay', '0', 'stp_state', '0']);
      this.ip(LAN, ['link', 'set', 'br0', 'type', 'bridge', 'mcast_snooping', '0']);
      this.ip(LAN, ['link', 'set', 'br0', 'up']);
      this.ip(LAN, ['tuntap', 'add', 'dev', TAP, 'mode', 'tap']);
      this.ip(LAN, ['link', 'set', TAP, 'master', 'br0', 'up']);
      for (const station of stations) this.#plugIn(station);
    } catch (error) {
      this.remove();
      throw error;
    }
  }

  /** The file by which a process can enter a station's namespace. */
  namespacePath(station: string): string {
    return `/run/netns/${this.#namespaceOf(station)}`;
  }

  /** Of a station's interface, as hexadecimal pairs joined by colons. */
  macOf(station: string): string {
    const [link] = JSON.parse(this.ip(station, ['-json', 'link', 'show', 'dev', 'eth0'])) as [
      { readonly address: string },
    ];
    return link.address;
  }

  /** Whether a station's cable is plugged in: what it sends and is sent is lost in silence otherwise. */
  setPlugged(station: string, plugged: boolean): void {
    this.ip(LAN, ['link', 'set', `to-${station}`, plugged ? 'up' : 'down']);
  }

  /** Whether what one station sends to another is lost in silence on the way, in this direction alone. */
  setDeaf(from: string, toAddress: string, lost: boolean): void {
    const neighbour = [toAddress, 'dev', 'eth0'];
    // Frames go to a machine that is not there.
    if (lost) this.ip(from, ['neigh', 'replace', ...neighbour, 'lladdr', NOBODY, 'nud', 'permanent']);
    else this.ip(from, ['neigh', 'del', ...neighbour]);
  }

  /** Runs ip(8) within a station's namespace. */
  ip(station: string, args: readonly string[]): string {
    return succeed('ip', ['-n', this.#namespaceOf(station), ...args]);
  }

  /** The command line that runs a program at a station. */
  commandAt(station: string, command: string, args: readonly string[]): [string, string[]] {
    return ['ip', ['netns', 'exec', this.#namespaceOf(station), command, ...args]];
  }

  /** Starts a program at a station. `ip netns exec` replaces itself, so the child is the program. */
  spawnAt(station: string, command: string, args: readonly string[], stdio: StdioOptions): ChildProcess {
    const [program, all] = this.commandAt(station, command, args);
    return spawn(program, all, { stdio, env: systemEnvironment() });
  }

  spawnOnBridge(command: string, args: readonly string[], stdio: StdioOptions): ChildProcess {
    return this.spawnAt(LAN, command, args, stdio);
  }

  /** Pulls a station's cable out of the bridge, or puts it back. */
  plug(station: string, isIn: boolean): void {
    this.ip(LAN, ['link', 'set', portOf(station), isIn ? 'up' : 'down']);
  }

  /** How fast frames go to the machine, in kilobits a second; undefined: as fast as it takes them. */
  setMachineSpeed(kilobits: number | undefined): void {
    const bucket = [
      'tbf',
      'rate',
      `${kilobits}kbit`,
      'burst',
      String(BURST_BYTES),
      'limit',
      String(QUEUE_BYTES),
    ];
    const change = kilobits === undefined ? ['del'] : ['replace'];
    const queue = ['dev', TAP, 'root', ...(kilobits === undefined ? [] : bucket)];
    const [program, args] = this.commandAt(LAN, 'tc', ['qdisc', ...change, ...queue]);
    succeed(program, args);
  }

  /** What a station sends to the address is lost, or no longer; what comes from there still arrives. */
  silence(station: string, toAddress: string, isSilent: boolean): void {
    this.ip(station, ['route', isSilent ? 'add' : 'del', 'blackhole', `${toAddress}/32`]);
  }

  /** Ends whatever still runs in the namespaces and removes them. */
  remove(): void {
    for (const namespace of this.#namespaces.splice(0)) removeNamespace(namespace);
  }

  #plugIn(station: Station): void {
    this.#addNamespace(station.name);
    const peer = ['peer', 'name', 'eth0', 'netns', this.#namespaceOf(station.name)];
    const port = portOf(station.name);
    this.ip(LAN, ['link', 'add', port, 'type', 'veth', ...peer]);
    this.ip(LAN, ['link', 'set', port, 'master', 'br0', 'up']);
    this.ip(station.name, ['link', 'set', 'lo', 'up']);
    this.ip(station.name, ['address', 'add', `${station.address}/${LAB_PREFIX_LENGTH}`, 'dev', 'eth0']);
    this.ip(station.name, ['link', 'set', 'eth0', 'up']);
  }

  #addNamespace(name: string): void {
    const namespace = this.#prefix + name;
    succeed('ip', ['netns', 'add', namespace]);
    this.#namespaces.push(namespace);
    succeed('ip', ['netns', 'exec', namespace, 'sysctl', '-q', 'net.ipv6.conf.default.disable_ipv6=1']);
  }

  #namespaceOf(name: string): string {
    const namespace = this.#prefix + name;
    if (!this.#namespaces.includes(namespace)) throw new Error(`no station is called ${name}`);
    return namespace;
  }
}

function portOf(station: string): string {
  return `to-${station}`;
}

function removeLeftovers(): void {
  for (const line of succeed('ip', ['netns', 'list']).split('\n')) {
    const namespace = line.split(' ')[0] ?? '';
    const owner = new RegExp(`^${NAME_PREFIX}(\\d+)-`).exec(namespace)?.[1];
    if (owner !== undefined && !isAlive(Number(owner))) removeNamespace(namespace);
  }
}

function removeNamespace(namespace: string): void {
  const pids = finish('ip', ['netns', 'pids', namespace])
    .stdout.split('\n')
    .filter((pid) => pid !== '');
  for (const pid of pids) {
    try {
      process.kill(Number(pid), 'SIGKILL');
    } catch {
      // It ended between being listed and being told to.
    }
  }
  finish('ip', ['netns', 'delete', namespace]);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
