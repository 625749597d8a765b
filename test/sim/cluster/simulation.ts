import { CounterSet } from '../../../base/counters.ts';
import { crc32c } from '../../../base/crc32c.ts';
import { describeError } from '../../../base/errors.ts';
import type { Logger } from '../../../base/logger.ts';
import { decodePeerMessage } from '../../../cluster/peer-message.ts';
import type { Message } from '../../../cluster/raft/index.ts';
import { apply } from '../../../cluster/state/apply.ts';
import type { Command } from '../../../cluster/state/commands.ts';
import { makeGenesis } from '../../../cluster/state/genesis.ts';
import type { ClusterState } from '../../../cluster/state/model.ts';
import { FAIR_WEATHER, Network } from '../network.ts';
import { type Process, World } from '../world.ts';
import { Clients, IMAGE } from './clients.ts';
import { Host } from './host.ts';
import { Ledger } from './ledger.ts';
import { stateDigest } from './state-digest.ts';
import { Trace } from './trace.ts';
import { Troublemaker } from './trouble.ts';

const SETTLING_MS = 1_500;
const TROUBLE_MS = 12_000;
/** What a healed cluster is given to agree and go on. */
const HEALING_MS = 20_000;
const CLIENTS = 4;
const RAFT_KIND = 1;

export interface SimulationOptions {
  readonly seed: number;
  /** How long trouble lasts, in simulated ms. */
  readonly troubleMs?: number;
  /** Given each line of the trace. */
  readonly print?: (line: string) => void;
}

export interface SimulationResult {
  readonly seed: number;
  /** What went wrong first; undefined: nothing. */
  readonly violation: string | undefined;
  readonly counts: Readonly<Record<string, number>>;
  readonly simulatedMs: number;
  readonly operations: number;
  readonly events: number;
  /** Differs if anything at all went differently. */
  readonly traceHash: string;
}

/** Servers of one cluster, clients that use it and trouble, all in one thread and from one seed. */
export class Simulation {
  readonly #options: SimulationOptions;
  readonly #world: World;
  readonly #network: Network;
  readonly #trace: Trace;
  readonly #counters = new CounterSet();
  readonly #hosts: readonly Host[];
  readonly #ledger: Ledger;
  readonly #clients: Clients;
  readonly #trouble: Troublemaker;
  /** By node: what was seen of it last. */
  readonly #seen = new Map<Host, { process: Process; commitIndex: number; appliedIndex: number }>();
  #violation: string | undefined;

  constructor(options: SimulationOptions) {
    this.#options = options;
    const world = new World(options.seed);
    this.#world = world;
    this.#trace = new Trace(world, options.print);
    this.#network = new Network(world);
    const fail = (what: string): void => this.#fail(what);
    const note = this.#trace.note.bind(this.#trace);
    const counters = this.#counters;
    this.#ledger = new Ledger(() => this.#hosts, fail);
    this.#hosts = this.#makeHosts(world.chance(75) ? 3 : 5);
    const hosts = (): readonly Host[] => this.#hosts;
    this.#trouble = new Troublemaker({
      world,
      network: this.#network,
      counters,
      hosts,
      leader: () => this.#leader(),
      note,
    });
    const onDone = (host: Host): void => this.#trouble.answered(host);
    this.#clients = new Clients({ world, counters, hosts, fail, note, onDone });
    this.#ledger.quorum = () => ({
      members: this.#hosts.map((h) => h.nodeId),
      size: Math.floor(this.#hosts.length / 2) + 1,
    });
    this.#network.tellsAbsence = true;
    this.#network.isDatagram = (message) => message[0] === RAFT_KIND;
    this.#network.onMessage = (what, from, to, message) => this.#message(what, from, to, message);
  }

  #makeHosts(count: number): Host[] {
    const genesis = makeFirstState(count);
    const context = {
      world: this.#world,
      genesis,
      counters: this.#counters,
      attach: (process: Process) => this.#network.attach(process),
      detach: (process: Process) => this.#network.detach(process),
      logger: (nodeId: string) => this.#logger(nodeId),
      fail: (what: string) => this.#fail(what),
      note: this.#trace.note.bind(this.#trace),
      onDiskOperation: (host: Host, operation: string) => this.#trouble.disk(host, operation),
      recordWritten: (...seen: Parameters<Ledger['written']>) => this.#ledger.written(...seen),
    };
    return Object.values(genesis.nodes).map(({ nodeId, raftId }) => new Host(context, nodeId, raftId));
  }

  async run(): Promise<SimulationResult> {
    const world = this.#world;
    const troubleMs = this.#options.troubleMs ?? TROUBLE_MS;
    for (const host of this.#hosts) world.after(world.between(0, 100), () => host.start());
    const look = (): void => this.#look();
    await world.runUntil(SETTLING_MS, look);
    this.#clients.start(CLIENTS);
    this.#trouble.start();
    await world.runUntil(SETTLING_MS + troubleMs, look);
    this.#trouble.isOver = true;
    this.#heal();
    await this.#progress(look);
    this.#clients.check();
    const counts = { ...this.#counters.snapshot(), ...this.#faultCounts() };
    return {
      seed: this.#options.seed,
      violation: this.#violation,
      counts,
      simulatedMs: world.nowMs,
      operations: this.#clients.operations,
      events: world.events,
      traceHash: this.#trace.hash,
    };
  }

  #faultCounts(): Record<string, number> {
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
      'seen.leaders': this.#ledger.leadersSeen,
      'seen.committed': this.#ledger.committedIndex,
    };
  }

  #fail(what: string): void {
    const where = `at ${this.#world.nowMs.toFixed(1)} ms: ${what}`;
    this.#trace.note('', 'VIOLATION', 0, () => what);
    this.#violation ??= where;
  }

  /** What nobody caught: thrown by code of ours in a promise or a microtask. */
  uncaught(error: unknown): void {
    this.#fail(`an error nobody catches: ${error instanceof Error ? error.stack : describeError(error)}`);
  }

  #logger(nodeId: string): Logger {
    const note = (event: string, fields: Readonly<Record<string, unknown>> = {}): void =>
      this.#trace.note(nodeId, event, 0, () => JSON.stringify(fields, asText));
    const ignore = (): void => {};
    return { debug: this.#trace.isRead ? note : ignore, info: note, warn: note, error: note };
  }

  #message(what: 'sent' | 'arrived', from: Process, to: Process, bytes: Uint8Array): void {
    const host = this.#hosts.find((h) => h.process === from);
    this.#trace.note(from.nodeId, what, crc32c(bytes), () => `to ${to.nodeId} ${describe(bytes)}`);
    if (what !== 'sent' || host === undefined) return;
    const decoded = decodePeerMessage(bytes);
    if (decoded.kind === 'snapshotChunk') this.#counters.add('seen.snapshot-sent');
    if (decoded.kind !== 'raft') return;
    this.#ledger.sent(host, decoded.message);
    this.#trouble.promised(host, decoded.message);
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
      seen = { process: host.process, commitIndex: 0, appliedIndex: 0 };
      this.#seen.set(host, seen);
    }
    if (status.role === 'leader') {
      this.#ledger.leads(host, status.term);
      this.#ledger.isComplete(host, status.term, status.lastIndex);
    }
    if (status.commitIndex !== seen.commitIndex) {
      if (status.commitIndex < seen.commitIndex) this.#fail(`the commit index of ${host.nodeId} falls`);
      // A follower may be told so before its disk has what is committed, or still has something else there.
      if (status.role === 'leader') this.#ledger.committedOn(host, status.commitIndex);
      seen.commitIndex = status.commitIndex;
    }
    if (status.appliedIndex !== seen.appliedIndex) {
      if (status.appliedIndex < seen.appliedIndex) this.#fail(`the applied index of ${host.nodeId} falls`);
      this.#ledger.committedOn(host, status.appliedIndex);
      this.#ledger.agrees(host, seen.appliedIndex + 1, status.appliedIndex);
      seen.appliedIndex = status.appliedIndex;
      const digest = stateDigest((host.node as { state(): ClusterState }).state());
      this.#ledger.applied(host, status.appliedIndex, digest);
      this.#trace.note(host.nodeId, 'applied', digest, () => String(status.appliedIndex));
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

  /** Fresh changes must go through every node, and all nodes come to the same state. */
  async #progress(look: () => void): Promise<void> {
    const world = this.#world;
    const untilMs = world.nowMs + HEALING_MS;
    await world.runUntil(world.nowMs + 3_500, look);
    this.#clients.isOver = true;
    const running = this.#hosts.filter((h) => h.phase !== 'refused');
    const written = new Set<Host>();
    for (const host of running) this.#writeFresh(host, written);
    while (world.nowMs < untilMs && this.#violation === undefined) {
      await world.runUntil(world.nowMs + 100, look);
      if (written.size === running.length && this.#haveConverged(running)) return;
    }
    const status = running.map((h) => `${h.nodeId} ${h.phase} ${JSON.stringify(h.node?.status())}`);
    this.#fail(`no progress within ${HEALING_MS} ms after all was mended: ${status.join(', ')}`);
  }

  #writeFresh(host: Host, written: Set<Host>): void {
    const name = `fresh-${host.nodeId}`;
    const macs = [`06:00:00:00:00:${String(host.raftId).padStart(2, '0')}`];
    const again = (): void => {
      this.#world.after(100, () => this.#writeFresh(host, written));
    };
    const { node } = host;
    if (!host.isUp || node === undefined) {
      again();
      return;
    }
    host.process.enter(() => {
      node
        .propose({ type: 'addClient', name, macs, image: IMAGE, writeCache: 'keep' })
        .then((result) => {
          if (result.ok || result.error.code === 'client-exists') written.add(host);
          else this.#fail(`a fresh change is refused: ${result.error.message}`);
        })
        .catch(again);
    });
  }

  #haveConverged(hosts: readonly Host[]): boolean {
    const seen = hosts.map((host) => {
      if (!host.isUp || host.node === undefined) return undefined;
      const { leader, appliedIndex, lastIndex } = host.node.status();
      return `${leader} ${appliedIndex} ${lastIndex} ${stateDigest(host.node.state())}`;
    });
    const isSettled = hosts.every((h) => h.node?.status().leader !== undefined);
    return isSettled && seen.every((s) => s !== undefined && s === seen[0]);
  }
}

/** The state a cluster begins with: some nodes, two portal groups and an image that all nodes hold. */
function makeFirstState(nodes: number): ClusterState {
  const endpoint = (n: number, port: number): string => `198.51.100.${n}:${port}`;
  const ids = Array.from({ length: nodes }, (_, i) => i + 1);
  let state = makeGenesis({
    clusterId: 'c0ffee00c0ffee00c0ffee00c0ffee00',
    clusterName: 'simulated',
    settings: {
      dhcp: { mode: 'off', leaseSeconds: 3600 },
      iqnPrefix: 'iqn.2026-11.net.example:sim',
      fenceAfterMs: 900,
      leaseMs: 600,
    },
    nodes: ids.map((n) => ({
      nodeId: `n${n}`,
      raftId: n,
      endpoints: {
        peer: endpoint(n, 7400),
        replication: endpoint(n, 7401),
        api: endpoint(n, 7443),
        http: endpoint(n, 7480),
        tftp: endpoint(n, 69),
        iscsi: endpoint(n, 3260),
      },
    })),
    portalGroups: ['pg1', 'pg2'].map((id, i) => ({ id, address: `192.0.2.${10 + i}`, port: 3260 })),
    tokens: [],
  });
  const commands: Command[] = [
    {
      type: 'addImageVersion',
      image: IMAGE,
      sizeBytes: 1 << 20,
      chunkSizeBytes: 1 << 20,
      manifestSha256: 'a'.repeat(64),
      holder: 'n1',
      atMs: 0,
    },
    ...ids.slice(1).map((n): Command => ({ type: 'imageHeld', image: IMAGE, version: 1, holder: `n${n}` })),
  ];
  for (const command of commands) ({ state } = apply(state, command));
  return state;
}

function describe(bytes: Uint8Array): string {
  try {
    const decoded = decodePeerMessage(bytes);
    if (decoded.kind === 'raft') return describeRaft(decoded.message);
    return decoded.kind;
  } catch {
    return `${bytes.length} bytes`;
  }
}

function describeRaft(message: Message): string {
  const { type, term, logTerm, index, commit, reject, entries = [], snapshot } = message;
  const parts = [type, `term ${term}`, `at ${index}/${logTerm}`, `commit ${commit}`];
  if (entries.length > 0) parts.push(`entries ${entries.map((e) => `${e.index}/${e.term}`).join(' ')}`);
  if (snapshot !== undefined) parts.push(`snapshot ${snapshot.metadata.index}/${snapshot.metadata.term}`);
  if (reject === true) parts.push('rejected');
  return parts.join(', ');
}

function asText(_: string, value: unknown): unknown {
  if (typeof value === 'bigint') return String(value);
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  return value instanceof Map || value instanceof Set ? [...value] : value;
}
