import { execFileSync } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import koffi from 'koffi';

/** Network namespaces for tests with real interfaces. Each test process works in its own and removes them. */

export function ip(...args: string[]): string {
  return execFileSync('ip', args, { encoding: 'utf8', timeout: 10_000, stdio: ['ignore', 'pipe', 'pipe'] });
}

const setns = koffi.load(null).func('int setns(int fd, int kind)') as (fd: number, kind: number) => number;
const CLONE_NEWNET = 0x40000000;

/**
 * Makes sockets and processes that are started from now on belong to a namespace; those that exist stay
 * where they are. Only for the main thread.
 */
export function enterNamespace(path: string): void {
  const fd = openSync(path, 'r');
  try {
    if (setns(fd, CLONE_NEWNET) !== 0) throw new Error(`setns ${path} failed, errno ${koffi.errno()}`);
  } finally {
    closeSync(fd);
  }
}

/** Where this process began; kept open, since /proc/self/ns/net follows every change. */
export const homeNamespacePath = `/proc/self/fd/${openSync('/proc/self/ns/net', 'r')}`;

export const namespacePath = (name: string): string => `/run/netns/${name}`;
