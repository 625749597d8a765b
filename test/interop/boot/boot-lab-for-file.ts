import { afterAll, beforeAll } from 'vitest';
import { BOOT_LAB_START_TIMEOUT_MS, type BootLab, startBootLab } from '../../../scripts/lab/boot-lab.ts';

/** Starts one lab for all tests of a file. What a test adds to it by hooks of its own, declared after this, ends before it. */
export function bootLabForFile(dhcpArguments: readonly string[]): () => BootLab {
  let boot: BootLab | undefined;
  beforeAll(async () => {
    boot = await startBootLab(dhcpArguments);
  }, BOOT_LAB_START_TIMEOUT_MS);
  afterAll(async () => {
    await boot?.remove();
  });
  return () => {
    if (boot === undefined) throw new Error('the lab has not started');
    return boot;
  };
}
