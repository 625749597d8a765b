import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { describeWhere } from '../support/requirements.ts';
import { CONSENSUS_LAB_NEEDS, ConsensusLab, examine, NO_TROUBLE } from './support/consensus-lab.ts';

const CHAOS_MS = 20_000;
const SEED = 20_261_125;

describeWhere(CONSENSUS_LAB_NEEDS, 'real nodes that are killed, held up and cut off', () => {
  let lab: ConsensusLab;

  beforeAll(async () => {
    lab = await ConsensusLab.start();
  }, 120_000);

  afterAll(async () => {
    await lab?.remove();
  }, 60_000);

  it('tell everyone the truth, through every node', { timeout: 240_000 }, async () => {
    const outcome = await lab.chaos(SEED, CHAOS_MS);
    console.log(`FIGURES consensus chaos: ${JSON.stringify(outcome)}`);
    expect(outcome.faults).toEqual([]);
    expect(outcome.undecided).toBe(0);
    expect(outcome.counts.changes).toBeGreaterThan(50);
    expect(outcome.counts.reads).toBeGreaterThan(50);
    expect(Object.values(outcome.troubles).filter((count) => count > 0).length).toBeGreaterThan(3);
  });

  it('are found out when they answer with what they happen to know', { timeout: 120_000 }, async () => {
    await lab.cluster.waitUntilWhole(90_000);
    // Where nothing is broken but one node is cut off from the others, its own knowledge is soon stale.
    const clients = lab.registryClients('local', SEED + 7);
    const [, , cut] = lab.nodes;
    if (cut === undefined) throw new Error('there is a third node');
    const others = lab.nodes.filter((node) => node.id !== cut.id);
    const setCut = (isCut: boolean): void => {
      for (const { id, address } of others) {
        lab.lab.setDeaf(id, cut.address, isCut);
        lab.lab.setDeaf(cut.id, address, isCut);
      }
    };
    clients.start();
    await sleep(1_000);
    setCut(true);
    await sleep(6_000);
    setCut(false);
    await clients.stop();
    const { faults } = examine(clients, NO_TROUBLE);
    expect(faults.length).toBeGreaterThan(0);
  });
});
