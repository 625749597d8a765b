import { randomUUID } from 'node:crypto';
import { readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { BackupDocument, NodeListDocument } from '../../../../api/contract/nodes.ts';
import { ManualClock } from '../../../../base/clock.ts';
import type { ClusterState } from '../../../../cluster/state/model.ts';
import { STATE_VERSIONS } from '../../../../cluster/state/versions.ts';
import { eachTestHasSession, errorOf } from '../../../support/cli-session.ts';

const session = eachTestHasSession();
const cli = session.run;

/**
 * What differs for a command that waits.
 * @param meanwhile what happens in the cluster at each wait
 * @param pace how many times as long each wait takes as it was meant to
 */
function waiting(meanwhile: () => void = () => {}, pace = 1): Parameters<typeof cli>[1] {
  const clock = new ManualClock();
  const sleep = async (ms: number): Promise<void> => {
    meanwhile();
    clock.advance(ms * pace);
  };
  return { clock, sleep };
}

/** As the leader does. */
function moveEverythingFrom(nodeId: string): void {
  for (const { id, epoch, primary, inSync } of Object.values(session.api.cluster.state().portalGroups)) {
    const to = inSync.find((m) => m.nodeId !== nodeId)?.nodeId;
    if (primary === nodeId && to !== undefined)
      session.api.cluster.apply({ type: 'moveGroup', group: id, epoch, to });
  }
}

describe('commands about nodes', () => {
  it('show who leads and holds what, and what stands in the way of removing it', async () => {
    const { code, out } = await cli(['node', 'list']);
    expect(code).toBe(0);
    expect(out).toMatch(/^n1 .* up +no +1 +- +pg1 +pg1 +no: it still leads portal group pg1$/m);
    const list = JSON.parse((await cli(['node', 'list', '--json'])).out) as NodeListDocument;
    expect(list.nodes.map((n) => n.leads)).toEqual([['pg1'], [], []]);
  });

  it('print a token for one host', async () => {
    const made = await cli(['node', 'token', '--ttl', '120']);
    expect(made).toMatchObject({ code: 0, err: '' });
    expect(made.out).toContain(
      'bootfabric join bfj_token --id ID --address ADDRESS --out DIRECTORY\n\nwith --portal-interface NAME',
    );
    expect((await cli(['node', 'list'])).out).toMatch(/^aa11 {8}1970-01-01T00:18:40\.000Z {2}-$/m);
    expect(await cli(['node', 'revoke-token', 'aa11'])).toMatchObject({ code: 0 });
    const refused = await cli(['node', 'revoke-token', 'aa11', '--json']);
    expect(errorOf(refused.err)['code']).toBe('unknown-join-token');
    expect((await cli(['node', 'token', '--ttl', '1', '--json'])).code).not.toBe(0);
  });

  it('drain a node until it leads nothing, saying what is waited for', async () => {
    const drained = await cli(
      ['node', 'drain', 'n1'],
      waiting(() => moveEverythingFrom('n1')),
    );
    expect(drained.code).toBe(0);
    expect(drained.err).toContain('n1: it still leads portal group pg1');
    expect(session.api.cluster.state().nodes['n1']?.draining).toBe(true);
    expect(session.api.cluster.state().portalGroups['pg1']?.primary).not.toBe('n1');
    expect(await cli(['node', 'undrain', 'n1'])).toMatchObject({ code: 0, err: '' });
    expect(session.api.cluster.state().nodes['n1']?.draining).toBeUndefined();
  });

  it('move no group to a node that is being drained, from which it would be moved away at once', async () => {
    session.api.cluster.apply({ type: 'drainNode', nodeId: 'n3', atMs: 1, by: 'a' });
    const refused = await cli(['portal-group', 'move', 'pg1', 'n3']);
    expect(refused).toEqual({
      code: 1,
      out: '',
      err:
        'error: node n3 is being drained: what it led would be moved away at once\n  got:      n3\n' +
        '  accepted: n2, or n3 after "bootfabric node undrain n3"\n',
    });
    expect(session.api.cluster.state().portalGroups['pg1']?.primary).toBe('n1');
    // Where all in-sync members leave, nobody would move it away.
    const { epoch = 0 } = session.api.cluster.state().portalGroups['pg1'] ?? {};
    session.api.cluster.apply({ type: 'shrinkInSync', group: 'pg1', epoch, primary: 'n1', remove: 'n2' });
    session.api.cluster.apply({ type: 'drainNode', nodeId: 'n1', atMs: 1, by: 'a' });
    expect(await cli(['portal-group', 'move', 'pg1', 'n3'])).toMatchObject({ code: 0 });
  });

  it('drain a node before they remove it, or say why they cannot', async () => {
    const refused = await cli(['node', 'remove', 'n1', '--no-wait', '--json']);
    expect(refused.code).toBe(1);
    expect(errorOf(refused.err)['code']).toBe('still-primary');
    const removed = await cli(
      ['node', 'remove', 'n1'],
      waiting(() => moveEverythingFrom('n1')),
    );
    expect(removed.code).toBe(0);
    expect(removed.out).toContain('Node n1 is removed for good');
    expect(session.api.cluster.state().removedNodes['n1']).toMatchObject({ raftId: 1 });
    // Whose word it was.
    expect(session.api.cluster.state().audit.at(-1)?.detail).toBe('n1, by admin');
  });

  it('wait until a removed node has no vote any more, and say so where they do not', async () => {
    const { cluster } = session.api;
    cluster.voteStill.add('n3');
    cluster.apply({ type: 'fenceNode', nodeId: 'n3', incarnation: 'n3-first', reason: 'silent' });
    const soon = await cli(['node', 'remove', 'n3', '--no-wait']);
    expect(soon).toMatchObject({ code: 0, err: '' });
    expect(soon.out).toContain('once the others need its vote no more: let it run until then');
    expect(soon.out).toMatch(/^n3 .* yes$/m);
    const removed = await cli(
      ['node', 'remove', 'n3', '--no-wait', '--json'],
      waiting(() => cluster.voteStill.clear()),
    );
    expect((JSON.parse(removed.out) as NodeListDocument).removed).toMatchObject([
      { nodeId: 'n3', votes: true },
    ]);
    const waited = await cli(
      ['node', 'remove', 'n3'],
      waiting(() => cluster.voteStill.clear()),
    );
    expect(waited.code).toBe(0);
    expect(waited.err).toContain(
      'n3: it is removed; the others need its vote until enough of them are in touch',
    );
    expect(waited.out).toMatch(/^n3 .* no$/m);
  });

  it('give up waiting where nothing moves', async () => {
    const stuck = await cli(['node', 'drain', 'n1', '--json'], waiting(undefined, 100));
    expect(stuck.code).toBe(1);
    expect(errorOf(stuck.err.split('\n').at(-2) ?? '')).toMatchObject({ code: 'drain-stalled' });
  });

  it('move a portal group to an in-sync member', async () => {
    expect((await cli(['portal-group', 'move', 'pg1', 'n2'])).out).toBe(
      `Portal group pg1 is led by n2, epoch ${session.api.cluster.state().portalGroups['pg1']?.epoch ?? 0}\n`,
    );
    const again = await cli(['portal-group', 'move', 'pg1', 'n2', '--json']);
    expect(errorOf(again.err)['code']).toBe('already-primary');
    const none = await cli(['portal-group', 'move', 'pg9', 'n2', '--json']);
    expect(errorOf(none.err)['code']).toBe('unknown-portal-group');
  });

  it('remember that it was moved, and by whose word', async () => {
    session.api.cluster.reachVersion(STATE_VERSIONS.newest);
    expect((await cli(['portal-group', 'move', 'pg1', 'n3'])).code).toBe(0);
    const last = { event: 'group-moved', detail: 'pg1 to n3: asked for by admin' };
    expect(session.api.cluster.state().audit.at(-1)).toMatchObject(last);
  });

  it('write a backup for nobody else to read, and over no file', async () => {
    const file = join(tmpdir(), `bootfabric-${randomUUID()}.backup`);
    try {
      expect((await cli(['backup', file])).code).toBe(0);
      expect((await stat(file)).mode & 0o777).toBe(0o600);
      const backup = JSON.parse(await readFile(file, 'utf8')) as BackupDocument;
      expect(JSON.parse(backup.state) as ClusterState).toEqual(session.api.cluster.state());
      expect((await cli(['backup', file])).code).toBe(2);
    } finally {
      await rm(file);
    }
  });
});
