import { errorDocument, errorText } from '../base/error-text.ts';
import { describeError, OperationError } from '../base/errors.ts';
import { EXIT_CODE } from '../base/exit-code.ts';
import { runInit } from './setup/init.ts';
import { startNode } from './start-node.ts';
import { systemClock, systemRandom } from './system.ts';

/**
 * The composition root: the only reader of arguments and environment.
 *
 *     main.js init OPTIONS      makes a cluster's files
 *     main.js start --data DIR  runs one node until it is told to stop
 *
 * It ends with one of base/exit-code.ts.
 */
async function main(args: readonly string[]): Promise<void> {
  const [command, ...rest] = args;
  if (command === 'init') {
    process.exitCode = await runInit(
      rest,
      { clock: systemClock, random: systemRandom },
      {
        out: (text) => process.stdout.write(text),
        err: (text) => process.stderr.write(text),
      },
    );
    return;
  }
  if (command === 'start') {
    await start(rest);
    return;
  }
  process.stderr.write('usage: main.js init OPTION ... | start --data DIRECTORY\n');
  process.exitCode = EXIT_CODE.usage;
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
    process.exit(EXIT_CODE.again);
  });
  try {
    const node = await startNode({
      directory,
      logLevel: process.env['BOOTFABRIC_LOG_LEVEL'] ?? 'info',
      exit: (code) => process.exit(code),
    });
    const stop = (): void => {
      // A second signal, or a stop that hangs, ends the process at once.
      process.once('SIGTERM', () => process.exit(EXIT_CODE.refused));
      node.stop().then(
        () => process.exit(EXIT_CODE.stopped),
        (error: unknown) => {
          process.stderr.write(`bootfabric: stopping failed: ${describeError(error)}\n`);
          process.exit(EXIT_CODE.refused);
        },
      );
    };
    process.once('SIGTERM', stop);
    process.once('SIGINT', stop);
  } catch (error) {
    if (error instanceof OperationError) process.stderr.write(errorText(errorDocument(error)));
    else process.stderr.write(`bootfabric: ${error instanceof Error ? error.stack : String(error)}\n`);
    process.exit(isForGood(error) ? EXIT_CODE.refused : EXIT_CODE.again);
  }
}

/** Whether starting again would only meet the same; an administrator has to change something. */
function isForGood(error: unknown): boolean {
  return error instanceof OperationError && ['invalid', 'conflict', 'not-found'].includes(error.kind);
}

await main(process.argv.slice(2));
