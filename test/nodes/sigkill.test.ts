import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { ClientListDocument } from '../../api/contract/clients.ts';
import { SeededRandom } from '../../base/random.ts';
import { type ClusterFixture, clusterForFile, NODE_IDS, until } from './support/cluster-fixture.ts';

const ROUNDS = 10;
/** Between a start and the next kill: sometimes while it still starts, sometimes well after. */
const LONGEST_LIFE_MS = 1_500;
const LONGEST_DEATH_MS = 700;
/** Honest answers of a cluster that is losing nodes: the change was certainly not made, or nobody knows. */
const NOT_MADE = new Set(['no-leader', 'behind', 'queue-full', 'leader-lost', 'unreachable']);
const UNKNOWN = new Set(['unknown-outcome', 'timed-out', 'skipped', 'stopping']);

const shared = clusterForFile('127.200.6');

async function clientsAt(fixture: ClusterFixture, nodeId: string): Promise<ClientListDocument['clients']> {
  const { status, json } = await fixture.api(nodeId, '/api/v1/clients?consistency=local');
  expect(status).toBe(200);
  return (json as ClientListDocument).clients;
}

describe('a node killed with SIGKILL at any instant', () => {
  it('forgets nothing that was acknowledged', async () => {
    const fixture = shared();
    const { cluster } = fixture;
    const random = new SeededRandom(606);
    const acknowledged: string[] = [];
    const refused: string[] = [];
    const odd: string[] = [];
    const stopAdding = new AbortController();
    let dead: string | undefined;

    async function addClients(lane: number): Promise<void> {
      for (let i = 0; !stopAdding.signal.aborted; i++) {
        const name = `c${lane}-${i}`;
        const mac = `52:54:00:${lane.toString(16).padStart(2, '0')}:ee:${i.toString(16).padStart(2, '0')}`;
        const alive = NODE_IDS.filter((id) => id !== dead);
        const node = alive[random.below(alive.length)] ?? 'n1';
        const add = ['client', 'add', name, '--mac', mac, '--image', 'base', '--node', node, '--json'];
        const { status, stderr } = await cluster.cli(add);
        if (status === 0) {
          acknowledged.push(name);
          continue;
        }
        const { code } = (JSON.parse(stderr) as { error: { code: string } }).error;
        if (NOT_MADE.has(code)) refused.push(name);
        else if (!UNKNOWN.has(code)) odd.push(stderr);
      }
    }

    const lanes = [addClients(1), addClients(2)];
    for (let round = 0; round < ROUNDS; round++) {
      await sleep(random.below(LONGEST_LIFE_MS));
      dead = NODE_IDS[random.below(NODE_IDS.length)];
      await cluster.kill(dead ?? '');
      await sleep(random.below(LONGEST_DEATH_MS));
      cluster.start(dead ?? '');
    }
    dead = undefined;
    await cluster.waitUntilServing(NODE_IDS.length);
    stopAdding.abort();
    await Promise.all(lanes);

    expect(odd).toEqual([]);
    expect(acknowledged.length).toBeGreaterThan(2);
    await until('every node has the same clients', async () => {
      const lists = await Promise.all(NODE_IDS.map((id) => clientsAt(fixture, id)));
      return lists.every((list) => JSON.stringify(sorted(list)) === JSON.stringify(sorted(lists[0] ?? [])));
    });
    const names = (await clientsAt(fixture, 'n1')).map((client) => client.name);
    expect(acknowledged.filter((name) => !names.includes(name))).toEqual([]);
    expect(refused.filter((name) => names.includes(name))).toEqual([]);
    const groups = (await Promise.all(NODE_IDS.map((id) => fixture.status(id)))).flatMap(
      (s) => s.portalGroups,
    );
    expect(groups.map((group) => group.inSync.length)).toEqual(groups.map(() => NODE_IDS.length));
  }, 120_000);
});

function sorted(clients: ClientListDocument['clients']): ClientListDocument['clients'] {
  return [...clients].sort((a, b) => (a.name < b.name ? -1 : 1));
}
