import { describe, expect, it } from 'vitest';
import { type CliOutcome, eachTestHasSession } from '../../../support/cli-session.ts';

const session = eachTestHasSession();
const cli = (...args: readonly string[]): Promise<CliOutcome> => session.run(args);

describe('image remove', () => {
  it('says what is no more', async () => {
    const version = {
      sizeBytes: 4096,
      chunkSizeBytes: 4096,
      manifestSha256: 'c'.repeat(64),
      holder: 'n1',
      atMs: 1,
    };
    session.api.cluster.apply({ type: 'addImageVersion', image: 'spare', ...version });
    const removed = await cli('image', 'remove', 'spare', '1');
    expect(removed).toMatchObject({ code: 0, err: '' });
    expect(removed.out).toContain('Image spare has no version 1 any more');
    expect(session.api.cluster.state().images['spare']).toMatchObject({ versions: [], lastVersion: 1 });
    expect(session.api.cluster.state().audit.at(-1)?.detail).toBe('spare version 1, by admin');
    expect((await cli('image', 'list')).out).not.toContain('spare');
  });

  it('says who uses it, and what would be accepted', async () => {
    const version = { sizeBytes: 4096, chunkSizeBytes: 4096, manifestSha256: 'd'.repeat(64), atMs: 1 };
    session.api.cluster.apply({ type: 'addImageVersion', image: 'win11', ...version, holder: 'n1' });
    for (const holder of ['n2', 'n3']) {
      session.api.cluster.apply({ type: 'imageHeld', image: 'win11', version: 1, holder });
    }
    await cli(
      'client',
      'add',
      'pc1',
      '--mac',
      '52:54:00:12:34:56',
      '--image',
      'win11',
      '--image-version',
      '1',
    );
    const refused = await cli('image', 'remove', 'win11', '1');
    expect(refused.code).toBe(1);
    expect(refused.err).toBe(
      'error: image win11 version 1 is what pc1 is to boot\n  got:      1\n  accepted: a version that no client is pinned to\n',
    );
    expect((await cli('image', 'remove', 'win11', '7')).err).toContain('image win11 has no version 7');
  });

  it.each([['0'], ['newest']])('refuses %s as a version', async (text) => {
    const refused = await cli('image', 'remove', 'win11', text);
    expect(refused.code).toBe(2);
    expect(refused.err).toContain('A version is a whole number from 1 on');
  });
});
