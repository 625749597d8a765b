import { join } from 'node:path';
import type { Counters } from '../base/counters.ts';
import { CounterSet } from '../base/counters.ts';
import { OperationError } from '../base/errors.ts';
import { type Logger, silentLogger } from '../base/logger.ts';
import type { RecordLog } from '../base/record-log.ts';
import { AppliedStore } from '../cluster/applied-store.ts';
import { nodeFileSystem } from '../storage/log/file-system.ts';
import { openSegmentedLog } from '../storage/log/segmented-log.ts';
import type { NodeDirectory } from './setup/node-directory.ts';

/** Whole segments are trimmed, and the cluster log is small. */
const CLUSTER_SEGMENT_BYTES = 8 * 1024 * 1024;

export interface ClusterStores {
  readonly records: RecordLog;
  readonly appliedStore: AppliedStore;
  readonly close: () => Promise<void>;
}

/**
 * What a node keeps of the cluster log on its disk; held by one process at a time.
 * @throws OperationError code "node-running"
 */
export async function openClusterStores(
  directory: NodeDirectory,
  watch: { readonly logger: Logger; readonly counters: Counters } = {
    logger: silentLogger,
    counters: new CounterSet(),
  },
): Promise<ClusterStores> {
  const { config, genesis } = directory;
  const owner = { clusterId: genesis.clusterId, nodeId: config.nodeId };
  const appliedStore = await openAppliedStore(join(config.dataDir, 'state'), owner);
  const { log: records } = await openSegmentedLog({
    directory: join(config.dataDir, 'raft'),
    fileSystem: nodeFileSystem,
    segmentSizeBytes: CLUSTER_SEGMENT_BYTES,
    ...watch,
  });
  const close = async (): Promise<void> => {
    await records.close();
    await appliedStore.close();
  };
  return { records, appliedStore, close };
}

async function openAppliedStore(
  path: string,
  owner: { clusterId: string; nodeId: string },
): Promise<AppliedStore> {
  try {
    await nodeFileSystem.makeDirectory(path);
    return await AppliedStore.open(path, owner);
  } catch (error) {
    const cause = (error as { cause?: { code?: string } }).cause;
    if (cause?.code !== 'LEVEL_LOCKED') throw error;
    throw new OperationError(`${path} is in use: another process runs this node`, {
      kind: 'conflict',
      code: 'node-running',
      got: path,
      accepted: 'one process for each node directory',
    });
  }
}
