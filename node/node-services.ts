import type { RemovedBootFileDocument } from '../api/contract/boot-files.ts';
import type { CopyReadingDocument } from '../api/contract/group-start.ts';
import type { RemovedImageVersionDocument } from '../api/contract/images.ts';
import type { LunDocument } from '../api/contract/luns.ts';
import type { ImageUseDocument } from '../api/contract/peer-content.ts';
import type { IntegrityDocument, NodeStatusDocument } from '../api/contract/status.ts';
import type { HeldContent, ImportRequest, MembershipServices, NodeServices } from '../api/ports.ts';
import { propose } from '../api/serve-route.ts';
import type { Clock } from '../base/clock.ts';
import type { CounterSet } from '../base/counters.ts';
import { OperationError } from '../base/errors.ts';
import type { ClusterView } from '../cluster/ports.ts';
import { acceptedLoss } from '../cluster/state/disks.ts';
import type { ClusterState, PortalGroupRecord } from '../cluster/state/model.ts';
import { placementReport } from '../cluster/state/placement-report.ts';
import { waitingReason } from '../cluster/state/waiting.ts';
import type { BootFileStore } from '../storage/image/boot-file-store.ts';
import type { ImageVersionRef } from '../storage/image/image-source.ts';
import type { ImageStore } from '../storage/image/image-store.ts';
import type { BootPrograms } from './boot-programs.ts';
import { removeImageVersion } from './image-removal.ts';
import { sumOf } from './portal/data-plane-workers.ts';
import type { IntegrityStatus } from './portal/integrity.ts';
import type {
  BeginBootAnswer,
  DataPlaneStatus,
  ImageUse,
  PortalGroupStatus,
} from './portal/worker-protocol.ts';

export interface NodeServicesOptions {
  readonly incarnation: string;
  readonly startedAtMs: number;
  readonly cluster: ClusterView;
  readonly images: ImageStore;
  readonly bootFiles: BootFileStore;
  readonly bootPrograms: BootPrograms;
  /** Boot programs that machines will ask for. */
  readonly neededPrograms: readonly string[];
  readonly dataPlane: {
    status(): Promise<DataPlaneStatus>;
    beginBoot(client: string): Promise<BeginBootAnswer>;
    readCopy(group: string): Promise<CopyReadingDocument>;
    imageUse(image: ImageVersionRef): Promise<readonly ImageUse[]>;
    scrub(): Promise<IntegrityStatus>;
  };
  /** Asks another node what its copy of a portal group lacks. */
  readonly readCopyOf: (nodeId: string, group: string) => Promise<CopyReadingDocument>;
  /** Asks another node which disks that it serves are over an image version. */
  readonly imageUseOf: (nodeId: string, image: ImageVersionRef) => Promise<readonly ImageUse[]>;
  readonly membership: MembershipServices;
  readonly clock: Clock;
  readonly counters: CounterSet;
}

/** What the API asks of its node. */
export class LocalServices implements NodeServices {
  readonly #options: NodeServicesOptions;
  readonly content: HeldContent;
  readonly membership: MembershipServices;

  constructor(options: NodeServicesOptions) {
    this.#options = options;
    const { images, bootFiles, membership } = options;
    this.membership = membership;
    this.content = {
      imageManifest: (name, version) => images.manifest({ name, version }),
      imageChunk: (name, version, index) => images.readChunk({ name, version }, index),
      bootFile: (_name, sha256) => bootFiles.get(sha256),
    };
  }

  async importImage(request: ImportRequest): Promise<{ image: string; version: number }> {
    const { cluster, images, clock } = this.#options;
    const { name, source, sizeBytes, signal } = request;
    const imported = await images.importRaw(name, source, { sizeBytes, signal });
    let version: number;
    try {
      const accepted = await propose(cluster, {
        type: 'addImageVersion',
        image: name,
        sizeBytes,
        chunkSizeBytes: imported.manifest.chunkSizeBytes,
        manifestSha256: imported.manifestSha256,
        holder: cluster.nodeId,
        atMs: clock.wallMs(),
      });
      version = (accepted as { version: number }).version;
    } catch (error) {
      // With the outcome unknown the upload stays: should the version turn up, the store takes it in.
      if (!isUnknownOutcome(error)) await images.discardImport(imported.token);
      throw error;
    }
    await images.commitImport(imported.token, version);
    return { image: name, version };
  }

  removeImageVersion(name: string, version: number, by: string): Promise<RemovedImageVersionDocument> {
    const { cluster, clock, dataPlane, imageUseOf } = this.#options;
    const useHere = (image: ImageVersionRef): Promise<readonly ImageUse[]> => dataPlane.imageUse(image);
    return removeImageVersion({ cluster, clock, useHere, useElsewhere: imageUseOf }, { name, version }, by);
  }

  async imageUse(name: string, version: number): Promise<ImageUseDocument> {
    // Whoever asks has seen in the configuration that no new disk would be over it: so must those that make disks.
    await this.#options.cluster.linearizableState();
    const uses = await this.#options.dataPlane.imageUse({ name, version });
    return { groups: uses.map(({ group, lunIds }) => ({ group, lunIds: [...lunIds] })) };
  }

  async addBootFile(name: string, bytes: Uint8Array): ReturnType<NodeServices['addBootFile']> {
    const { bootFiles, cluster } = this.#options;
    const stored = await bootFiles.put(name, bytes);
    await propose(cluster, { type: 'addBootFile', ...stored, holder: cluster.nodeId });
    // The same content may just have been removed.
    await bootFiles.put(name, bytes);
    return stored;
  }

  async removeBootFile(name: string, by: string): Promise<RemovedBootFileDocument> {
    const { cluster, bootPrograms, neededPrograms, clock } = this.#options;
    const { settings, bootFiles } = await cluster.linearizableState();
    const isNeeded = settings.dhcp.mode !== 'off' && neededPrograms.includes(name);
    if (isNeeded && Object.hasOwn(bootFiles, name) && !(await bootPrograms.isInFolder(name))) {
      throw new OperationError(
        `machines are told to load ${name}, and node ${cluster.nodeId} has it from nowhere else: without it they could not boot`,
        {
          kind: 'conflict',
          code: 'boot-file-in-use',
          got: name,
          accepted: `another program under the same name ("boot-file add"), or iPXE installed on every node first`,
        },
      );
    }
    await propose(cluster, { type: 'removeBootFile', name, atMs: clock.wallMs(), by });
    return { name };
  }

  beginBoot(client: string): Promise<BeginBootAnswer> {
    return this.#options.dataPlane.beginBoot(client);
  }

  readCopy(nodeId: string, group: string): Promise<CopyReadingDocument> {
    const { cluster, dataPlane, readCopyOf } = this.#options;
    return nodeId === cluster.nodeId ? dataPlane.readCopy(group) : readCopyOf(nodeId, group);
  }

  async startScrub(): Promise<IntegrityDocument> {
    return integrityDocument(await this.#options.dataPlane.scrub());
  }

  async status(): Promise<NodeStatusDocument> {
    const { cluster, incarnation, startedAtMs, counters, dataPlane } = this.#options;
    const state = cluster.state();
    const { nodeId, peers, members, disk, refetch, calmNeededMs, ...clusterStatus } = cluster.status();
    const plane = await dataPlane.status();
    return {
      nodeId,
      clusterId: state.clusterId,
      clusterName: state.clusterName,
      incarnation,
      startedAt: new Date(startedAtMs).toISOString(),
      cluster: {
        ...clusterStatus,
        leader: clusterStatus.leader ?? null,
        refetch: refetch === undefined ? null : { ...refetch, waitingFor: [...refetch.waitingFor] },
        removedVoters: members
          .filter((m) => m.role === 'voter' && Object.hasOwn(state.removedNodes, m.nodeId))
          .map((m) => m.nodeId),
        disk: { ...disk, p50Ms: disk.p50Ms ?? null, p99Ms: disk.p99Ms ?? null },
      },
      nodes: Object.values(state.nodes).map((node) => {
        const peer = peers.find((p) => p.nodeId === node.nodeId);
        return {
          nodeId: node.nodeId,
          address: node.endpoints.api,
          status: node.status,
          vote: members.find((m) => m.nodeId === node.nodeId)?.role ?? null,
          draining: node.draining === true,
          linkUp: peer?.linkUp ?? null,
          matchIndex: peer?.matchIndex ?? null,
          lagEntries: peer?.lagEntries ?? null,
          lastContactMs: peer?.lastContactMs ?? null,
        };
      }),
      portalGroups: Object.values(state.portalGroups).map((group) =>
        groupDocument(
          nodeId,
          state,
          group,
          plane.groups.find((g) => g.id === group.id),
        ),
      ),
      placement: placementDocument(state, calmNeededMs),
      sessions: plane.sessions.map((session) => sessionDocument(state, session)),
      images: await this.#heldImages(state),
      integrity: integrityDocument(plane.integrity),
      counters: sumOf([counters.snapshot(), plane.counters]),
      missing: await this.#missing(state),
    };
  }

  async luns(): Promise<LunDocument[]> {
    const state = this.#options.cluster.state();
    const plane = await this.#options.dataPlane.status();
    return Object.values(state.clients).map((client) => {
      const lun = plane.luns.find((l) => l.lunId === client.lunId);
      const group = state.portalGroups[client.portalGroup];
      return {
        lunId: client.lunId,
        client: client.name,
        targetName: client.targetName,
        image: lun?.image ?? client.image,
        imageVersion: lun?.imageVersion ?? client.imageVersion ?? null,
        sizeBytes: lun === undefined ? null : lun.lengthBlocks * 512,
        writeCache: client.writeCache,
        writtenBytes: lun?.writtenBytes ?? null,
        portalGroup: client.portalGroup,
        portal: group === undefined ? '' : `${group.address}:${group.port}`,
        primary: group?.primary ?? null,
        sessions: plane.sessions.filter((s) => s.target === client.targetName).length,
      };
    });
  }

  async #heldImages(state: ClusterState): Promise<NodeStatusDocument['images']> {
    const { images } = this.#options;
    const versions = Object.values(state.images).flatMap((image) =>
      image.versions.map((v) => ({ name: image.name, version: v.version })),
    );
    return Promise.all(
      versions.map(async (ref) => ({
        image: ref.name,
        version: ref.version,
        held: (await images.manifest(ref)) !== undefined,
      })),
    );
  }

  async #missing(state: ClusterState): Promise<string[]> {
    if (state.settings.dhcp.mode === 'off') return [];
    const { bootPrograms, neededPrograms } = this.#options;
    return (await bootPrograms.missing(neededPrograms)).map(describeMissingProgram);
  }
}

function integrityDocument(status: IntegrityStatus): IntegrityDocument {
  const { startedAtMs, lastCompletedAtMs, doneBytes, totalBytes, found, mended, left, leftCount } = status;
  const timeOf = (ms: number | undefined): string | null =>
    ms === undefined ? null : new Date(ms).toISOString();
  return {
    scrubStartedAt: timeOf(startedAtMs),
    doneBytes,
    totalBytes,
    lastScrubCompletedAt: timeOf(lastCompletedAtMs),
    found,
    mended,
    left: [...left],
    leftCount,
  };
}

/** How to get a boot program that a node lacks. */
export function describeMissingProgram(name: string): string {
  return (
    `boot program ${name}: neither uploaded nor in the iPXE folder; ` +
    `run "bootfabric boot-file add ${name}", or install iPXE on this host (Debian: apt-get install ipxe)`
  );
}

function isUnknownOutcome(error: unknown): boolean {
  return (error as { kind?: string } | null)?.kind === 'unknown-outcome';
}

function groupDocument(
  nodeId: string,
  state: ClusterState,
  group: PortalGroupRecord,
  here: PortalGroupStatus | undefined,
): NodeStatusDocument['portalGroups'][number] {
  const isReplica = group.replicas.includes(nodeId);
  return {
    id: group.id,
    portal: `${group.address}:${group.port}`,
    epoch: group.epoch,
    primary: group.primary ?? null,
    waiting: waitingReason(state, group) ?? null,
    dataLoss: acceptedLoss(state, group) ?? null,
    inSync: group.inSync.map((member) => member.nodeId),
    replicas: [...group.replicas],
    minInSync: group.minInSync,
    durability: group.durability,
    role: group.primary === nodeId ? 'primary' : isReplica ? 'backup' : 'none',
    serving: here?.serving === true && here.listening,
    catchUp: here?.catchUp === null || here?.catchUp === undefined ? [] : [here.catchUp],
    room: here?.room ?? null,
    slow: here?.slow ?? null,
  };
}

function placementDocument(
  state: ClusterState,
  calmNeededMs: number | undefined,
): NodeStatusDocument['placement'] {
  const { doing, next, waitingFor, warnings } = placementReport(state, calmNeededMs);
  return {
    rebalance: state.settings.rebalance ?? 'on',
    doing: [...doing],
    next: next ?? null,
    waitingFor: waitingFor ?? null,
    warnings: [...warnings],
  };
}

function sessionDocument(
  state: ClusterState,
  session: DataPlaneStatus['sessions'][number],
): NodeStatusDocument['sessions'][number] {
  const client = Object.values(state.clients).find((c) => c.targetName === session.target);
  return {
    portalGroup: client?.portalGroup ?? null,
    client: client?.name ?? null,
    initiatorName: session.initiator,
    remoteAddress: session.remote,
  };
}
