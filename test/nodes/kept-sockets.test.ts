import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { parseIpv4 } from '../../base/ipv4.ts';
import { nudgeConnections } from '../../node/net/tcp-nudge.ts';
import { TAKEOVER_WAIT_MS } from '../../node/portal/limits.ts';
import { Lab, SITE_ADDRESS } from '../../scripts/lab/lab.ts';
import { kill } from '../../scripts/lab/process-run.ts';
import { enterNamespace, homeNamespacePath } from '../interop/namespaces.ts';
import { describeWhere } from '../support/requirements.ts';
import { until } from './support/cluster-fixture.ts';

const PORTAL = '10.77.0.101';
const PORT = 3260;
const TIMEOUT_MS = 60_000;
const MANY = 20;
const CLIENT = pathToFileURL(resolve('dist/node/portal/guardian-client.js')).href;
const NEEDS = {
  root: true,
  commands: ['ip', 'sysctl'],
  files: ['/dev/net/tun'],
  enableWith: 'apt-get install --no-install-recommends iproute2 procps (and run as root)',
};

/** Holds the address, has its guardian keep whoever connects, and ends connections when told how. */
const PARENT = `
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
const { GuardianClient } = await import(${JSON.stringify(CLIENT)});
const logger = { debug() {}, info() {}, warn(...words) { console.log('warn ' + JSON.stringify(words)); }, error() {} };
const guardian = new GuardianClient({ interfaceName: 'eth0', logger, onExpired() {}, onGone() {} });
await guardian.hold('${PORTAL}');
setInterval(() => guardian.renew(), 100);
const open = [];
createServer({ noDelay: true }, (socket) => {
  const kept = guardian.keep(socket);
  socket.on('error', () => {});
  socket.on('close', () => kept?.release());
  socket.resume();
  open.push({ socket, kept });
  console.log(kept === undefined ? 'not kept' : 'kept');
}).listen(${PORT}, '${PORTAL}', () => console.log('listening'));
createInterface({ input: process.stdin }).on('line', (how) => {
  for (const { socket, kept } of open.splice(0)) {
    if (how === 'end') socket.end('the last bytes');
    else kept.abort(), socket.resetAndDestroy();
  }
});
`;

describeWhere(NEEDS, 'connections that a guardian keeps', () => {
  let lab: Lab;
  let parent: ChildProcess;
  let guardian: number;
  let lines: string[];
  const initiators: Socket[] = [];

  beforeAll(() => {
    const stations = ['n1', 'n2'].map((name, i) => ({ name, address: `10.77.0.1${i + 1}` }));
    lab = new Lab([...stations, { name: 'site', address: SITE_ADDRESS }]);
    enterNamespace(lab.namespacePath('site'));
  });

  afterAll(() => {
    enterNamespace(homeNamespacePath);
    lab?.remove();
  });

  /** As a supervisor does that waits for nothing but the process itself. */
  async function startParent(): Promise<void> {
    lines = [];
    const args = ['--input-type=module', '-e', PARENT];
    parent = lab.spawnAt('n1', process.execPath, args, ['pipe', 'pipe', 'inherit']);
    createInterface({ input: parent.stdout as NodeJS.ReadableStream }).on('line', (line) => lines.push(line));
    await until('it listens', async () => lines.includes('listening'));
  }

  beforeEach(async () => {
    await startParent();
    const children = readdirSync('/proc').filter(
      (name) => /^\d+$/.test(name) && parentOf(name) === parent.pid,
    );
    expect(children).toHaveLength(1);
    guardian = Number(children[0]);
  }, TIMEOUT_MS);

  afterEach(async () => {
    for (const socket of initiators.splice(0)) socket.destroy();
    if (isThere(guardian)) process.kill(guardian, 'SIGCONT');
    await kill(parent);
    await until('its guardian has ended', async () => !isThere(guardian));
    await until('the address is off', async () => !lab.ip('n1', ['address', 'show']).includes(PORTAL));
  });

  /** A connection, with how it ended and when. */
  async function connected(): Promise<{ socket: Socket; end: Promise<{ how: string; atMs: number }> }> {
    const kept = lines.filter((line) => line === 'kept').length;
    const socket = connect(PORT, PORTAL);
    initiators.push(socket);
    const end = new Promise<{ how: string; atMs: number }>((done) => {
      const at = (how: string): void => done({ how, atMs: performance.now() });
      socket.on('error', (error: NodeJS.ErrnoException) => at(error.code ?? '?'));
      socket.on('end', () => at('FIN'));
    });
    await once(socket, 'connect');
    await until('it is kept', async () => lines.filter((line) => line === 'kept').length > kept);
    return { socket, end };
  }

  it('outlive their process, and are reset when nobody has taken over', { timeout: TIMEOUT_MS }, async () => {
    const { socket, end } = await connected();
    socket.resume();
    const killedMs = performance.now();
    await kill(parent);
    const { how, atMs } = await end;
    expect(how).toBe('ECONNRESET');
    expect(atMs - killedMs).toBeGreaterThanOrEqual(TAKEOVER_WAIT_MS);
  });

  it('of a process that is started again at once end beside the guardian of the one before, which leaves it the address', {
    timeout: TIMEOUT_MS,
  }, async () => {
    const before = await connected();
    before.socket.resume();
    await kill(parent);
    await startParent();
    expect(isThere(guardian), 'the guardian waits for a takeover').toBe(true);
    const after = await connected();
    const ended: string[] = [];
    void after.end.then(({ how }) => ended.push(how));
    expect((await before.end).how).toBe('ECONNRESET');
    await until('the guardian has ended', async () => !isThere(guardian));
    expect(lab.ip('n1', ['address', 'show'])).toContain(PORTAL);
    const received: Buffer[] = [];
    after.socket.on('data', (bytes: Buffer) => received.push(bytes));
    expect(ended).toEqual([]);
    parent.stdin?.write('end\n');
    await after.end;
    expect(Buffer.concat(received).toString()).toBe('the last bytes');
  });

  it('are reset by whoever takes the address over', {
    timeout: TIMEOUT_MS,
  }, async () => {
    const { socket, end } = await connected();
    socket.resume();
    const hasAddress = (station: string): boolean => lab.ip(station, ['address', 'show']).includes(PORTAL);
    await kill(parent);
    await until('the address is off', async () => !hasAddress('n1'));
    // What comes now is not from it.
    process.kill(guardian, 'SIGSTOP');
    lab.ip('n2', ['address', 'add', `${PORTAL}/32`, 'dev', 'eth0']);
    try {
      const told = ['neigh', 'replace', PORTAL, 'lladdr', lab.macOf('n2'), 'dev', 'eth0'];
      lab.ip('site', told);
      enterNamespace(lab.namespacePath('n2'));
      const from = { address: parseIpv4(PORTAL), port: PORT };
      nudgeConnections(from, [{ address: parseIpv4(SITE_ADDRESS), port: socket.localPort as number }]);
      enterNamespace(lab.namespacePath('site'));
      expect((await end).how).toBe('ECONNRESET');
    } finally {
      enterNamespace(lab.namespacePath('site'));
      lab.ip('n2', ['address', 'del', `${PORTAL}/32`, 'dev', 'eth0']);
      lab.ip('site', ['neigh', 'del', PORTAL, 'dev', 'eth0']);
    }
  });

  it.each([
    ['reset', 'ECONNRESET'],
    ['end', 'FIN'],
  ])(
    'end by %s as the node says, even when the guardian stands still',
    { timeout: TIMEOUT_MS },
    async (order, how) => {
      const { socket, end } = await connected();
      const received: Buffer[] = [];
      socket.on('data', (bytes: Buffer) => received.push(bytes));
      process.kill(guardian, 'SIGSTOP');
      parent.stdin?.write(`${order}\n`);
      expect((await end).how).toBe(how);
      expect(Buffer.concat(received).toString()).toBe(order === 'end' ? 'the last bytes' : '');
    },
  );

  it.each(['reset', 'end'])('are given back after a %s', { timeout: TIMEOUT_MS }, async (order) => {
    const count = (): number => readdirSync(`/proc/${guardian}/fd`).length;
    const before = count();
    const made = [];
    for (let i = 0; i < MANY; i++) made.push(await connected());
    for (const { socket } of made) socket.resume();
    await until('all are kept', async () => count() === before + MANY);
    parent.stdin?.write(`${order}\n`);
    await Promise.all(made.map(({ end }) => end));
    await until('none is', async () => count() === before);
  });

  it('are given back when the initiator ends them', { timeout: TIMEOUT_MS }, async () => {
    const count = (): number => readdirSync(`/proc/${guardian}/fd`).length;
    const before = count();
    const { socket, end } = await connected();
    socket.resume();
    await until('it is kept', async () => count() === before + 1);
    socket.end();
    expect((await end).how).toBe('FIN');
    await until('it is not', async () => count() === before);
  });
});

function parentOf(pid: string): number | undefined {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    return Number(/^PPid:\s*(\d+)/m.exec(status)?.[1]);
  } catch {
    return undefined;
  }
}

function isThere(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
