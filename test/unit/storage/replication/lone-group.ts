import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { CounterSet } from '../../../../base/counters.ts';
import { type Logger, silentLogger } from '../../../../base/logger.ts';
import { type FileSystem, nodeFileSystem } from '../../../../storage/log/file-system.ts';
import { openSegmentedLog } from '../../../../storage/log/segmented-log.ts';
import {
  type PortalGroup,
  ReplicationHost,
  type ReplicationHostOptions,
} from '../../../../storage/replication/index.ts';
import { sevens } from '../../../support/image-of-sevens.ts';
import { realTime } from '../../../support/real-time.ts';

export interface LoneOptions {
  readonly directory: string;
  readonly segmentSizeBytes: number;
  readonly fileSystem?: FileSystem;
  readonly logger?: Logger;
  readonly changes?: Partial<ReplicationHostOptions>;
}

/** A portal group "g" whose only member is in this process, on real files. */
export class LoneGroup {
  readonly counters = new CounterSet();
  readonly #options: LoneOptions;
  readonly #host: ReplicationHost;
  readonly #start: number;

  constructor(options: LoneOptions, start = 1) {
    this.#options = options;
    this.#start = start;
    this.#host = new ReplicationHost({
      nodeId: 'a',
      incarnation: `a.${start}`,
      transport: {
        send: () => false,
        queuedBytes: () => 0,
        isAbsent: () => false,
        isUp: () => false,
        onMessage: () => {},
        onLinkChange: () => {},
      },
      openLog: async (groupId, mustExist) => {
        const { log } = await openSegmentedLog({
          mustExist,
          directory: join(options.directory, groupId, 'log'),
          fileSystem: options.fileSystem ?? nodeFileSystem,
          segmentSizeBytes: options.segmentSizeBytes,
          logger: options.logger ?? silentLogger,
          counters: this.counters,
        });
        return log;
      },
      metaDirectory: options.directory,
      images: sevens,
      clock: realTime,
      timers: realTime,
      logger: options.logger ?? silentLogger,
      counters: this.counters,
      proposeShrink: () => Promise.resolve('refused'),
      proposeExpand: () => Promise.resolve('refused'),
      proposeHandOver: () => Promise.resolve('refused'),
      onFatal: (error) => {
        throw error;
      },
      ...options.changes,
    });
  }

  async serving(): Promise<PortalGroup> {
    const member = { nodeId: 'a', incarnation: `a.${this.#start}` };
    this.#host.applyClusterState({
      groups: [
        {
          id: 'g',
          epoch: this.#start,
          primary: 'a',
          inSync: [member],
          replicas: ['a'],
          minInSync: 1,
          durability: 'write-back',
        },
      ],
      nodes: [{ ...member, status: 'up' }],
      leaseMs: 200,
    });
    await this.#host.start();
    for (let i = 0; i < 1000; i++) {
      const group = this.#host.group('g');
      if (group?.isServing() === true) return group;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    throw new Error(`not serving: ${JSON.stringify(this.#host.group('g')?.status())}`);
  }

  stop(): Promise<void> {
    return this.#host.stop();
  }

  /** The same group in the next process. */
  next(): LoneGroup {
    return new LoneGroup(this.#options, this.#start + 1);
  }

  async logBytes(): Promise<number> {
    const folder = join(this.#options.directory, 'g', 'log');
    let sum = 0;
    for (const name of await readdir(folder)) {
      sum += await stat(join(folder, name)).then(
        ({ size }) => size,
        // Removed meanwhile.
        () => 0,
      );
    }
    return sum;
  }
}
