import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { type Ipv4, parseIpv4 } from '../../base/ipv4.ts';
import { type MacAddress, parseMacAddress } from '../../base/mac-address.ts';
import { describeWhere } from '../support/requirements.ts';
import { ArpWatch, contested, tenures } from './support/arp-watch.ts';
import { until } from './support/cluster-fixture.ts';
import { CONSENSUS_LAB_NEEDS, ConsensusLab } from './support/consensus-lab.ts';

const PORTALS = ['10.77.0.101', '10.77.0.102', '10.77.0.103'].map(parseIpv4);
const NETWORK = parseIpv4('10.77.0.0');
const TAKEOVER_TIMEOUT_MS = 30_000;
const WHOLE_TIMEOUT_MS = 90_000;
/** Time enough after a node's return for it to claim what is not its any more. */
const RETURNED_MS = 4_000;

describeWhere(CONSENSUS_LAB_NEEDS, 'the address of a portal group', () => {
  let lab: ConsensusLab;
  let watch: ArpWatch;
  let macs: ReadonlyMap<string, MacAddress>;

  beforeAll(async () => {
    lab = await ConsensusLab.start({ portals: PORTALS });
    // What the cluster itself moves for balance would be taken for a steal-back.
    await lab.cluster.admin(['cluster', 'set', '--rebalance-delay', '3600']);
    macs = new Map(lab.nodes.map(({ id }) => [id, macOf(lab, id)]));
  }, 120_000);

  afterAll(async () => {
    await watch?.stop();
    await lab?.remove();
  }, 60_000);

  beforeEach(async () => {
    await watch?.stop();
    await lab.cluster.waitUntilWhole(WHOLE_TIMEOUT_MS);
    watch = new ArpWatch('eth0', NETWORK, PORTALS);
    await until('every address is answered for', async () =>
      PORTALS.every((p) => watch.holder(p) !== undefined),
    );
  }, WHOLE_TIMEOUT_MS);

  /** A node that has some address, and what it has. */
  function someHolder(): { node: string; held: Ipv4[]; others: Ipv4[] } {
    const node = lab.nodes.find(({ id }) => PORTALS.some((p) => watch.holder(p) === macs.get(id)))?.id;
    if (node === undefined) throw new Error('nobody has an address');
    const isHeld = (portal: Ipv4): boolean => watch.holder(portal) === macs.get(node);
    return { node, held: PORTALS.filter(isHeld), others: PORTALS.filter((p) => !isHeld(p)) };
  }

  async function takenOver(node: string, held: readonly Ipv4[]): Promise<void> {
    await until(
      'the addresses are taken over',
      async () => held.every((portal) => watch.holder(portal) !== macs.get(node)),
      TAKEOVER_TIMEOUT_MS,
    );
  }

  /** @param fault makes the node lose its addresses; returns what brings it back */
  async function losesThemOnce(fault: (node: string) => Promise<() => void>): Promise<void> {
    const { node, held, others } = someHolder();
    const before = new Map(others.map((portal) => [portal, watch.holder(portal)]));
    const bringBack = await fault(node);
    await takenOver(node, held);
    bringBack();
    await lab.cluster.waitUntilWhole(WHOLE_TIMEOUT_MS);
    await sleep(RETURNED_MS);
    expect(contested(watch.claims)).toEqual([]);
    for (const portal of held) {
      const holders = tenures(watch.claims, portal);
      expect(holders, `who had ${portal}`).toHaveLength(2);
      expect(holders[0]).toBe(macs.get(node));
    }
    for (const portal of others) {
      expect(tenures(watch.claims, portal), `who had ${portal}`).toEqual([before.get(portal)]);
    }
  }

  it('goes to another node when its own is killed, and stays there when that returns', {
    timeout: 150_000,
  }, async () => {
    await losesThemOnce(async (node) => {
      await lab.cluster.killNode(node);
      return () => lab.cluster.startNode(node);
    });
  });

  it('is let go of for a process that stands still, before anybody else has it', {
    timeout: 150_000,
  }, async () => {
    await losesThemOnce(async (node) => {
      lab.cluster.signalNode(node, 'SIGSTOP');
      return () => lab.cluster.signalNode(node, 'SIGCONT');
    });
  });

  it('is not with a node any more that was cut off, when that is back', { timeout: 150_000 }, async () => {
    await losesThemOnce(async (node) => {
      lab.lab.plug(node, false);
      return () => lab.lab.plug(node, true);
    });
  });

  it('would be answered for by two nodes, and this be seen, were there no guardian', {
    timeout: 150_000,
  }, async () => {
    const { node, held } = someHolder();
    const pid = lab.cluster.processId(node) as number;
    const guardian = onlyChildOf(pid);
    process.kill(guardian, 'SIGSTOP');
    process.kill(pid, 'SIGSTOP');
    try {
      await until(
        'two answer one question, by turns',
        async () =>
          contested(watch.claims).length > 0 &&
          held.some((portal) => tenures(watch.claims, portal).length > 2),
        TAKEOVER_TIMEOUT_MS,
      );
    } finally {
      process.kill(guardian, 'SIGCONT');
      process.kill(pid, 'SIGCONT');
    }
  });
});

function macOf(lab: ConsensusLab, node: string): MacAddress {
  const [link] = JSON.parse(lab.lab.ip(node, ['-j', 'link', 'show', 'eth0'])) as { address: string }[];
  return parseMacAddress(link?.address ?? '');
}

function onlyChildOf(pid: number): number {
  // Threads start processes too, and each has a list of its own.
  const [child, ...more] = readdirSync(`/proc/${pid}/task`)
    .flatMap((task) => readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').trim().split(' '))
    .filter((text) => text !== '')
    .map(Number);
  if (child === undefined || more.length > 0) throw new Error(`process ${pid} has not just one child`);
  return child;
}
