import { CounterSet } from '../../../base/counters.ts';
import { silentLogger } from '../../../base/logger.ts';
import { LogFailure } from '../../../base/record-log.ts';
import { DamagedCopyError, ReplicationHost } from '../../../storage/replication/index.ts';
import { Guardians } from '../guardians.ts';
import { Network } from '../network.ts';
import { UnitClients } from '../units/unit-clients.ts';
import { Process, World } from '../world.ts';
import { ACKNOWLEDGEMENT_WEATHER, Addresses, isAcknowledgement } from './addresses.ts';
import { Ambushes } from './ambushes.ts';
import { Authority, type Change, firstGroup } from './authority.ts';
import { BitRot } from './bit-rot.ts';
import { Clients, GROUP, isServing } from './clients.ts';
import { NEVER } from './complaints.ts';
import { DamageJudge } from './damage-judge.ts';
import type { Disk } from './disk.ts';
import { Drives } from './drives.ts';
import { simulatedImages } from './sectors.ts';
import { type Node, type SimulationOptions, type SimulationResult, TRIM } from './simulation-options.ts';
import { bereaved, disturb, fillUp, PACE, slowDown, tearAppends, wearOut } from './trouble.ts';
import { whatIsNotTheSame, whatLacksWhoJoins } from './verdicts.ts';

const NODES = ['n1', 'n2', 'n3'];
const CLIENTS = 3;

/** Three members of one portal group, clients that use it, and trouble, all from one seed. */
export class Simulation {
  readonly #options: SimulationOptions;
  readonly world: World;
  readonly #network: Network;
  readonly authority: Authority;
  readonly #nodes = new Map<string, Node>();
  readonly #counters = new CounterSet();
  readonly #clients: Clients;
  readonly #units: UnitClients | undefined;
  readonly #addresses: Addresses;
  readonly #guardians: Guardians;
  /** Processes whose node has been started once more elsewhere, without their knowing it. */
  readonly #left = new Set<Node>();
  #movedMs = Number.NEGATIVE_INFINITY;
  #violation: string | undefined;
  #inTrouble = true;
  readonly #drives: Drives;
  readonly #bitRot: BitRot;
  readonly #judge: DamageJudge;
  readonly #ambushes: Ambushes;

  constructor(options: SimulationOptions) {
    this.#options = options;
    this.world = new World(options.seed);
    this.#network = new Network(this.world);
    this.#drives = new Drives(this.world);
    this.#addresses = new Addresses(this.world, (what) => this.#fail(what));
    this.#network.onMessage = (what, from, _, message) => {
      if (what !== 'sent') return;
      this.#addresses.overhear(from, message);
      this.#bitRot.spoil(message);
    };
    const used = {
      group: GROUP,
      world: this.world,
      counters: this.#counters,
      servers: () => this.#running(),
      fail: (what: string) => this.#fail(what),
    };
    this.#clients = new Clients({ ...used, readBegins: (server) => this.#judge.readBegins(server.process) });
    this.#units = options.units === true ? new UnitClients(used) : undefined;
    const durability = options.durability ?? 'write-back';
    this.authority = new Authority(
      this.world,
      firstGroup(GROUP, NODES, { minInSync: this.world.chance(25) ? 2 : 1, durability }),
      PACE.leaseMs,
      options.ignoresDisks === true,
    );
    const parts = {
      world: this.world,
      network: this.#network,
      counters: this.#counters,
      authority: this.authority,
      isInTrouble: () => this.#inTrouble,
    };
    const nodes = (): Node[] => [...this.#nodes.values()];
    this.#bitRot = new BitRot({
      ...parts,
      group: GROUP,
      inSync: () => this.authority.group.inSync,
      disks: () => this.#drives.all(),
      nodes,
      spoilPercent: 30,
    });
    this.#judge = new DamageJudge({ ...parts, holders: nodes, spoilt: () => this.#bitRot.spoilt });
    this.#guardians = new Guardians({ ...parts, others: () => nodes().map((n) => bereaved(n, parts)) });
    this.#ambushes = new Ambushes({ ...parts, nodeIds: NODES, move: () => this.#move() });
  }

  async run(): Promise<SimulationResult> {
    const { world } = this;
    const troubleMs = this.#options.troubleMs ?? 3_000;
    this.authority.onFenced = (nodeId) => this.#ambushes.fenced(nodeId);
    this.authority.onApplied = (change) => {
      this.#failIf(whatLacksWhoJoins(change, this.#nodes, this.#counters));
      this.#ambushes.applied(change);
    };
    if (world.chance(40)) {
      this.#network.isDatagram = isAcknowledgement;
      this.#network.weather = ACKNOWLEDGEMENT_WEATHER;
    }
    for (const nodeId of NODES) this.#start(nodeId, this.#drives.make(nodeId), 0);
    this.#clients.start(this.#units === undefined ? CLIENTS : 1);
    this.#units?.start();
    world.after(50, () => this.#watchNodes());
    world.after(300, () => this.#makeTrouble());
    const watch = (): void => this.#checkServing();
    await world.runUntil(troubleMs, watch);
    this.#inTrouble = false;
    this.#clients.pauseMs = [20, 100];
    this.#units?.slowDown();
    this.authority.heal();
    this.#network.heal();
    for (const node of this.#left) this.#end(node);
    for (const node of this.#nodes.values()) {
      if (this.#drives.isUnmounted(node.nodeId)) this.#mountAgain(node);
      node.disk.mend();
    }
    await world.runUntil(troubleMs + 2_500, watch);
    this.#clients.isOver = true;
    this.#units?.stop();
    await world.runUntil(troubleMs + 3_200, watch);
    await this.#readEverything(watch);
    const { inSync } = this.authority.group;
    this.#failIf(whatIsNotTheSame(inSync, [...this.#nodes.values()]) ?? this.#bitRot.leftDamaged());
    this.#clients.check();
    this.#units?.check();
    for (const event of NEVER) if (this.#counters.get(event) > 0) this.#fail(`${event} happened`);
    const counted = { ...this.authority.counts, ...this.#addresses.counts, ...this.#counters.snapshot() };
    const counts = { ...counted, events: this.world.events };
    return { violation: this.#violation, counts, trace: this.#trace() };
  }

  #trace(): string {
    const ends = Array.from(this.#nodes.values(), ({ disk }) => disk.nextIndex);
    return `${this.world.events} ${this.#clients.stamp} ${this.authority.group.epoch} ${ends.join(' ')} ${this.world.random.below(1e9)}`;
  }

  #fail(what: string): void {
    this.#violation ??= `at ${this.world.nowMs} ms: ${what}`;
  }

  #failIf(what: string | undefined): void {
    if (what !== undefined) this.#fail(what);
  }

  // Nodes

  #start(nodeId: string, disk: Disk, starts: number): void {
    const { world, authority } = this;
    this.#bitRot.spare({ nodeId, disk });
    const process = new Process(world, nodeId, `${nodeId}.${starts + 1}`);
    const transport = this.#network.attach(process);
    const propose = (change: Change) => authority.propose(process, change);
    const { faults, logger } = this.#options;
    const host = new ReplicationHost({
      nodeId,
      incarnation: process.incarnation,
      transport,
      openLog: (_group, _mustExist, verifyFrom) => disk.openLog(process, verifyFrom),
      setAside: () => {
        this.#counters.add('sim.set-aside');
        this.#drives.replace(nodeId);
        return Promise.resolve();
      },
      metaDirectory: disk.metaStore(process),
      checkpoints: disk.checkpointStore(process),
      images: simulatedImages(world, process),
      clock: process,
      timers: process,
      logger: logger?.(process.incarnation) ?? silentLogger,
      counters: this.#counters,
      proposeShrink: (_, epoch, remove) => propose({ kind: 'shrink', epoch, primary: nodeId, remove }),
      proposeHandOver: (_, epoch) => propose({ kind: 'handOver', epoch, primary: nodeId }),
      proposeExpand: (_, epoch, add, incarnation) =>
        propose({ kind: 'expand', epoch, primary: nodeId, add, incarnation }),
      onFatal: (error) => {
        if (error instanceof DamagedCopyError) this.#kill(this.#nodes.get(nodeId) as Node, 'exit');
        else if (error instanceof LogFailure) this.#diskFailed(process);
        else if (process.isAlive) this.#fail(`${process.incarnation} ends: ${(error as Error).stack}`);
      },
      letGo: () => this.#addresses.follow(process, false),
      trim: TRIM,
      ...(faults === undefined ? {} : { faults }),
    });
    const node: Node = { nodeId, disk, process, host, starts: starts + 1, lastSeenMs: world.nowMs };
    this.#nodes.set(nodeId, node);
    const mayDie = (): boolean => this.#inTrouble && this.#nodes.get(nodeId) === node;
    if (this.#units !== undefined) tearAppends(node, authority, mayDie, () => this.#kill(node, 'kill', 200));
    host.onServingChange((_, serving) => {
      void this.#addresses.follow(process, serving);
      if (!serving) this.#units?.ceased(process);
    });
    void host.start();
    authority.listen(process, (state) => {
      if (this.#left.has(node)) return;
      host.applyClusterState(state);
      const me = state.nodes.find((n) => n.nodeId === nodeId);
      // A node that finds itself fenced ends and starts again.
      if (me?.incarnation === process.incarnation && me.status === 'fenced') this.#kill(node, 'exit');
    });
    const register = (): void => {
      if (!process.isAlive) return;
      if (authority.isCutOff(nodeId)) process.enterAfter(50, register);
      else authority.register(process, disk.id);
    };
    process.enterAfter(world.between(1, 30), register);
    process.enterAfter(world.between(1, 30), () => this.#bitRot.scrub(node));
  }

  #kill(node: Node, how: 'kill' | 'exit' | 'power', longestMs = 700): void {
    if (!node.process.isAlive) return;
    this.#counters.add(`sim.${how}`);
    node.process.kill();
    this.#network.detach(node.process);
    if (how === 'power') node.disk.losePower(this.#options.failingDisks && this.world.random);
    else this.#guardians.pipeEnds(node.process);
    this.world.after(this.world.between(30, longestMs), () => {
      this.#start(node.nodeId, this.#drives.take(node.nodeId) ?? node.disk, node.starts);
    });
  }

  /** Its process stays down until an administrator has looked, and has put another disk in the place of that one. */
  #diskFailed(process: Process): void {
    const node = this.#nodes.get(process.nodeId);
    if (node?.process !== process) return;
    this.#counters.add('sim.failed-syncs');
    const { nodeId, disk } = node;
    if (this.#drives.hasStandIn(nodeId)) this.#kill(node, 'exit');
    else this.#exchangeDisk(node);
    // Should it be needed after all, this is what is left of it.
    disk.losePower(this.world.random);
  }

  /** The node comes back over another disk than it had. */
  #exchangeDisk(node: Node): void {
    const { nodeId } = node;
    if (!node.process.isAlive || this.#drives.isExchanging(nodeId)) return;
    if (this.#drives.isUnmounted(nodeId)) {
      this.#mountAgain(node);
      return;
    }
    const isNeeded = this.authority.group.inSync.some((m) => m.nodeId === nodeId);
    this.#counters.add(`sim.${this.#drives.exchange(node, isNeeded)}`);
    this.#kill(node, 'kill');
  }

  #mountAgain(node: Node): void {
    for (const left of this.#left) if (left.nodeId === node.nodeId) this.#end(left);
    if (this.#drives.mountAgain(node.nodeId, this.authority.group.inSync)) this.#kill(node, 'kill');
  }

  /** Once all is over, whoever has taken the last copy away by mistake brings it back. */
  #mountLast(): void {
    const { inSync, primary } = this.authority.group;
    const [last] = inSync;
    const node = this.#nodes.get(last?.nodeId ?? '');
    if (primary !== undefined || last === undefined || inSync.length > 1 || node === undefined) return;
    if (node.process.isAlive && this.#drives.mountOf(last, node.disk)) this.#kill(node, 'exit');
  }

  #watchNodes(): void {
    const { world, authority } = this;
    if (!this.#inTrouble) this.#mountLast();
    this.#bitRot.spare();
    for (const node of this.#nodes.values()) {
      const { process } = node;
      const isSeen = process.isAlive && !process.isPaused && !authority.isCutOff(node.nodeId);
      if (isSeen) node.lastSeenMs = world.nowMs;
      else if (world.nowMs - node.lastSeenMs >= PACE.fenceAfterMs)
        authority.fence(node.nodeId, process.incarnation);
    }
    world.after(50, () => this.#watchNodes());
  }

  #checkServing(): void {
    let serving: string | undefined;
    for (const node of this.#running()) {
      if (!isServing(node)) continue;
      const { process } = node;
      if (serving !== undefined) this.#fail(`${serving} and ${process.incarnation} both serve`);
      serving = process.incarnation;
      if (node.nodeId === this.authority.group.primary) this.#noteMoved();
    }
  }

  #noteMoved(): void {
    if (this.world.nowMs - this.#movedMs < PACE.quickMoveMs) this.#counters.add('sim.quick-moves');
    this.#movedMs = Number.NEGATIVE_INFINITY;
  }

  #running(): Node[] {
    return [...this.#nodes.values(), ...this.#left];
  }

  #primary(): Node | undefined {
    return this.#nodes.get(this.authority.group.primary ?? '');
  }

  #someNode(): Node {
    const primary = this.#primary();
    if (primary !== undefined && this.world.chance(50)) return primary;
    return this.#nodes.get(NODES[this.world.random.below(NODES.length)] as string) as Node;
  }

  #makeTrouble(): void {
    if (!this.#inTrouble) return;
    const { world } = this;
    const node = this.#someNode();
    const other = NODES[world.random.below(NODES.length)] as string;
    for (const { nodeId, disk } of this.#nodes.values()) this.#drives.maybeCopy(nodeId, disk);
    wearOut(world, node.disk, this.#options, this.#primary());
    switch (world.random.below(20)) {
      case 0:
      case 1:
        this.#kill(node, this.#options.durability === 'durable' && world.chance(60) ? 'power' : 'kill');
        break;
      case 2:
        node.process.pause(world.between(50, 1_500));
        break;
      case 3:
        if (other !== node.nodeId) this.#network.cut(node.nodeId, other, world.between(20, 800));
        break;
      case 4:
        if (other !== node.nodeId) this.#network.hold(node.nodeId, other, world.between(20, 1_000));
        break;
      case 5:
        this.authority.cutOff(node.nodeId, world.between(50, 1_500));
        break;
      case 6:
        slowDown(world, node.disk);
        break;
      case 7:
        fillUp(world, node.disk);
        break;
      case 11:
        this.#exchangeDisk(node);
        break;
      case 12:
        this.#loseLast();
        break;
      case 8:
        this.#network.refusalPercent = world.chance(50) ? 3 : 0;
        break;
      case 9:
      case 14:
        this.#move();
        break;
      case 15:
        this.#leave(node);
        break;
      case 17:
      case 18:
      case 19:
        this.#bitRot.flip(node);
        break;
      case 10:
        if (this.authority.dropReplica(other)) {
          world.after(world.between(50, 800), () => this.authority.addReplica(other));
        }
        break;
      default:
        if (world.chance(30)) this.#guardians.pipeEnds(node.process);
        this.#ambushes.isolate(node.nodeId);
    }
    world.after(world.between(40, 450), () => this.#makeTrouble());
  }

  /** A planned move, and what may come in its way at any of its steps. */
  #move(): void {
    const { world, authority } = this;
    const from = this.#primary();
    if (from === undefined || !authority.move()) return;
    this.#movedMs = world.nowMs;
    const to = this.#primary();
    if (to === undefined) return;
    world.after(world.between(0, 60), () => {
      if (!this.#inTrouble) return;
      const either = world.chance(50) ? from : to;
      const trouble = world.random.below(12);
      if (trouble === 0) this.#kill(either, 'kill');
      else if (trouble === 1) this.#move();
      else disturb(trouble, { world, authority, network: this.#network, from, to, either });
    });
  }

  /**
   * A process that stands still, or is cut off, is taken for dead, and its node started once more elsewhere over
   * another disk. It serves on for as long as it believes that it may.
   */
  #leave(node: Node): void {
    const { world, authority } = this;
    const { inSync } = authority.group;
    const isMember = inSync.some((m) => m.nodeId === node.nodeId) && inSync.length > 1;
    if (!isMember || !node.process.isAlive || this.#drives.isUnmounted(node.nodeId)) return;
    this.#counters.add('sim.left');
    this.#left.add(node);
    if (world.chance(50)) node.process.pause(world.between(20, 200));
    if (world.chance(30)) this.#guardians.pipeEnds(node.process);
    this.#network.detach(node.process);
    this.#drives.unmount(node);
    this.#start(node.nodeId, this.#drives.make(node.nodeId), node.starts);
    if (world.chance(50)) world.after(world.between(20, 200), () => this.#move());
    this.#ambushes.left(node.nodeId, (id, ms) => this.#kill(this.#nodes.get(id) as Node, 'kill', ms));
    world.after(world.between(100, 900), () => this.#end(node));
  }

  #end(node: Node): void {
    this.#left.delete(node);
    node.process.kill();
  }

  /** All others die, and the last one comes back without its disk. */
  #loseLast(): void {
    const { inSync } = this.authority.group;
    const last = this.#primary();
    if (last === undefined || !last.process.isAlive || inSync.length !== 1) return;
    this.#counters.add('sim.last-disks');
    this.#exchangeDisk(last);
  }

  // The end

  async #readEverything(watch: () => void): Promise<void> {
    let successes = 0;
    const wanted = this.#clients.readEverything((ok) => (successes += ok ? 1 : 0));
    if (wanted === undefined) {
      this.#fail(`nobody serves in the end: ${JSON.stringify(this.authority.state())}`);
    }
    await this.world.runUntil(this.world.nowMs + 500, watch);
    if (successes !== (wanted ?? 0)) this.#fail('the last reads fail');
  }
}
