import { CounterSet } from '../base/counters.ts';
import { silentLogger } from '../base/logger.ts';
import type { RecordLog } from '../base/record-log.ts';
import type { AppliedStore } from '../cluster/applied-store.ts';
import { Ballast } from '../storage/log/ballast.ts';
import { nodeFileSystem } from '../storage/log/file-system.ts';
import { openAppliedStore } from './applied-directory.ts';
import { ClusterRecords, type ClusterRecordsOptions } from './cluster-records.ts';
import type { NodeDirectory } from './setup/node-directory.ts';

export interface ClusterStores {
  /** As they were opened; damaged ones say so when they are used. */
  readonly records: RecordLog;
  readonly clusterRecords: ClusterRecords;
  readonly appliedStore: AppliedStore;
  /** Let go of if that was needed, and not made again yet. */
  readonly ballast: Ballast;
  readonly close: () => Promise<void>;
}

/**
 * What a node keeps of the cluster log on its disk; held by one process at a time.
 * @throws OperationError code "node-running"
 */
export async function openClusterStores(
  directory: NodeDirectory,
  watch: Pick<ClusterRecordsOptions, 'logger' | 'counters' | 'life'> = {
    logger: silentLogger,
    counters: new CounterSet(),
  },
): Promise<ClusterStores> {
  const { config, genesis } = directory;
  const ballast = new Ballast(nodeFileSystem, config.dataDir, watch.logger);
  await nodeFileSystem.makeDirectory(config.dataDir);
  await ballast.letGoIfNeeded();
  const owner = { clusterId: genesis.clusterId, nodeId: config.nodeId };
  const appliedStore = await openAppliedStore(config.dataDir, owner, watch.logger);
  const place = { directory: config.dataDir, fileSystem: nodeFileSystem };
  const clusterRecords = await ClusterRecords.open({ ...place, ...watch });
  const close = async (): Promise<void> => {
    await clusterRecords.records.close();
    await appliedStore.close();
  };
  return { records: clusterRecords.records, clusterRecords, appliedStore, ballast, close };
}
