import { CounterSet } from '../../../../base/counters.ts';
import { silentLogger } from '../../../../base/logger.ts';
import { SeededRandom } from '../../../../base/random.ts';
import { AppliedStore } from '../../../../cluster/applied-store.ts';
import { ClusterNode } from '../../../../cluster/cluster-node.ts';
import { makeGenesis } from '../../../../cluster/state/genesis.ts';
import { nodeFileSystem } from '../../../../storage/log/file-system.ts';
import { openSegmentedLog } from '../../../../storage/log/segmented-log.ts';
import { MemoryMesh } from '../../../support/memory-mesh.ts';
import { realTime } from '../../../support/real-time.ts';
import { endpointsOf, genesisInput } from '../state/fixtures.ts';

export interface FileNode {
  readonly node: ClusterNode;
  stop(): Promise<void>;
}

/** A cluster of one node whose disks are real files under `folder`. */
export async function startFileNode(folder: string, incarnation: string, seed: number): Promise<FileNode> {
  const genesis = makeGenesis(genesisInput(1, 1));
  const common = { logger: silentLogger, counters: new CounterSet() };
  const { log } = await openSegmentedLog({
    directory: `${folder}/raft`,
    fileSystem: nodeFileSystem,
    segmentSizeBytes: 64 * 1024,
    ...common,
  });
  const appliedStore = await AppliedStore.open(`${folder}/applied`, { clusterId: 'c-1', nodeId: 'n1' });
  const node = new ClusterNode({
    ...common,
    nodeId: 'n1',
    incarnation,
    endpoints: endpointsOf(1),
    genesis,
    records: log,
    appliedStore,
    transport: new MemoryMesh().join({ nodeId: 'n1', incarnation }),
    clock: realTime,
    timers: realTime,
    random: new SeededRandom(seed),
    onFenced: () => {},
    onFatal: (error) => {
      throw error;
    },
  });
  await node.start();
  await node.registered;
  return {
    node,
    async stop() {
      await node.stop();
      await appliedStore.close();
      await log.close();
    },
  };
}
