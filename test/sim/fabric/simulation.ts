import { CounterSet } from '../../../base/counters.ts';
import { describeError } from '../../../base/errors.ts';
import type { Logger } from '../../../base/logger.ts';
import { RAFT_KIND } from '../../../cluster/peer-message.ts';
import type { ClusterState, PortalGroupRecord } from '../../../cluster/state/model.ts';
import { STATE_VERSIONS } from '../../../cluster/state/versions.ts';
import { simulatedGenesis } from '../cluster/first-state.ts';
import { Host, type HostContext } from '../cluster/host.ts';
import { Trace } from '../cluster/trace.ts';
import { Guardians } from '../guardians.ts';
import { Network } from '../network.ts';
import { Clients, isServing, type Server } from '../replication/clients.ts';
import { NEVER } from '../replication/complaints.ts';
import type { Disk } from '../replication/disk.ts';
import { differenceBetween } from '../replication/disk-content.ts';
import type { SimulationOptions, SimulationResult } from '../run.ts';
import { type Process, World } from '../world.ts';
import { isDiskOf } from './copies.ts';
import { FabricNode, type FabricNodeContext } from './fabric-node.ts';
import { Refusals } from './refusals.ts';
import { Rot } from './rot.ts';
import { Troublemaker } from './trouble.ts';

const GROUPS = ['pg1', 'pg2', 'pg3', 'pg4'];
const CLIENTS_PER_GROUP = 2;
const SETTLING_MS = 1_500;
const TROUBLE_MS = 10_000;
/** What a healed fabric is given to have every copy in sync again. */
const HEALING_MS = 30_000;

/** Whole nodes: the cluster log and several portal groups on it, clients of each group, and trouble, from one seed. */
export class Simulation {
  readonly #options: SimulationOptions;
  readonly #world: World;
  readonly #trace: Trace;
  readonly #counters = new CounterSet();
  /** Of the cluster log and of replication: links of their own between the same nodes. */
  readonly #clusterNetwork: Network;
  readonly #dataNetwork: Network;
  readonly #nodes: FabricNode[] = [];
  readonly #clients = new Map<string, Clients>();
  readonly #trouble: Troublemaker;
  readonly #rot: Rot;
  /** By group and epoch: the process that serves in it. */
  readonly #servedBy = new Map<string, string>();
  /** By group and incarnation: in-sync members whose copy has been without power since they were in sync. */
  readonly #poweredOff = new Set<string>();
  #newest: { readonly position: number; readonly state: ClusterState | undefined } = {
    position: -1,
    state: undefined,
  };
  /** In-sync sets whose loss of power has been accounted for. */
  readonly #losses = new Set<string>();
  readonly #refusals = new Refusals(this.#counters);
  /** Since it was looked at last, on some node. */
  #stateChanged = false;
  #violation: string | undefined;

  constructor(options: SimulationOptions) {
    this.#options = options;
    const world = new World(options.seed);
    this.#world = world;
    this.#trace = new Trace(world, options.print);
    this.#clusterNetwork = new Network(world);
    this.#clusterNetwork.tellsAbsence = true;
    this.#clusterNetwork.isDatagram = (message) => message[0] === RAFT_KIND[0];
    this.#dataNetwork = new Network(world);
    const genesis = this.#makeFirstState();
    const hostContext = this.#makeHostContext(genesis);
    const nodeContext: FabricNodeContext = {
      world,
      counters: this.#counters,
      attach: (process) => {
        process.onKill(() => this.#dataNetwork.detach(process));
        return this.#dataNetwork.attach(process);
      },
      logger: (nodeId) => this.#logger(nodeId),
      fail: (what) => this.#fail(what),
      images: (process) => this.#rot.images.source(process),
      renewsLives: options.oldCopies === true,
      starts: (node) => this.#rot.starts(node),
      began: (node) => this.#rot.scrub(node),
      stateChanged: () => {
        this.#stateChanged = true;
      },
    };
    for (const { nodeId, raftId } of Object.values(genesis.nodes)) {
      this.#nodes.push(new FabricNode(nodeContext, new Host(hostContext, nodeId, raftId)));
    }
    this.#rot = new Rot({
      world,
      network: this.#dataNetwork,
      counters: this.#counters,
      groups: GROUPS,
      nodes: this.#nodes,
      group: (id) => this.#newestState()?.portalGroups[id],
      fail: (what) => this.#fail(what),
      damagesLast: options.doubleFailures === true,
    });
    for (const group of GROUPS) this.#clients.set(group, this.#makeClients(group));
    this.#trouble = new Troublemaker({
      world,
      networks: [this.#clusterNetwork, this.#dataNetwork],
      clusterNetwork: this.#clusterNetwork,
      counters: this.#counters,
      nodes: this.#nodes,
      newestState: () => this.#newestState(),
      powerOff: (nodes) => this.#powerOff(nodes),
      rot: this.#rot,
      doubleFailures: options.doubleFailures === true,
      limping: options.limping === true,
      oldCopies: options.oldCopies === true,
      note: this.#trace.note.bind(this.#trace),
    });
  }

  #makeFirstState(): ClusterState {
    const world = this.#world;
    const count = world.chance(60) ? 3 : 5;
    const state = simulatedGenesis(count, GROUPS, { replicasPerGroup: world.chance(40) ? 2 : 3 });
    const portalGroups = Object.fromEntries(
      Object.values(state.portalGroups).map((group): [string, PortalGroupRecord] => [
        group.id,
        {
          ...group,
          durability: world.chance(50) ? 'durable' : 'write-back',
          minInSync: world.chance(20) ? 2 : 1,
        },
      ]),
    );
    // As a new cluster begins.
    return { ...state, portalGroups, stateVersion: STATE_VERSIONS.newest };
  }

  #makeHostContext(genesis: ClusterState): HostContext {
    const nodeOf = (host: Host): FabricNode => this.#nodes.find((n) => n.host === host) as FabricNode;
    const guardians = new Guardians({
      world: this.#world,
      counters: this.#counters,
      others: () =>
        this.#nodes.map((node) => ({
          process: node.host.process,
          peerEnded: (peer) => node.peerEnded(peer),
        })),
    });
    return {
      world: this.#world,
      genesis,
      ended: (process: Process) => guardians.pipeEnds(process),
      maxMessageBytes: undefined,
      counters: this.#counters,
      attach: (process: Process) => this.#clusterNetwork.attach(process),
      detach: (process: Process) => {
        this.#clusterNetwork.detach(process);
        this.#somebodyDied();
      },
      logger: (nodeId: string) => this.#logger(nodeId),
      fail: (what: string) => this.#fail(what),
      note: this.#trace.note.bind(this.#trace),
      onDiskOperation: () => {},
      recordWritten: () => {},
      groupDisks: (host) => nodeOf(host).copies.groupDisks(),
      started: (host) => {
        if (host.node !== undefined) nodeOf(host).start(host.node);
      },
    };
  }

  #makeClients(group: string): Clients {
    const clients = new Clients({
      group,
      world: this.#world,
      counters: this.#counters,
      servers: () => this.#nodes.flatMap((n) => n.server ?? []),
      readBegins: (server) => this.#rot.readBegins(group, server),
      fail: (what) => this.#fail(`group ${group}: ${what}`),
    });
    clients.pauseMs = [5, 40];
    return clients;
  }

  async run(): Promise<SimulationResult> {
    const world = this.#world;
    const troubleMs = this.#options.troubleMs ?? TROUBLE_MS;
    const look = (): void => {
      // Whoever is left in sync when another one is fenced may have been without power before.
      if (this.#stateChanged) this.#somebodyDied();
      if (this.#stateChanged) this.#refusals.look(this.#newestState());
      this.#stateChanged = false;
      this.#checkServing();
    };
    for (const { host } of this.#nodes) world.after(world.between(0, 100), () => host.start());
    await world.runUntil(SETTLING_MS, look);
    for (const clients of this.#clients.values()) clients.start(CLIENTS_PER_GROUP);
    this.#trouble.start();
    this.#rot.watch();
    await world.runUntil(SETTLING_MS + troubleMs, look);
    this.#heal();
    await world.runUntil(world.nowMs + 3_000, look);
    for (const clients of this.#clients.values()) clients.isOver = true;
    await this.#converge(look);
    if (this.#violation === undefined) await this.#readEverything(look);
    for (const clients of this.#clients.values()) clients.check();
    const groups = Object.values(this.#newestState()?.portalGroups ?? {});
    this.#counters.add(
      'sim.went-on-from-another-copy',
      groups.filter((g) => g.resumedEpoch !== undefined).length,
    );
    for (const event of NEVER) if (this.#counters.get(event) > 0) this.#fail(`${event} happened`);
    return {
      seed: this.#options.seed,
      violation: this.#violation,
      counts: this.#counters.snapshot(),
      simulatedMs: world.nowMs,
      operations: ['sim.reads', 'sim.acknowledged-writes', 'sim.acknowledged-discards', 'sim.resets'].reduce(
        (sum, name) => sum + this.#counters.get(name),
        0,
      ),
      events: world.events,
      traceHash: this.#trace.hash,
    };
  }

  /** What nobody caught: thrown by code of ours in a promise or a microtask. */
  uncaught(error: unknown): void {
    this.#fail(`an error nobody catches: ${error instanceof Error ? error.stack : describeError(error)}`);
  }

  #fail(what: string): void {
    this.#trace.note('', 'VIOLATION', 0, () => what);
    this.#violation ??= `at ${this.#world.nowMs.toFixed(1)} ms: ${what}`;
    // What follows would only be its consequences.
    this.#world.isStopped = true;
  }

  #logger(nodeId: string): Logger {
    const note = (event: string, fields: Readonly<Record<string, unknown>> = {}): void =>
      this.#trace.note(nodeId, event, 0, () => JSON.stringify(fields));
    const ignore = (): void => {};
    return { debug: ignore, info: note, warn: note, error: note };
  }

  /** As a node knows that is up. */
  #newestState(): ClusterState | undefined {
    let best: { readonly position: number; readonly state: ClusterState } | undefined;
    for (const { host } of this.#nodes) {
      if (!host.isUp || host.node === undefined) continue;
      const position = host.node.status().appliedIndex;
      if (position > (best?.position ?? -1)) best = { position, state: host.node.state() };
    }
    if (best !== undefined && best.position >= this.#newest.position) this.#newest = best;
    return best?.state;
  }

  /** What has been decided, whether those that know it are up or not. */
  #decided(): ClusterState | undefined {
    this.#newestState();
    return this.#newest.state;
  }

  #powerOff(nodes: readonly FabricNode[]): void {
    const state = this.#decided();
    for (const { id, inSync } of Object.values(state?.portalGroups ?? {})) {
      for (const member of inSync) {
        const { nodeId, incarnation } = member;
        const node = nodes.find((n) => n.nodeId === nodeId);
        const isIt = (disk: Disk): boolean => member.disk === undefined || isDiskOf(disk, member);
        const isThere = node?.copies.powered.some(isIt) === true;
        if (isThere) this.#poweredOff.add(`${id} ${incarnation}`);
      }
    }
    for (const { host, copies } of nodes) {
      host.end('power');
      copies.losePower();
    }
    // Before anybody looks for what is gone.
    this.#rot.spare();
    this.#somebodyDied(state);
  }

  /**
   * Of a group in write-back mode, what nobody has flushed may be gone once all its in-sync processes are dead and one of
   * them died with its power: as the others are alive no more, that one may be made primary. All other groups lose nothing.
   */
  #somebodyDied(state = this.#decided()): void {
    const alive = new Set(
      this.#nodes.map((n) => n.host.process).flatMap((p) => (p.isAlive ? p.incarnation : [])),
    );
    for (const { id, durability, inSync } of Object.values(state?.portalGroups ?? {})) {
      if (durability === 'durable' || inSync.some((m) => alive.has(m.incarnation))) continue;
      if (!inSync.some((m) => this.#poweredOff.has(`${id} ${m.incarnation}`))) continue;
      const loss = `${id} ${inSync.map((m) => m.incarnation).join(' ')}`;
      if (this.#losses.has(loss)) continue;
      this.#losses.add(loss);
      this.#counters.add('sim.power-lost-everywhere');
      this.#clients.get(id)?.powerLost();
    }
  }

  /** At any time one process at most serves a group, and in one epoch never two. */
  #checkServing(): void {
    for (const group of GROUPS) {
      let serving: Server | undefined;
      for (const { server } of this.#nodes) {
        if (server === undefined || !isServing(server, group)) continue;
        const { incarnation } = server.process;
        if (serving !== undefined) {
          this.#fail(`${serving.process.incarnation} and ${incarnation} both serve ${group}`);
          return;
        }
        serving = server;
        const place = `${group} ${server.host.group(group)?.status().epoch}`;
        const before = this.#servedBy.get(place) ?? incarnation;
        if (before !== incarnation) this.#fail(`${before} and ${incarnation} serve ${group} in one epoch`);
        this.#servedBy.set(place, before);
      }
    }
  }

  // The end

  #heal(): void {
    this.#trace.note('', 'HEAL', 0);
    this.#trouble.end();
    this.#rot.end();
    for (const network of [this.#clusterNetwork, this.#dataNetwork]) network.heal();
    for (const { host, copies } of this.#nodes) {
      host.mendDisk();
      copies.mend();
    }
    for (const clients of this.#clients.values()) clients.pauseMs = [20, 100];
  }

  /** Every group is served, with all its copies in sync, and these are the same. */
  async #converge(look: () => void): Promise<void> {
    const world = this.#world;
    const untilMs = world.nowMs + HEALING_MS;
    let missing = '';
    while (world.nowMs < untilMs && this.#violation === undefined) {
      await world.runUntil(world.nowMs + 100, look);
      this.#takeBackLast();
      missing = GROUPS.map((group) => this.#whatIsMissing(group)).find((what) => what !== '') ?? '';
      if (missing === '') return;
    }
    if (this.#violation === undefined) this.#fail(`${HEALING_MS} ms after all was mended: ${missing}`);
  }

  /**
   * A damaged copy was set aside while others were in sync, and then their processes ended before the cluster had put it out
   * of the set. An administrator repairs it: the bits are as they were.
   */
  #takeBackLast(): void {
    for (const { id, primary, inSync } of Object.values(this.#newestState()?.portalGroups ?? {})) {
      const [last] = inSync;
      if (primary !== undefined || last === undefined || inSync.length > 1) continue;
      const node = this.#nodes.find((n) => n.nodeId === last.nodeId);
      if (node === undefined || !node.host.isUp || !node.copies.takeBack(id, last)) continue;
      this.#counters.add('sim.set-aside-taken-back');
      node.host.end('kill');
    }
  }

  #whatIsMissing(group: string): string {
    const record = this.#newestState()?.portalGroups[group];
    if (record === undefined) return `nobody knows of ${group}`;
    if (record.inSync.length !== record.replicas.length) {
      const status = this.#nodes.map(
        (n) => `${n.nodeId} ${JSON.stringify(n.server?.host.group(group)?.status())}`,
      );
      return `${group} is not in sync everywhere: ${JSON.stringify(record)}, ${status.join(', ')}`;
    }
    if (!this.#nodes.some(({ server }) => server !== undefined && isServing(server, group))) {
      return `nobody serves ${group}: ${JSON.stringify(record)}`;
    }
    const disks = record.replicas.map(
      (id) => this.#nodes.find((n) => n.nodeId === id)?.copies.disk(group) as Disk,
    );
    return differenceBetween(disks, group) ?? this.#rot.leftDamaged(group) ?? '';
  }

  async #readEverything(look: () => void): Promise<void> {
    let successes = 0;
    let wanted = 0;
    for (const [group, clients] of this.#clients) {
      const count = clients.readEverything((ok) => (successes += ok ? 1 : 0));
      if (count === undefined) this.#fail(`nobody serves ${group} in the end`);
      wanted += count ?? 0;
    }
    await this.#world.runUntil(this.#world.nowMs + 500, look);
    if (successes !== wanted) this.#fail(`${wanted - successes} of the last ${wanted} reads fail`);
  }
}
