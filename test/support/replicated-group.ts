import { join } from 'node:path';
import { CounterSet } from '../../base/counters.ts';
import { silentLogger } from '../../base/logger.ts';
import type { PeerIdentity, PeerTransport } from '../../base/peer-transport.ts';
import { nodeFileSystem } from '../../storage/log/file-system.ts';
import { openSegmentedLog } from '../../storage/log/segmented-log.ts';
import { isDamagedInBlocksAlone } from '../../storage/lun/log-record.ts';
import { type MetaStore, type PortalGroup, ReplicationHost } from '../../storage/replication/index.ts';
import type { TrimBounds } from '../../storage/replication/log-trimmer.ts';
import { sevens } from './image-of-sevens.ts';
import { realTime } from './real-time.ts';

/** Portal groups on real files, replicated between hosts of one process. */

/** Links between hosts of one process. */
export class Exchange {
  readonly #handlers = new Map<string, (from: PeerIdentity, message: Uint8Array) => void>();
  readonly #links = new Map<string, (peer: PeerIdentity, up: boolean) => void>();
  readonly #isolated = new Set<string>();

  transport(self: PeerIdentity): PeerTransport {
    return {
      send: (to, parts) => {
        const message = Buffer.concat(parts);
        // Lost on its way, as in a network that says nothing of it.
        if (this.#isolated.has(self.nodeId) || this.#isolated.has(to)) return true;
        setImmediate(() => this.#handlers.get(to)?.(self, message));
        return this.#handlers.has(to);
      },
      queuedBytes: () => 0,
      isAbsent: () => false,
      isUp: (nodeId) => this.#handlers.has(nodeId),
      onMessage: (handler) => this.#handlers.set(self.nodeId, handler),
      onLinkChange: (handler) => this.#links.set(self.nodeId, handler),
    };
  }

  /** Nothing of what it sends, or is sent, arrives any more. */
  isolate(nodeId: string): void {
    this.#isolated.add(nodeId);
  }

  connect(peers: readonly PeerIdentity[]): void {
    for (const a of peers) for (const b of peers) if (a !== b) this.#links.get(a.nodeId)?.(b, true);
  }
}

/** One member, with its files under `directory`. */
export function makeHost(
  directory: string,
  self: PeerIdentity,
  exchange: Exchange,
  options: {
    readonly trim?: TrimBounds;
    readonly counters?: CounterSet;
    /** Told whenever the log is gone through. */
    readonly onScan?: () => void;
    /** Default: files under `directory`. */
    readonly metaStore?: MetaStore;
    readonly segmentSizeBytes?: number;
  } = {},
): ReplicationHost {
  const counters = options.counters ?? new CounterSet();
  return new ReplicationHost({
    ...options,
    ...self,
    transport: exchange.transport(self),
    openLog: async (groupId) => {
      const parts = { fileSystem: nodeFileSystem, logger: silentLogger, counters };
      const salvaging = { ...parts, salvage: isDamagedInBlocksAlone };
      const where = join(directory, self.nodeId, groupId);
      const { segmentSizeBytes } = options;
      const { log } = await openSegmentedLog({
        directory: where,
        ...salvaging,
        ...(segmentSizeBytes === undefined ? {} : { segmentSizeBytes }),
      });
      const scan = log.scan.bind(log);
      log.scan = (fromIndex) => {
        options.onScan?.();
        return scan(fromIndex);
      };
      return log;
    },
    metaDirectory: options.metaStore ?? join(directory, self.nodeId),
    images: sevens,
    clock: realTime,
    timers: realTime,
    logger: silentLogger,
    counters,
    proposeShrink: () => Promise.resolve('refused'),
    proposeExpand: () => Promise.resolve('refused'),
    proposeHandOver: () => Promise.resolve('refused'),
    onFatal: (error) => {
      throw error;
    },
  });
}

/** Group "g" once it serves. */
export async function serving(host: ReplicationHost): Promise<PortalGroup> {
  for (let i = 0; i < 400; i++) {
    const group = host.group('g');
    if (group?.isServing() === true) return group;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`not serving: ${JSON.stringify(host.group('g')?.status())}`);
}
