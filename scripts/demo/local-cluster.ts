import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream, existsSync, readFileSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { NodeStatusDocument } from '../../api/contract/status.ts';
import { EXIT_CODE } from '../../base/exit-code.ts';

/**
 * A cluster of real node processes on loopback, without privileges: every node and every portal has an
 * address of its own in 127.0.0.0/8, so all use the same ports.
 */
export interface LocalClusterOptions {
  /** Made if it is not there; keys, logs and disks go in it. */
  readonly directory: string;
  readonly nodeIds: readonly string[];
  /** Those it begins with; the others come by join(). Default: all. */
  readonly firstIds?: readonly string[];
  readonly portalCount: number;
  /** Data-plane workers of each node. Default 1. */
  readonly workers?: number;
  /** Nodes are started by `bootfabric start`, which decides itself whether they are started again. Default: not so. */
  readonly supervised?: boolean;
  /** First three octets of all addresses, in 127.0.0.0/8, as "127.80.3". */
  readonly network: string;
}

/** Unprivileged stand-ins for the ports below 1024. */
export const LOCAL_PORTS = { dhcp: 6767, pxe: 6411, tftp: 6969, http: 7480, iscsi: 3260 } as const;
const API_PORT = 7443;
/** Of init, join and restore. */
export const PORTS_OPTION = Object.entries(LOCAL_PORTS)
  .map(([name, port]) => `${name}=${port}`)
  .join(',');

const READY_TIMEOUT_MS = 120_000;
const REQUEST_TIMEOUT_MS = 5_000;
const STOP_TIMEOUT_MS = 8_000;
const POLL_MS = 100;
/** A node that was told to stop, or removed. */
const WELL_ENDED: readonly number[] = [EXIT_CODE.stopped, EXIT_CODE.removed];

// Run from its TypeScript source, as tests do, this file is above the built programs, not among them.
const fromSource = import.meta.url.endsWith('.ts');
const built = fileURLToPath(new URL(fromSource ? '../../dist/' : '../../', import.meta.url));
const CLI = join(built, 'api/cli/main.js');
const NODE = join(built, 'node/main.js');

export interface CommandOutcome {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export class LocalCluster {
  readonly #options: LocalClusterOptions;
  readonly #processes = new Map<string, ChildProcess>();
  #stopping = false;

  constructor(options: LocalClusterOptions) {
    this.#options = options;
  }

  get network(): string {
    return this.#options.network;
  }

  get profile(): string {
    return join(this.#options.directory, 'cluster', 'admin.json');
  }

  /** The directory that a node is started with. */
  nodeDirectory(nodeId: string): string {
    return join(this.#options.directory, 'cluster', nodeId);
  }

  nodeAddress(nodeId: string): string {
    return `${this.#options.network}.${11 + this.#options.nodeIds.indexOf(nodeId)}`;
  }

  logFile(nodeId: string): string {
    return join(this.#options.directory, `${nodeId}.log`);
  }

  /** Runs `bootfabric init`. @throws Error with what it said when it refuses, or when nothing is built */
  async init(): Promise<void> {
    for (const program of [CLI, NODE]) {
      if (!existsSync(program)) throw new Error(`${program} is missing: run "npm run build" first`);
    }
    await mkdir(this.#options.directory, { recursive: true });
    const { network, nodeIds, portalCount, workers = 1, firstIds = nodeIds } = this.#options;
    await this.#mustRun([
      'init',
      ...['--cluster', 'demo', '--out', join(this.#options.directory, 'cluster')],
      ...firstIds.flatMap((id) => ['--node', `${id}=${this.nodeAddress(id)}`]),
      ...Array.from({ length: portalCount }, (_, i) => ['--portal', `${network}.${101 + i}`]).flat(),
      ...['--dhcp', 'full', '--dhcp-subnet', `${network}.0/24`],
      ...['--dhcp-range', `${network}.150-${network}.250`, '--ports', PORTS_OPTION],
      ...['--workers', String(workers)],
    ]);
  }

  /** Lets a node in by a join token of its own, and tells the administrator's profile where it is. */
  async join(nodeId: string): Promise<void> {
    const { token } = (await this.cliJson(['node', 'token'])) as { token: string };
    const where = ['--id', nodeId, '--address', this.nodeAddress(nodeId)];
    await this.#mustRun([
      ...['join', token, ...where, '--out', this.nodeDirectory(nodeId), '--ports', PORTS_OPTION],
    ]);
    const profile = JSON.parse(await readFile(this.profile, 'utf8')) as { apiUrls: string[] };
    profile.apiUrls.push(`https://${this.nodeAddress(nodeId)}:${API_PORT}`);
    await writeFile(this.profile, JSON.stringify(profile));
  }

  /** The exit code of a node that has ended; null while it runs, or when a signal ended it. */
  exitCode(nodeId: string): number | null {
    return this.#processes.get(nodeId)?.exitCode ?? null;
  }

  /** Whether a node that was started runs no more, whatever ended it. */
  hasEnded(nodeId: string): boolean {
    const child = this.#processes.get(nodeId);
    return child !== undefined && (child.exitCode !== null || child.signalCode !== null);
  }

  /** Starts a node's process, and again when it is fenced, as a service manager would. Its log goes to a file. */
  start(nodeId: string): void {
    const program = this.#options.supervised === true ? [CLI] : ['--enable-source-maps', NODE];
    const args = [...program, 'start', '--data', this.nodeDirectory(nodeId)];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    const log = createWriteStream(this.logFile(nodeId), { flags: 'a' });
    child.stdout?.pipe(log, { end: false });
    child.stderr?.pipe(log, { end: false });
    // Its last words may come after its exit.
    child.on('close', () => log.end());
    child.on('exit', (code) => {
      if (code === EXIT_CODE.fenced && !this.#stopping) this.start(nodeId);
    });
    this.#processes.set(nodeId, child);
  }

  /** Of the node itself, also where another process looks after it. */
  processId(nodeId: string): number | undefined {
    const child = this.#processes.get(nodeId);
    const isRunning = child?.exitCode === null && child.signalCode === null;
    if (!isRunning || child.pid === undefined || this.#options.supervised !== true) {
      return isRunning ? child?.pid : undefined;
    }
    return childOf(child.pid);
  }

  /** Kills a node's process at once, as a crash would; resolves when it is gone. */
  async kill(nodeId: string, signal: 'SIGKILL' | 'SIGTERM' = 'SIGKILL'): Promise<void> {
    const child = this.#processes.get(nodeId);
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    this.signal(nodeId, signal);
    await gone;
  }

  /** Sends a signal without waiting, as SIGSTOP and SIGCONT want. */
  signal(nodeId: string, signal: NodeJS.Signals): void {
    const supervisedId = this.#options.supervised === true ? this.processId(nodeId) : undefined;
    this.#processes.get(nodeId)?.kill(signal);
    // It cannot pass that one on, nor start the node again.
    if (signal === 'SIGKILL' && supervisedId !== undefined) process.kill(supervisedId, signal);
  }

  /** Ends every node this object started. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all(
      [...this.#processes.keys()].map(async (nodeId) => {
        const hard = setTimeout(() => this.signal(nodeId, 'SIGKILL'), STOP_TIMEOUT_MS);
        await this.kill(nodeId, 'SIGTERM');
        clearTimeout(hard);
      }),
    );
  }

  /** Runs one `bootfabric` command that needs no cluster to talk to. */
  offline(args: readonly string[]): Promise<CommandOutcome> {
    return this.#run(args);
  }

  /** Runs one `bootfabric` command as the administrator and gives back what it printed. */
  cli(args: readonly string[]): Promise<CommandOutcome> {
    return this.cliAs(this.profile, args);
  }

  /** The same with the profile of somebody else. */
  cliAs(profile: string, args: readonly string[]): Promise<CommandOutcome> {
    return this.#run([...args, '--profile', profile]);
  }

  /** Runs one command with --json. @throws Error with what it said when it fails */
  async cliJson(args: readonly string[]): Promise<unknown> {
    const stdout = await this.#mustRun([...args, '--profile', this.profile, '--json']);
    return JSON.parse(stdout) as unknown;
  }

  /**
   * Waits until every portal group is served by its primary, with the given number of members in sync.
   * @throws Error saying what is missing, after a bounded time or when a node has ended by itself
   */
  async waitUntilServing(inSync: number): Promise<void> {
    const deadlineMs = Date.now() + READY_TIMEOUT_MS;
    let last = 'no node has answered yet';
    while (Date.now() < deadlineMs) {
      last = await this.#notServed(inSync);
      if (last === '') return;
      for (const nodeId of this.#options.nodeIds) await this.#refuseDead(nodeId);
      await sleep(POLL_MS);
    }
    throw new Error(`the cluster is not ready after ${READY_TIMEOUT_MS / 1000} s: ${last}`);
  }

  /** What one node says of itself and the cluster. @throws Error when it does not answer */
  async status(nodeId: string): Promise<NodeStatusDocument> {
    // Asked again and again while the cluster comes up, so without a process for each time.
    const { token, caCertificate } = await this.#administrator();
    return new Promise((resolve, reject) => {
      const outgoing = request(
        {
          ...{ host: this.nodeAddress(nodeId), port: API_PORT, path: '/api/v1/status', ca: caCertificate },
          headers: { authorization: `Bearer ${token}` },
          timeout: REQUEST_TIMEOUT_MS,
        },
        (response) => {
          text(response).then((body) => {
            if (response.statusCode === 200) resolve(JSON.parse(body) as NodeStatusDocument);
            else reject(new Error(`node ${nodeId} answered ${response.statusCode}: ${body}`));
          }, reject);
        },
      );
      outgoing.on('timeout', () => outgoing.destroy(new Error(`node ${nodeId} does not answer`)));
      outgoing.on('error', reject);
      outgoing.end();
    });
  }

  async #administrator(): Promise<{ token: string; caCertificate: string }> {
    return JSON.parse(await readFile(this.profile, 'utf8')) as { token: string; caCertificate: string };
  }

  async #notServed(inSync: number): Promise<string> {
    const running = this.#options.nodeIds.filter((id) => this.processId(id) !== undefined);
    const answers = await Promise.allSettled(running.map((id) => this.status(id)));
    const statuses = answers.flatMap((a) => (a.status === 'fulfilled' ? [a.value] : []));
    const groups = statuses[0]?.portalGroups ?? [];
    if (statuses.length < running.length || groups.length === 0) return 'not every node answers yet';
    const waiting = groups.filter((group) => {
      const views = statuses.flatMap((s) => s.portalGroups.filter((g) => g.id === group.id));
      return !views.some((v) => v.serving) || views.some((v) => v.inSync.length < inSync);
    });
    if (waiting.length === 0) return '';
    return `portal groups ${waiting.map((g) => g.id).join(', ')} are not served with ${inSync} in sync`;
  }

  async #refuseDead(nodeId: string): Promise<void> {
    const child = this.#processes.get(nodeId);
    if (child === undefined || child.exitCode === null || WELL_ENDED.includes(child.exitCode)) return;
    const log = await readFile(this.logFile(nodeId), 'utf8');
    throw new Error(`node ${nodeId} ended with ${child.exitCode}:\n${log.split('\n').slice(-15).join('\n')}`);
  }

  async #mustRun(args: readonly string[]): Promise<string> {
    const outcome = await this.#run(args);
    if (outcome.status === 0) return outcome.stdout;
    const said = (outcome.stderr + outcome.stdout).trim();
    throw new Error(`bootfabric ${args.slice(0, 2).join(' ')} ended with ${outcome.status}: ${said}`);
  }

  #run(args: readonly string[]): Promise<CommandOutcome> {
    return new Promise((resolve, reject) => {
      const child = spawn(process.execPath, [CLI, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
      let stdout = '';
      let stderr = '';
      child.stdout.on('data', (data: Buffer) => {
        stdout += data.toString();
      });
      child.stderr.on('data', (data: Buffer) => {
        stderr += data.toString();
      });
      child.on('error', reject);
      child.on('close', (status) => resolve({ status: status ?? 1, stdout, stderr }));
    });
  }
}

/** The one process that another has started, where it has. */
function childOf(processId: number): number | undefined {
  try {
    const [first = ''] = readFileSync(`/proc/${processId}/task/${processId}/children`, 'utf8').split(' ');
    return first === '' ? undefined : Number(first);
  } catch {
    // It has ended meanwhile.
    return undefined;
  }
}
