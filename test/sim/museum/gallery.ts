import { spawn } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { transformSync } from '@swc/core';
import type { Exhibit } from './exhibit.ts';

/** Where npm runs scripts and tests. */
const ROOT = process.cwd();
/** A simulator of which copies are made. */
export interface Subject {
  /** All that a simulation is made of. */
  readonly sources: readonly string[];
  /** Takes --seed, --count and --json, and prints one line of JSON for all seeds at the end. */
  readonly script: string;
  /** What it is told besides. */
  readonly options: readonly string[];
}

const SHARED = ['base', 'test/sim/guardians.ts', 'test/sim/network.ts', 'test/sim/world.ts'];

export const CLUSTER: Subject = {
  sources: [
    ...SHARED,
    'cluster',
    'storage/log',
    'test/sim/cluster',
    'test/sim/linearizability.ts',
    'test/support/faulty-disk.ts',
    'scripts/simulate.ts',
  ],
  script: 'scripts/simulate.js',
  options: [],
};

export const REPLICATION: Subject = {
  sources: [
    ...SHARED,
    'storage',
    'node/scsi',
    'node/iscsi',
    'test/sim/replication',
    'test/sim/units',
    'test/sim/linearizability.ts',
    'test/sim/seed-runner.ts',
  ],
  script: 'test/sim/replication/run-seeds.js',
  options: [],
};

/** Units that initiators share. */
export const UNITS: Subject = { ...REPLICATION, script: 'test/sim/units/run-seeds.js' };

/** Members that are slow. */
export const SLOW_MEMBERS: Subject = {
  ...REPLICATION,
  script: 'test/sim/replication/run-slow-members.js',
};

/** Primaries whose disks take nothing. */
export const HUNG_PRIMARIES: Subject = {
  ...REPLICATION,
  script: 'test/sim/replication/run-hung-primaries.js',
};

/** Reads under way when another member follows. */
export const LATE_READS: Subject = {
  ...REPLICATION,
  script: 'test/sim/replication/run-late-reads.js',
};

/** Groups started from a copy that lacks what was acknowledged. */
export const LESSER_COPIES: Subject = {
  ...REPLICATION,
  script: 'test/sim/replication/run-lesser-copies.js',
};

/** Disks that fail to sync. */
export const FAILING_DISKS: Subject = {
  ...REPLICATION,
  script: 'test/sim/replication/run-failing-disks.js',
};

/** Lives of one log. */
export const LOG_LIVES: Subject = {
  sources: [
    'base',
    'storage/log',
    'test/sim/log',
    'test/sim/seed-runner.ts',
    'test/support/faulty-disk.ts',
    'test/support/log-model.ts',
  ],
  script: 'test/sim/log/run-seeds.js',
  options: [],
};

/** Whole nodes. */
export const FABRIC: Subject = {
  sources: [
    ...SHARED,
    'cluster',
    'storage',
    'node/scsi',
    'node/iscsi',
    'test/sim/run.ts',
    'test/sim/units',
    'test/sim/cluster',
    'test/sim/fabric',
    'test/sim/replication',
    'test/sim/linearizability.ts',
    'test/support/faulty-disk.ts',
    'scripts/simulate.ts',
  ],
  script: 'scripts/simulate.js',
  options: ['--fabric'],
};

/** Whole nodes whose groups lose all their members at once. */
export const DOUBLE_FAILURES: Subject = { ...FABRIC, options: [...FABRIC.options, '--double-failures'] };

/** Whole nodes whose directories are replaced by what they were some time ago. */
export const OLD_COPIES: Subject = { ...FABRIC, options: [...FABRIC.options, '--old-copies'] };

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
  readonly #subject: Subject;

  /** @param folder empty, and the caller's to remove */
  constructor(folder: string, subject: Subject) {
    this.#folder = folder;
    this.#subject = subject;
    this.#sound = join(folder, 'sound');
    for (const source of subject.sources)
      for (const file of filesOf(source)) this.#translate(this.#sound, file);
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
    writeFileSync(path, code.replaceAll(/((?:from\s*|import\()["'])(\.[^"']*)\.ts(["'])/g, '$1$2.js$3'));
  }

  /** Runs seeds of the sources as they are. */
  visitSound(firstSeed: number, count: number): Promise<Visit> {
    return simulate(this.#sound, this.#subject, firstSeed, count);
  }

  /**
   * Runs seeds of the sources with a fault in them, until one fails.
   * @throws when the sources have changed so that the fault fits no more
   */
  visit(exhibit: Exhibit): Promise<Visit> {
    const copy = join(this.#folder, exhibit.name.replaceAll(/\W+/g, '-'));
    cpSync(this.#sound, copy, { recursive: true, verbatimSymlinks: true });
    for (const [file, text] of faultyTexts(exhibit)) this.#translate(copy, file, text);
    return simulate(copy, this.#subject, exhibit.fromSeed ?? 1, exhibit.seeds);
  }
}

/** @throws when the sources have changed so that the fault fits no more. @returns by file, what it becomes */
export function faultyTexts({ name, edits }: Exhibit): Map<string, string> {
  const texts = new Map<string, string>();
  for (const { file, sound, faulty } of edits) {
    const text = texts.get(file) ?? readFileSync(join(ROOT, file), 'utf8');
    const times = text.split(sound).length - 1;
    if (times !== 1) throw new Error(`"${name}": in ${file} there is ${times} times, not once: ${sound}`);
    texts.set(
      file,
      text.replace(sound, () => faulty),
    );
  }
  return texts;
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

function simulate(
  folder: string,
  { script, options }: Subject,
  firstSeed: number,
  count: number,
): Promise<Visit> {
  const args = [
    join(folder, script),
    ...options,
    '--seed',
    String(firstSeed),
    '--count',
    String(count),
    '--json',
  ];
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
