import { execFileSync, spawn } from 'node:child_process';
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startFileNode } from './one-node.ts';

const ROOT = resolve(import.meta.dirname, '../../../..');
const KILLS = 4;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bootfabric-sigkill-'));
  // A process of its own needs the program as JavaScript.
  await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  const config = {
    extends: join(ROOT, 'tsconfig.json'),
    compilerOptions: {
      noEmit: false,
      noCheck: true,
      rootDir: ROOT,
      outDir: join(folder, 'built'),
      typeRoots: [join(ROOT, 'node_modules/@types')],
    },
    include: [],
    files: [join(ROOT, 'test/unit/cluster/sigkill/writer.ts')],
  };
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(config));
  await writeFile(join(folder, 'package.json'), '{"type":"module"}');
  execFileSync(join(ROOT, 'node_modules/.bin/tsc'), ['-p', join(folder, 'tsconfig.json')], { cwd: folder });
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

/** Lets the writer run until it has acknowledged some, kills it there, and gives the lines it wrote. */
async function killedWriter(data: string, round: number): Promise<string[]> {
  const program = join(folder, 'built/test/unit/cluster/sigkill/writer.js');
  const child = spawn(process.execPath, [program, data, `${round}`], { stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  let complaints = '';
  child.stderr.on('data', (chunk: Buffer) => {
    complaints += chunk.toString();
  });
  child.stdout.on('data', (chunk: Buffer) => {
    said += chunk.toString();
    if (said.split('\n').length > 150 + round * 77) child.kill('SIGKILL');
  });
  const signal = await new Promise((done) => child.once('close', (_, how) => done(how)));
  expect(complaints).toBe('');
  expect(signal).toBe('SIGKILL');
  return said.split('\n').slice(0, -1);
}

it('nothing acknowledged is lost to SIGKILL', async () => {
  const data = join(folder, 'data');
  const acknowledged = new Map<string, number>();
  for (let round = 1; round <= KILLS; round++) {
    for (const line of await killedWriter(data, round)) {
      const [name = '', sizeBytes] = line.split(' ');
      acknowledged.set(name, Math.max(Number(sizeBytes), acknowledged.get(name) ?? 0));
    }
    const restarted = await startFileNode(data, `parent-${round}`, 1000 + round);
    const { bootFiles } = restarted.node.state();
    expect(acknowledged.size).toBeGreaterThan(100);
    for (const [name, sizeBytes] of acknowledged) {
      // A later write of the same name may have been applied and not yet acknowledged.
      expect(bootFiles[name]?.sizeBytes ?? 0, name).toBeGreaterThanOrEqual(sizeBytes);
    }
    await restarted.stop();
  }
}, 60_000);
