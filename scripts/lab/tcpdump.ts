import type { ChildProcess } from 'node:child_process';

/**
 * Resolves when a tcpdump that was started, its standard error by a pipe, captures.
 * @throws Error with what it said, when it ends
 */
export function captures(tcpdump: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    let said = '';
    tcpdump.stderr?.setEncoding('utf8').on('data', (text: string) => {
      said += text;
      if (said.includes('listening on')) resolve();
    });
    tcpdump.once('exit', () => reject(new Error(`tcpdump ended: ${said}`)));
  });
}
