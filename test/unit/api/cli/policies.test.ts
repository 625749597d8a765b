import { describe, expect, it } from 'vitest';
import type { NodeListDocument } from '../../../../api/contract/nodes.ts';
import { type CliOutcome, eachTestHasSession, errorOf } from '../../../support/cli-session.ts';

const session = eachTestHasSession();
const cli = (...args: readonly string[]): Promise<CliOutcome> => session.run(args);

describe('node set', () => {
  it('says how much a node is to hold and what fails together with it, and takes that back', async () => {
    const set = await cli('node', 'set', 'n2', '--weight', '4', '--rack', 'a1');
    expect(set).toMatchObject({ code: 0, err: '' });
    expect(set.out).toMatch(/^n2 .* up +no +4 +a1 /m);
    const own = await cli('node', 'set', 'n2', '--weight', 'own', '--json');
    const n2 = (JSON.parse(own.out) as NodeListDocument).nodes.find((n) => n.nodeId === 'n2');
    expect(n2).toMatchObject({ weight: 1, rack: 'a1' });
    expect(session.api.cluster.state().audit.at(-1)?.detail).toBe('n2: weight by its own settings, by admin');
  });

  it('refuses what is no weight, no rack, no node, and nothing at all', async () => {
    expect(errorOf((await cli('node', 'set', 'n2', '--weight', '0', '--json')).err)).toMatchObject({
      code: 'bad-value',
    });
    const spaced = await cli('node', 'set', 'n2', '--rack', 'no good');
    expect(spaced.code).toBe(1);
    expect(spaced.err).toContain('lower-case letters, digits and hyphens');
    expect(errorOf((await cli('node', 'set', 'n9', '--weight', '2', '--json')).err)['code']).toBe(
      'unknown-node',
    );
    expect((await cli('node', 'set', 'n2')).code).toBe(2);
  });
});

describe('cluster set', () => {
  it('changes what is given, and shows all', async () => {
    expect((await cli('cluster', 'show')).out).toContain('on, after 30 s of calm');
    const set = await cli('cluster', 'set', '--rebalance', 'off', '--replace-after', '60');
    expect(set.out).toContain('off, after 30 s of calm');
    expect(JSON.parse((await cli('cluster', 'show', '--json')).out)).toEqual({
      replicasPerGroup: 3,
      rebalance: 'off',
      rebalanceDelaySeconds: 30,
      replaceAfterSeconds: 60,
      catchUpMebibytesPerSecond: 2048,
    });
    expect((await cli('cluster', 'set')).code).toBe(2);
    expect((await cli('cluster', 'set', '--rebalance', 'maybe')).code).toBe(2);
    expect((await cli('cluster', 'set', '--replicas', '10')).code).toBe(1);
  });
});

describe('cluster set --catch-up', () => {
  it('bounds how fast copies catch up, and says so', async () => {
    const set = await cli('cluster', 'set', '--catch-up', '50');
    expect(set).toMatchObject({ code: 0, err: '' });
    expect(set.out).toContain('sent at most 50 MiB/s by each node');
    const { settings, audit } = session.api.cluster.state();
    expect(settings.catchUpBytesPerSecond).toBe(50 * 1024 * 1024);
    expect(audit.at(-1)?.detail).toBe('catchUpBytesPerSecond 52428800, by admin');
    expect(JSON.parse((await cli('cluster', 'show', '--json')).out)).toMatchObject({
      catchUpMebibytesPerSecond: 50,
    });
  });

  it.each(['0', '2049'])('refuses %s, and says what would be accepted', async (value) => {
    const refused = await cli('cluster', 'set', '--catch-up', value, '--json');
    expect(refused.code).toBe(1);
    expect(errorOf(refused.err)).toMatchObject({
      code: 'bad-value',
      accepted: 'a whole number of MiB a second, 1 to 2048',
    });
    expect(session.api.cluster.state().settings.catchUpBytesPerSecond).toBeUndefined();
  });

  it('refuses what is no number', async () => {
    const refused = await cli('cluster', 'set', '--catch-up', 'fast');
    expect(refused.code).toBe(2);
    expect(refused.err).toContain('A whole number is expected');
  });
});

describe('portal-group set', () => {
  it("says what a group's writes need", async () => {
    const set = await cli('portal-group', 'set', 'pg1', '--min-in-sync', '2', '--durability', 'durable');
    expect(set.out).toBe('Portal group pg1: durable; writes wait while fewer than 2 are in sync\n');
    expect(session.api.cluster.state().portalGroups['pg1']).toMatchObject({
      minInSync: 2,
      durability: 'durable',
    });
    const refused = await cli('portal-group', 'set', 'pg1', '--min-in-sync', '4', '--json');
    expect(errorOf(refused.err)).toMatchObject({ code: 'bad-min-in-sync', accepted: '1 to 3' });
    expect((await cli('portal-group', 'set', 'pg1')).code).toBe(2);
  });
});
