import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { describeWhere } from '../../support/requirements.ts';
import { parseResults, parseSummary, parseTestList, type TestResult } from './libiscsi-output.ts';

/**
 * libiscsi's conformance suite, all of it, against `bootfabric serve-lun`: the target, the cache and the log of a
 * node. Its tests of read-only media run against a unit that is one; those that sanitize a unit take long by their
 * nature and have units of their own, beside the others.
 */

const TOOL = {
  commands: ['iscsi-test-cu'],
  enableWith: 'apt-get install libiscsi-bin',
};

/** Nothing here has removable media; everything else is carried out. */
const SKIPPED = [
  'PreventAllow.2ITNexuses',
  'PreventAllow.ColdReset',
  'PreventAllow.Eject',
  'PreventAllow.ITNexusLoss',
  'PreventAllow.LUNReset',
  'PreventAllow.Logout',
  'PreventAllow.Simple',
  'PreventAllow.WarmReset',
  'StartStopUnit.Simple',
];
const TESTS_OF_THE_TOOL = 230;
const SIZE_BYTES = 48 * 1_048_576;
/** Test that waits out a sanitize operation by sleeping for minutes. */
const SANITIZE_RESET = 'Sanitize.Reset';
const RUN_TIMEOUT_MS = 240_000;

interface Served {
  readonly child: ChildProcess;
  readonly urls: readonly string[];
}

describeWhere(TOOL, "libiscsi's conformance suite", () => {
  let directory: string;
  const children: ChildProcess[] = [];
  let general: readonly string[];
  let sanitized: string;
  let resetWhileSanitized: string;
  let readOnly: string;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'bootfabric-libiscsi-'));
    const files = ['sanitized.raw', 'reset.raw', 'general.raw', 'more.raw'];
    const [writable, protectedOne] = await Promise.all([
      serve(files),
      serve(['protected.raw'], '--read-only'),
    ]);
    [sanitized, resetWhileSanitized, ...general] = writable.urls as [string, string];
    [readOnly] = protectedOne.urls as [string];
  }, 60_000);

  afterAll(async () => {
    await Promise.all(children.map(end));
    await rm(directory, { recursive: true, force: true });
  });

  async function serve(names: readonly string[], ...options: string[]): Promise<Served> {
    const files = await Promise.all(names.map(makeFile));
    const args = [
      'dist/node/main.js',
      'serve-lun',
      ...files,
      ...options,
      '--listen',
      '127.0.0.1:0',
      '--json',
    ];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    children.push(child);
    const line = await firstLine(child);
    const { targets } = JSON.parse(line) as { targets: { urls: string[] }[] };
    return { child, urls: targets.map(({ urls }) => urls[0] as string) };
  }

  async function makeFile(name: string): Promise<string> {
    const path = join(directory, name);
    const file = await open(path, 'w');
    await file.truncate(SIZE_BYTES);
    await file.close();
    return path;
  }

  test('the tool lists the tests that are accounted for here', () => {
    expect(names()).toHaveLength(TESTS_OF_THE_TOOL);
    for (const name of [...SKIPPED, SANITIZE_RESET]) expect(names()).toContain(name);
  });

  test('every test passes, and only what needs removable media is skipped', {
    timeout: RUN_TIMEOUT_MS,
  }, async () => {
    const generalSuites = suites().filter((suite) => suite !== 'Sanitize' && suite !== 'ReadOnly');
    const runs = await Promise.all([
      ...general.map((url, i) =>
        runAll(
          generalSuites.filter((_, n) => n % general.length === i),
          url,
        ),
      ),
      runAll(
        names().filter((name) => name.startsWith('Sanitize.') && name !== SANITIZE_RESET),
        sanitized,
      ),
      runAll([SANITIZE_RESET], resetWhileSanitized),
      runAll(['ReadOnly'], readOnly),
    ]);
    const results = runs.flat();
    const of = (outcome: TestResult['outcome']): string[] =>
      results
        .filter((result) => result.outcome === outcome)
        .map(({ name }) => name)
        .sort();
    const remarks = results.filter(({ outcome }) => outcome === 'failed').map((r) => JSON.stringify(r));
    expect(of('failed'), remarks.join('\n')).toEqual([]);
    expect(of('skipped')).toEqual(SKIPPED);
    expect(results.map(({ name }) => name).sort()).toEqual([...names()].sort());
    expect(of('passed')).toHaveLength(TESTS_OF_THE_TOOL - SKIPPED.length);
  });

  /** Runs one suite or test after the other. */
  async function runAll(selections: readonly string[], url: string): Promise<TestResult[]> {
    const results: TestResult[] = [];
    for (const selection of selections) results.push(...(await run(selection, url)));
    return results;
  }

  async function run(selection: string, url: string): Promise<readonly TestResult[]> {
    // The second URL is the other path of the multipath suite: a second session to the same unit.
    const child = spawn('iscsi-test-cu', ['-d', '-S', '-v', '-t', `ALL.${selection}`, url, url]);
    children.push(child);
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
    await new Promise((resolve, reject) => child.once('error', reject).once('close', resolve));
    const results = parseResults(output);
    const summary = parseSummary(output);
    // What was read out of the text has to agree with what the tool counts.
    expect(summary, output).toBeDefined();
    expect(results, output).toHaveLength(summary?.ran ?? -1);
    const failed = results.filter(({ outcome }) => outcome === 'failed');
    expect({ total: summary?.ran, failed: failed.length }, output).toEqual({
      total: summary?.total,
      failed: summary?.failed,
    });
    return results;
  }
});

function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    child.once('close', () => resolve());
    child.kill('SIGKILL');
  });
}

function firstLine(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    child.once('close', (code) => reject(new Error(`serve-lun ended with ${code}`)));
    child.stdout?.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      if (text.includes('\n')) resolve(text);
    });
  });
}

let listed: readonly string[] | undefined;

function names(): readonly string[] {
  listed ??= parseTestList(spawnSync('iscsi-test-cu', ['--list'], { encoding: 'utf8' }).stdout);
  return listed;
}

function suites(): readonly string[] {
  return [...new Set(names().map((name) => name.slice(0, name.indexOf('.'))))];
}
