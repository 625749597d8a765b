import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export type ServerKind = 'ours' | 'tgt-rdwr' | 'tgt-aio';
export const SERVER_KINDS: readonly ServerKind[] = ['ours', 'tgt-rdwr', 'tgt-aio'];

export interface ServerOptions {
  readonly files: readonly string[];
  /** For sockets and what else a server wants to keep. */
  readonly directory: string;
  readonly port: number;
  /** Pinned there; undefined: wherever the system puts it. */
  readonly core: number | undefined;
  readonly workers: number;
  readonly cacheMib: number;
}

export interface RunningServer {
  readonly kind: ServerKind;
  readonly processId: number | undefined;
  /** One for each file. */
  readonly urls: readonly string[];
  /** Processor time of all its threads so far, in seconds. */
  cpuSeconds(): number;
  stop(): Promise<void>;
}

const CLOCK_TICKS_PER_SECOND = 100;
const START_TIMEOUT_MS = 60_000;
const TGT_LUN = 1;

export function startServer(kind: ServerKind, options: ServerOptions): Promise<RunningServer> {
  return kind === 'ours' ? startOurs(options) : startTgt(kind, options);
}

const children = new Set<ChildProcess>();

/** Ends every server at once, as when the program itself is told to end. */
export function killServers(): void {
  for (const child of children) child.kill('SIGKILL');
}

function pinned(core: number | undefined, command: readonly string[]): ChildProcess {
  const [program = '', ...args] = core === undefined ? command : ['taskset', '-c', String(core), ...command];
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  children.add(child);
  child.once('close', () => children.delete(child));
  return child;
}

async function startOurs(options: ServerOptions): Promise<RunningServer> {
  const child = pinned(options.core, [
    process.execPath,
    ...(process.env['BENCH_NODE_OPTIONS']?.split(' ') ?? []),
    join('dist', 'node', 'main.js'),
    'serve-lun',
    ...options.files,
    '--listen',
    `127.0.0.1:${options.port}`,
    ...[
      '--writes',
      'discard',
      '--workers',
      String(options.workers),
      '--cache',
      String(options.cacheMib),
      '--json',
    ],
  ]);
  const report = await firstLine(child);
  const { targets } = JSON.parse(report) as { targets: { urls: [string] }[] };
  return running(
    'ours',
    child,
    targets.map(({ urls }) => urls[0]),
  );
}

function firstLine(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let out = '';
    let err = '';
    child.stdout?.on('data', (chunk: Buffer) => {
      out += chunk.toString();
      if (out.includes('\n')) resolve(out.slice(0, out.indexOf('\n')));
    });
    child.stderr?.on('data', (chunk: Buffer) => (err += chunk.toString()));
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`the server ended with ${code}: ${err}`)));
  });
}

async function startTgt(kind: 'tgt-rdwr' | 'tgt-aio', options: ServerOptions): Promise<RunningServer> {
  const portal = `portal=127.0.0.1:${options.port}`;
  // Its control socket is found by this name and the port number of the control channel.
  process.env['TGT_IPC_SOCKET'] = join(options.directory, kind);
  const control = String(options.port % 10_000);
  const child = pinned(options.core, ['tgtd', '-f', '-C', control, '--iscsi', portal]);
  child.stdout?.resume();
  child.stderr?.resume();
  const server = running(
    kind,
    child,
    options.files.map((_, i) => urlOf(kind, options.port, i)),
  );
  try {
    await controlled(() => tgtadm(control, ['--op', 'show', '--mode', 'target']));
    for (const [i, file] of options.files.entries()) {
      const tid = ['--tid', String(i + 1)];
      const backing = ['-b', file, '--bstype', kind === 'tgt-aio' ? 'aio' : 'rdwr'];
      mustSucceed(tgtadm(control, ['--op', 'new', '--mode', 'target', ...tid, '-T', nameOf(kind, i)]));
      mustSucceed(
        tgtadm(control, [
          '--op',
          'new',
          '--mode',
          'logicalunit',
          ...tid,
          '--lun',
          String(TGT_LUN),
          ...backing,
        ]),
      );
      mustSucceed(tgtadm(control, ['--op', 'bind', '--mode', 'target', ...tid, '-I', 'ALL']));
    }
    return server;
  } catch (error) {
    await server.stop();
    throw error;
  }
}

interface Told {
  readonly status: number | null;
  readonly output: string;
}

function tgtadm(control: string, args: readonly string[]): Told {
  const { status, stdout, stderr } = spawnSync('tgtadm', ['-C', control, '--lld', 'iscsi', ...args]);
  return { status, output: Buffer.concat([stdout, stderr]).toString() };
}

function mustSucceed({ status, output }: Told): void {
  if (status !== 0) throw new Error(`tgtadm ended with ${status}: ${output}`);
}

async function controlled(ask: () => Told): Promise<void> {
  const untilMs = performance.now() + START_TIMEOUT_MS;
  for (let told = ask(); told.status !== 0; told = ask()) {
    if (performance.now() > untilMs) throw new Error(`tgtd does not answer: ${told.output}`);
    await sleep(100);
  }
}

function nameOf(kind: string, file: number): string {
  return `iqn.2026-11.net.example:${kind}-${file}`;
}

function urlOf(kind: string, port: number, file: number): string {
  return `iscsi://127.0.0.1:${port}/${nameOf(kind, file)}/${TGT_LUN}`;
}

function running(kind: ServerKind, child: ChildProcess, urls: readonly string[]): RunningServer {
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  return {
    kind,
    processId: child.pid,
    urls,
    cpuSeconds: () => cpuSecondsOf(child.pid),
    stop: async () => {
      child.kill(kind === 'ours' ? 'SIGINT' : 'SIGKILL');
      await ended;
    },
  };
}

/** User and system time (proc(5), fields 14 and 15 of stat) of a process with all its threads. */
function cpuSecondsOf(pid: number | undefined): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  // The name in parentheses may have spaces.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / CLOCK_TICKS_PER_SECOND;
}
