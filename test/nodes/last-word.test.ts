import { type ChildProcess, spawn } from 'node:child_process';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { decodeLastWord } from '../../node/peer/last-word.ts';
import { kill } from '../../scripts/lab/process-run.ts';

const HOST = '127.0.0.1';
const WORD = Buffer.alloc(32, 9);
const CLIENT = pathToFileURL(resolve('dist/node/portal/guardian-client.js')).href;
/** Long enough for a guardian that speaks too early to have done so. */
const QUIET_MS = 1_000;
const TIMEOUT_MS = 30_000;

/** A process that has a guardian, in a thread of its own as a node has; "let go" ends that thread. */
const PARENT = `
import { isMainThread, Worker, workerData } from 'node:worker_threads';
import { fileURLToPath } from 'node:url';
const worker = new Worker(process.argv[1], { eval: true, execArgv: [], workerData: { port: Number(process.argv[2]) } });
worker.on('message', (line) => console.log(line));
process.stdin.on('data', () => worker.terminate().then(() => console.log('let go')));
setInterval(() => {}, 1000);
`;
const THREAD = `
const { parentPort, workerData } = require('node:worker_threads');
import(${JSON.stringify(CLIENT)}).then(async ({ GuardianClient }) => {
  const guardian = new GuardianClient({
    interfaceName: null,
    logger: { debug() {}, info() {}, warn() {}, error() {} },
    onExpired() {},
    onGone(reason) { parentPort.postMessage('gone: ' + reason); },
  });
  guardian.testifyTo(Buffer.from('${WORD.toString('hex')}', 'hex'), [{ host: '${HOST}', port: workerData.port }]);
  await guardian.clear([]);
  parentPort.postMessage('ready');
});
`;

describe('the guardian of a real process', () => {
  let socket: Socket;
  let heard: Uint8Array[];
  let parent: ChildProcess;

  beforeEach(async () => {
    heard = [];
    socket = createSocket('udp4');
    socket.on('message', (datagram) => heard.push(datagram));
    await new Promise<void>((done) => socket.bind(0, HOST, done));
    const args = ['--input-type=module', '-e', PARENT, '--', THREAD, String(socket.address().port)];
    parent = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    await said('ready');
  }, TIMEOUT_MS);

  afterEach(async () => {
    parent.kill('SIGCONT');
    await kill(parent);
    socket.close();
  });

  async function said(what: string): Promise<void> {
    for (;;) {
      const [line] = (await once(parent.stdout as NodeJS.ReadableStream, 'data')) as [Buffer];
      if (line.toString().includes(what)) return;
    }
  }

  async function lastWord(): Promise<Uint8Array | undefined> {
    while (heard.length === 0) await sleep(5);
    return decodeLastWord(heard[0] as Uint8Array);
  }

  it('speaks once it has been killed', { timeout: TIMEOUT_MS }, async () => {
    await kill(parent);
    expect(await lastWord()).toEqual(WORD);
  });

  it('does not speak while it stands still', { timeout: TIMEOUT_MS }, async () => {
    parent.kill('SIGSTOP');
    await sleep(QUIET_MS);
    expect(heard).toEqual([]);
    await kill(parent);
    expect(await lastWord()).toEqual(WORD);
  });

  it('does not speak when the thread that it belongs to ends, while another goes on', {
    timeout: TIMEOUT_MS,
  }, async () => {
    const letGo = said('let go');
    parent.stdin?.write('now');
    await letGo;
    await sleep(QUIET_MS);
    expect(heard).toEqual([]);
    await kill(parent);
    expect(await lastWord()).toEqual(WORD);
  });
});
