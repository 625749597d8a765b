import { parseArgs } from 'node:util';
import { listScenarios, runScenario } from '../test/conformance/raft/scenarios.ts';

const HELP = `Usage: raft-scenarios FOLDER

Runs the recorded scenarios of etcd-io/raft against the Raft core and compares every line.
FOLDER holds quorum/, confchange/ and interaction/, as that project's testdata folders do, or some of them,
or is one of them.

  --help  show this text

Exits with 0 when all pass or the folder is absent (then they count as skipped), 1 on a difference.
`;

function main(): number {
  const { values, positionals } = parseArgs({
    options: { help: { type: 'boolean' } },
    allowPositionals: true,
  });
  const [folder] = positionals;
  if (values.help === true || folder === undefined) {
    process.stdout.write(HELP);
    return values.help === true ? 0 : 2;
  }
  const files = listScenarios(folder);
  if (files === undefined) {
    console.log(`SKIPPED: there are no Raft scenarios at ${folder}. Nothing was checked.`);
    return 0;
  }
  let steps = 0;
  let failed = 0;
  for (const file of files) {
    const result = runScenario(file);
    steps += result.steps;
    console.log(`${result.mismatch === undefined ? 'pass' : 'FAIL'}  ${result.name} (${result.steps} steps)`);
    if (result.mismatch === undefined) continue;
    failed++;
    const { line, command, expected, actual } = result.mismatch;
    console.log(`line ${line}: ${command}\n--- expected\n${expected}--- actual\n${actual}---`);
  }
  console.log(`${files.length} files, ${files.length - failed} pass, ${failed} fail, ${steps} steps`);
  return failed === 0 ? 0 : 1;
}

process.exitCode = main();
