import { open } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock, Timers } from '../../base/clock.ts';
import type { Counters } from '../../base/counters.ts';
import { InvariantError, invariant } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import type { PeerTransport } from '../../base/peer-transport.ts';
import { type BlockDevice, LOGICAL_BLOCK_BYTES } from '../../storage/block-device.ts';
import type { ImageSource } from '../../storage/image/image-source.ts';
import { nodeFileSystem } from '../../storage/log/file-system.ts';
import { openSegmentedLog } from '../../storage/log/segmented-log.ts';
import type { SpareSegments } from '../../storage/log/spare-segments.ts';
import { decodeGroupMeta } from '../../storage/replication/group-meta.ts';
import { type PortalGroup, ReplicationHost } from '../../storage/replication/index.ts';
import { MetaDirectory } from '../../storage/replication/meta-directory.ts';
import { MERGE_STEP_BYTES } from './limits.ts';
import type { ServedFile } from './worker-protocol.ts';

export interface FileLunParts {
  readonly images: ImageSource;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly logger: Logger;
  readonly counters: Counters;
  readonly spares: SpareSegments;
  readonly onFatal: (error: unknown) => void;
}

const GROUP = 'file';
const NODE = 'local';
const LUN_ID = 1;
/** Nobody is there to grant or to wait for. */
const LEASE_MS = 0;

const noPeers: PeerTransport = {
  send: () => false,
  queuedBytes: () => 0,
  isUp: () => false,
  isAbsent: () => true,
  onMessage: () => {},
  onLinkChange: () => {},
};

/** The disk of one file: a portal group with one member, and in it one LUN whose image is the file. */
export class FileLun {
  readonly file: ServedFile;
  readonly #host: ReplicationHost;
  readonly #group: PortalGroup;

  private constructor(file: ServedFile, host: ReplicationHost, group: PortalGroup) {
    this.file = file;
    this.#host = host;
    this.#group = group;
  }

  /**
   * Opens the log in the file's writes directory, or begins one, and resolves once the disk is served.
   * @throws LogCorruptionError, ProtocolError code "bad-meta", the file system's errors
   */
  static async open(file: ServedFile, parts: FileLunParts): Promise<FileLun> {
    const meta = new MetaDirectory(file.writesDirectory);
    const known = await meta.load(GROUP);
    // Each start is another reign, as each start of a node is.
    const epoch = known === undefined ? 1 : decodeGroupMeta(known).epoch + 1;
    const self = { nodeId: NODE, incarnation: String(epoch) };
    const refused = (): Promise<'refused'> => Promise.resolve('refused');
    const host = new ReplicationHost({
      ...parts,
      ...self,
      transport: noPeers,
      openLog: async () => {
        const directory = join(file.writesDirectory, 'log');
        return (await openSegmentedLog({ ...parts, directory, fileSystem: nodeFileSystem })).log;
      },
      metaDirectory: meta,
      proposeShrink: refused,
      proposeExpand: refused,
      proposeHandOver: refused,
    });
    const served = new Promise<void>((resolve) => {
      host.onServingChange((_, serving) => {
        if (serving) resolve();
      });
    });
    const membership = { epoch, primary: NODE, inSync: [self], replicas: [NODE] };
    host.applyClusterState({
      groups: [{ id: GROUP, ...membership, minInSync: 1, durability: 'write-back' }],
      nodes: [{ ...self, status: 'up' }],
      leaseMs: LEASE_MS,
    });
    await host.start();
    await served;
    const group = host.group(GROUP);
    invariant(group !== undefined, 'a group that serves is there');
    const lun = new FileLun(file, host, group);
    await lun.#makeLun();
    return lun;
  }

  async #makeLun(): Promise<void> {
    if (this.#group.luns().length > 0) return;
    const lengthBlocks = this.file.sizeBytes / LOGICAL_BLOCK_BYTES;
    await this.#group.resetLun({ lunId: LUN_ID, base: { name: this.file.path, version: 1 }, lengthBlocks });
  }

  device(): BlockDevice {
    const device = this.#group.openDevice(LUN_ID);
    if (device === undefined) throw new InvariantError(`the disk of ${this.file.path} is not served`);
    return device;
  }

  /**
   * Writes what differs into the file, durably. May be interrupted and done again. No session may write
   * meanwhile.
   */
  async merge(): Promise<void> {
    const device = this.device();
    const file = await open(this.file.path, 'r+');
    try {
      const stepBlocks = MERGE_STEP_BYTES / LOGICAL_BLOCK_BYTES;
      for (let lba = 0; lba < device.lengthBlocks; lba += stepBlocks) {
        const lengthBlocks = Math.min(stepBlocks, device.lengthBlocks - lba);
        const wanted = Buffer.concat(await device.read(lba, lengthBlocks));
        const found = Buffer.allocUnsafe(wanted.length);
        const at = lba * LOGICAL_BLOCK_BYTES;
        const { bytesRead } = await file.read(found, 0, found.length, at);
        if (bytesRead === wanted.length && wanted.equals(found)) continue;
        const { bytesWritten } = await file.write(wanted, 0, wanted.length, at);
        invariant(bytesWritten === wanted.length, 'a write to a file is whole or fails');
      }
      await file.datasync();
    } finally {
      await file.close();
    }
  }

  stop(): Promise<void> {
    return this.#host.stop();
  }
}
