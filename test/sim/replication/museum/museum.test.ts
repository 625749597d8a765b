import { spawn } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { transformSync } from '@swc/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EXHIBITS, type Exhibit } from './exhibits.ts';

const ROOT = join(import.meta.dirname, '../../../..');
/** All that a simulation of replication is made of. */
const SOURCES = ['base', 'storage', 'test/sim/replication', 'test/sim/network.ts', 'test/sim/world.ts'];
const TIMEOUT_MS = 240_000;
/** Seeds of a copy without a fault that must pass: what is found elsewhere is then the fault's doing. */
const SOUND_SEEDS = 20;

/** Runs seeds until one fails, and prints it. */
const DRIVER = `
import { Simulation } from './test/sim/replication/simulation.js';
const seeds = Number(process.argv[2]);
let found = { seed: 0, violation: '' };
for (let seed = 1; seed <= seeds && found.seed === 0; seed++) {
  const { violation } = await new Simulation({ seed }).run();
  if (violation !== undefined) found = { seed, violation };
}
process.stdout.write(JSON.stringify(found) + '\\n');
process.exit(0);
`;

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'bootfabric-replication-museum-'));
  const sound = join(folder, 'sound');
  for (const file of SOURCES.flatMap(filesOf)) translate(sound, file, readFileSync(join(ROOT, file), 'utf8'));
  writeFileSync(join(sound, 'package.json'), '{"type":"module"}');
  writeFileSync(join(sound, 'driver.js'), DRIVER);
  cpSync(join(ROOT, 'node_modules', '@node-rs'), join(folder, 'node_modules', '@node-rs'), {
    recursive: true,
    dereference: true,
  });
}, TIMEOUT_MS);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

function filesOf(source: string): string[] {
  if (source.endsWith('.ts')) return [source];
  return readdirSync(join(ROOT, source), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'))
    .map((file) => join(source, file));
}

function translate(into: string, file: string, text: string): void {
  const path = join(into, file.replace(/\.ts$/, '.js'));
  mkdirSync(dirname(path), { recursive: true });
  const { code } = transformSync(text, {
    filename: file,
    jsc: { parser: { syntax: 'typescript' }, target: 'es2022' },
    configFile: false,
    swcrc: false,
  });
  writeFileSync(path, code.replaceAll(/(from\s*["'])(\.[^"']*)\.ts(["'])/g, '$1$2.js$3'));
}

function visit(copy: string, seeds: number): Promise<{ seed: number; violation: string }> {
  const child = spawn(process.execPath, [join(copy, 'driver.js'), String(seeds)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  let complaints = '';
  child.stdout.setEncoding('utf8').on('data', (part: string) => {
    output += part;
  });
  child.stderr.setEncoding('utf8').on('data', (part: string) => {
    complaints += part;
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', () => {
      if (output === '') reject(new Error(`the simulator did not end well: ${complaints.slice(0, 2_000)}`));
      else resolve(JSON.parse(output) as { seed: number; violation: string });
    });
  });
}

function exhibit({ name, file, sound, faulty }: Exhibit): string {
  const text = readFileSync(join(ROOT, file), 'utf8');
  const times = text.split(sound).length - 1;
  if (times !== 1) throw new Error(`"${name}": in ${file} there is ${times} times, not once: ${sound}`);
  const copy = join(folder, name.replaceAll(/\W+/g, '-'));
  cpSync(join(folder, 'sound'), copy, { recursive: true });
  translate(
    copy,
    file,
    text.replace(sound, () => faulty),
  );
  return copy;
}

describe('the simulator of replication', () => {
  it('finds nothing in a copy without a fault', { timeout: TIMEOUT_MS }, async () => {
    expect(await visit(join(folder, 'sound'), SOUND_SEEDS)).toEqual({ seed: 0, violation: '' });
  });

  it.each(EXHIBITS)('finds $name', { timeout: TIMEOUT_MS }, async (fault) => {
    const { seed, violation } = await visit(exhibit(fault), fault.seeds);
    expect(seed, `within ${fault.seeds} seeds`).toBeGreaterThan(0);
    expect(violation).not.toBe('');
  });

  it('does not pass over a fault that fits no more', () => {
    const gone = { name: 'gone', file: 'base/crc32c.ts', sound: 'no such line', faulty: '', seeds: 1 };
    expect(() => exhibit(gone)).toThrow('0 times, not once');
  });
});
