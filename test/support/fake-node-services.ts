import { createHash } from 'node:crypto';
import type { CopyReadingDocument, CopyReportDocument } from '../../api/contract/group-start.ts';
import type { JoinRequestDocument } from '../../api/contract/join.ts';
import type { LunDocument } from '../../api/contract/luns.ts';
import type { BeginBootDocument } from '../../api/contract/peer-content.ts';
import type { IntegrityDocument, NodeStatusDocument } from '../../api/contract/status.ts';
import type { HeldContent, ImportRequest, MembershipServices, NodeServices } from '../../api/ports.ts';
import { OperationError } from '../../base/errors.ts';
import type { FakeCluster } from './fake-cluster.ts';

export const WHOLE_COPY: CopyReportDocument = {
  epoch: 1,
  nextIndex: 10,
  missingRecords: 0,
  openVoids: 0,
  missingBlocks: [],
  emptyLuns: [],
  unnamedVoids: 0,
};

/** Keeps what it is given in memory, as the node keeps it on disk. */
export class FakeNodeServices implements NodeServices {
  readonly images = new Map<string, Uint8Array>();
  readonly bootFiles = new Map<string, Uint8Array>();
  /** How the last import ended. */
  ended: 'whole' | 'refused' | undefined;
  /** Bytes of the import under way that have arrived. */
  arrivedBytes = 0;
  aborted = false;
  /** Thrown by status. */
  statusError: Error | undefined;
  /** The disk is full once so much of an import has arrived. */
  fullAfterBytes = Number.POSITIVE_INFINITY;
  /** Requests to join that have come this far. */
  readonly joining: JoinRequestDocument[] = [];
  readonly membership: MembershipServices = {
    nowMs: () => 1_000_000,
    createJoinToken: async (lifetimeMs, by) => {
      const secretSha256 = createHash('sha256').update(by).digest('hex');
      const expiresAtMs = 1_000_000 + lifetimeMs;
      const result = this.#cluster.apply({
        type: 'createJoinToken',
        id: 'aa11',
        secretSha256,
        expiresAtMs,
        atMs: 1_000_000,
        by,
      });
      if (!result.ok) throw new OperationError(result.error.message, result.error);
      return { id: 'aa11', token: 'bfj_token', expiresAt: new Date(expiresAtMs).toISOString() };
    },
    authority: async () => ({ clusterId: this.#cluster.state().clusterId, certificate: 'PEM' }),
    join: async (request) => {
      this.joining.push(request);
      throw new OperationError('the join token is no good', { kind: 'conflict', code: 'bad-join-token' });
    },
  };
  /** What copies lack, by "NODE GROUP"; nothing where nothing is said. Each is told once, the last again and again. */
  readonly copies = new Map<string, CopyReadingDocument[]>();
  readonly #cluster: FakeCluster;

  constructor(cluster: FakeCluster) {
    this.#cluster = cluster;
  }

  async readCopy(nodeId: string, group: string): Promise<CopyReadingDocument> {
    const told = this.copies.get(`${nodeId} ${group}`) ?? [];
    return (told.length > 1 ? told.shift() : told[0]) ?? { kind: 'read', report: WHOLE_COPY };
  }

  async importImage({ name, source, signal }: ImportRequest): Promise<{ image: string; version: number }> {
    this.arrivedBytes = 0;
    signal.addEventListener('abort', () => {
      this.aborted = true;
    });
    const parts: Uint8Array[] = [];
    try {
      for await (const part of source) {
        parts.push(part);
        this.arrivedBytes += part.length;
        if (this.arrivedBytes >= this.fullAfterBytes) {
          throw new OperationError('the disk is full', { kind: 'no-space', code: 'no-space' });
        }
      }
    } catch (error) {
      this.ended = 'refused';
      throw error;
    }
    this.ended = 'whole';
    this.images.set(name, Buffer.concat(parts));
    this.#cluster.addImage(name, ['n1', 'n2']);
    return { image: name, version: 1 };
  }

  async addBootFile(name: string, bytes: Uint8Array) {
    this.bootFiles.set(name, bytes);
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    this.#cluster.apply({ type: 'addBootFile', name, sizeBytes: bytes.length, sha256, holder: 'n1' });
    return { name, sizeBytes: bytes.length, sha256 };
  }

  async removeImageVersion(image: string, version: number, by: string) {
    const { nextLunId, nodes } = this.#cluster.state();
    const asked = { nextLunId, nodes: Object.keys(nodes) };
    const result = this.#cluster.apply({ type: 'removeImageVersion', image, version, ...asked, atMs: 1, by });
    if (!result.ok) throw new OperationError(result.error.message, result.error);
    return { image, version };
  }

  async imageUse() {
    return { groups: [] };
  }

  async removeBootFile(name: string, by: string) {
    const result = this.#cluster.apply({ type: 'removeBootFile', name, atMs: 1, by });
    if (!result.ok) throw new OperationError(result.error.message, result.error);
    this.bootFiles.delete(name);
    return { name };
  }

  async status(): Promise<NodeStatusDocument> {
    if (this.statusError !== undefined) throw this.statusError;
    return SAMPLE_STATUS;
  }

  async startScrub(): Promise<IntegrityDocument> {
    return { ...SAMPLE_STATUS.integrity, scrubStartedAt: '2026-11-25T00:00:00.000Z' };
  }

  async luns(): Promise<LunDocument[]> {
    return [SAMPLE_LUN];
  }

  async beginBoot(client: string): Promise<BeginBootDocument> {
    if (client === 'pc1') return { kind: 'ready' };
    return { kind: 'refused', reason: `there is no client "${client}"` };
  }

  readonly content: HeldContent = {
    imageManifest: async (name, version) =>
      name === 'win11' && version === 1 ? Buffer.from('manifest') : undefined,
    imageChunk: async (name, version, index) =>
      name === 'win11' && version === 1 && index < 2 ? Buffer.alloc(1 << 20, index + 1) : undefined,
    bootFile: async (name) => this.bootFiles.get(name),
  };
}

export const SAMPLE_LUN: LunDocument = {
  lunId: 1,
  client: 'pc1',
  targetName: 'iqn.2026-11.net.bootfabric:lab:client-pc1',
  image: 'win11',
  imageVersion: 1,
  sizeBytes: 1 << 30,
  writeCache: 'discard',
  writtenBytes: 4096,
  portalGroup: 'pg1',
  portal: '127.0.0.21:3260',
  primary: 'n1',
  sessions: 1,
};

export const SAMPLE_STATUS: NodeStatusDocument = {
  nodeId: 'n1',
  clusterId: 'c0ffee00c0ffee00c0ffee00c0ffee00',
  clusterName: 'lab',
  incarnation: 'n1-first',
  startedAt: '2026-11-20T00:00:00.000Z',
  cluster: {
    role: 'leader',
    leader: 'n1',
    term: 2,
    commitIndex: 7,
    appliedIndex: 7,
    lastIndex: 7,
    disk: { samples: 3, p50Ms: 0.4, p99Ms: 2.5, underWayMs: 0 },
    refetch: null,
    removedVoters: [],
  },
  nodes: [
    {
      nodeId: 'n1',
      address: '127.0.0.11:7443',
      status: 'up',
      vote: 'voter',
      draining: false,
      linkUp: null,
      matchIndex: null,
      lagEntries: null,
      lastContactMs: null,
    },
    {
      nodeId: 'n2',
      address: '127.0.0.12:7443',
      status: 'up',
      vote: 'voter',
      draining: false,
      linkUp: true,
      matchIndex: 7,
      lagEntries: 0,
      lastContactMs: 12,
    },
    {
      nodeId: 'n3',
      address: '127.0.0.13:7443',
      status: 'fenced',
      vote: 'voter',
      draining: false,
      linkUp: false,
      matchIndex: null,
      lagEntries: null,
      lastContactMs: null,
    },
  ],
  portalGroups: [
    {
      id: 'pg1',
      portal: '127.0.0.21:3260',
      epoch: 3,
      primary: 'n1',
      waiting: null,
      dataLoss: null,
      inSync: ['n1', 'n2'],
      replicas: ['n1', 'n2', 'n3'],
      minInSync: 1,
      durability: 'write-back',
      role: 'primary',
      serving: true,
      catchUp: [
        {
          nodeId: 'n3',
          detail: '120 records behind',
          percent: 40,
          bytesPerSecond: 1_000,
          paceBytesPerSecond: 2_000,
          limitBytesPerSecond: 3_000,
          secondsLeft: 3,
        },
      ],
      room: "only the reserve for compaction is left on n3, which takes no clients' writes",
      slow: 'n3 was taken out of the in-sync set for being slow (480 ms for what takes others 20 ms)',
    },
  ],
  placement: {
    rebalance: 'on',
    doing: [],
    next: 'portal group pg2 moves from n1 to n2, since n1 leads 2 by weight 1, n2 leads 0 by weight 1',
    waitingFor: '12 more of 30 s of calm',
    warnings: ['portal group pg1 has copies that share a rack: rack a has those of n1 and n2'],
  },
  sessions: [
    {
      portalGroup: 'pg1',
      client: 'pc1',
      initiatorName: 'iqn.2026-11.net.bootfabric:lab:initiator-pc1',
      remoteAddress: '127.0.0.1:40000',
    },
  ],
  images: [{ image: 'win11', version: 1, held: true }],
  counters: { 'tftp.malformed': 2 },
  integrity: {
    scrubStartedAt: null,
    doneBytes: 0,
    totalBytes: 5_000_000,
    lastScrubCompletedAt: '2026-11-19T00:00:00.000Z',
    found: 3,
    mended: 2,
    left: ['portal group pg1, record 77'],
    leftCount: 1,
  },
  missing: ['undionly.kpxe is not in /usr/lib/ipxe: BIOS machines cannot boot'],
};
