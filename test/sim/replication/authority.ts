import type {
  MemberIdentity,
  PortalGroupState,
  ProposalOutcome,
  ReplicationClusterState,
  ReplicationNode,
} from '../../../storage/replication/index.ts';
import type { Process, World } from '../world.ts';

export type Change =
  | { readonly kind: 'shrink'; readonly epoch: number; readonly primary: string; readonly remove: string }
  | {
      readonly kind: 'expand';
      readonly epoch: number;
      readonly primary: string;
      readonly add: string;
      readonly incarnation: string;
    }
  | { readonly kind: 'handOver'; readonly epoch: number; readonly primary: string };

/** A member, with the disk over which it is in sync. */
interface InSync extends MemberIdentity {
  readonly disk?: string;
}

/** A group that nobody has served yet. */
export function firstGroup(
  id: string,
  nodeIds: readonly string[],
  policy: Pick<PortalGroupState, 'minInSync' | 'durability'>,
): PortalGroupState {
  const inSync = nodeIds.map((nodeId) => ({ nodeId, incarnation: '' }));
  return { id, epoch: 1, primary: nodeIds[0] ?? '', inSync, replicas: nodeIds, ...policy };
}

/** Stands in for the cluster log: one place that applies changes in order, reached with delays and losses. */
export class Authority {
  readonly #world: World;
  readonly leaseMs: number;
  #group: PortalGroupState;
  #nodes: ReplicationNode[];
  readonly #listeners = new Map<Process, { lastMs: number }>();
  /** Nodes cut off from the authority, and until when. */
  readonly #cutUntilMs = new Map<string, number>();
  readonly #ignoresDisks: boolean;
  /** Which disk each node has registered with. */
  readonly #disks = new Map<string, string>();
  readonly counts = {
    shrinks: 0,
    expands: 0,
    fences: 0,
    failovers: 0,
    lateProposals: 0,
    moves: 0,
    handOvers: 0,
    drops: 0,
    strangeDisks: 0,
  };

  /** @param ignoresDisks takes any disk for the one that was in sync: a fault that must be noticed */
  constructor(world: World, group: PortalGroupState, leaseMs: number, ignoresDisks: boolean) {
    this.#world = world;
    this.#ignoresDisks = ignoresDisks;
    this.#group = group;
    this.leaseMs = leaseMs;
    this.#nodes = group.replicas.map((nodeId) => ({ nodeId, incarnation: '', status: 'new' }));
  }

  get group(): PortalGroupState {
    return this.#group;
  }

  state(): ReplicationClusterState {
    return { groups: [this.#group], nodes: this.#nodes, leaseMs: this.leaseMs };
  }

  cutOff(nodeId: string, forMs: number): void {
    this.#cutUntilMs.set(nodeId, this.#world.nowMs + forMs);
  }

  isCutOff(nodeId: string): boolean {
    return (this.#cutUntilMs.get(nodeId) ?? 0) > this.#world.nowMs;
  }

  heal(): void {
    this.#cutUntilMs.clear();
  }

  /** Called with each change of the set, before anyone is told. */
  onApplied: (change: Change) => void = () => {};

  onFenced: (nodeId: string) => void = () => {};

  /** From now on the process is told of every change, in order. */
  listen(process: Process, deliver: (state: ReplicationClusterState) => void): void {
    const line = { lastMs: 0 };
    this.#listeners.set(process, line);
    this.#deliver(process, line, deliver);
    this.#onChange.push(() => this.#deliver(process, line, deliver));
  }

  readonly #onChange: (() => void)[] = [];

  #deliver(
    process: Process,
    line: { lastMs: number },
    deliver: (state: ReplicationClusterState) => void,
  ): void {
    const state = this.state();
    const cutUntilMs = this.#cutUntilMs.get(process.nodeId) ?? 0;
    const atMs = Math.max(this.#world.nowMs, cutUntilMs) + this.#world.between(0, 20);
    line.lastMs = Math.max(line.lastMs, atMs);
    this.#world.at(line.lastMs, () => process.enter(() => deliver(state)));
  }

  #changed(): void {
    for (const listener of this.#onChange) listener();
  }

  /** Some answers get lost, and some proposals take effect long after their sender gave up. */
  propose(process: Process, change: Change): Promise<ProposalOutcome> {
    const world = this.#world;
    return new Promise((resolve) => {
      let isAnswered = false;
      const answer = (outcome: ProposalOutcome): void => {
        process.enter(() => {
          if (!isAnswered) resolve(outcome);
          isAnswered = true;
        });
      };
      if (this.isCutOff(process.nodeId)) {
        process.enterAfter(200, () => answer('not-applied'));
        return;
      }
      const late = world.chance(8);
      if (late) this.counts.lateProposals++;
      world.after(late ? world.between(150, 900) : world.between(1, 8), () => {
        const outcome = this.#apply(change);
        if (!world.chance(8)) {
          world.after(world.between(1, 8), () => {
            if (!this.isCutOff(process.nodeId)) answer(outcome);
          });
        }
      });
      world.after(250, () => answer('unknown'));
    });
  }

  #apply(change: Change): 'applied' | 'refused' {
    const group = this.#group;
    if (group.epoch !== change.epoch || group.primary !== change.primary) return 'refused';
    if (change.kind === 'shrink') {
      const isMember = group.inSync.some((m) => m.nodeId === change.remove);
      if (!isMember || change.remove === group.primary || group.inSync.length === 1) return 'refused';
      this.#setMembers(
        group.inSync.filter((m) => m.nodeId !== change.remove),
        group.primary,
      );
      this.counts.shrinks++;
    } else if (change.kind === 'handOver') {
      const inSync = group.inSync.filter((m) => m.nodeId !== change.primary);
      const to = this.#choose(inSync);
      if (to === undefined || inSync.length < group.minInSync) return 'refused';
      this.#setMembers(inSync, to);
      this.counts.handOvers++;
    } else {
      const node = this.#nodes.find((n) => n.nodeId === change.add);
      const isThere = group.inSync.some((m) => m.nodeId === change.add);
      if (isThere || !group.replicas.includes(change.add)) return 'refused';
      if (node?.status !== 'up' || node.incarnation !== change.incarnation) return 'refused';
      const disk = this.#disks.get(change.add) as string;
      const member: InSync = { nodeId: change.add, incarnation: change.incarnation, disk };
      this.#setMembers([...group.inSync, member], group.primary);
      this.counts.expands++;
    }
    this.onApplied(change);
    this.#changed();
    return 'applied';
  }

  #setMembers(inSync: readonly MemberIdentity[], primary: string | undefined): void {
    const { primary: before, ...rest } = this.#group;
    if (primary !== undefined && primary !== before) this.counts.failovers++;
    this.#group = {
      ...rest,
      epoch: rest.epoch + 1,
      inSync,
      ...(primary === undefined ? {} : { primary }),
    };
  }

  /** An administrator moves the group to another in-sync member, though nothing is wrong. */
  move(): boolean {
    const group = this.#group;
    const to = this.#choose(group.inSync.filter((m) => m.nodeId !== group.primary));
    if (to === undefined || group.primary === undefined) return false;
    this.counts.moves++;
    this.#setMembers(group.inSync, to);
    this.#changed();
    return true;
  }

  /** An administrator has the group go on from a copy that is not known to have everything. */
  startFrom(nodeId: string): void {
    const node = this.#nodes.find((n) => n.nodeId === nodeId);
    if (this.#group.primary !== undefined || node?.status !== 'up') throw new Error('nothing to be given up');
    const { incarnation } = node;
    const disk = this.#disks.get(nodeId) as string;
    this.#setMembers([{ nodeId, incarnation, disk } as InSync], nodeId);
    this.#group = { ...this.#group, lossAcceptedEpoch: this.#group.epoch };
    this.#changed();
  }

  /** An administrator takes a copy away from a node, which keeps its files, and gives it back later. */
  dropReplica(nodeId: string): boolean {
    const group = this.#group;
    const inSync = group.inSync.filter((m) => m.nodeId !== nodeId);
    if (!group.replicas.includes(nodeId) || group.primary === nodeId || inSync.length === 0) return false;
    this.counts.drops++;
    this.#setMembers(inSync, group.primary);
    this.#group = { ...this.#group, replicas: group.replicas.filter((id) => id !== nodeId) };
    this.#changed();
    return true;
  }

  addReplica(nodeId: string): void {
    const group = this.#group;
    if (group.replicas.includes(nodeId)) return;
    this.#setMembers(group.inSync, group.primary);
    this.#group = { ...this.#group, replicas: [...group.replicas, nodeId] };
    this.#changed();
  }

  #choose(inSync: readonly MemberIdentity[]): string | undefined {
    const up = inSync.filter((m) =>
      this.#nodes.some((n) => n.nodeId === m.nodeId && n.status === 'up' && n.incarnation === m.incarnation),
    );
    return up.length === 0 ? undefined : (up[this.#world.random.below(up.length)] as MemberIdentity).nodeId;
  }

  register(process: Process, disk: string): void {
    const { nodeId, incarnation } = process;
    this.#disks.set(nodeId, disk);
    const node = this.#nodes.find((n) => n.nodeId === nodeId) as ReplicationNode;
    const isFirstStart = node.incarnation === '';
    this.#nodes = this.#nodes.map((n) => (n === node ? { nodeId, incarnation, status: 'up' } : n));
    const group = this.#group;
    const member = group.inSync.find((m): m is InSync => m.nodeId === nodeId);
    const isMember = member !== undefined;
    const isStrange = member?.disk !== undefined && member.disk !== disk && !this.#ignoresDisks;
    const keepsPrimary =
      group.primary !== undefined &&
      this.#nodes.some((n) => n.nodeId === group.primary && n.status !== 'fenced');
    if (isStrange && group.inSync.length === 1) {
      // The last copy is not here: the group waits for it.
      this.counts.strangeDisks++;
      this.#setMembers(group.inSync, undefined);
    } else if (isMember && (isFirstStart || group.inSync.length === 1)) {
      const inSync = group.inSync.map((m) => (m.nodeId === nodeId ? { nodeId, incarnation, disk } : m));
      this.#setMembers(inSync, keepsPrimary ? group.primary : this.#choose(inSync));
    } else if (isMember) {
      const inSync = group.inSync.filter((m) => m.nodeId !== nodeId);
      const stays = group.primary !== nodeId && keepsPrimary;
      this.#setMembers(inSync, stays ? group.primary : this.#choose(inSync));
    } else if (!keepsPrimary && this.#choose(group.inSync) !== undefined) {
      this.#setMembers(group.inSync, this.#choose(group.inSync));
    }
    this.#changed();
  }

  fence(nodeId: string, incarnation: string): void {
    const node = this.#nodes.find((n) => n.nodeId === nodeId);
    if (node?.incarnation !== incarnation || node.status === 'fenced') return;
    this.counts.fences++;
    this.onFenced(nodeId);
    this.#nodes = this.#nodes.map((n) => (n === node ? { ...n, status: 'fenced' } : n));
    const group = this.#group;
    if (group.inSync.some((m) => m.nodeId === nodeId)) {
      const inSync = group.inSync.filter((m) => m.nodeId !== nodeId);
      if (inSync.length === 0) this.#setMembers(group.inSync, undefined);
      else this.#setMembers(inSync, group.primary === nodeId ? this.#choose(inSync) : group.primary);
    }
    this.#changed();
  }
}
