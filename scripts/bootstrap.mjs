// The first thing `npm run demo` and `npm test` start, with nothing but Node and npm at hand: installs the
// dependencies and builds when that is needed, then hands over. Plain JavaScript, since TypeScript only
// runs once it has done its work.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const OLDEST_NODE = [20, 19];
const root = dirname(dirname(fileURLToPath(import.meta.url)));
const TARGETS = {
  demo: ['dist/scripts/demo.js'],
  test: ['dist/scripts/test.js'],
  run: [],
};

const [target, ...rest] = process.argv.slice(2);
if (!Object.hasOwn(TARGETS, target)) {
  fail(`usage: node scripts/bootstrap.mjs ${Object.keys(TARGETS).join('|')} [ARGUMENT ...]`);
}
checkNodeVersion();
installDependencies();
build();
const program = target === 'run' ? rest : [...TARGETS[target], ...rest];
const outcome = spawnSync(process.execPath, ['--enable-source-maps', ...program], {
  cwd: root,
  stdio: 'inherit',
});
process.exit(outcome.status ?? 1);

function checkNodeVersion() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  const [oldestMajor, oldestMinor] = OLDEST_NODE;
  if (major < oldestMajor || (major === oldestMajor && minor < oldestMinor)) {
    fail(`Node.js ${OLDEST_NODE.join('.')} or newer is needed; this is ${process.versions.node}`);
  }
}

/** Runs npm ci unless node_modules was made from this very lock file by this major version of Node. */
function installDependencies() {
  const stamp = join(root, 'node_modules', '.bootfabric-installed');
  const wanted = createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .update(process.versions.modules)
    .digest('hex');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return;
  say('installing dependencies (once; about half a minute)');
  // npm_execpath is the npm that started us, which may not be on the PATH.
  const npmCli = process.env.npm_execpath;
  const [command, args] = npmCli ? [process.execPath, [npmCli, 'ci']] : ['npm', ['ci']];
  mustRun(command, [...args, '--no-audit', '--no-fund', '--loglevel=error'], 'npm ci');
  mkdirSync(dirname(stamp), { recursive: true });
  writeFileSync(stamp, wanted);
}

function build() {
  mustRun(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json'], 'the build');
}

function mustRun(command, args, what) {
  const result = spawnSync(command, args, { cwd: root, stdio: 'inherit' });
  if (result.error) fail(`${what} could not be started: ${result.error.message}`);
  if (result.status !== 0) fail(`${what} failed`, result.status ?? 1);
}

function say(text) {
  process.stderr.write(`bootfabric: ${text}\n`);
}

function fail(text, status = 1) {
  say(text);
  process.exit(status);
}
