import type { MessageHandler, PeerIdentity, PeerTransport } from '../../base/peer-transport.ts';
import type { Process, World } from './world.ts';

/** Of memory that was given back. */
const USED_AGAIN = 0xee;

/** Whoever is refused a link dials again after this long at most. */
const REDIAL_MS = 500;

interface Connection {
  readonly a: Process;
  readonly b: Process;
  isUp: boolean;
  /** By receiver: nothing arrives before these moments. */
  readonly heldUntilMs: Map<Process, number>;
  readonly lastArrivalMs: Map<Process, number>;
  /** Bytes on their way, by receiver. */
  readonly underWay: Map<Process, number>;
  /** By receiver: the last event in which something was sent. */
  readonly sentIn: Map<Process, number>;
}

/** What befalls single messages, of the kinds that need no link that is whole and in order. */
export interface Weather {
  lossPercent: number;
  doublingPercent: number;
  /** Messages that let others pass; for up to `strayMs`. */
  reorderingPercent: number;
  strayMs: number;
  /** The longest that anything takes. */
  delayMs: number;
}

export const FAIR_WEATHER: Weather = {
  lossPercent: 0,
  doublingPercent: 0,
  reorderingPercent: 0,
  strayMs: 0,
  delayMs: 2,
};

/** Whom a process has links with; anybody else it refuses. */
interface Admission {
  readonly peerIds: ReadonlySet<string>;
  /** Those that are told that they are members of nothing any more. */
  readonly leftIds: ReadonlySet<string>;
}

export interface NetworkCounts {
  refused: number;
  lost: number;
  doubled: number;
  reordered: number;
  muted: number;
}

/**
 * Links between running processes: in order and whole while up; cut, or held up in one direction. Messages for
 * which `isDatagram` holds may be lost, doubled and reordered besides.
 */
export class Network {
  readonly #world: World;
  weather: Weather = { ...FAIR_WEATHER };
  readonly counts: NetworkCounts = { refused: 0, lost: 0, doubled: 0, reordered: 0, muted: 0 };
  /** Whether a message may be lost, doubled or reordered while its link is up. */
  isDatagram: (message: Uint8Array) => boolean = () => false;
  /** A datagram that is lost, besides those that the weather takes. */
  swallows: (from: Process, to: Process, message: Uint8Array) => boolean = () => false;
  /** Sees each message as it is sent and as it arrives. */
  onMessage: (what: 'sent' | 'arrived', from: Process, to: Process, message: Uint8Array) => void = () => {};
  /** Called each time that a process is refused a link by another. */
  onRefused: (by: Process, refused: Process, hasLeft: boolean) => void = () => {};
  /** Of processes that have said whom they let in; the others let everybody in. */
  readonly #admissions = new Map<Process, Admission>();
  /** Whether a node's host tells that no process is there. */
  tellsAbsence = false;
  /** Directed pairs that hear nothing, with the end of it. */
  readonly #mutes = new Map<string, number>();
  readonly #transports = new Map<Process, SimTransport>();
  readonly #connections = new Set<Connection>();
  /** By directed pair: what the link carries, where that is bounded. */
  readonly #bytesPerMs = new Map<string, number>();
  /** Pairs of nodes that cannot reach each other, with the end of it. */
  readonly #cuts = new Map<string, number>();
  /** Percent of messages for which a sender finds the queue full. */
  refusalPercent = 0;

  constructor(world: World) {
    this.#world = world;
  }

  attach(process: Process): PeerTransport {
    const transport = new SimTransport(this, process);
    this.#transports.set(process, transport);
    for (const other of this.#transports.keys()) {
      if (other !== process && other.isAlive) this.#connectSoon(process, other);
    }
    return transport;
  }

  /** From now on this process has links with these nodes only. */
  admit(process: Process, peerIds: ReadonlySet<string>, leftIds: ReadonlySet<string>): void {
    this.#admissions.set(process, { peerIds, leftIds });
    for (const connection of this.#connections) {
      const { a, b } = connection;
      if ((a === process || b === process) && !this.#letsIn(a, b)) this.#breakUp(connection, true);
    }
  }

  /** Either dials the other only if it takes it for a member, and is let in by one that takes it for one. */
  #letsIn(a: Process, b: Process): boolean {
    return this.#knows(a, b) && this.#knows(b, a);
  }

  #knows(self: Process, other: Process): boolean {
    return this.#admissions.get(self)?.peerIds.has(other.nodeId) ?? true;
  }

  #refuse(a: Process, b: Process): void {
    for (const [by, refused] of [
      [a, b],
      [b, a],
    ] as const) {
      if (this.#knows(by, refused) || !this.#knows(refused, by)) continue;
      this.onRefused(by, refused, this.#admissions.get(by)?.leftIds.has(refused.nodeId) ?? false);
    }
  }

  detach(process: Process): void {
    this.#transports.delete(process);
    this.#admissions.delete(process);
    for (const connection of this.#connections) {
      if (connection.a === process || connection.b === process) this.#breakUp(connection, false);
    }
  }

  #connectSoon(a: Process, b: Process): void {
    this.#world.after(this.#world.between(5, 40), () => {
      if (!this.#isAttached(a) || !this.#isAttached(b) || this.connectionOf(a, b.nodeId) !== undefined)
        return;
      const cutUntilMs = this.#cuts.get(pairOf(a.nodeId, b.nodeId)) ?? 0;
      if (cutUntilMs > this.#world.nowMs) {
        this.#world.at(cutUntilMs, () => this.#connectSoon(a, b));
        return;
      }
      if (!this.#letsIn(a, b)) {
        this.#refuse(a, b);
        this.#world.after(this.#world.between(50, REDIAL_MS), () => this.#connectSoon(a, b));
        return;
      }
      const connection: Connection = {
        ...{ a, b, isUp: true, heldUntilMs: new Map(), lastArrivalMs: new Map() },
        ...{ underWay: new Map(), sentIn: new Map() },
      };
      this.#connections.add(connection);
      for (const [self, peer] of [
        [a, b],
        [b, a],
      ] as const) {
        self.enterAfter(this.#world.between(0, 2), () => {
          if (connection.isUp) this.#transports.get(self)?.linkChanged(peer, true);
        });
      }
    });
  }

  #isAttached(process: Process): boolean {
    return process.isAlive && this.#transports.has(process);
  }

  #breakUp(connection: Connection, reconnect: boolean): void {
    if (!connection.isUp) return;
    connection.isUp = false;
    this.#connections.delete(connection);
    const { a, b } = connection;
    for (const [self, peer] of [
      [a, b],
      [b, a],
    ] as const) {
      self.enterAfter(this.#world.between(0, 10), () => {
        this.#transports.get(self)?.linkChanged(peer, false);
        if (reconnect && self === a) this.#connectSoon(a, b);
      });
    }
  }

  connectionOf(process: Process, toNodeId: string): Connection | undefined {
    for (const connection of this.#connections) {
      if (connection.a === process && connection.b.nodeId === toNodeId) return connection;
      if (connection.b === process && connection.a.nodeId === toNodeId) return connection;
    }
    return undefined;
  }

  /** What nothing has come in the way of since then, while it is the same; undefined: they do not reach each other. */
  wholeLink(process: Process, toNodeId: string, sinceMs: number): object | undefined {
    const connection = this.connectionOf(process, toNodeId);
    if (connection === undefined) return undefined;
    const isHeldUp = [...connection.heldUntilMs.values()].some((untilMs) => untilMs > sinceMs);
    const isToBeUp = [connection.a, connection.b].every((end) => this.#hears(end, connection));
    return isHeldUp || !isToBeUp ? undefined : connection;
  }

  /** Whether that end has been told of the link. */
  #hears(end: Process, { a, b }: Connection): boolean {
    return this.#transports.get(end)?.isUp((end === a ? b : a).nodeId) === true;
  }

  /** The two nodes cannot reach each other for so long; each hears of it soon. */
  cut(a: string, b: string, forMs: number): void {
    this.#cuts.set(pairOf(a, b), this.#world.nowMs + forMs);
    for (const connection of this.#connections) {
      if (pairOf(connection.a.nodeId, connection.b.nodeId) === pairOf(a, b)) this.#breakUp(connection, true);
    }
  }

  /** What `from` sends to `to` arrives only after so long; nobody is told. */
  hold(from: string, to: string, forMs: number): void {
    for (const { a, b, heldUntilMs } of this.#connections) {
      const receiver =
        a.nodeId === from && b.nodeId === to ? b : b.nodeId === from && a.nodeId === to ? a : null;
      if (receiver !== null) heldUntilMs.set(receiver, this.#world.nowMs + forMs);
    }
  }

  /** What `from` sends to `to` in order takes its time from now on; undefined: none to speak of. */
  throttle(from: string, to: string, bytesPerMs: number | undefined): void {
    if (bytesPerMs === undefined) this.#bytesPerMs.delete(`${from} ${to}`);
    else this.#bytesPerMs.set(`${from} ${to}`, bytesPerMs);
  }

  send(process: Process, toNodeId: string, parts: readonly Uint8Array[]): boolean {
    if (!process.isAlive) return false;
    const connection = this.connectionOf(process, toNodeId);
    if (connection === undefined) return false;
    if (this.#world.chance(this.refusalPercent)) {
      this.counts.refused++;
      return false;
    }
    const message = Buffer.concat(parts);
    const receiver = connection.a === process ? connection.b : connection.a;
    connection.sentIn.set(receiver, this.#world.events);
    this.onMessage('sent', process, receiver, message);
    if (this.isDatagram(message)) this.#cast(connection, process, receiver, message);
    else this.#arriveInOrder(connection, process, receiver, message);
    return true;
  }

  /**
   * What waits for the link to take it. One that is held up or slow takes little; any other has taken everything by the next
   * event, and what was sent in the present one as likely as not.
   */
  queuedBytes(process: Process, toNodeId: string): number {
    const connection = this.connectionOf(process, toNodeId);
    if (connection === undefined) return 0;
    const receiver = connection.a === process ? connection.b : connection.a;
    const isSlow =
      (connection.heldUntilMs.get(receiver) ?? 0) > this.#world.nowMs ||
      this.#bytesPerMs.has(`${process.nodeId} ${toNodeId}`);
    const isTaken = connection.sentIn.get(receiver) !== this.#world.events || this.#world.chance(50);
    return isSlow || !isTaken ? (connection.underWay.get(receiver) ?? 0) : 0;
  }

  /** What the weather makes of a message. */
  #cast(connection: Connection, process: Process, receiver: Process, message: Uint8Array): void {
    const { weather, counts } = this;
    if (this.#isMuted(process.nodeId, receiver.nodeId)) {
      counts.muted++;
    } else if (this.swallows(process, receiver, message) || this.#happens(weather.lossPercent)) {
      counts.lost++;
    } else {
      if (this.#happens(weather.doublingPercent)) {
        counts.doubled++;
        this.#stray(connection, process, receiver, message);
      }
      if (this.#happens(weather.reorderingPercent)) {
        counts.reordered++;
        this.#stray(connection, process, receiver, message);
      } else {
        this.#arriveInOrder(connection, process, receiver, message);
      }
    }
  }

  #happens(percent: number): boolean {
    return percent > 0 && this.#world.chance(percent);
  }

  #arriveInOrder(connection: Connection, process: Process, receiver: Process, message: Uint8Array): void {
    let arrivalMs = Math.max(
      this.#world.nowMs + this.#world.between(0, this.weather.delayMs),
      connection.lastArrivalMs.get(receiver) ?? 0,
      connection.heldUntilMs.get(receiver) ?? 0,
    );
    const paceBytesPerMs = this.#bytesPerMs.get(`${process.nodeId} ${receiver.nodeId}`);
    if (paceBytesPerMs !== undefined) arrivalMs += message.length / paceBytesPerMs;
    connection.lastArrivalMs.set(receiver, arrivalMs);
    this.#arriveAt(arrivalMs, connection, process, receiver, message);
  }

  #stray(connection: Connection, process: Process, receiver: Process, message: Uint8Array): void {
    const arrivalMs = this.#world.nowMs + this.#world.between(0, Math.max(1, this.weather.strayMs));
    this.#arriveAt(arrivalMs, connection, process, receiver, message);
  }

  #arriveAt(
    arrivalMs: number,
    connection: Connection,
    process: Process,
    receiver: Process,
    message: Uint8Array,
  ): void {
    const { underWay } = connection;
    underWay.set(receiver, (underWay.get(receiver) ?? 0) + message.length);
    this.#world.at(arrivalMs, () => {
      underWay.set(receiver, (underWay.get(receiver) as number) - message.length);
      receiver.enter(() => {
        if (!connection.isUp) return;
        this.onMessage('arrived', process, receiver, message);
        this.#transports.get(receiver)?.receive(process, message);
      });
    });
  }

  /** Datagrams from one node to another vanish for so long; nobody is told. */
  mute(from: string, to: string, forMs: number): void {
    this.#mutes.set(`${from} ${to}`, this.#world.nowMs + forMs);
  }

  #isMuted(from: string, to: string): boolean {
    return (this.#mutes.get(`${from} ${to}`) ?? 0) > this.#world.nowMs;
  }

  isCut(a: string, b: string): boolean {
    return (this.#cuts.get(pairOf(a, b)) ?? 0) > this.#world.nowMs;
  }

  /** Ends all cuts and mutes, and bad weather; links come up again in their own time. */
  heal(): void {
    this.#mutes.clear();
    this.weather = { ...FAIR_WEATHER };
    this.refusalPercent = 0;
    for (const pair of this.#cuts.keys()) this.#cuts.set(pair, this.#world.nowMs);
    for (const { heldUntilMs } of this.#connections) heldUntilMs.clear();
  }

  hasLiveProcess(nodeId: string): boolean {
    for (const process of this.#transports.keys()) if (process.nodeId === nodeId) return true;
    return false;
  }
}

class SimTransport implements PeerTransport {
  readonly #network: Network;
  readonly #process: Process;
  readonly #up = new Map<string, string>();
  #onMessage: MessageHandler = () => {};
  #onLinkChange: (peer: PeerIdentity, up: boolean) => void = () => {};

  constructor(network: Network, process: Process) {
    this.#network = network;
    this.#process = process;
  }

  send(toNodeId: string, parts: readonly Uint8Array[]): boolean {
    return this.#up.has(toNodeId) && this.#network.send(this.#process, toNodeId, parts);
  }

  queuedBytes(toNodeId: string): number {
    return this.#network.queuedBytes(this.#process, toNodeId);
  }

  isUp(nodeId: string): boolean {
    return this.#up.has(nodeId);
  }

  isAbsent(nodeId: string): boolean {
    const network = this.#network;
    if (!network.tellsAbsence || this.#up.has(nodeId)) return false;
    return !network.isCut(this.#process.nodeId, nodeId) && !network.hasLiveProcess(nodeId);
  }

  onMessage(handler: MessageHandler): void {
    this.#onMessage = handler;
  }

  onLinkChange(handler: (peer: PeerIdentity, up: boolean) => void): void {
    this.#onLinkChange = handler;
  }

  receive(from: Process, message: Uint8Array): void {
    if (this.#up.get(from.nodeId) !== from.incarnation) return;
    // Whoever looks at it after giving it back finds something else there.
    this.#onMessage(identityOf(from), message, { giveBack: () => void message.fill(USED_AGAIN) });
  }

  linkChanged(peer: Process, up: boolean): void {
    const isKnown = this.#up.get(peer.nodeId) === peer.incarnation;
    if (up === isKnown) return;
    if (up) {
      // Another incarnation takes the place of the one before.
      this.#up.set(peer.nodeId, peer.incarnation);
    } else {
      this.#up.delete(peer.nodeId);
    }
    this.#onLinkChange(identityOf(peer), up);
  }
}

function identityOf(process: Process): PeerIdentity {
  return { nodeId: process.nodeId, incarnation: process.incarnation };
}

function pairOf(a: string, b: string): string {
  return a < b ? `${a} ${b}` : `${b} ${a}`;
}
