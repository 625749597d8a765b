import { CounterSet } from '../../../base/counters.ts';
import { crc32c } from '../../../base/crc32c.ts';
import { describeError } from '../../../base/errors.ts';
import type { Logger } from '../../../base/logger.ts';
import type { JoinedMembers } from '../../../cluster/cluster-node-options.ts';
import { decodePeerMessage, RAFT_KIND } from '../../../cluster/peer-message.ts';
import type { ClusterStatus } from '../../../cluster/ports.ts';
import type { ConfState } from '../../../cluster/raft/index.ts';
import { completeState } from '../../../cluster/state/genesis.ts';
import type { ClusterState } from '../../../cluster/state/model.ts';
import { Guardians } from '../guardians.ts';
import { FAIR_WEATHER, Network } from '../network.ts';
import type { SimulationOptions, SimulationResult } from '../run.ts';
import { type Process, World } from '../world.ts';
import { Administrator } from './administrator.ts';
import { Clients } from './clients.ts';
import { asText, describeMessage } from './describe-message.ts';
import { makeFirstState } from './first-state.ts';
import { Host, type HostContext } from './host.ts';
import { Introductions } from './introductions.ts';
import { Ledger } from './ledger.ts';
import { PlacementWatch } from './placement-watch.ts';
import { Progress } from './progress.ts';
import { SecondLife } from './second-life.ts';
import { stateDigest } from './state-digest.ts';
import { Trace } from './trace.ts';
import { Troublemaker } from './trouble.ts';

const SETTLING_MS = 1_500;
const TROUBLE_MS = 12_000;
/** What a healed cluster is given to agree and go on. */
const HEALING_MS = 20_000;
/** Clients go on for so long after all has been mended. */
const CALM_MS = 3_500;
/** After a majority was lost and the cluster recovered. */
const SECOND_LIFE_MS = 5_000;
/** Ids of nodes from here on are new ones. */
const SECOND_LIFE_NODES = 100;
const CLIENTS = 4;

export interface ClusterSimulationOptions extends SimulationOptions {
  /** How many runs of a hundred lose a majority of their nodes for good; default 25. */
  readonly recoversPercent?: number;
}

/** Servers of one cluster, clients that use it and trouble, all in one thread and from one seed. */
export class Simulation {
  readonly #options: ClusterSimulationOptions;
  readonly #world: World;
  readonly #network: Network;
  readonly #trace: Trace;
  readonly #counters = new CounterSet();
  readonly #hostContext: HostContext;
  readonly #hosts: Host[] = [];
  #ledger: Ledger;
  /** Of the cluster that was lost. */
  #ledgerBefore: Ledger | undefined;
  readonly #placement: PlacementWatch;
  #clients: Clients;
  readonly #trouble: Troublemaker;
  #administrator: Administrator;
  readonly #isRestless: boolean;
  /** Lost with a majority, and no part of the cluster any more. */
  #bygone: Host[] = [];
  /** Taken so far, and not looked at yet. */
  readonly #backups: { readonly digest: number; readonly committedBefore: number }[] = [];
  /** Those of clients that are no more. */
  #operations = 0;
  /** By node: what was seen of it last. */
  readonly #seen = new Map<Host, Seen>();
  readonly #introductions: Introductions;
  #violation: string | undefined;

  constructor(options: ClusterSimulationOptions) {
    this.#options = options;
    const world = new World(options.seed);
    this.#world = world;
    this.#trace = new Trace(world, options.print);
    this.#network = new Network(world);
    this.#introductions = new Introductions({
      ...{ world, network: this.#network },
      hosts: () => [...this.#hosts, ...this.#bygone],
    });
    this.#network.onRefused = (...refusal) => this.#introductions.refused(...refusal);
    const fail = (what: string): void => this.#fail(what);
    const note = this.#trace.note.bind(this.#trace);
    const counters = this.#counters;
    this.#placement = new PlacementWatch(fail, counters);
    const first = world.chance(75) ? 3 : 5;
    this.#hostContext = this.#makeHostContext(makeFirstState(first));
    for (const { nodeId, raftId } of Object.values(this.#hostContext.genesis.nodes)) {
      this.#hosts.push(new Host(this.#hostContext, nodeId, raftId));
    }
    const firstVoters = this.#hosts.map((host) => host.raftId);
    this.#ledger = new Ledger(firstVoters, () => this.#hosts, fail);
    const hosts = (): readonly Host[] => this.#hosts;
    const isRestless = world.chance(40);
    this.#trouble = new Troublemaker({
      world,
      isRestless,
      network: this.#network,
      counters,
      hosts,
      leader: () => this.#leader(),
      note,
    });
    this.#isRestless = isRestless;
    this.#clients = this.#makeClients(0);
    this.#administrator = this.#makeAdministrator(first);
    this.#network.swallows = (from, _to, message) => this.#trouble.swallows(from, message);
    this.#network.tellsAbsence = true;
    this.#network.isDatagram = (message) => message[0] === RAFT_KIND[0];
    this.#network.onMessage = (what, from, to, message) => this.#message(what, from, to, message);
  }

  #makeClients(life: number): Clients {
    return new Clients({
      world: this.#world,
      counters: this.#counters,
      hosts: () => this.#hosts,
      fail: (what) => this.#fail(what),
      note: this.#trace.note.bind(this.#trace),
      life,
      onDone: (host) => this.#trouble.answered(host),
      backedUp: (state, committedBefore) => {
        this.#counters.add('op.backup');
        const restored = completeState(JSON.parse(JSON.stringify(state)) as ClusterState);
        this.#backups.push({ digest: stateDigest(restored), committedBefore });
      },
      committedIndex: () => this.#ledger.committedIndex,
    });
  }

  /** @param nodes how many ids have been used up */
  #makeAdministrator(nodes: number): Administrator {
    const context = {
      world: this.#world,
      isRestless: this.#isRestless,
      counters: this.#counters,
      hosts: () => this.#hosts,
      addHost: (nodeId: string, joined: JoinedMembers) => this.#addHost(nodeId, joined),
      note: this.#trace.note.bind(this.#trace),
    };
    return new Administrator(context, nodes);
  }

  #makeHostContext(genesis: ClusterState): HostContext {
    const world = this.#world;
    const guardians = new Guardians({
      world,
      counters: this.#counters,
      others: () =>
        this.#hosts.map((host) => ({
          process: host.process,
          peerEnded: (peer) => {
            if (host.isUp) host.node?.peerEnded(peer);
          },
        })),
    });
    return {
      world,
      genesis,
      ended: (process: Process) => guardians.pipeEnds(process),
      // Often too short for all that a peer lacks.
      maxMessageBytes: world.chance(60) ? world.between(100, 700) : undefined,
      counters: this.#counters,
      attach: (process: Process) => this.#network.attach(process),
      detach: (process: Process) => this.#network.detach(process),
      logger: (nodeId: string) => this.#logger(nodeId),
      fail: (what: string) => this.#fail(what),
      note: this.#trace.note.bind(this.#trace),
      onDiskOperation: (host: Host, operation: string) => this.#trouble.disk(host, operation),
      leaves: (host: Host) => {
        if (!this.#bygone.includes(host)) this.#ledger.leaves(host);
      },
      peersChanged: (process: Process, peerIds: ReadonlySet<string>, leftIds: ReadonlySet<string>) =>
        this.#network.admit(process, peerIds, leftIds),
      started: (host: Host) => {
        this.#introductions.ask(host);
        if (host.isRushed) this.#clients.rush(host);
      },
      recordWritten: (...seen: Parameters<Ledger['written']>) => {
        if (!this.#bygone.includes(seen[0] as Host)) this.#ledger.written(...seen);
      },
    };
  }

  #addHost(nodeId: string, joined: JoinedMembers): void {
    if (this.#hosts.some((h) => h.nodeId === nodeId)) return;
    const host = new Host(this.#hostContext, nodeId, joined.raftId, joined);
    this.#hosts.push(host);
    host.start();
  }

  async run(): Promise<SimulationResult> {
    const world = this.#world;
    const troubleMs = this.#options.troubleMs ?? TROUBLE_MS;
    for (const host of this.#hosts) world.after(world.between(0, 100), () => host.start());
    const look = (): void => this.#look();
    await world.runUntil(SETTLING_MS, look);
    this.#clients.start(CLIENTS);
    this.#trouble.start();
    this.#administrator.start();
    await world.runUntil(SETTLING_MS + troubleMs, look);
    this.#trouble.isOver = true;
    this.#administrator.isOver = true;
    await this.#recover(look);
    this.#heal();
    await world.runUntil(world.nowMs + CALM_MS, look);
    this.#clients.isOver = true;
    const members = (): Host[] => this.#members();
    const fail = (what: string): void => this.#fail(what);
    const progress = new Progress({ world, members, counters: this.#counters, fail });
    await progress.made(look, HEALING_MS - CALM_MS);
    this.#checkHistories();
    const counts = { ...this.#counters.snapshot(), ...this.#faultCounts() };
    return {
      seed: this.#options.seed,
      violation: this.#violation,
      counts,
      simulatedMs: world.nowMs,
      operations: this.#operations + this.#clients.operations,
      events: world.events,
      traceHash: this.#trace.hash,
    };
  }

  #checkHistories(): void {
    if (this.#violation !== undefined) return;
    for (const { digest, committedBefore } of this.#backups.splice(0))
      this.#ledger.isBackup(digest, committedBefore);
    this.#clients.check();
  }

  /** In some runs all nodes but one are lost for good, and that one is made a cluster of its own. */
  async #recover(look: () => void): Promise<void> {
    const world = this.#world;
    if (this.#violation !== undefined || !world.chance(this.#options.recoversPercent ?? 25)) return;
    this.#clients.isOver = true;
    const life = new SecondLife({
      world,
      counters: this.#counters,
      ledger: this.#ledger,
      fail: (what) => this.#fail(what),
    });
    const survivor = await life.begin(this.#hosts);
    this.#checkHistories();
    if (survivor === undefined) {
      for (const host of this.#hosts) if (host.phase !== 'removed') host.comeBack();
      return;
    }
    this.#ledgerBefore = this.#ledger;
    this.#ledger = life.ledger;
    this.#bygone = this.#hosts.splice(0);
    this.#bygone.splice(this.#bygone.indexOf(survivor), 1);
    this.#hosts.push(survivor);
    this.#network.heal();
    this.#operations += this.#clients.operations;
    this.#clients = this.#makeClients(1);
    this.#administrator = this.#makeAdministrator(SECOND_LIFE_NODES);
    this.#trouble.spareLogs();
    this.#trouble.isOver = false;
    survivor.comeBack();
    await world.runUntil(world.nowMs + SETTLING_MS, look);
    // With what it had: it does not get in, and does not lead.
    life.oneReturns(this.#bygone);
    this.#clients.start(CLIENTS);
    this.#administrator.start();
    this.#trouble.start();
    await world.runUntil(world.nowMs + SECOND_LIFE_MS, look);
    this.#trouble.isOver = true;
    this.#administrator.isOver = true;
    for (const host of this.#bygone) life.staysOut(host, this.#hosts);
  }

  #faultCounts(): Record<string, number> {
    const seen = (count: (ledger: Ledger) => number): number =>
      count(this.#ledger) + (this.#ledgerBefore === undefined ? 0 : count(this.#ledgerBefore));
    const { counts } = this.#network;
    const disks = { sectorsKept: 0, sectorsDropped: 0, sectorsTorn: 0, entriesKept: 0, entriesLost: 0 };
    for (const { disk } of this.#hosts) {
      for (const name of Object.keys(disks) as (keyof typeof disks)[]) disks[name] += disk.crashCounts[name];
    }
    return {
      'message.lost': counts.lost,
      'message.doubled': counts.doubled,
      'message.reordered': counts.reordered,
      'message.muted': counts.muted,
      'crash.sectors-kept': disks.sectorsKept,
      'crash.sectors-dropped': disks.sectorsDropped,
      'crash.sectors-torn': disks.sectorsTorn,
      'crash.directory-entries-kept': disks.entriesKept,
      'crash.directory-entries-lost': disks.entriesLost,
      'seen.changes-of-members': seen((ledger) => ledger.changesSeen.all),
      'seen.joint-configurations': seen((ledger) => ledger.changesSeen.joint),
      'seen.leaders': seen((ledger) => ledger.leadersSeen),
      'seen.committed': seen((ledger) => ledger.committedCount),
    };
  }

  #fail(what: string): void {
    const where = `at ${this.#world.nowMs.toFixed(1)} ms: ${what}`;
    this.#trace.note('', 'VIOLATION', 0, () => what);
    this.#violation ??= where;
    // What follows would only be its consequences.
    this.#world.isStopped = true;
  }

  /** What nobody caught: thrown by code of ours in a promise or a microtask. */
  uncaught(error: unknown): void {
    this.#fail(`an error nobody catches: ${error instanceof Error ? error.stack : describeError(error)}`);
  }

  #logger(nodeId: string): Logger {
    const note = (event: string, fields: Readonly<Record<string, unknown>> = {}): void =>
      this.#trace.note(nodeId, event, 0, () => JSON.stringify(fields, asText));
    const info: Logger['info'] = (event, fields = {}) => {
      note(event, fields);
      const host = this.#hosts.find((h) => h.nodeId === nodeId);
      if (event !== 'cluster.members' || host === undefined) return;
      this.#trouble.membersChanged(host, fields as unknown as ConfState & { readonly index: number });
    };
    const ignore = (): void => {};
    return { debug: this.#trace.isRead ? note : ignore, info, warn: note, error: note };
  }

  #message(what: 'sent' | 'arrived', from: Process, to: Process, bytes: Uint8Array): void {
    const host = this.#hosts.find((h) => h.process === from);
    this.#trace.note(from.nodeId, what, crc32c(bytes), () => `to ${to.nodeId} ${describeMessage(bytes)}`);
    if (what !== 'sent' || host === undefined) return;
    const decoded = decodePeerMessage(bytes);
    if (decoded.kind === 'snapshotChunk') this.#counters.add('seen.snapshot-sent');
    if (decoded.kind === 'propose') {
      for (const proposal of decoded.proposals) this.#ledger.handedOn(proposal);
      this.#trouble.handedOn(host, to.nodeId);
    }
    if (decoded.kind !== 'raft') return;
    this.#ledger.sent(host, decoded.message);
    this.#trouble.promised(host, decoded.message);
    if (decoded.message.type === 'MsgReadIndex') this.#trouble.asked(host);
  }

  /** After each event: whoever took part in it is looked at. */
  #look(): void {
    for (const host of this.#hosts) {
      if (!host.isDirty || !host.isUp || host.node === undefined) continue;
      host.isDirty = false;
      this.#lookAt(host);
    }
  }

  #lookAt(host: Host): void {
    const status = host.node?.status();
    if (status === undefined) return;
    let seen = this.#seen.get(host);
    if (seen?.process !== host.process) {
      seen = { process: host.process, commitIndex: 0, appliedIndex: 0, leads: undefined };
      this.#seen.set(host, seen);
    }
    if (status.role === 'leader') this.#lookAtLeader(host, status, seen);
    else seen.leads = undefined;
    if (status.commitIndex < seen.commitIndex) this.#fail(`the commit index of ${host.nodeId} falls`);
    seen.commitIndex = status.commitIndex;
    if (status.appliedIndex !== seen.appliedIndex) {
      if (status.appliedIndex < seen.appliedIndex) this.#fail(`the applied index of ${host.nodeId} falls`);
      this.#ledger.committedOn(host, status.appliedIndex);
      this.#ledger.agrees(host, seen.appliedIndex + 1, status.appliedIndex);
      seen.appliedIndex = status.appliedIndex;
      const state = (host.node as { state(): ClusterState }).state();
      this.#placement.look(status.appliedIndex, state);
      const digest = stateDigest(state);
      this.#ledger.applied(host, status.appliedIndex, digest);
      this.#trace.note(host.nodeId, 'applied', digest, () => String(status.appliedIndex));
    }
  }

  #lookAtLeader(host: Host, { term, lastIndex, commitIndex }: ClusterStatus, seen: Seen): void {
    this.#ledger.leads(host, term);
    this.#ledger.isComplete(host, term, lastIndex);
    if (seen.leads?.term !== term) {
      this.#ledger.elected(host, term, seen.appliedIndex);
      seen.leads = { term, counted: commitIndex };
      this.#clients.rush(host);
    }
    const { leads } = seen;
    // Until an entry of its own term is on its disk, there may still be others that it has replaced in memory.
    const isWritten = host.written.termAt(host.written.lastIndex) === term;
    if (isWritten && commitIndex > leads.counted) {
      this.#ledger.counted(host, term, commitIndex);
      this.#ledger.committedOn(host, commitIndex, seen.appliedIndex);
      leads.counted = commitIndex;
    }
  }

  #leader(): Host | undefined {
    let best: { readonly host: Host; readonly term: number } | undefined;
    for (const host of this.#hosts) {
      const status = host.isUp ? host.node?.status() : undefined;
      if (status?.role === 'leader' && status.term > (best?.term ?? 0)) best = { host, term: status.term };
    }
    return best?.host;
  }

  /** Everything works again, and whoever is down is started. */
  #heal(): void {
    this.#trace.note('', 'HEAL', 0);
    this.#network.heal();
    this.#network.weather = { ...FAIR_WEATHER };
    for (const host of this.#hosts) host.mendDisk();
  }

  /** Those who belong to the cluster at the end. */
  #members(): Host[] {
    const state = this.#administrator.newestState();
    return this.#hosts.filter((h) => {
      const isMember = state === undefined || Object.hasOwn(state.nodes, h.nodeId);
      return isMember && h.phase !== 'removed';
    });
  }
}

/** What was seen last of a node's present process. */
interface Seen {
  readonly process: Process;
  commitIndex: number;
  appliedIndex: number;
  /** While it leads: how far what it committed has been looked at. */
  leads: { readonly term: number; counted: number } | undefined;
}
