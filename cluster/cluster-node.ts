import { describeError, invariant, OperationError } from '../base/errors.ts';
import type { PeerIdentity } from '../base/peer-transport.ts';
import type { ClusterNodeOptions } from './cluster-node-options.ts';
import { encodeCommand } from './command-codec.ts';
import { DiskRegistration } from './disk-registration.ts';
import { Fencing } from './fencing.ts';
import { READ_TIMEOUT_MS } from './limits.ts';
import { type MemberAddress, Membership } from './membership.ts';
import { NodeDescription } from './node-description.ts';
import { NodeRegistration } from './node-registration.ts';
import { PlacementKeeper } from './placement-keeper.ts';
import type { ClusterStatus, ClusterView, PeerStatus, RaftMemberStatus } from './ports.ts';
import { failure } from './proposals.ts';
import { type ConfState, NO_NODE, type RaftStatus } from './raft/index.ts';
import { RaftLog } from './raft-log.ts';
import { votersOf } from './raft-members.ts';
import type { Command, CommandResult } from './state/commands.ts';
import type { ClusterState, NodeId, WorkerEndpoints } from './state/model.ts';
import { lookup } from './state/names.ts';
import {
  refusalOfNewer,
  STATE_VERSIONS,
  type StateVersions,
  versionOf,
  WORKERS_VERSION,
} from './state/versions.ts';
import { StateMachine } from './state-machine.ts';

/** One node's part in the cluster log, and the configuration built from it. */
export class ClusterNode implements ClusterView {
  readonly nodeId: NodeId;
  /** Resolves once the cluster has taken note of this start; rejects when it never will. */
  readonly registered: Promise<void>;
  readonly #options: ClusterNodeOptions;
  readonly #log: RaftLog;
  readonly #versions: StateVersions;
  readonly #membership: Membership;
  readonly #placement: PlacementKeeper;
  readonly #disks: DiskRegistration | undefined;
  readonly #description: NodeDescription;
  readonly #registration: NodeRegistration;
  #machine: StateMachine | undefined;
  #workers: readonly WorkerEndpoints[] = [];
  #isFenced = false;
  #isRemoved = false;
  #isLeaving = false;
  /** What onPeersChange was told last. */
  #peersTold = '';
  #stopped = false;
  readonly #fencing: Fencing;

  constructor(options: ClusterNodeOptions) {
    this.#options = options;
    this.#versions = options.versions ?? STATE_VERSIONS;
    this.nodeId = options.nodeId;
    const { genesis, joined, clock, logger } = options;
    const first = genesis.nodes[options.nodeId];
    const raftId = first?.raftId ?? joined?.raftId;
    invariant(raftId !== undefined, `node ${options.nodeId} is no member`);
    this.#membership = new Membership(options.nodeId, raftId, joined?.members ?? []);
    this.#placement = new PlacementKeeper({ clock, logger, propose: (command) => this.propose(command) });
    const { groupDisks } = options;
    const propose = (command: Command): Promise<CommandResult> => this.propose(command);
    this.#disks = groupDisks && new DiskRegistration({ ...options, groupDisks, propose });
    const { placement = {} } = options;
    this.#description = new NodeDescription({ ...options, placement, versions: this.#versions, propose });
    this.#log = new RaftLog({
      ...options,
      raftId,
      firstVoters: Object.values(genesis.nodes).map((n) => n.raftId),
      members: this.#membership.list(genesis),
      onTick: () => this.#tick(),
    });
    this.#fencing = new Fencing({ ...options, contacts: this.#log.contacts, propose });
    this.#registration = new NodeRegistration({
      ...options,
      versions: this.#versions,
      disks: this.#disks,
      state: () => this.state(),
      propose,
      onRegistered: () => this.#checkFenced(),
      onFenced: () => this.#fenced(),
    });
    this.registered = this.#registration.done;
  }

  /**
   * Reads back what is on disk and begins to take part.
   * @throws LogCorruptionError, OperationError code "foreign-data" or "newer-state"; the node must then not take part
   */
  async start(): Promise<void> {
    const { appliedStore, genesis, onFatal, logger, timers } = this.#options;
    const machine = await StateMachine.load(appliedStore, genesis, {
      timers,
      versions: this.#versions,
      persisted: (position) => this.#log.trim(position),
      voters: () => {
        const confState = this.#log.status()?.confState;
        return confState && votersOf(confState);
      },
      diskFull: () => logger.error('cluster.applied.full', {}),
      failed: (error) => {
        logger.error('cluster.applied.failed', { message: describeError(error) });
        onFatal(error);
      },
    });
    this.#machine = machine;
    // What older members do not know of they could not reach.
    if (versionOf(machine.state) >= WORKERS_VERSION) this.#workers = this.#options.workers ?? [];
    machine.subscribe(() => {
      this.#followMembers();
      this.#checkFenced();
      this.#disks?.follow(machine.state);
      this.#description.follow(machine.state);
    });
    this.#followMembers();
    await this.#log.start(machine);
    this.#registration.begin(this.#workers);
  }

  /** Data-plane workers beyond the first that this process registers with, for as long as it lives. From start on. */
  get workers(): readonly WorkerEndpoints[] {
    return this.#workers;
  }

  /**
   * Tells the cluster that this process is about to stop: one entry, by which its groups have other primaries and count
   * on it no longer. It must then stop, though not at once: to hand things over it is still there.
   * @throws OperationError where the cluster could not be told; it will find out by itself
   */
  async leave(): Promise<void> {
    const { incarnation, logger } = this.#options;
    const { nodes } = this.state();
    if (Object.keys(nodes).length === 1 && Object.hasOwn(nodes, this.nodeId)) return;
    this.#isLeaving = true;
    if (!Object.hasOwn(nodes, this.nodeId)) return await this.#log.handOn();
    const command = {
      type: 'fenceNode',
      nodeId: this.nodeId,
      incarnation,
      reason: 'it is stopping',
    } as const;
    const result = await this.propose(command);
    if (!result.ok) throw new OperationError(result.error.message, result.error);
    logger.info('cluster.left', { incarnation });
    await this.#log.handOn();
  }

  /** Somebody who saw it says that this process of another node has ended: what waits for it waits no more. */
  peerEnded(peer: PeerIdentity): void {
    this.#options.logger.warn('cluster.ended', { ...peer });
    this.#fencing.ended(peer);
    this.#log.peerEnded(peer);
    this.#fencing.tick(this.state());
  }

  /**
   * The directories of these groups have changed since this was called last; see DiskRegistration. Resolves once the cluster
   * knows, or cannot be told.
   */
  async renewLives(groups: readonly string[]): Promise<void> {
    await this.#disks?.renew(this.state(), groups);
  }

  /** Takes no further part; what is under way ends as unavailable or of unknown outcome. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#registration.stop();
    await this.#log.stop();
    await this.#machine?.stop();
  }

  get #started(): StateMachine {
    invariant(this.#machine !== undefined, 'the cluster node has been started');
    return this.#machine;
  }

  state(): ClusterState {
    return this.#started.state;
  }

  subscribe(listener: (state: ClusterState) => void): () => void {
    return this.#started.subscribe(listener);
  }

  async linearizableState(): Promise<ClusterState> {
    const machine = this.#started;
    const position = await this.#log.tail();
    await new Promise<void>((resolve, reject) => {
      let forget = (): void => {};
      const cancelTimer = this.#options.timers.setTimer(READ_TIMEOUT_MS, () => {
        forget();
        reject(failure('unavailable', 'behind', 'this node is behind the cluster and is catching up'));
      });
      forget = machine.whenApplied(position, () => {
        cancelTimer();
        resolve();
      });
    });
    return machine.state;
  }

  async propose(command: Command): Promise<CommandResult> {
    const machine = this.#started;
    const refusal = refusalOfNewer(machine.state, this.#versions.neededBy(command));
    if (refusal !== undefined) return { ok: false, error: refusal };
    const position = await this.#log.append(encodeCommand(command, this.#versions));
    return machine.takeResult(position);
  }

  status(): ClusterStatus {
    const raft = this.#log.status();
    const disk = this.#log.diskLatency();
    if (raft === undefined || disk === undefined) {
      const refetch = this.#log.refetch();
      const noWrites = { samples: 0, p50Ms: undefined, p99Ms: undefined, underWayMs: 0 };
      const nothing = {
        term: 0,
        commitIndex: 0,
        appliedIndex: 0,
        lastIndex: 0,
        disk: noWrites,
        refetch,
        calmNeededMs: undefined,
        members: [],
        peers: [],
      };
      return { nodeId: this.nodeId, role: 'follower', leader: undefined, ...nothing };
    }
    return {
      nodeId: this.nodeId,
      role: raft.role === 'preCandidate' ? 'pre-candidate' : raft.role,
      leader: raft.leader === NO_NODE ? undefined : this.#log.nodeIdOf(raft.leader),
      term: raft.hardState.term,
      commitIndex: raft.hardState.commit,
      appliedIndex: this.#started.appliedPosition,
      lastIndex: raft.lastIndex,
      disk,
      refetch: undefined,
      calmNeededMs: raft.role === 'leader' ? this.#placement.calmNeededMs(this.state()) : undefined,
      members: this.#raftMembers(raft.confState),
      peers: this.#peers(raft),
    };
  }

  #raftMembers(confState: ConfState): RaftMemberStatus[] {
    const voting = votersOf(confState);
    return [...voting, ...confState.learners].map((raftId) => ({
      nodeId: this.#log.nodeIdOf(raftId) ?? String(raftId),
      role: voting.includes(raftId) ? 'voter' : 'learner',
    }));
  }

  #peers({ progress, hardState }: RaftStatus): PeerStatus[] {
    const others = Object.values(this.state().nodes).filter((n) => n.nodeId !== this.nodeId);
    return others.map(({ nodeId, raftId }) => {
      const match = progress.find((p) => p.id === raftId)?.match;
      return {
        nodeId,
        linkUp: this.#options.transport.isUp(nodeId),
        matchIndex: match,
        lagEntries: match === undefined ? undefined : Math.max(0, hardState.commit - match),
        lastContactMs: this.#log.contacts.sinceMs(nodeId),
      };
    });
  }

  /** Members that another node has told this one of; see Membership. */
  learnMembers(members: readonly MemberAddress[]): void {
    this.#membership.learn(members);
    if (this.#machine !== undefined) this.#followMembers();
  }

  #followMembers(): void {
    const noted = this.#started.votersRead;
    this.#log.setMembers({ ...this.#membership.list(this.state()), noted });
    this.#tellPeers();
  }

  #isRaftMember(raftId: number): boolean {
    const confState = this.#log.status()?.confState;
    if (confState === undefined) return true;
    return [confState.voters, confState.learners, confState.votersOutgoing].some((ids) =>
      ids.includes(raftId),
    );
  }

  /** The nodes to have links with, this one excluded. */
  peers(): readonly MemberAddress[] {
    return this.#membership.peers(this.state(), (raftId) => this.#isRaftMember(raftId));
  }

  hasLeft(nodeId: NodeId): boolean {
    const removed = lookup(this.state().removedNodes, nodeId);
    return removed !== undefined && !this.#isRaftMember(removed.raftId);
  }

  #tellPeers(): void {
    const peers = this.peers();
    const removedIds = Object.keys(this.state().removedNodes).filter((id) => this.hasLeft(id));
    const told = JSON.stringify([peers, removedIds]);
    if (told === this.#peersTold) return;
    this.#peersTold = told;
    this.#options.onPeersChange?.(peers, new Set(removedIds));
  }

  #tick(): void {
    this.#fencing.tick(this.state());
    this.#tellPeers();
    if (this.#log.status()?.role === 'leader') this.#placement.tick(this.state());
    if (this.hasLeft(this.nodeId)) this.#removed();
  }

  #removed(): void {
    if (this.#isRemoved || this.#stopped) return;
    this.#isRemoved = true;
    this.#options.logger.warn('cluster.removed', { nodeId: this.nodeId });
    this.#options.onRemoved?.();
  }

  /** Fenced, or another process has registered as this node: either way our word no longer counts. */
  #checkFenced(): void {
    const { incarnation } = this.#options;
    if (Object.hasOwn(this.state().removedNodes, this.nodeId)) return;
    const record = this.state().nodes[this.nodeId];
    const ours = record?.incarnation === incarnation;
    if (ours ? record.status === 'fenced' : this.#registration.isDone) this.#fenced();
  }

  #fenced(): void {
    if (this.#isFenced || this.#isLeaving || this.#stopped) return;
    this.#isFenced = true;
    this.#options.logger.warn('cluster.fenced', { incarnation: this.#options.incarnation });
    this.#options.onFenced();
  }
}
