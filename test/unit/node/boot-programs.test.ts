import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { OperationError } from '../../../base/errors.ts';
import { STATE_VERSIONS } from '../../../cluster/state/versions.ts';
import { BootPrograms } from '../../../node/boot-programs.ts';
import { LocalServices, type NodeServicesOptions } from '../../../node/node-services.ts';
import { FakeCluster } from '../../support/fake-cluster.ts';

const NAME = 'undionly.kpxe';

let folder: string;
let cluster: FakeCluster;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'boot-programs-'));
  cluster = new FakeCluster();
  cluster.reachVersion(STATE_VERSIONS.newest);
  const state = cluster.state();
  const settings = { ...state.settings, dhcp: { mode: 'proxy', leaseSeconds: 60 } as const };
  vi.spyOn(cluster, 'linearizableState').mockImplementation(async () => ({ ...cluster.state(), settings }));
  for (const name of [NAME, 'menu.efi']) {
    cluster.apply({ type: 'addBootFile', name, sizeBytes: 1, sha256: 'a'.repeat(64), holder: 'n1' });
  }
});
afterEach(() => rm(folder, { recursive: true }));

/** What removing it comes to. */
async function remove(name: string): Promise<string> {
  const services = new LocalServices({
    cluster,
    bootPrograms: new BootPrograms({ folder, uploaded: () => Promise.resolve(undefined) }),
    neededPrograms: [NAME],
    clock: { monotonicMs: () => 1, wallMs: () => 1 },
  } as unknown as NodeServicesOptions);
  try {
    await services.removeBootFile(name, 'admin');
    return 'removed';
  } catch (error) {
    if (!(error instanceof OperationError)) throw error;
    return error.code;
  }
}

it('removes no boot file that machines are told to load and that is nowhere else', async () => {
  expect(await remove(NAME)).toBe('boot-file-in-use');
  expect(cluster.state().bootFiles[NAME]).toBeDefined();
  expect(await remove('menu.efi')).toBe('removed');
  expect(await remove('menu.efi')).toBe('unknown-boot-file');
  await writeFile(join(folder, NAME), 'x');
  expect(await remove(NAME)).toBe('removed');
  expect(cluster.state().bootFiles).toEqual({});
});
