import type { ChildProcess } from 'node:child_process';
import type { Lab } from './lab.ts';

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

/** Whole frames, as nothing on the bridge is longer. */
const SNAP_BYTES = 2048;
const BUFFER_KIB = 16_384;

/**
 * Writes the frames on the bridge that match the filter to its standard output, each as it passes, as CaptureReader reads
 * them.
 */
export function startFrameCapture(
  lab: Lab,
  filter: string,
): { readonly process: ChildProcess; readonly listening: Promise<void> } {
  const sizes = ['-s', String(SNAP_BYTES), '-B', String(BUFFER_KIB)];
  const atOnce = ['--immediate-mode', '-U', '-w', '-'];
  const args = ['-i', 'br0', ...sizes, ...atOnce, filter];
  const process = lab.spawnOnBridge('tcpdump', args, ['ignore', 'pipe', 'pipe']);
  const listening = captures(process);
  // Ended when it is no longer wanted; who waits for it to listen is told.
  listening.catch(() => undefined);
  return { process, listening };
}
