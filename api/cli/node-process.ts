import { spawn } from 'node:child_process';
import { constants } from 'node:os';

/**
 * Runs a Node.js program as a child with this process's terminal, passing signals on.
 * @param program path of its main module
 * @returns its exit code; 128 + the signal's number when a signal ended it
 */
export function runNodeProcess(program: string, args: readonly string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [program, ...args], { stdio: 'inherit' });
    const onTerminate = (): void => {
      child.kill('SIGTERM');
    };
    const onInterrupt = (): void => {
      // A terminal interrupts the whole foreground group; the child has had this one already.
      if (!process.stdin.isTTY) child.kill('SIGINT');
    };
    process.on('SIGTERM', onTerminate);
    process.on('SIGINT', onInterrupt);
    const settle = (): void => {
      process.off('SIGTERM', onTerminate);
      process.off('SIGINT', onInterrupt);
    };
    child.once('error', (error) => {
      settle();
      reject(error);
    });
    child.once('exit', (code, signal) => {
      settle();
      resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal]));
    });
  });
}
