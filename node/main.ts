import { describeError, OperationError } from '../base/errors.ts';
import { EXIT_CODE } from '../base/exit-code.ts';
import { EXIT_WITHIN_MS, STOP_WITHIN_MS } from './limits.ts';
import { endProcess, endProcessWithin, endStuckProcess } from './process-end.ts';
import { startFailureText } from './start-failure.ts';
import { StopSignals } from './stop-signals.ts';
import { systemClock, systemRandom } from './system.ts';

const standardOutput = {
  out: (text: string) => process.stdout.write(text),
  err: (text: string) => process.stderr.write(text),
};

/**
 * The composition root: the only reader of arguments and environment.
 *
 *     main.js init OPTIONS      makes a cluster's files
 *     main.js join TOKEN OPTIONS  makes the files of one more node
 *     main.js recover OPTIONS   makes a cluster of what a stopped node has
 *     main.js restore FILE OPTIONS  makes a cluster's files from a backup
 *     main.js start --data DIR  runs one node until it is told to stop
 *     main.js serve-lun FILE ... serves files as disks until it is told to stop
 *
 * It ends with one of base/exit-code.ts. Each command loads only what it needs.
 */
async function main(args: readonly string[]): Promise<void> {
  const [command, ...rest] = args;
  if (command === 'init') {
    const { runInit } = await import('./setup/init.ts');
    process.exitCode = await runInit(rest, { clock: systemClock, random: systemRandom }, standardOutput);
    return;
  }
  if (command === 'join') {
    const { runJoin } = await import('./setup/join.ts');
    process.exitCode = await runJoin(rest, standardOutput);
    return;
  }
  if (command === 'recover') {
    const { runRecover } = await import('./setup/recover.ts');
    process.exitCode = await runRecover(rest, systemClock, standardOutput);
    return;
  }
  if (command === 'restore') {
    const { runRestore } = await import('./setup/restore.ts');
    process.exitCode = await runRestore(rest, { clock: systemClock, random: systemRandom }, standardOutput);
    return;
  }
  if (command === 'start') {
    await start(rest);
    return;
  }
  if (command === 'serve-lun') {
    await serveLun(rest);
    return;
  }
  process.stderr.write(
    'usage: main.js init OPTION ... | join TOKEN OPTION ... | recover OPTION ... | restore FILE OPTION ... | start --data DIRECTORY | serve-lun FILE ...\n',
  );
  process.exitCode = EXIT_CODE.usage;
}

async function serveLun(args: readonly string[]): Promise<void> {
  const { runServeLun } = await import('./serve-lun/serve-lun.ts');
  const told = new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.once(signal, () => {
        // A second signal ends the process at once; what was written is in the log.
        process.once(signal, () => endStuckProcess(EXIT_CODE.refused));
        resolve();
      });
    }
  });
  endProcess(await runServeLun(args, standardOutput, told));
}

async function start(args: readonly string[]): Promise<void> {
  const [option, directory, ...more] = args;
  if (option !== '--data' || directory === undefined || more.length > 0) {
    process.stderr.write('usage: main.js start --data DIRECTORY\n');
    process.exitCode = EXIT_CODE.usage;
    return;
  }
  process.on('uncaughtException', (error) => {
    process.stderr.write(`bootfabric: ${error.stack ?? error.message}\n`);
    endProcess(EXIT_CODE.again);
  });
  try {
    const { startNode } = await import('./start-node.ts');
    const node = await startNode({
      directory,
      logLevel: process.env['BOOTFABRIC_LOG_LEVEL'] ?? 'info',
      exit: endProcess,
    });
    const stop = (): void => {
      // Also where this thread itself comes to wait for a disk, or for whoever reads its log.
      endProcessWithin(STOP_WITHIN_MS + EXIT_WITHIN_MS, EXIT_CODE.refused);
      node.stop().then(
        () => endProcess(EXIT_CODE.stopped),
        (error: unknown) => {
          process.stderr.write(`bootfabric: stopping failed: ${describeError(error)}\n`);
          endStuckProcess(EXIT_CODE.refused);
        },
      );
    };
    const signals = new StopSignals(() => systemClock.monotonicMs());
    const signalled = (): void => {
      const order = signals.next();
      if (order === 'stop') stop();
      if (order === 'end') endStuckProcess(EXIT_CODE.refused);
    };
    process.on('SIGTERM', signalled);
    process.on('SIGINT', signalled);
  } catch (error) {
    process.stderr.write(startFailureText(error));
    endProcess(isForGood(error) ? EXIT_CODE.refused : EXIT_CODE.again);
  }
}

/** Whether starting again would only meet the same; an administrator has to change something. */
function isForGood(error: unknown): boolean {
  return error instanceof OperationError && ['invalid', 'conflict', 'not-found'].includes(error.kind);
}

await main(process.argv.slice(2));
