import { describe, expect, it } from 'vitest';
import { eachTestHasSession, errorOf } from '../../../support/cli-session.ts';
import { WHOLE_COPY } from '../../../support/fake-node-services.ts';

const session = eachTestHasSession();
const cli = session.run;

describe('portal-group start-from', () => {
  const start = ['portal-group', 'start-from', 'pg1', 'n2'];

  async function startedWithHoles(epoch: number): Promise<string> {
    session.api.cluster.apply({
      type: 'fenceNode',
      nodeId: 'n2',
      incarnation: 'n2-second',
      reason: 'silent',
    });
    const { endpoints } = session.api.cluster.state().nodes['n2'] ?? {};
    if (endpoints === undefined) throw new Error('n2 is known');
    session.api.cluster.apply({ type: 'registerNode', nodeId: 'n3', incarnation: 'n3-second', endpoints });
    const missingBlocks = [{ lunId: 77, blockCount: 12 }];
    const report = { ...WHOLE_COPY, openVoids: 3, missingBlocks };
    session.api.services.copies.set('n3 pg1', [{ kind: 'read', report }]);
    const args = ['portal-group', 'start-from', 'pg1', 'n3', '--i-accept-data-loss', '--accept-holes'];
    const { out } = await cli(args);
    expect(out).toContain(`epoch ${epoch + 2}`);
    expect(out).toMatch(/Lost: every write that only the copy of n\d has/);
    return out;
  }

  it('wants it said that data may be lost', async () => {
    const refused = await cli(start);
    expect(refused).toMatchObject({ code: 2, out: '' });
    expect(refused.err).toContain('--i-accept-data-loss');
  });

  it('is refused while the group can be served, and works when it cannot', async () => {
    const refused = await cli([...start, '--i-accept-data-loss', '--json']);
    expect(refused).toMatchObject({ code: 1, out: '' });
    expect(errorOf(refused.err)).toMatchObject({ code: 'has-primary' });
    for (const nodeId of ['n2', 'n3', 'n1']) {
      const incarnation = `${nodeId}-first`;
      session.api.cluster.apply({ type: 'fenceNode', nodeId, incarnation, reason: 'silent' });
    }
    const { endpoints } = session.api.cluster.state().nodes['n2'] ?? {};
    if (endpoints === undefined) throw new Error('n2 is known');
    session.api.cluster.apply({ type: 'registerNode', nodeId: 'n2', incarnation: 'n2-second', endpoints });
    const { epoch = 0 } = session.api.cluster.state().portalGroups['pg1'] ?? {};
    const reading = { kind: 'reading', readRecords: 3, totalRecords: 10 } as const;
    const missingBlocks = [{ lunId: 77, blockCount: 12 }];
    const report = { ...WHOLE_COPY, missingRecords: 4, openVoids: 3, missingBlocks, unnamedVoids: 1 };
    session.api.services.copies.set('n2 pg1', [reading, { kind: 'read', report }]);
    const holes = errorOf((await cli([...start, '--i-accept-data-loss', '--json'])).err);
    expect(holes).toMatchObject({ code: 'copy-has-holes' });
    expect(holes['message']).toMatch(
      /12 blocks of 4 KiB of the disk of .*, the blocks of 1 rec.*at least 4 rec/,
    );
    const damagedBlocks = [{ lunId: 77, blockCount: 5 }];
    session.api.services.copies.set('n2 pg1', [{ kind: 'read', report: { ...WHOLE_COPY, damagedBlocks } }]);
    const rotten = errorOf((await cli([...start, '--i-accept-data-loss', '--json'])).err);
    expect(rotten).toMatchObject({ code: 'copy-has-holes' });
    expect(rotten['message']).toMatch(/lacks what was in 5 damaged blocks of 4 KiB of the disk of /);
    session.api.services.copies.set('n2 pg1', [{ kind: 'failed', reason: 'it is damaged' }]);
    const damaged = errorOf((await cli([...start, '--i-accept-data-loss', '--json'])).err);
    expect(damaged).toMatchObject({ code: 'copy-unknown' });
    expect(session.api.cluster.state().portalGroups['pg1']?.primary).toBeUndefined();
    session.api.services.copies.set('n2 pg1', []);
    const started = await cli([...start, '--i-accept-data-loss']);
    expect(started).toMatchObject({
      code: 0,
      out: expect.stringMatching(
        `^Portal group pg1 starts from n2, epoch ${epoch + 1}\nLost: every write that only the copy of n1 has\\. `,
      ),
    });
    expect(session.api.cluster.state().portalGroups['pg1']?.primary).toBe('n2');
    expect(session.api.cluster.state().audit.at(-1)?.detail).toContain('by admin');
    expect(await startedWithHoles(epoch + 1)).toMatch(/lacks 12 blocks of 4 KiB of the disk of .*, epoch/);
    expect(session.api.cluster.state().audit.at(-1)?.detail).toContain(
      'by admin, who accepted that it lacks 12 blocks',
    );
    const unknown = await cli(['portal-group', 'start-from', 'pg7', 'n2', '--i-accept-data-loss', '--json']);
    expect(errorOf(unknown.err)).toMatchObject({ code: 'unknown-portal-group', accepted: 'pg1' });
  });
});
