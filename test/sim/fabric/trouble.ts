import type { Command } from '../../../cluster/state/commands.ts';
import type { ClusterState, PortalGroupRecord } from '../../../cluster/state/model.ts';
import type { Network } from '../network.ts';
import type { World } from '../world.ts';
import { isDiskOf } from './copies.ts';
import type { FabricNode } from './fabric-node.ts';
import type { Rot } from './rot.ts';

export interface TroubleContext {
  readonly world: World;
  /** All links between nodes. */
  readonly networks: readonly Network[];
  /** Those of the cluster log alone. */
  readonly clusterNetwork: Network;
  readonly counters: { add(name: string, by?: number): void };
  readonly nodes: readonly FabricNode[];
  readonly newestState: () => ClusterState | undefined;
  /** The hosts lose their power, all at once. */
  readonly powerOff: (nodes: readonly FabricNode[]) => void;
  readonly rot: Rot;
  /** See SimulationOptions. */
  readonly doubleFailures: boolean;
  readonly limping: boolean;
  readonly oldCopies: boolean;
  readonly note: (where: string, what: string, fact: number, text?: () => string) => void;
}

/** How often it is looked whether disks that are to be lost count for nothing yet. */
const LOSS_CHECK_MS = 10;

/** What goes wrong, chosen by the seed: how often each kind comes is in the table at the end. */
export class Troublemaker {
  readonly #context: TroubleContext;
  #isOver = false;

  constructor(context: TroubleContext) {
    this.#context = context;
  }

  get #world(): World {
    return this.#context.world;
  }

  start(): void {
    this.#startNext();
    this.#rot();
    if (this.#context.doubleFailures) this.#failTogether();
    if (this.#context.oldCopies) this.#exchangeDisks();
    if (this.#context.limping) this.#limp(this.#someNode());
  }

  #startNext(): void {
    // Sets that change all the while leave nobody the time to be found slow.
    const [shortMs, longMs] = this.#context.limping ? [500, 5_000] : [100, 900];
    this.#world.after(this.#world.between(shortMs, longMs), () => this.#make());
  }

  /** Bits turn over all the while, whatever else goes wrong. */
  #rot(): void {
    if (this.#isOver) return;
    const group = this.#someGroup();
    const { rot } = this.#context;
    if (this.#world.chance(25)) rot.flipImage(this.#someNode());
    else if (group !== undefined) rot.flip(this.#someNode(), group.id);
    this.#world.after(this.#world.between(50, 600), () => this.#rot());
  }

  /** Disks that have failed in part: fast enough for all that is asked of a member, and far slower than the others'. */
  #limp(node: FabricNode): void {
    if (this.#isOver) return;
    const world = this.#world;
    this.#context.counters.add('fault.limping');
    for (const disk of node.copies.all) disk.slowMs = world.between(220, 450);
    world.after(world.between(3_500, 8_000), () => {
      for (const disk of node.copies.all) disk.slowMs = 0;
      this.#limp(this.#someNode());
    });
  }

  /**
   * All in-sync members of a group die within a moment, and one with its copy damaged in more than data. Which of them is
   * the last in the set, and whether it has served alone, is for the cluster's entries and the order of starts.
   */
  #failTogether(): void {
    if (this.#isOver) return;
    const world = this.#world;
    world.after(world.between(1_000, 3_000), () => this.#failTogether());
    const group = this.#someGroup();
    if (group === undefined || group.inSync.length < 2) return;
    const { rot, nodes, counters, powerOff } = this.#context;
    const members = nodes.filter((node) => group.inSync.some(({ nodeId }) => nodeId === node.nodeId));
    const damaged = this.#pick(members);
    const withPower = world.random.below(100);
    const withinMs = world.chance(70) ? 20 : 1_200;
    counters.add('fault.double-failure');
    for (const node of members) {
      world.after(world.between(0, withinMs), () => {
        if (node === damaged) rot.breakCopy(node, group.id);
        if (world.chance(withPower)) powerOff([node]);
        else node.host.end('kill');
      });
    }
  }

  /** No more trouble, and what it took away is given back. */
  end(): void {
    this.#isOver = true;
    for (const node of this.#context.nodes)
      for (const group of node.copies.unmounted) this.#mountAgain(node, group);
  }

  #make(): void {
    if (this.#isOver) return;
    const total = TROUBLES.reduce((sum, [, weight]) => sum + weight, 0);
    let dice = this.#world.random.below(total);
    for (const [name, weight, trouble] of TROUBLES) {
      dice -= weight;
      if (dice >= 0) continue;
      const node = this.#someNode();
      this.#context.note(node.nodeId, name, 0);
      this.#context.counters.add(`fault.${name}`);
      this[trouble](node);
      break;
    }
    this.#startNext();
  }

  #pick<T>(list: readonly T[]): T | undefined {
    return list[this.#world.random.below(Math.max(1, list.length))];
  }

  /** The primary of some group is worth more trouble than others. */
  #someNode(): FabricNode {
    const { nodes } = this.#context;
    const primary = this.#someGroup()?.primary;
    const node = nodes.find((n) => n.nodeId === primary);
    return node !== undefined && this.#world.chance(50) ? node : (this.#pick(nodes) as FabricNode);
  }

  #otherThan(node: FabricNode): FabricNode {
    return this.#pick(this.#context.nodes.filter((n) => n !== node)) as FabricNode;
  }

  #someGroup(): PortalGroupRecord | undefined {
    return this.#pick(Object.values(this.#context.newestState()?.portalGroups ?? {}));
  }

  kill(node: FabricNode): void {
    node.host.end('kill');
  }

  /** Two nodes at once. */
  killTwo(node: FabricNode): void {
    node.host.end('kill');
    this.#otherThan(node).host.end('kill');
  }

  power(node: FabricNode): void {
    this.#context.powerOff([node]);
  }

  powerAll(): void {
    this.#context.powerOff(this.#context.nodes);
  }

  pause({ host }: FabricNode): void {
    host.process.pause(this.#world.between(30, this.#world.chance(40) ? 2_500 : 700));
  }

  cut(node: FabricNode): void {
    const forMs = this.#world.between(50, 1_500);
    const other = this.#otherThan(node).nodeId;
    for (const network of this.#context.networks) network.cut(node.nodeId, other, forMs);
  }

  hold(node: FabricNode): void {
    const forMs = this.#world.between(50, 1_200);
    const other = this.#otherThan(node).nodeId;
    for (const network of this.#context.networks) network.hold(node.nodeId, other, forMs);
  }

  isolate(node: FabricNode): void {
    this.#isolateFrom(node, this.#context.networks);
  }

  /** It still reaches its backups, and clients reach it, but the cluster does not. */
  isolateFromCluster(node: FabricNode): void {
    this.#isolateFrom(node, [this.#context.clusterNetwork]);
  }

  #isolateFrom(node: FabricNode, networks: readonly Network[]): void {
    const forMs = this.#world.between(300, 3_000);
    for (const other of this.#context.nodes) {
      if (other !== node) for (const network of networks) network.cut(node.nodeId, other.nodeId, forMs);
    }
  }

  refuse(): void {
    const [, data] = this.#context.networks;
    if (data !== undefined) data.refusalPercent = this.#world.chance(50) ? 3 : 0;
  }

  badWeather(): void {
    const { clusterNetwork } = this.#context;
    clusterNetwork.weather = {
      lossPercent: this.#world.between(0, 15),
      doublingPercent: this.#world.between(0, 10),
      reorderingPercent: this.#world.between(0, 15),
      strayMs: this.#world.between(5, 300),
      delayMs: this.#world.between(2, 30),
    };
    this.#world.after(this.#world.between(200, 1_500), () => {
      clusterNetwork.weather = {
        ...clusterNetwork.weather,
        lossPercent: 0,
        reorderingPercent: 0,
        delayMs: 2,
      };
    });
  }

  slowDisks({ copies }: FabricNode): void {
    const disks = copies.all;
    for (const disk of disks) disk.slowMs = this.#world.between(5, 350);
    this.#world.after(this.#world.between(50, 700), () => {
      for (const disk of disks) disk.slowMs = 0;
    });
  }

  fullDisks({ copies }: FabricNode): void {
    const disks = copies.all;
    for (const disk of disks) disk.isFull = true;
    this.#world.after(this.#world.between(50, 700), () => {
      for (const disk of disks) disk.isFull = false;
    });
  }

  stallLog({ host }: FabricNode): void {
    host.stall(this.#world.between(50, 1_800));
  }

  move(node: FabricNode): void {
    const group = this.#someGroup();
    const to = this.#pick(group?.inSync.filter((m) => m.nodeId !== group.primary) ?? [])?.nodeId;
    if (group === undefined || to === undefined) return;
    this.#propose(node, { type: 'moveGroup', group: group.id, epoch: group.epoch, to });
  }

  /** One copy less, and soon after one more, there or elsewhere. */
  changeReplicas(node: FabricNode): void {
    const group = this.#someGroup();
    if (group === undefined) return;
    const drop = this.#pick(group.replicas.filter((id) => id !== group.primary));
    const add = this.#pick(this.#context.nodes.filter((n) => !group.replicas.includes(n.nodeId)))?.nodeId;
    const { id, epoch } = group;
    if (add !== undefined && this.#world.chance(60))
      this.#propose(node, { type: 'addReplica', group: id, epoch, add });
    else if (drop !== undefined && group.replicas.length > 2)
      this.#propose(node, { type: 'dropReplica', group: id, epoch, drop });
  }

  /** Two nodes die at once, and what they had is never seen again: all of it is to be had from others. */
  #loseTwo(node: FabricNode): void {
    this.#context.counters.add('fault.lose-two');
    const dead = [node, this.#otherThan(node)];
    for (const { host } of dead) host.end('kill');
    for (const one of dead) this.#loseOnceOut(one);
  }

  /**
   * Its directories go one by one, once the cluster has it fenced and what is in them is in sync no more, and before its next
   * process begins: until then what else dies may make one of them the last that has everything.
   */
  #loseOnceOut(node: FabricNode): void {
    if (this.#isOver || node.host.phase !== 'down') return;
    const { counters, rot } = this.#context;
    const state = this.#context.newestState();
    const { incarnation, status } = state?.nodes[node.nodeId] ?? {};
    const isFenced = status === 'fenced' && incarnation === node.host.process.incarnation;
    let areLeft = false;
    for (const { id, inSync } of Object.values(state?.portalGroups ?? {})) {
      if (node.copies.find(id) === undefined) continue;
      const mayReturn = node.copies.everyDisk(id).map((disk) => disk.id);
      const isIn = !isFenced || inSync.some((m) => m.disk === undefined || mayReturn.includes(m.disk));
      areLeft ||= isIn;
      if (isIn) continue;
      node.copies.lose(id);
      counters.add('sim.lost-disks');
    }
    rot.spare();
    if (areLeft) this.#world.after(LOSS_CHECK_MS, () => this.#loseOnceOut(node));
  }

  /** Somebody makes a backup of all that a node has, while it runs. */
  #keepDisks({ copies }: FabricNode): void {
    copies.keep();
  }

  /**
   * A directory is as it was some time ago, and later the right one again. Half of the time all other members die first, so
   * that nobody else in sync has what came since.
   */
  #oldDisk(): void {
    const group = this.#someGroup();
    const members = this.#context.nodes.filter((n) => group?.inSync.some((m) => m.nodeId === n.nodeId));
    const node = this.#pick(members);
    if (group === undefined || node === undefined) return;
    const isLast = this.#world.chance(50);
    if (isLast) for (const other of members) if (other !== node) other.host.end('kill');
    this.#world.after(isLast ? this.#world.between(0, 2_000) : 0, () => {
      if (this.#isOver) return;
      node.host.end('kill');
      if (!node.copies.putOldBack(group.id)) return;
      this.#context.counters.add('sim.old-disks');
      this.#world.after(this.#world.between(500, 4_000), () => this.#mountAgain(node, group.id));
    });
  }

  /** Backups of directories are made and put back, and disks are lost for good. */
  #exchangeDisks(): void {
    if (this.#isOver) return;
    const dice = this.#world.random.below(10);
    if (dice < 5) this.#keepDisks(this.#someNode());
    else if (dice < 9) this.#oldDisk();
    else this.#loseTwo(this.#someNode());
    this.#world.after(this.#world.between(100, 900), () => this.#exchangeDisks());
  }

  /** A directory is out of reach for a while; another process of the node finds an empty one in its place. */
  unmount(node: FabricNode): void {
    const group = this.#someGroup();
    if (group === undefined || !group.replicas.includes(node.nodeId) || node.copies.unmounted.length > 0)
      return;
    node.host.end('kill');
    node.copies.unmount(group.id);
    this.#world.after(this.#world.between(500, 4_000), () => this.#mountAgain(node, group.id));
  }

  /** What is in its place may be in sync by now: then the old one is of no more use. */
  #mountAgain(node: FabricNode, group: string): void {
    if (!node.copies.unmounted.includes(group)) return;
    const record = this.#context.newestState()?.portalGroups[group];
    const member = record?.inSync.find((m) => m.nodeId === node.nodeId);
    const isIn = member !== undefined && isDiskOf(node.copies.disk(group), member);
    if (record === undefined || isIn) {
      if (record === undefined) this.#world.after(200, () => this.#mountAgain(node, group));
      else node.copies.forget(group);
      return;
    }
    node.host.end('kill');
    node.copies.mountAgain(group);
  }

  #propose({ host }: FabricNode, command: Command): void {
    host.process.enter(() => {
      // Whatever comes of it.
      host.node?.propose(command).catch(() => {});
    });
  }
}

type Trouble = Exclude<keyof Troublemaker, 'start' | 'end'>;

const TROUBLES: readonly (readonly [name: string, weight: number, trouble: Trouble])[] = [
  ['kill', 14, 'kill'],
  ['kill-two', 5, 'killTwo'],
  ['power', 7, 'power'],
  ['power-all', 3, 'powerAll'],
  ['pause', 10, 'pause'],
  ['cut', 8, 'cut'],
  ['held-up', 6, 'hold'],
  ['isolated', 7, 'isolate'],
  ['isolated-from-cluster', 8, 'isolateFromCluster'],
  ['refusals', 3, 'refuse'],
  ['bad-weather', 4, 'badWeather'],
  ['slow-disks', 7, 'slowDisks'],
  ['full-disks', 4, 'fullDisks'],
  ['stalled-log', 4, 'stallLog'],
  ['move', 8, 'move'],
  ['change-replicas', 6, 'changeReplicas'],
  ['unmount', 4, 'unmount'],
];
