import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * `npm test`: format, lint, types, then every suite. Suites that need more than npm packages are run where
 * that is present and are listed at the end otherwise, each with the command that would enable it.
 */
const HELP = `usage: npm test [-- OPTION ...] [PATTERN ...]

Checks format, lint and types, then runs every suite (or those whose path contains a PATTERN).

  --fast           unit, contract, conformance and simulation suites only
  --suites-only    leave out format, lint and types
  --help           this text

Environment: BOOTFABRIC_SKIP_NOTHING=1 makes a suite that cannot run a failure.`;

interface Totals {
  passed: number;
  failed: number;
  skipped: number;
}

/** These start whole clusters and virtual machines: one file at a time, on the same few cores. */
const WHOLE_NODES = ['test/demo.test.ts', 'test/interop/', 'test/nodes/'];

function main(args: readonly string[]): number {
  if (args.includes('--help')) {
    console.log(HELP);
    return 0;
  }
  const unknown = args.find((a) => a.startsWith('--') && !['--fast', '--suites-only'].includes(a));
  if (unknown !== undefined) {
    console.error(`unknown option ${unknown}\n\n${HELP}`);
    return 2;
  }
  const patterns = args.filter((a) => !a.startsWith('--'));
  const startedMs = Date.now();
  if (!args.includes('--suites-only') && !staticChecks()) return 1;
  const folder = mkdtempSync(join(tmpdir(), 'bootfabric-test-'));
  try {
    const skipReport = join(folder, 'skipped');
    writeFileSync(skipReport, '');
    const totals: Totals = { passed: 0, failed: 0, skipped: 0 };
    const files = testFiles(patterns);
    const isWhole = (file: string): boolean => WHOLE_NODES.some((start) => file.startsWith(start));
    const parts = files.filter((file) => !isWhole(file));
    let ok = runSuites('suites', parts, [], folder, skipReport, totals);
    if (!args.includes('--fast')) {
      const whole = files.filter(isWhole);
      ok = runSuites('whole nodes', whole, ['--no-file-parallelism'], folder, skipReport, totals) && ok;
    }
    reportEnd(totals, readFileSync(skipReport, 'utf8'), startedMs);
    return ok && totals.failed === 0 && totals.passed > 0 ? 0 : 1;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Test files whose path contains one of the patterns; all of them where none is given. */
function testFiles(patterns: readonly string[]): string[] {
  return readdirSync('test', { recursive: true, encoding: 'utf8' })
    .map((name) => `test/${name}`)
    .filter((file) => file.endsWith('.test.ts'))
    .filter((file) => patterns.length === 0 || patterns.some((pattern) => file.includes(pattern)))
    .sort();
}

function staticChecks(): boolean {
  const bin = (name: string): string => join('node_modules', '.bin', name);
  return (
    step('format', bin('biome'), ['check', '.']) &&
    step('lint', bin('oxlint'), ['--type-aware', '--deny-warnings']) &&
    step('types', process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.json'])
  );
}

function step(what: string, command: string, args: readonly string[]): boolean {
  console.log(`== ${what}`);
  const result = spawnSync(command, args, { stdio: 'inherit' });
  if (result.status === 0) return true;
  console.error(`${what} failed${result.error === undefined ? '' : `: ${result.error.message}`}`);
  return false;
}

function runSuites(
  what: string,
  files: readonly string[],
  options: readonly string[],
  folder: string,
  skipReport: string,
  totals: Totals,
): boolean {
  if (files.length === 0) return true;
  console.log(`== ${what}`);
  const resultFile = join(folder, `${what.replaceAll(' ', '-')}.json`);
  const vitest = ['node_modules/vitest/vitest.mjs', 'run', '--reporter=default', '--reporter=json'];
  const result = spawnSync(
    process.execPath,
    [...vitest, `--outputFile.json=${resultFile}`, ...options, ...files],
    { stdio: 'inherit', env: { ...process.env, BOOTFABRIC_SKIP_REPORT: skipReport } },
  );
  const counts = readCounts(resultFile);
  totals.passed += counts.passed;
  totals.failed += counts.failed;
  totals.skipped += counts.skipped;
  return result.status === 0;
}

function readCounts(resultFile: string): Totals {
  const report = JSON.parse(readFileSync(resultFile, 'utf8')) as {
    numPassedTests: number;
    numFailedTests: number;
    numPendingTests: number;
    numTodoTests: number;
  };
  return {
    passed: report.numPassedTests,
    failed: report.numFailedTests,
    skipped: report.numPendingTests + report.numTodoTests,
  };
}

function reportEnd(totals: Totals, skipped: string, startedMs: number): void {
  const suites = [...new Set(skipped.split('\n').filter((line) => line !== ''))];
  if (suites.length > 0) console.log(`\nSkipped here:\n${suites.map((line) => `  ${line}`).join('\n')}`);
  console.log(`\nin ${((Date.now() - startedMs) / 1000).toFixed(0)} s`);
  console.log(`tests: ${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped`);
}

process.exitCode = main(process.argv.slice(2));
