import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { STATE_VERSIONS } from '../../../../cluster/state/versions.ts';
import { eachTestHasSession, errorOf } from '../../../support/cli-session.ts';

const session = eachTestHasSession();
const cli = session.run;

let scratch: string;
beforeEach(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'boot-files-'));
});
afterEach(() => rm(scratch, { recursive: true }));

it('boot files are stored under their own or another name, and removed', async () => {
  const file = join(scratch, 'snponly.efi');
  await writeFile(file, 'MZ');
  expect((await cli(['boot-file', 'add', file])).out).toBe('Boot file snponly.efi (2 B) is stored\n');
  expect((await cli(['boot-file', 'add', file, '--name', 'other.efi'])).code).toBe(0);
  expect((await cli(['boot-file', 'list'])).out).toMatch(/^other\.efi +2 B +n1 +[0-9a-f]{64}$/m);
  session.api.cluster.reachVersion(STATE_VERSIONS.newest);
  expect((await cli(['boot-file', 'remove', 'other.efi'])).out).toBe('Boot file other.efi is removed\n');
  expect((await cli(['boot-file', 'list'])).out).not.toContain('other.efi');
  const again = await cli(['boot-file', 'remove', 'other.efi', '--json']);
  expect(errorOf(again.err)).toMatchObject({ code: 'unknown-boot-file', accepted: 'snponly.efi' });
});
