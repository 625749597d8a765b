import { spawn } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { transformSync } from '@swc/core';
import type { Exhibit } from './exhibits.ts';

/** Where npm runs scripts and tests. */
const ROOT = process.cwd();
/** All that a simulation is made of. */
const SOURCES = [
  'base',
  'cluster',
  'storage/log',
  'test/sim/cluster',
  'test/sim/linearizability.ts',
  'test/sim/network.ts',
  'test/sim/world.ts',
  'test/support/faulty-disk.ts',
  'scripts/simulate.ts',
];

/** What running some seeds came to. */
export interface Visit {
  /** The first seed that failed; undefined: none did. */
  readonly seed: number | undefined;
  readonly violation: string | undefined;
  readonly seeds: number;
}

/** Copies of the sources in a folder of their own, made into JavaScript: one as it is, one for each fault. */
export class Gallery {
  readonly #folder: string;
  readonly #sound: string;

  /** @param folder empty, and the caller's to remove */
  constructor(folder: string) {
    this.#folder = folder;
    this.#sound = join(folder, 'sound');
    for (const source of SOURCES) for (const file of filesOf(source)) this.#translate(this.#sound, file);
    mkdirSync(this.#sound, { recursive: true });
    writeFileSync(join(this.#sound, 'package.json'), '{"type":"module"}');
    symlinkSync(join(ROOT, 'node_modules'), join(this.#sound, 'node_modules'));
  }

  #translate(into: string, file: string, text = readFileSync(join(ROOT, file), 'utf8')): void {
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

  /** Runs seeds of the sources as they are. */
  visitSound(firstSeed: number, count: number): Promise<Visit> {
    return simulate(this.#sound, firstSeed, count);
  }

  /**
   * Runs seeds of the sources with a fault in them, until one fails.
   * @throws when the sources have changed so that the fault fits no more
   */
  visit(exhibit: Exhibit): Promise<Visit> {
    const copy = join(this.#folder, exhibit.name.replaceAll(/\W+/g, '-'));
    cpSync(this.#sound, copy, { recursive: true, verbatimSymlinks: true });
    for (const file of new Set(exhibit.edits.map((e) => e.file))) {
      let text = readFileSync(join(ROOT, file), 'utf8');
      for (const edit of exhibit.edits.filter((e) => e.file === file)) {
        const times = text.split(edit.sound).length - 1;
        if (times !== 1) {
          throw new Error(`"${exhibit.name}": in ${file} there is ${times} times, not once: ${edit.sound}`);
        }
        text = text.replace(edit.sound, () => edit.faulty);
      }
      this.#translate(copy, file, text);
    }
    return simulate(copy, 1, exhibit.seeds);
  }
}

function filesOf(source: string): string[] {
  if (source.endsWith('.ts')) return [source];
  return readdirSync(join(ROOT, source), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'))
    .map((file) => join(source, file));
}

interface Totals {
  readonly seeds: number;
  readonly failures: readonly { readonly seed: number; readonly violation: string }[];
}

function simulate(copy: string, firstSeed: number, count: number): Promise<Visit> {
  const script = join(copy, 'scripts', 'simulate.js');
  const args = [script, '--seed', String(firstSeed), '--count', String(count), '--json'];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
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
      try {
        const totals = JSON.parse(output.trim().split('\n').at(-1) ?? '') as Totals;
        const [failure] = totals.failures;
        resolve({ seed: failure?.seed, violation: failure?.violation, seeds: totals.seeds });
      } catch (error) {
        reject(
          new Error(`the simulator did not come to an end: ${complaints.slice(0, 2000)}`, { cause: error }),
        );
      }
    });
  });
}
