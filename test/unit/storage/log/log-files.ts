import type { FaultyDisk } from '../../../support/faulty-disk.ts';

/** Where tests of a log have it. */
export const DIRECTORY = '/log';

/** Paths of its segments, the oldest first. */
export function segments(disk: FaultyDisk): string[] {
  return disk
    .list(DIRECTORY)
    .filter((name) => name.endsWith('.segment'))
    .sort()
    .map((name) => `${DIRECTORY}/${name}`);
}

/** Once what goes on behind calls of the log, such as removal, has been done. */
export async function settled(): Promise<void> {
  for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve));
}
