import { describe, expect, it } from 'vitest';
import { apply } from '../../../../cluster/state/apply.ts';
import type { Command } from '../../../../cluster/state/commands.ts';
import { runningCluster } from './fixtures.ts';

/** The same records in the opposite order, as a node may hold them that has them from a snapshot or a backup. */
const reversed = <T>(records: Readonly<Record<string, T>>): Record<string, T> =>
  Object.fromEntries(Object.entries(records).reverse());

describe('what a refusal offers', () => {
  it.each<[Command, string]>([
    [{ type: 'undrainNode', nodeId: 'n9', atMs: 1, by: 'admin' }, 'n1, n2, n3'],
    [{ type: 'moveGroup', group: 'pg9', epoch: 1, to: 'n1' }, 'pg1, pg2, pg3, pg4'],
  ])('is in one order, whatever that of the records: %j', (command, offered) => {
    const state = runningCluster(3, 4);
    const { nodes, portalGroups } = state;
    for (const held of [state, { ...state, nodes: reversed(nodes), portalGroups: reversed(portalGroups) }]) {
      expect(apply(held, command).result).toMatchObject({ ok: false, error: { accepted: offered } });
    }
  });
});
