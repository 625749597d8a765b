import type { Clock, Timers } from '../../base/clock.ts';
import type { Counters } from '../../base/counters.ts';
import { describeError, ProtocolError } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import type { LentMemory, PeerIdentity, PeerTransport } from '../../base/peer-transport.ts';
import { LogCorruptionError } from '../../base/record-log.ts';
import type { ImageSource } from '../image/image-source.ts';
import type { CheckpointStore } from './checkpoint-store.ts';
import type { MembershipChange } from './core.ts';
import type { DiskSpace } from './disk-space.ts';
import { groupOfFrame } from './frame.ts';
import type { MetaStore } from './group-meta.ts';
import type { DeliberateFaults, ProposalOutcome, ReplicationClusterState } from './group-state.ts';
import { type TrimBounds, USUAL_TRIM_BOUNDS } from './log-trimmer.ts';
import { type LinkTo, MemberLinks } from './member-links.ts';
import { MetaDirectory } from './meta-directory.ts';
import { NodePace, type OtherWorkers } from './node-pace.ts';
import { PatientMetaStore } from './patient-meta-store.ts';
import type { PortalGroup } from './portal-group.ts';
import { PortalGroupReplica } from './portal-group-replica.ts';
import { type CheckpointSource, type OpenLog, ReplicaFiles } from './replica-files.ts';

/** True: applied. False: not known to have been, which is taken as unknown. */
export type ProposalAnswer = ProposalOutcome | boolean;

export interface ReplicationHostOptions {
  readonly nodeId: string;
  readonly incarnation: string;
  readonly transport: PeerTransport;
  /** By which of the transport's links a member is reached; absent: by the one that is named as its node. */
  readonly linkTo?: LinkTo;
  readonly openLog: OpenLog;
  /** Absent: every start reads the whole log. */
  readonly checkpoints?: CheckpointStore;
  /**
   * Puts a damaged copy out of the way, so that the next process begins without one and fetches it from others.
   * Absent: a damaged copy stays, and the process ends for it every time.
   * @param processes those of this node that may have used it: this one, and the one known to be registered
   */
  readonly setAside?: (groupId: string, processes: readonly string[]) => Promise<void>;
  /** A directory for one small file per group, or what stands in for it. */
  readonly metaDirectory: string | MetaStore;
  readonly images: ImageSource;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly logger: Logger;
  readonly counters: Counters;
  /** Compare-and-set on the epoch. A rejection counts as unknown. */
  readonly proposeShrink: (group: string, epoch: number, remove: string) => Promise<ProposalAnswer>;
  readonly proposeExpand: (
    group: string,
    epoch: number,
    add: string,
    incarnation: string,
  ) => Promise<ProposalAnswer>;
  /** This node, which is the primary, leaves the set, and another member takes over. */
  readonly proposeHandOver: (group: string, epoch: number) => Promise<ProposalAnswer>;
  /**
   * The group is no longer served here: resolves once its portal address is off this node, never rejects. Its next
   * primary waits for that, or until the lease has run out. Absent: there is nothing to give up.
   */
  readonly letGo?: (groupId: string) => Promise<void>;
  /** The node of the group's primary lets those of its other members know something; see PortalGroup.publish. */
  readonly onNotice?: (groupId: string, notice: Uint8Array) => void;
  /** Storage failed or we are wrong: the process must end. */
  readonly onFatal: (error: unknown) => void;
  /** Bounds other than the usual ones; tests make them small. */
  readonly trim?: TrimBounds;
  /** Absent: clients' writes leave no reserve. */
  readonly diskSpace?: DiskSpace;
  /** Absent: no other worker of this node has groups. */
  readonly otherWorkers?: OtherWorkers;
  /** Only tests set this. */
  readonly faults?: DeliberateFaults;
}

type Slot =
  | { readonly kind: 'opening'; readonly done: Promise<void> }
  | { readonly kind: 'open'; readonly replica: PortalGroupReplica; readonly links: MemberLinks }
  | { readonly kind: 'closing'; readonly done: Promise<void> };

/** A copy was damaged and has been set aside: the process is to start again without it. */
export class DamagedCopyError extends Error {
  constructor(groupId: string, cause: unknown) {
    super(`the copy of portal group ${groupId} is damaged and was set aside: ${describeError(cause)}`, {
      cause,
    });
    this.name = 'DamagedCopyError';
  }
}

/** All portal groups of which this node, or one worker of it, is a member. */
export class ReplicationHost {
  readonly #options: ReplicationHostOptions;
  readonly #meta: PatientMetaStore;
  readonly #pace: NodePace;
  readonly #slots = new Map<string, Slot>();
  /** Those that are up, by their names. */
  readonly #links = new Map<string, PeerIdentity>();
  /** By node, the process whose end was told last: groups that are opened later have to know of it as well. */
  readonly #ended = new Map<string, PeerIdentity>();
  readonly #servingHandlers: ((groupId: string, serving: boolean) => void)[] = [];
  readonly #lapseHandlers: ((groupId: string) => void)[] = [];
  #state: ReplicationClusterState | undefined;
  #isStarted = false;
  #isStopped = false;

  constructor(options: ReplicationHostOptions) {
    this.#options = options;
    const { metaDirectory, transport, timers, logger } = options;
    const meta = typeof metaDirectory === 'string' ? new MetaDirectory(metaDirectory) : metaDirectory;
    this.#meta = new PatientMetaStore(meta, timers, logger);
    this.#pace = new NodePace(options.otherWorkers);
    transport.onMessage((from, message, lent) => this.#onMessage(from, message, lent));
    transport.onLinkChange((peer, up, link = peer.nodeId) => this.#onLinkChange(peer, up, link));
  }

  /** Opens the groups known by now. Those that come later are opened as they come. */
  async start(): Promise<void> {
    this.#isStarted = true;
    this.#reconcile();
    for (const slot of Array.from(this.#slots.values())) if (slot.kind === 'opening') await slot.done;
  }

  /** To be called with every new state of the cluster, in order. */
  applyClusterState(state: ReplicationClusterState): void {
    this.#state = state;
    this.#reconcile();
  }

  /**
   * That process has ended, as somebody knows who saw it end: nobody need wait for leases that it was granted. To be
   * called only when its portal addresses are off as well.
   */
  peerEnded(peer: PeerIdentity): void {
    this.#ended.set(peer.nodeId, peer);
    for (const slot of this.#slots.values()) if (slot.kind === 'open') slot.replica.peerEnded(peer);
  }

  group(groupId: string): PortalGroup | undefined {
    const slot = this.#slots.get(groupId);
    return slot?.kind === 'open' ? slot.replica : undefined;
  }

  onServingChange(handler: (groupId: string, serving: boolean) => void): void {
    this.#servingHandlers.push(handler);
  }

  /**
   * A group that is served no more though this node has gone on being its primary, since the lease lapsed, is not to be
   * waited for any longer: after LEASE_WAIT_MS, or since the office has ended meanwhile.
   */
  onLapseEnd(handler: (groupId: string) => void): void {
    this.#lapseHandlers.push(handler);
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#meta.stop();
    await Promise.all(Array.from(this.#slots.keys(), (groupId) => this.#close(groupId)));
  }

  #reconcile(): void {
    const state = this.#state;
    if (state === undefined || !this.#isStarted || this.#isStopped) return;
    const { groups, ...around } = state;
    const mine = groups.filter((group) => group.replicas.includes(this.#options.nodeId));
    for (const group of mine) {
      const slot = this.#slots.get(group.id);
      if (slot === undefined) this.#open(group.id);
      else if (slot.kind === 'open') {
        const { replica, links } = slot;
        links.follow(nodeIdsOf(state), (peer, up) => replica.linkChanged(peer, up));
        replica.applyState(group, around);
      }
    }
    const wanted = new Set(mine.map((group) => group.id));
    for (const groupId of this.#slots.keys()) {
      if (!wanted.has(groupId)) void this.#close(groupId);
    }
  }

  #open(groupId: string): void {
    const done = ReplicaFiles.open(
      groupId,
      this.#meta,
      this.#options.openLog,
      this.#checkpoints(groupId),
    ).then(
      (files) => {
        const links = this.#makeLinks(groupId);
        const replica = this.#makeReplica(groupId, files, links);
        this.#slots.set(groupId, { kind: 'open', replica, links });
        for (const peer of this.#ended.values()) replica.peerEnded(peer);
        for (const peer of links.reached()) replica.linkChanged(peer, true);
        replica.start();
        this.#reconcile();
      },
      (error: unknown) => this.#openingFailed(groupId, error),
    );
    this.#slots.set(groupId, { kind: 'opening', done });
  }

  #checkpoints(groupId: string): CheckpointSource | undefined {
    const { checkpoints: store, counters, logger } = this.#options;
    if (store === undefined) return undefined;
    const onIgnored = (reason: string): void => {
      counters.add('replication.checkpoint-ignored');
      logger.warn('replication.checkpoint-ignored', { group: groupId, reason });
    };
    return { store, onIgnored };
  }

  /**
   * What is damaged counts as gone: this process has registered with the copy, so only the next one may go on, with
   * another directory that is in sync with nothing.
   */
  async #openingFailed(groupId: string, error: unknown): Promise<void> {
    const { setAside, logger, counters, onFatal } = this.#options;
    const isDamage = error instanceof LogCorruptionError || error instanceof ProtocolError;
    if (!isDamage || setAside === undefined) {
      onFatal(error);
      return;
    }
    counters.add('replication.set-aside');
    logger.error('replication.copy-damaged', { group: groupId, reason: describeError(error) });
    try {
      await setAside(groupId, this.#processes());
      onFatal(new DamagedCopyError(groupId, error));
    } catch (failure) {
      onFatal(failure);
    }
  }

  #processes(): string[] {
    const { nodeId, incarnation } = this.#options;
    const registered = this.#state?.nodes.find((node) => node.nodeId === nodeId)?.incarnation ?? incarnation;
    return Array.from(new Set([incarnation, registered]));
  }

  #makeLinks(groupId: string): MemberLinks {
    const { transport, linkTo = (_, nodeId) => nodeId } = this.#options;
    const links = new MemberLinks({ groupId, linkTo, transport, up: this.#links });
    if (this.#state !== undefined) links.follow(nodeIdsOf(this.#state), () => {});
    return links;
  }

  #makeReplica(groupId: string, files: ReplicaFiles, links: MemberLinks): PortalGroupReplica {
    const { nodeId, incarnation, faults, trim, diskSpace, checkpoints, letGo, onNotice } = this.#options;
    return new PortalGroupReplica({
      ...this.#options,
      groupId,
      transport: links.transport(),
      self: { nodeId, incarnation },
      files,
      faults: faults ?? {},
      trim: trim ?? USUAL_TRIM_BOUNDS,
      pace: this.#pace,
      diskSpace,
      checkpoints,
      propose: (change) => this.#propose(groupId, change),
      onNotice: (notice) => onNotice?.(groupId, notice),
      letGo: () => letGo?.(groupId) ?? Promise.resolve(),
      onServingChange: (serving) => {
        for (const handler of this.#servingHandlers) handler(groupId, serving);
      },
      onLapseEnd: () => {
        for (const handler of this.#lapseHandlers) handler(groupId);
      },
    });
  }

  async #propose(groupId: string, change: MembershipChange): Promise<ProposalOutcome> {
    const answer = await this.#hand(groupId, change);
    if (typeof answer === 'boolean') return answer ? 'applied' : 'unknown';
    return answer;
  }

  #hand(groupId: string, change: MembershipChange): Promise<ProposalAnswer> {
    const { proposeShrink, proposeExpand, proposeHandOver } = this.#options;
    switch (change.kind) {
      case 'shrink':
        return proposeShrink(groupId, change.epoch, change.remove);
      case 'expand':
        return proposeExpand(groupId, change.epoch, change.add, change.incarnation);
      case 'handOver':
        return proposeHandOver(groupId, change.epoch);
    }
  }

  /** The group's files stay: an administrator may bring it back. */
  async #close(groupId: string): Promise<void> {
    const slot = this.#slots.get(groupId);
    if (slot === undefined) return;
    if (slot.kind === 'closing') return slot.done;
    const done = (async () => {
      if (slot.kind === 'opening') await slot.done;
      const open = slot.kind === 'open' ? slot : this.#slots.get(groupId);
      if (open?.kind === 'open') await open.replica.stop();
      this.#slots.delete(groupId);
      this.#reconcile();
    })();
    if (slot.kind === 'open') this.#slots.set(groupId, { kind: 'closing', done });
    await done;
  }

  #onMessage(from: PeerIdentity, message: Uint8Array, lent: LentMemory | undefined): void {
    let groupId: string;
    try {
      groupId = groupOfFrame(message);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#options.counters.add(`replication.${error.code}`);
      return;
    }
    const slot = this.#slots.get(groupId);
    if (slot?.kind === 'open') slot.replica.receive(from, message, lent);
    else this.#options.counters.add('replication.unknown-group');
  }

  #onLinkChange(peer: PeerIdentity, up: boolean, link: string): void {
    if (up) this.#links.set(link, peer);
    else if (this.#links.get(link)?.incarnation === peer.incarnation) this.#links.delete(link);
    for (const slot of this.#slots.values()) {
      if (slot.kind === 'open' && slot.links.isLink(link, peer.nodeId)) slot.replica.linkChanged(peer, up);
    }
  }
}

function nodeIdsOf({ nodes }: ReplicationClusterState): string[] {
  return nodes.map(({ nodeId }) => nodeId);
}
