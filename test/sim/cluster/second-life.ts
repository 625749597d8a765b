import { RECOVERY_INDEX_STEP } from '../../../cluster/limits.ts';
import type { World } from '../world.ts';
import type { Host } from './host.ts';
import { Ledger } from './ledger.ts';
import { stateDigest } from './state-digest.ts';

export interface SecondLifeContext {
  readonly world: World;
  readonly counters: { add(name: string, by?: number): void };
  /** What was promised before the loss. */
  readonly ledger: Ledger;
  readonly fail: (what: string) => void;
}

/** All nodes but one are lost, and what is left is made a cluster of one, as `bootfabric recover` does. */
export class SecondLife {
  readonly #context: SecondLifeContext;
  /** What is promised from then on. */
  ledger: Ledger;

  constructor(context: SecondLifeContext) {
    this.#context = context;
    this.ledger = context.ledger;
  }

  /**
   * @param hosts stays the list of those who belong to the cluster
   * @returns the node that is left; undefined: none of them can be recovered from, and all is as it was
   */
  async begin(hosts: readonly Host[]): Promise<Host | undefined> {
    const { world, counters, ledger, fail } = this.#context;
    for (const host of hosts) host.leave();
    const candidates = hosts.filter((h) => h.phase === 'down' && h.starts > 0);
    while (candidates.length > 0) {
      const [host] = candidates.splice(world.random.below(candidates.length), 1) as [Host];
      const recovered = await host.recover((found) => {
        counters.add('recover.entries-lost', ledger.lostWith(host));
        const digest = stateDigest(found.state);
        ledger.isLeftOver(host, { lastIndex: found.lastIndex, digest });
      });
      if (recovered === undefined) continue;
      counters.add('recover.done');
      const baseIndex = recovered.leftOver.lastIndex + RECOVERY_INDEX_STEP;
      this.ledger = new Ledger([host.raftId], () => hosts, fail, baseIndex);
      this.ledger.applied(host, baseIndex, stateDigest(recovered.state));
      return host;
    }
    return undefined;
  }

  /** A lost node comes back with what it had, if it can never have thought that it decides alone. */
  oneReturns(lost: readonly Host[]): void {
    const { world, counters, ledger } = this.#context;
    const down = lost.filter((h) => h.phase === 'down' && h.starts > 0);
    const host = down[world.random.below(Math.max(1, down.length))];
    if (host === undefined || ledger.fewestVoters < 2) return;
    counters.add('recover.lost-node-returns');
    host.comeBack();
  }

  /** It does not lead, nobody has let it in, and it knows of nothing that has been agreed on since. */
  staysOut(host: Host, hosts: readonly Host[]): void {
    const { fail } = this.#context;
    if (host.node?.status().role === 'leader') fail(`${host.nodeId}, which was lost, leads`);
    if (host.appliedIndex > this.ledger.baseIndex) fail(`${host.nodeId}, which was lost, follows the log`);
    for (const { nodeId, node, appliedIndex } of hosts) {
      // A newcomer begins with the first state of all.
      if (node === undefined || appliedIndex < this.ledger.baseIndex) continue;
      const isIn = Object.hasOwn(node.state().nodes, host.nodeId);
      if (isIn) fail(`${host.nodeId}, which was lost, is a member again, says ${nodeId}`);
    }
    host.leave();
  }
}
