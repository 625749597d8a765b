import { parseArgs } from 'node:util';
import { startFuzzedTarget } from './fuzz/fuzzed-target.ts';
import { fuzzIscsi } from './fuzz/iscsi-fuzzer.ts';

const HELP = `Usage: npm run fuzz:iscsi -- [--count N] [--seed N]

Sends malformed PDUs to our iSCSI target over real sockets: first one of every opcode, length and state, then
random ones, while a healthy session writes stamped blocks and reads them back.

  --count N  malformed PDUs (1000000)
  --seed N   of the random ones (1)
  --help     show this text

Exits with 0 when the target survived, closed every connection, said nothing malformed itself, did not disturb the
healthy session, and its heap was flat; with 1 otherwise.
`;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: { help: { type: 'boolean' }, count: { type: 'string' }, seed: { type: 'string' } },
  });
  const [count, seed] = [Number(values.count ?? 1_000_000), Number(values.seed ?? 1)];
  if (values.help === true || !Number.isSafeInteger(count) || count < 1 || !Number.isSafeInteger(seed)) {
    process.stdout.write(HELP);
    return values.help === true ? 0 : 2;
  }
  const startedMs = performance.now();
  const target = await startFuzzedTarget();
  try {
    const report = await fuzzIscsi({
      ...target,
      count,
      seed,
      exhaustive: true,
      onProgress: (sent, heapBytes) =>
        console.log(`${sent} PDUs, heap ${(heapBytes / 1_048_576).toFixed(1)} MiB after collection`),
    });
    const seconds = ((performance.now() - startedMs) / 1000).toFixed(0);
    console.log(
      `${report.pdus} malformed PDUs on ${report.connections} connections in ${seconds} s (seed ${seed}): ` +
        `${report.combinations} of ${report.allCombinations} combinations of opcode, length and state; ` +
        `the healthy session checked ${report.bystanderChecks} blocks and saw nothing`,
    );
    console.log(`answers by opcode: ${JSON.stringify(report.answers)}`);
    return 0;
  } catch (error) {
    console.error(`FAILED: ${error instanceof Error ? error.message : String(error)}`);
    return 1;
  } finally {
    await target.close();
  }
}

process.exitCode = await main();
