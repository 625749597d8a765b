import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { ClientDocument } from '../../api/contract/clients.ts';
import type { ImageListDocument } from '../../api/contract/images.ts';
import type { LunDocument, LunListDocument } from '../../api/contract/luns.ts';
import type { NodeStatusDocument } from '../../api/contract/status.ts';
import { EXIT_CODE } from '../../base/exit-code.ts';
import { AdminDesk } from './admin-desk.ts';
import { type Finished, finishAsync, kill, systemEnvironment } from './process-run.ts';

const PROGRAM = resolve('dist/api/cli/main.js');
const NODE_PROGRAM = resolve('dist/node/main.js');
const POLL_MS = 200;
const LOG_TAIL_LINES = 40;
/** On a host that is busy with something else, an election takes many attempts. */
const ELECTION_TIMEOUT_MS = 60_000;
const IMPORT_TIMEOUT_MS = 120_000;
const IMPORT_ATTEMPTS = 4;
const NOTHING_DONE = /"code":"(no-leader|unreachable)"/;

export interface ClusterNode {
  readonly id: string;
  readonly address: string;
}

export interface ClusterOptions {
  /** Everything of the cluster lives below it. */
  readonly folder: string;
  readonly nodes: readonly ClusterNode[];
  /** Each "ADDRESS" or "ADDRESS:PORT". */
  readonly portals: readonly string[];
  /** Called when the nodes' directories have been made and nothing runs yet. */
  readonly beforeStart?: (directoryOf: (node: string) => string) => void;
  /** A node's process ended by itself; undefined: any end but being fenced fails the run. */
  readonly onExit?: (node: string, code: number | null) => void;
  /** Further options of init, as typed. */
  readonly initArguments: readonly string[];
  /** The command line that runs a program where a node is; undefined: where an administrator is. */
  readonly commandAt?: (
    node: string | undefined,
    command: string,
    args: readonly string[],
  ) => [string, string[]];
}

/** A cluster of real node processes, started and administered by the programs a user has. */
export class TestCluster {
  readonly #options: ClusterOptions;
  /** Those that are meant to run. */
  readonly #processes = new Map<string, ChildProcess>();
  #failure: Error | undefined;
  #desk: AdminDesk | undefined;

  constructor(options: ClusterOptions) {
    this.#options = options;
    mkdirSync(options.folder, { recursive: true });
  }

  /** Prepares the cluster's files and starts every node. */
  async start(): Promise<void> {
    for (const program of [PROGRAM, NODE_PROGRAM]) {
      if (!existsSync(program)) throw new Error(`${program} is missing: npm run build`);
    }
    const { nodes, portals, initArguments } = this.#options;
    await this.#command([
      'init',
      '--cluster',
      'it',
      '--out',
      this.#path('cluster'),
      ...nodes.flatMap((node) => ['--node', `${node.id}=${node.address}`]),
      ...portals.flatMap((portal) => ['--portal', portal]),
      ...initArguments,
    ]);
    this.#options.beforeStart?.((id) => this.directoryOf(id));
    for (const node of nodes) this.startNode(node.id);
  }

  startNode(id: string): void {
    const log = openSync(this.logFile(id), 'a');
    const at = this.#options.commandAt ?? plainCommand;
    const args = ['--enable-source-maps', NODE_PROGRAM, 'start', '--data', this.directoryOf(id)];
    const [program, all] = at(id, process.execPath, args);
    const child = spawn(program, all, { stdio: ['ignore', log, log], env: systemEnvironment() });
    closeSync(log);
    this.#processes.set(id, child);
    child.once('exit', (code) => this.#exited(id, child, code));
  }

  /** Ends a node: as a power failure would, but for its operating system, or as a service manager does. */
  async killNode(id: string, signal: 'SIGKILL' | 'SIGTERM' = 'SIGKILL'): Promise<void> {
    const child = this.#processes.get(id);
    if (child === undefined) throw new Error(`node ${id} does not run\n${this.logTail(id)}`);
    this.#processes.delete(id);
    await kill(child, signal);
  }

  /** Undefined while the node does not run. */
  processId(id: string): number | undefined {
    return this.#processes.get(id)?.pid;
  }

  /** The node's own directory, as init made it. */
  directoryOf(id: string): string {
    return this.#path(`cluster/${id}`);
  }

  addressOf(id: string): string {
    const node = this.#options.nodes.find((candidate) => candidate.id === id);
    if (node === undefined) throw new Error(`there is no node ${id}`);
    return node.address;
  }

  /** Whether its process runs, or stands still. */
  isRunning(id: string): boolean {
    return this.#processes.has(id);
  }

  /** Makes a node's process stand still, or go on. Nothing happens where none runs. */
  signalNode(id: string, signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#processes.get(id)?.kill(signal);
  }

  /** @throws Error when a node has ended by itself, but for being fenced */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Where `init` wrote what an administrator signs in with. */
  get profile(): string {
    return this.#path('cluster/admin.json');
  }

  async stop(): Promise<void> {
    const children = [...this.#processes.values()];
    this.#processes.clear();
    await Promise.all([...children.map((child) => kill(child)), this.#desk?.close()]);
    this.#desk = undefined;
  }

  /** As a service manager would: a node that was fenced is started again; any other end of its own is a failure. */
  #exited(id: string, child: ChildProcess, code: number | null): void {
    if (this.#processes.get(id) !== child) return;
    this.#processes.delete(id);
    if (code === EXIT_CODE.fenced) this.startNode(id);
    else if (this.#options.onExit !== undefined) this.#options.onExit(id, code);
    else this.#failure ??= new Error(`node ${id} ended by itself with ${code}\n${this.logTail(id)}`);
  }

  /**
   * Runs the command line as its administrator and returns the JSON document it prints. Where a leader is just
   * being elected, or no node can be reached yet, nothing was done, and it is tried again, as an administrator would.
   */
  async admin(args: readonly string[], timeoutMs = 60_000): Promise<unknown> {
    const deadlineMs = performance.now() + ELECTION_TIMEOUT_MS;
    for (;;) {
      try {
        const all = [...args, '--profile', this.profile, '--json'];
        const stdout = await this.#administer(all, timeoutMs);
        return stdout.trim() === '' ? undefined : (JSON.parse(stdout) as unknown);
      } catch (error) {
        if (!NOTHING_DONE.test(String(error)) || performance.now() > deadlineMs) throw error;
        await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      }
    }
  }

  async status(): Promise<NodeStatusDocument> {
    return (await this.admin(['status'], 10_000)) as NodeStatusDocument;
  }

  /** Waits until the status satisfies the condition. @throws Error with the last status and the nodes' logs */
  async waitForStatus(
    what: string,
    holds: (status: NodeStatusDocument) => boolean,
    timeoutMs: number,
  ): Promise<NodeStatusDocument> {
    const deadlineMs = performance.now() + timeoutMs;
    let last = 'no status';
    while (performance.now() < deadlineMs) {
      this.check();
      try {
        const status = await this.status();
        if (holds(status)) return status;
        last = JSON.stringify(status);
      } catch (error) {
        last = String(error);
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
    throw new Error(`${what}: not within ${timeoutMs} ms; last: ${last}\n${this.allLogTails()}`);
  }

  /** Every portal group has a primary, all nodes in sync and nothing left to bring up to date. */
  async waitUntilWhole(timeoutMs: number): Promise<NodeStatusDocument> {
    return await this.waitForStatus(
      'every portal group whole',
      (status) =>
        status.portalGroups.length > 0 &&
        status.portalGroups.every(
          (group) => group.primary !== null && group.inSync.length === this.#options.nodes.length,
        ),
      timeoutMs,
    );
  }

  /** A node that takes long to be given an image may be fenced on a busy host; then it is given to another. */
  async importImage(name: string, file: string): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        await this.admin(['image', 'import', name, file], IMPORT_TIMEOUT_MS);
        return;
      } catch (error) {
        if (attempt === IMPORT_ATTEMPTS || !/"code":"(unknown-outcome|unreachable)"/.test(String(error)))
          throw error;
        const { images } = (await this.admin(['image', 'list'])) as ImageListDocument;
        if (images.some((image) => image.name === name && image.versions.length > 0)) return;
      }
    }
  }

  /** @param more further options of `client add` */
  async addClient(
    name: string,
    mac: string,
    image: string,
    more: readonly string[] = [],
  ): Promise<ClientDocument> {
    const added = await this.admin(['client', 'add', name, '--mac', mac, '--image', image, ...more]);
    return added as ClientDocument;
  }

  /** A client's disk, and which node serves it at this moment. */
  async lunOf(client: string): Promise<LunDocument & { readonly primary: string }> {
    const { luns } = (await this.admin(['lun', 'list'])) as LunListDocument;
    const lun = luns.find((candidate) => candidate.client === client);
    if (lun === undefined || lun.primary === null)
      throw new Error(`${client} has no disk in ${JSON.stringify(luns)}`);
    return { ...lun, primary: lun.primary };
  }

  logFile(id: string): string {
    return this.#path(`${id}.log`);
  }

  logTail(id: string): string {
    const file = this.logFile(id);
    const lines = existsSync(file) ? readFileSync(file, 'utf8').trimEnd().split('\n') : ['no log'];
    return [`-- ${id}`, ...lines.slice(-LOG_TAIL_LINES)].join('\n');
  }

  allLogTails(): string {
    return this.#options.nodes.map((node) => this.logTail(node.id)).join('\n');
  }

  async #administer(args: readonly string[], timeoutMs: number): Promise<string> {
    const at = this.#options.commandAt ?? plainCommand;
    this.#desk ??= new AdminDesk((command, all) => at(undefined, command, all));
    return outputOf(args, await this.#desk.run(args, timeoutMs));
  }

  async #command(args: readonly string[], timeoutMs = 60_000): Promise<string> {
    const at = this.#options.commandAt ?? plainCommand;
    const [program, all] = at(undefined, process.execPath, [PROGRAM, ...args]);
    return outputOf(args, await finishAsync(program, all, timeoutMs));
  }

  #path(name: string): string {
    return join(this.#options.folder, name);
  }
}

/** @throws Error when a command did not succeed */
function outputOf(args: readonly string[], { status, stdout, stderr }: Finished): string {
  if (status !== 0) throw new Error(`bootfabric ${args.join(' ')} failed (${status}): ${stderr}${stdout}`);
  return stdout;
}

function plainCommand(
  _node: string | undefined,
  command: string,
  args: readonly string[],
): [string, string[]] {
  return [command, [...args]];
}
