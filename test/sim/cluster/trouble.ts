import { decodePeerMessage } from '../../../cluster/peer-message.ts';
import type { ConfState, Message } from '../../../cluster/raft/index.ts';
import type { Network } from '../network.ts';
import type { Process, World } from '../world.ts';
import type { Host } from './host.ts';

export interface TroubleContext {
  readonly world: World;
  /** Members change all the time, which takes a cluster that works now and then. */
  readonly isRestless: boolean;
  readonly network: Network;
  readonly counters: { add(name: string, by?: number): void };
  readonly hosts: () => readonly Host[];
  /** The node that leads as far as it knows itself, in the highest term. */
  readonly leader: () => Host | undefined;
  readonly note: (where: string, what: string, fact: number, text?: () => string) => void;
}

/** What can go wrong, chosen by the seed: how often each kind comes is in the table at the end. */
export class Troublemaker {
  readonly #context: TroubleContext;
  isOver = false;
  #hasDamaged = false;
  /** The last change of members that trouble has been made of, or has not. */
  #lastChange = 0;
  /** Nodes whose heartbeats are lost, with the end of it. */
  readonly #deaf = new Map<string, number>();

  constructor(context: TroubleContext) {
    this.#context = context;
  }

  get #world(): World {
    return this.#context.world;
  }

  get #others(): readonly Host[] {
    return this.#context.hosts();
  }

  /** There is one copy of everything, which is to stay a good one. */
  spareLogs(): void {
    this.#hasDamaged = true;
  }

  start(): void {
    this.#world.after(this.#world.between(20, this.#context.isRestless ? 2_500 : 500), () => this.#make());
  }

  #make(): void {
    if (this.isOver) return;
    const total = TROUBLES.reduce((sum, [, weight]) => sum + weight, 0);
    let dice = this.#world.random.below(total);
    for (const [name, weight, trouble] of TROUBLES) {
      dice -= weight;
      if (dice >= 0) continue;
      const host = this.#someHost();
      this.#context.note(host.nodeId, name, 0);
      this[trouble](host);
      break;
    }
    this.start();
  }

  /** Leaders are worth more trouble than others. */
  #someHost(): Host {
    const leader = this.#context.leader();
    if (leader !== undefined && this.#world.chance(45)) return leader;
    const hosts = this.#others;
    return hosts[this.#world.random.below(hosts.length)] as Host;
  }

  #count(name: string): void {
    this.#context.counters.add(`fault.${name}`);
  }

  kill(host: Host): void {
    host.end('kill');
  }

  power(host: Host): void {
    host.end('power');
  }

  powerAll(): void {
    this.#count('power-all');
    for (const host of this.#others) host.end('power');
  }

  pause(host: Host): void {
    this.#count('pause');
    host.process.pause(this.#world.between(30, this.#world.chance(25) ? 3_000 : 900));
  }

  leap(host: Host): void {
    this.#count('clock-leap');
    host.process.leap(this.#world.between(10, 60_000));
  }

  /** From everybody else, or into two random parts. */
  partition(host: Host): void {
    this.#count('partition');
    const forMs = this.#world.between(100, 2_500);
    const isolated = this.#world.chance(60);
    const side = new Map(this.#others.map((h) => [h, isolated ? h === host : this.#world.chance(50)]));
    for (const a of this.#others) {
      for (const b of this.#others) {
        if (side.get(a) === true && side.get(b) === false) this.#separate(a, b, forMs);
      }
    }
  }

  /** Links break, or everything simply falls silent. */
  #separate(a: Host, b: Host, forMs: number): void {
    const { network } = this.#context;
    if (this.#world.chance(50)) {
      network.cut(a.nodeId, b.nodeId, forMs);
    } else {
      network.mute(a.nodeId, b.nodeId, forMs);
      network.mute(b.nodeId, a.nodeId, forMs);
    }
  }

  /** It hears the others and they do not hear it, or the other way round. */
  oneWay(host: Host): void {
    this.#count('one-way');
    const forMs = this.#world.between(100, 2_500);
    const outwards = this.#world.chance(50);
    for (const other of this.#others) {
      if (other === host || this.#world.chance(20)) continue;
      const [from, to] = outwards ? [host, other] : [other, host];
      this.#context.network.mute(from.nodeId, to.nodeId, forMs);
    }
  }

  hold(host: Host): void {
    this.#count('held-up');
    for (const other of this.#others) {
      if (other === host || this.#world.chance(40)) continue;
      const [from, to] = this.#world.chance(50) ? [host, other] : [other, host];
      this.#context.network.hold(from.nodeId, to.nodeId, this.#world.between(50, 1_200));
    }
  }

  badWeather(): void {
    this.#count('bad-weather');
    const { network } = this.#context;
    network.weather = {
      lossPercent: this.#world.between(0, 25),
      doublingPercent: this.#world.between(0, 15),
      reorderingPercent: this.#world.between(0, 20),
      strayMs: this.#world.between(5, 400),
      delayMs: this.#world.between(1, 40),
    };
    network.refusalPercent = this.#world.chance(30) ? 3 : 0;
    this.#world.after(this.#world.between(300, 2_500), () => {
      network.weather = { lossPercent: 1, doublingPercent: 1, reorderingPercent: 1, strayMs: 50, delayMs: 3 };
      network.refusalPercent = 0;
    });
  }

  stall(host: Host): void {
    this.#count('disk-stall');
    host.stall(this.#world.between(50, this.#world.chance(30) ? 3_000 : 600));
  }

  slow(host: Host): void {
    this.#count('disk-slow');
    host.diskMs = [1, this.#world.between(5, 60)];
    this.#world.after(this.#world.between(200, 2_000), () => {
      host.diskMs = [0, 1];
    });
  }

  full(host: Host): void {
    this.#count('disk-full');
    host.disk.capacityBytes = host.disk.usedBytes + this.#world.random.below(200);
    this.#world.after(this.#world.between(100, 2_000), () => {
      host.disk.capacityBytes = Number.MAX_SAFE_INTEGER;
    });
  }

  device(host: Host): void {
    const operations = [
      'write',
      'syncData',
      'syncData',
      'create',
      'rename',
      'syncDirectory',
      'read',
    ] as const;
    const operation = operations[this.#world.random.below(operations.length)] as string;
    const code = operation === 'create' && this.#world.chance(50) ? 'ENOSPC' : 'EIO';
    host.armed = { operation, code };
  }

  /**
   * A bit of the log turns over on one node's disk, where it has long been durable; the process is then made to
   * read it. The applied state may be gone as well. At most one node in a run, so that there is a good copy of
   * everything.
   */
  bitFlip(host: Host): void {
    if (this.#hasDamaged || !host.isUp) return;
    const segments = host.disk
      .list(host.logDirectory)
      .filter((name) => name.endsWith('.segment'))
      .sort();
    const name = segments[this.#world.random.below(segments.length)];
    if (name === undefined) return;
    const path = `${host.logDirectory}/${name}`;
    const sizeBytes = host.disk.contents(path).length;
    // The very end may not have got into the marker yet, and is then no different from a torn tail.
    const reachBytes = name === segments.at(-1) ? Math.floor(sizeBytes / 2) : sizeBytes;
    if (reachBytes === 0) return;
    this.#hasDamaged = true;
    host.isDamaged = true;
    this.#count('bit-flip');
    host.disk.corrupt(path, this.#world.random.below(reachBytes));
    this.#world.after(this.#world.between(300, 1_000), () => {
      host.end('kill');
      if (!this.#world.chance(50) || host.phase !== 'down') return;
      this.#count('applied-state-lost');
      host.database.lose();
    });
  }

  /** A node has taken over a change of members: others have not, and may not hear of it soon. */
  membersChanged(host: Host, change: ConfState & { readonly index: number }): void {
    const isJoint = change.votersOutgoing.length > 0;
    if (this.isOver || change.index <= this.#lastChange) return;
    // Once for each change, when the first node has it.
    this.#lastChange = change.index;
    if (!this.#world.chance(isJoint ? 60 : 8)) return;
    this.#count(isJoint ? 'trouble-while-joint' : 'trouble-after-change-of-members');
    const way = this.#world.random.below(4);
    this.#world.after(this.#world.between(0, 6), () => {
      if (way === 0) this.#split(change);
      else if (way < 3) this.partition(way === 1 ? host : this.#someHost());
      if (way >= 2) host.end('power');
    });
  }

  /** The voters of before hear nothing of the new ones, which may have some of them on their side. */
  #split({ voters, votersOutgoing }: ConfState): void {
    const forMs = this.#world.between(200, 2_000);
    const isNew = ({ raftId }: Host): boolean => voters.includes(raftId) && !votersOutgoing.includes(raftId);
    const side = new Map(this.#others.map((h) => [h, isNew(h) || this.#world.chance(30)]));
    for (const a of this.#others) {
      for (const b of this.#others) {
        if (side.get(a) === true && side.get(b) === false) this.#separate(a, b, forMs);
      }
    }
  }

  /** Everybody's disk but the leader's: it goes on leading, and nothing becomes committed. */
  stallOthers(): void {
    this.#count('disk-stall-of-followers');
    const leader = this.#context.leader();
    const forMs = this.#world.between(300, 1_500);
    for (const host of this.#others) if (host !== leader) host.stall(forMs);
  }

  /** Heartbeats get lost, and what confirms a read with them, while entries pass. */
  loseHeartbeats(host: Host): void {
    this.#count('heartbeats-lost');
    this.#deaf.set(host.nodeId, this.#world.nowMs + this.#world.between(60, 600));
  }

  swallows(from: Process, message: Uint8Array): boolean {
    if ((this.#deaf.get(from.nodeId) ?? 0) <= this.#world.nowMs) return false;
    const decoded = decodePeerMessage(message);
    return decoded.kind === 'raft' && decoded.message.type === 'MsgHeartbeat';
  }

  /** A node has asked the leader for the end of the log; the answer may come to the process after it. */
  asked(host: Host): void {
    const leader = this.#context.leader();
    if (this.isOver || leader === undefined || !this.#world.chance(3)) return;
    this.#count('kill-after-question');
    this.loseHeartbeats(leader);
    const { process } = host;
    this.#world.after(this.#world.between(1, 8), () => {
      if (host.process !== process || !host.isUp) return;
      host.isRushed = true;
      host.end('kill');
    });
  }

  /**
   * What was proposed is under way for long, and meanwhile its receiver ceases to lead, as nobody answers it; it may
   * well lead again when the proposal arrives.
   */
  handedOn(host: Host, leader: string): void {
    if (this.isOver || !this.#world.chance(1.5)) return;
    this.#count('proposal-held-up');
    const { network } = this.#context;
    network.hold(host.nodeId, leader, this.#world.between(900, 1_800));
    const silentMs = this.#world.between(380, 650);
    for (const { nodeId } of this.#others) {
      if (nodeId !== host.nodeId && nodeId !== leader) network.mute(nodeId, leader, silentMs);
    }
  }

  /** The worst moment to lose power is right after a promise has gone out. */
  promised(host: Host, message: Message): void {
    if (this.isOver) return;
    const isVote = message.type === 'MsgVoteResp' && message.reject !== true;
    const isAck = message.type === 'MsgAppResp' && message.reject !== true && message.index !== 0;
    if (!isVote && !isAck) return;
    if (!this.#world.chance(isVote ? 6 : 0.2)) return;
    this.#count(isVote ? 'power-after-vote' : 'power-after-acknowledgement');
    const { process } = host;
    this.#world.after(this.#world.between(0, 4), () => {
      if (host.process === process) host.end('power');
    });
  }

  /** Or while a name is being given to a file, or the applied state is on its way to the database. */
  disk(host: Host, operation: string): void {
    const isName = operation === 'rename' || operation === 'syncDirectory';
    const isState = operation === 'batch' || operation === 'batch-done';
    if (this.isOver || (!isName && !isState) || !this.#world.chance(isName ? 4 : 0.6)) return;
    this.#count(isName ? 'power-in-directory' : 'power-in-applied-state');
    const { process } = host;
    this.#world.after(this.#world.random.below(200) / 100, () => {
      if (host.process === process) host.end('power');
    });
  }

  /** Or right after a client has been told that something is done. */
  answered(host: Host): void {
    if (this.isOver || !this.#world.chance(0.8)) return;
    const leader = this.#context.leader();
    const victim = leader !== undefined && this.#world.chance(70) ? leader : host;
    this.#count('power-after-answer');
    this.#world.after(0, () => victim.end('power'));
  }
}

type Trouble =
  | 'kill'
  | 'power'
  | 'powerAll'
  | 'pause'
  | 'leap'
  | 'partition'
  | 'oneWay'
  | 'hold'
  | 'badWeather'
  | 'stall'
  | 'stallOthers'
  | 'loseHeartbeats'
  | 'slow'
  | 'full'
  | 'device'
  | 'bitFlip';

const TROUBLES: readonly (readonly [name: string, weight: number, trouble: Trouble])[] = [
  ['kill', 10, 'kill'],
  ['power', 12, 'power'],
  ['power-all', 2, 'powerAll'],
  ['pause', 14, 'pause'],
  ['clock-leap', 4, 'leap'],
  ['partition', 16, 'partition'],
  ['one-way', 10, 'oneWay'],
  ['held-up', 6, 'hold'],
  ['bad-weather', 10, 'badWeather'],
  ['disk-stall', 5, 'stall'],
  ['disk-stall-of-followers', 4, 'stallOthers'],
  ['heartbeats-lost', 3, 'loseHeartbeats'],
  ['disk-slow', 5, 'slow'],
  ['disk-full', 4, 'full'],
  ['device-error', 5, 'device'],
  ['bit-flip', 3, 'bitFlip'],
];
