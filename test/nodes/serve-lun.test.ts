import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { serialDistance } from '../../base/serial-number.ts';
import { connectInitiator, type Initiator } from '../../scripts/simulator/iscsi-initiator.ts';
import { login } from '../../scripts/simulator/iscsi-wire.ts';
import { ScsiStatusError } from '../../scripts/simulator/scsi-exchange.ts';

interface Target {
  readonly file: string;
  readonly targetName: string;
  readonly urls: readonly string[];
}

interface Run {
  readonly targets: readonly Target[];
  /** Sends the signal and waits for the end. */
  stop(signal?: NodeJS.Signals): Promise<number | null>;
}

interface Made {
  readonly file: string;
  readonly content: Buffer;
}

interface Ended {
  readonly code: number | null;
  readonly stderr: string;
}

const SIZE_BYTES = 1024 * 1024;

describe('bootfabric serve-lun', () => {
  let directory: string;
  let children: ChildProcess[] = [];
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'bootfabric-serve-lun-'));
  });
  afterEach(async () => {
    for (const child of children) child.kill('SIGKILL');
    children = [];
    await rm(directory, { recursive: true, force: true });
  });

  async function makeFile(name: string): Promise<Made> {
    const file = join(directory, name);
    const content = randomBytes(SIZE_BYTES);
    await writeFile(file, content);
    return { file, content };
  }

  function spawnServe(args: readonly string[], form: readonly string[] = ['--json']): ChildProcess {
    const program = ['dist/node/main.js', 'serve-lun', ...args, ...form];
    const child = spawn(process.execPath, program, { stdio: ['ignore', 'pipe', 'pipe'] });
    children.push(child);
    return child;
  }

  function ended(child: ChildProcess): Promise<Ended> {
    let stderr = '';
    child.stderr?.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    return new Promise((resolve) => child.once('close', (code) => resolve({ code, stderr })));
  }

  async function serve(...args: string[]): Promise<Run> {
    const child = spawnServe([...args, ...(args.includes('--listen') ? [] : ['--listen', '127.0.0.1:0'])]);
    const end = ended(child);
    const report = new Promise<string>((resolve) => {
      let text = '';
      child.stdout?.on('data', (chunk: Buffer) => {
        text += chunk.toString();
        if (text.includes('\n')) resolve(text);
      });
    });
    const first = await Promise.race([report, end]);
    if (typeof first !== 'string') throw new Error(`ended with ${first.code}: ${first.stderr}`);
    return {
      targets: (JSON.parse(first) as { targets: Target[] }).targets,
      stop: async (signal = 'SIGINT') => {
        child.kill(signal);
        return (await end).code;
      },
    };
  }

  function connect({ targetName }: Target, url: string | undefined): Promise<Initiator> {
    const { hostname, port } = new URL((url ?? '').replace('iscsi:', 'http:'));
    return connectInitiator({
      host: hostname,
      port: Number(port),
      targetName,
      initiatorName: 'iqn.2026-11.net.example:client',
    });
  }

  it('serves a file, keeps what is written beside it, and goes on with that', async () => {
    const { file, content } = await makeFile('disk.raw');
    const first = await serve(file);
    const [target] = first.targets as [Target];
    const initiator = await connect(target, target.urls[0]);
    expect(initiator.capacity).toEqual({ blocks: SIZE_BYTES / 512, blockBytes: 512 });
    expect(Buffer.from(await initiator.read(3, 300)).equals(content.subarray(3 * 512, 303 * 512))).toBe(true);
    const written = Buffer.alloc(12_288, 'w');
    await initiator.write(5, written);
    expect(Buffer.from(await initiator.read(5, 24)).equals(written)).toBe(true);
    expect(await first.stop()).toBe(0);
    expect(content.equals(await readFile(file))).toBe(true);

    const second = await serve(file);
    const again = await connect(second.targets[0] as Target, second.targets[0]?.urls[0]);
    expect(Buffer.from(await again.read(5, 24)).equals(written)).toBe(true);
    expect(await second.stop('SIGKILL')).toBe(null);

    // The killed run left its writes; now they go into the file.
    const third = await serve(file, '--writes', 'merge');
    expect(await third.stop('SIGTERM')).toBe(0);
    written.copy(content, 5 * 512);
    expect(content.equals(await readFile(file))).toBe(true);
    expect(await readdir(directory)).toEqual(['disk.raw']);
  }, 60_000);

  it('prints where each file is to be had, for people as well', async () => {
    const files = [await makeFile('a.raw'), await makeFile('b.raw')].map(({ file }) => file);
    const child = spawnServe([...files, '--listen', '127.0.0.1:0'], []);
    const lines = await new Promise<string[]>((resolve) => {
      let text = '';
      child.stdout?.on('data', (chunk: Buffer) => {
        text += chunk.toString();
        if (text.split('\n').length > 2 * files.length) resolve(text.split('\n'));
      });
    });
    for (const [i, file] of files.entries()) {
      expect(lines[2 * i]).toBe(file);
      const { targetName = '', ...at } =
        /^ {2}(?<url>iscsi:\/\/127\.0\.0\.1:\d+\/(?<targetName>[^/]+)\/0)$/.exec(lines[2 * i + 1] ?? '')
          ?.groups ?? {};
      const initiator = await connect({ file, targetName, urls: [] }, at['url']);
      expect(initiator.capacity.blocks).toBe(SIZE_BYTES / 512);
      initiator.destroy();
    }
    const end = ended(child);
    child.kill('SIGINT');
    expect((await end).code).toBe(0);
  }, 60_000);

  it('drops what is written when told so', async () => {
    const { file, content } = await makeFile('disk.raw');
    const run = await serve(file, '--writes', 'discard');
    const initiator = await connect(run.targets[0] as Target, run.targets[0]?.urls[0]);
    await initiator.write(0, Buffer.alloc(4096, 'w'));
    expect(await run.stop()).toBe(0);
    expect(await readdir(directory)).toEqual(['disk.raw']);
    expect(content.equals(await readFile(file))).toBe(true);
  }, 60_000);

  it('refuses writes to a disk that is served read-only', async () => {
    const { file } = await makeFile('disk.raw');
    const run = await serve(file, '--read-only');
    const initiator = await connect(run.targets[0] as Target, run.targets[0]?.urls[0]);
    const refusal = await initiator.write(0, Buffer.alloc(512)).catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(ScsiStatusError);
    expect(String(refusal)).toContain('07/27');
    expect(await run.stop()).toBe(0);
  }, 60_000);

  it('serves several files from several workers at several portals', async () => {
    const files = [await makeFile('a.raw'), await makeFile('b.raw'), await makeFile('c.raw')];
    const listen = ['--listen', '127.0.0.1:0', '--listen', '127.0.0.2:0'];
    const run = await serve(...files.map(({ file }) => file), '--workers', '2', ...listen);
    for (const [i, target] of run.targets.entries()) {
      expect(target.urls).toHaveLength(2);
      for (const url of target.urls) {
        const initiator = await connect(target, url);
        expect(
          Buffer.from(await initiator.read(0, 8)).equals((files[i] as Made).content.subarray(0, 4096)),
        ).toBe(true);
        initiator.destroy();
      }
    }
    // At the portal of another worker: sent on.
    const [a, b] = run.targets as [Target, Target];
    const initiator = await connect(a, b.urls[0]);
    expect(Buffer.from(await initiator.read(0, 8)).equals((files[0] as Made).content.subarray(0, 4096))).toBe(
      true,
    );
    initiator.destroy();
    expect(await run.stop()).toBe(0);
  }, 60_000);

  it('takes as many commands of one initiator at once as told', async () => {
    const { file } = await makeFile('disk.raw');
    const run = await serve(file, '--queue-depth', '5');
    const [{ targetName, urls }] = run.targets as [Target];
    const { hostname: host, port } = new URL((urls[0] ?? '').replace('iscsi:', 'http:'));
    const initiatorName = 'iqn.2026-11.net.example:client';
    const { nextCmdSN, maxCmdSN, wire } = await login({
      host,
      port: Number(port),
      targetName,
      initiatorName,
    });
    expect(serialDistance(nextCmdSN, maxCmdSN)).toBe(4);
    wire.destroy();
    expect(await run.stop()).toBe(0);
  }, 60_000);

  async function refusal(...args: string[]): Promise<{ code: number | null; error: string }> {
    const { code, stderr } = await ended(spawnServe(args));
    const { error } = JSON.parse(stderr) as { error: { code: string; accepted: string } };
    expect(error.accepted.length).toBeGreaterThan(10);
    return { code, error: error.code };
  }

  it('says what is wrong, once, and leaves nothing', async () => {
    const { file } = await makeFile('disk.raw');
    const odd = join(directory, 'odd.raw');
    await writeFile(odd, 'x');
    expect(await refusal()).toEqual({ code: 2, error: 'usage' });
    expect(await refusal(join(directory, 'none'))).toEqual({ code: 1, error: 'bad-file' });
    expect(await refusal(odd)).toEqual({ code: 1, error: 'bad-file' });
    expect(await refusal(directory)).toEqual({ code: 1, error: 'bad-file' });
    expect(await refusal(file, file)).toEqual({ code: 1, error: 'file-twice' });
    const far = ['--listen', '192.0.2.1:3260', '--writes', 'discard'];
    expect(await refusal(file, ...far)).toEqual({ code: 1, error: 'cannot-listen' });
    const notThere = ['--write-log', join(file, 'under')];
    expect(await refusal(file, ...notThere)).toEqual({ code: 1, error: 'no-writes-directory' });
    expect((await readdir(directory)).filter((name) => !name.startsWith('disk.raw'))).toEqual(['odd.raw']);
  }, 60_000);

  it('holds to the file that the writes belong to', async () => {
    const { file } = await makeFile('disk.raw');
    const run = await serve(file);
    expect(await refusal(file)).toEqual({ code: 1, error: 'writes-in-use' });
    const elsewhere = ['--write-log', join(directory, 'elsewhere')];
    const beside = await serve(file, ...elsewhere);
    expect(await refusal(file, '--writes', 'merge', ...elsewhere)).toEqual({ code: 1, error: 'file-in-use' });
    expect(await beside.stop()).toBe(0);
    expect(await refusal(file, '--writes', 'merge', ...elsewhere)).toEqual({ code: 1, error: 'file-in-use' });
    expect(await run.stop()).toBe(0);
    expect(await refusal(file, '--writes', 'discard')).toEqual({ code: 1, error: 'writes-kept' });
    await utimes(file, new Date(), new Date(0));
    expect(await refusal(file)).toEqual({ code: 1, error: 'file-changed' });
  }, 60_000);
});
