import type { CounterSet } from '../../../base/counters.ts';
import { type BlockDevice, DeviceError } from '../../../storage/block-device.ts';
import type { ReplicationHost } from '../../../storage/replication/index.ts';
import type { Process, World } from '../world.ts';
import { readAsConnectionsDo, type Watch, writeAsConnectionsDo } from './connection.ts';
import { findViolation, type Operation } from './history.ts';
import { findViolationAfterPowerLoss, mayHaveSurvived } from './power-loss.ts';
import { IMAGE_VALUES, SECTOR_BYTES, SECTORS, sectorOf, ZEROS } from './sectors.ts';
import { type Command, type Range, someBlocks, someSectors, volleyOf } from './volley.ts';

export const GROUP = 'g';
export const LUNS = [1, 2];
const PATIENCE_MS = 600;

/** A node as clients see it: they talk to whichever process runs there now. */
export interface Server {
  readonly process: Process;
  readonly host: ReplicationHost;
}

export interface ClientsOptions {
  /** Default: GROUP. */
  readonly group?: string;
  readonly world: World;
  readonly counters: CounterSet;
  readonly servers: () => readonly Server[];
  /** A read begins: says, once it is over, whether the server may say that something cannot be read. Default: never. */
  readonly readBegins?: (server: Server) => () => boolean;
  readonly fail: (what: string) => void;
}

/** Clients that read and write a few sectors of the group's LUNs, and remember what they were told. */
export class Clients {
  readonly #group: string;
  readonly #world: World;
  readonly #counters: CounterSet;
  readonly #servers: () => readonly Server[];
  readonly #readBegins: (server: Server) => () => boolean;
  readonly #fail: (what: string) => void;
  /** By LUN and sector. */
  readonly #histories = new Map<string, Operation[]>();
  /** Values that each sector may have had when power was lost last; absent: it never was. */
  readonly #survivors = new Map<string, ReadonlySet<number>>();
  /** LUNs that were made, and answered for, since power was lost last. */
  readonly #made = new Set<number>();
  #powerLostAt = 0;
  #stamp = 0;
  #nextValue = 1;
  #nextImageVersion = 1;
  /** LUNs and sectors that were given up: zeros tell one discard from another only once for each. */
  readonly #discarded = new Set<string>();
  /** Between two operations of one client. */
  pauseMs: readonly [number, number] = [2, 16];
  isOver = false;

  constructor({ group = GROUP, world, counters, servers, readBegins, fail }: ClientsOptions) {
    this.#group = group;
    this.#world = world;
    this.#counters = counters;
    this.#servers = servers;
    this.#readBegins = readBegins ?? (() => () => false);
    this.#fail = fail;
  }

  get stamp(): number {
    return this.#stamp;
  }

  start(count: number): void {
    for (let client = 0; client < count; client++) this.#world.after(100 + client, () => this.#turn());
  }

  #turn(): void {
    if (this.isOver) return;
    const world = this.#world;
    const server = this.#serverToAsk();
    if (server === undefined) {
      world.after(world.between(...this.pauseMs), () => this.#turn());
      return;
    }
    let isDone = false;
    const next = (): void => {
      if (isDone) return;
      isDone = true;
      world.after(world.between(...this.pauseMs), () => this.#turn());
    };
    world.after(PATIENCE_MS, next);
    const lunId = LUNS[world.random.below(LUNS.length)] as number;
    const kind = world.random.below(100);
    const hasLun =
      server.host
        .group(this.#group)
        ?.luns()
        .some((lun) => lun.lunId === lunId) === true;
    if (!hasLun && this.#made.has(lunId) && isServing(server, this.#group)) {
      this.#fail(`LUN ${lunId} is gone from the node that serves it`);
    }
    if (kind < 2 || (!hasLun && kind < 20)) this.#resetLun(server, lunId, next);
    else if (kind < 4) this.#discard(server, lunId, next);
    else if (kind < 8) this.#volley(server, next);
    else if (kind < 55) this.#volley(server, next, [{ kind: 'write', lunId, ...this.#rangeToWrite() }]);
    else this.#volley(server, next, [{ kind: 'read', lunId, ...someSectors(world, 20) }]);
  }

  #rangeToWrite(): Range {
    return this.#world.chance(40) ? someBlocks(this.#world) : someSectors(this.#world, 12);
  }

  /** Commands that are begun in one turn of the node's loop. */
  #volley(server: Server, next: () => void, commands = volleyOf(this.#world, LUNS)): void {
    if (commands.length > 1) this.#counters.add('sim.volleys');
    let unanswered = commands.length;
    const answered = (): void => {
      if (--unanswered === 0) next();
    };
    const begins = commands.map((command) =>
      command.kind === 'write'
        ? this.#writing(server, command, answered)
        : this.#reading(server, command, answered),
    );
    this.#enter(server, ...begins);
  }

  /** Undefined while no process runs anywhere. */
  #serverToAsk(): Server | undefined {
    const servers = this.#servers();
    const serving = servers.find((s) => isServing(s, this.#group));
    // Some ask a node that has ceased to serve, or never did.
    if (serving !== undefined && this.#world.chance(70)) return serving;
    return servers[this.#world.random.below(Math.max(1, servers.length))];
  }

  #record(lunId: number, firstSector: number, operations: readonly Operation[]): void {
    for (const [i, operation] of operations.entries()) {
      const key = `${lunId}/${firstSector + i}`;
      const history = this.#histories.get(key);
      if (history === undefined) this.#histories.set(key, [operation]);
      else history.push(operation);
    }
  }

  /** What is begun in the node's process, after the way there. */
  #enter(server: Server, ...begins: readonly (() => void)[]): void {
    server.process.enterAfter(this.#world.between(0, 2), () => {
      for (const begin of begins) begin();
    });
  }

  /** Begins it; the answer takes its time. */
  #ask<T>(work: () => Promise<T>, answered: (result: T | DeviceError) => void): void {
    const world = this.#world;
    work().then(
      (result) => world.after(world.between(0, 2), () => answered(result)),
      (error: unknown) => {
        if (!(error instanceof DeviceError)) this.#fail(`an operation fails: ${(error as Error).stack}`);
        else world.after(world.between(0, 2), () => answered(error));
      },
    );
  }

  #watch({ host }: Server): Watch {
    return {
      counters: this.#counters,
      fail: this.#fail,
      nextIndex: () => host.group(this.#group)?.status().nextIndex ?? 0,
    };
  }

  #device(server: Server, lunId: number): BlockDevice {
    const device = server.host.group(this.#group)?.openDevice(lunId);
    if (device === undefined) throw new DeviceError('not-serving', 'no device');
    return device;
  }

  /** @returns what begins it */
  #writing(server: Server, { lunId, first, length }: Command, next: () => void): () => void {
    const world = this.#world;
    const value = this.#nextValue++;
    const forceUnitAccess = world.chance(10);
    const isPromised = world.chance(10);
    const invokedMs = ++this.#stamp;
    let respondedMs = Number.POSITIVE_INFINITY;
    const operation: Operation = {
      kind: 'write',
      value,
      invokedMs,
      get respondedMs() {
        return respondedMs;
      },
    };
    this.#record(
      lunId,
      first,
      Array.from({ length }, () => operation),
    );
    const parts = Array.from({ length }, () => sectorOf(value));
    const mayLackData = this.#readBegins(server);
    const work = async (): Promise<number | undefined> => {
      const device = this.#device(server, lunId);
      if (isPromised) await device.write(first, parts, { forceUnitAccess });
      else await writeAsConnectionsDo(device, { lba: first, parts, forceUnitAccess }, this.#watch(server));
      if (!world.chance(5)) return undefined;
      const flushedAt = ++this.#stamp;
      await device.flush();
      return flushedAt;
    };
    const answered = (result: number | DeviceError | undefined): void => {
      if (!(result instanceof DeviceError)) {
        if (result !== undefined) this.#flushed(lunId, result);
        respondedMs = ++this.#stamp;
        operation.isDurable = forceUnitAccess || result !== undefined;
        this.#counters.add('sim.acknowledged-writes');
      } else {
        this.#counters.add(`sim.write-${result.kind}`);
        this.#checkDamage(result, mayLackData);
      }
      next();
    };
    return () => this.#ask(work, answered);
  }

  /** All that had been answered when a flush began, and was answered, is on stable storage. */
  #flushed(lunId: number, flushedAt: number): void {
    for (const [key, history] of this.#histories) {
      if (!key.startsWith(`${lunId}/`)) continue;
      for (const operation of history) if (operation.respondedMs < flushedAt) operation.isDurable = true;
    }
  }

  /**
   * Every in-sync copy has lost its power, and with it what had not been flushed. What the clients are told from now on
   * must still fit to one of the states that may be left.
   */
  powerLost(): void {
    this.#powerLostAt = this.#stamp;
    this.#made.clear();
    for (const [key, history] of this.#histories) {
      const before = this.#survivors.get(key);
      this.#checkHistory(key);
      this.#survivors.set(key, mayHaveSurvived(history, before));
      this.#histories.set(key, []);
    }
  }

  #discard(server: Server, lunId: number, next: () => void): void {
    const world = this.#world;
    const { first, length } = someSectors(world, 20);
    const keys: string[] = [];
    for (let sector = first; sector < first + length; sector++) {
      const key = `${lunId}/${sector}`;
      if (this.#discarded.has(key)) break;
      keys.push(key);
    }
    if (keys.length === 0) return next();
    for (const key of keys) this.#discarded.add(key);
    const mayLackData = this.#readBegins(server);
    const invokedMs = ++this.#stamp;
    let respondedMs = Number.POSITIVE_INFINITY;
    const operation: Operation = {
      kind: 'write',
      value: ZEROS,
      invokedMs,
      get respondedMs() {
        return respondedMs;
      },
    };
    this.#record(
      lunId,
      first,
      keys.map(() => operation),
    );
    const work = async (): Promise<void> => this.#device(server, lunId).discard(first, keys.length);
    const answered = (result: unknown): void => {
      if (result instanceof DeviceError) {
        this.#counters.add(`sim.discard-${result.kind}`);
        this.#checkDamage(result, mayLackData);
      } else {
        respondedMs = ++this.#stamp;
        this.#counters.add('sim.acknowledged-discards');
      }
      next();
    };
    this.#enter(server, () => this.#ask(work, answered));
  }

  /** @returns what begins it */
  #reading(
    server: Server,
    { lunId, first, length }: Omit<Command, 'kind'>,
    next: (ok: boolean) => void,
  ): () => void {
    const invokedMs = ++this.#stamp;
    const mayLackData = this.#readBegins(server);
    const work = async (): Promise<Buffer> =>
      readAsConnectionsDo(this.#device(server, lunId), first, length, { counters: this.#counters });
    const answered = (result: Buffer | DeviceError): void => {
      if (result instanceof DeviceError) {
        this.#counters.add(`sim.read-${result.kind}`);
        if (result.kind === 'medium-error') this.#checkDamage(result, mayLackData);
        else if (result.kind !== 'not-serving') this.#fail(`a read fails: ${result.message}`);
        next(false);
        return;
      }
      this.#counters.add('sim.reads');
      if (invokedMs <= this.#powerLostAt) {
        next(true);
        return;
      }
      const respondedMs = ++this.#stamp;
      const operations = Array.from({ length }, (_, i): Operation => {
        const value = this.#valueOf(result.subarray(i * SECTOR_BYTES, (i + 1) * SECTOR_BYTES));
        return { kind: 'read', value, invokedMs, respondedMs };
      });
      this.#record(lunId, first, operations);
      next(true);
    };
    return () => this.#ask(work, answered);
  }

  /** Parts of blocks are read before they are written. */
  #checkDamage({ kind, message }: DeviceError, mayLackData: () => boolean): void {
    if (kind === 'medium-error' && !mayLackData()) this.#fail(`damage that could be mended: ${message}`);
  }

  #valueOf(sector: Buffer): number {
    const value = sector.readUInt32BE(0);
    if (Buffer.compare(sector, sectorOf(value)) !== 0)
      this.#fail('a sector is torn, or was never written so');
    return value;
  }

  #resetLun(server: Server, lunId: number, next: () => void): void {
    const version = this.#nextImageVersion++;
    const invokedMs = ++this.#stamp;
    let respondedMs = Number.POSITIVE_INFINITY;
    const operation: Operation = {
      kind: 'write',
      value: IMAGE_VALUES + version,
      invokedMs,
      get respondedMs() {
        return respondedMs;
      },
    };
    this.#record(
      lunId,
      0,
      Array.from({ length: SECTORS }, () => operation),
    );
    const work = async (): Promise<void> => {
      const group = server.host.group(this.#group);
      if (group === undefined) throw new DeviceError('not-serving', 'no group');
      await group.resetLun({ lunId, base: { name: 'image', version }, lengthBlocks: SECTORS });
    };
    const answered = (result: unknown): void => {
      if (!(result instanceof DeviceError)) {
        respondedMs = ++this.#stamp;
        if (invokedMs > this.#powerLostAt) this.#made.add(lunId);
        this.#counters.add('sim.resets');
      }
      next();
    };
    this.#enter(server, () => this.#ask(work, answered));
  }

  /** Reads all there is. @returns how many answers there will be; undefined when nobody serves */
  readEverything(answered: (ok: boolean) => void): number | undefined {
    const server = this.#servers().find((s) => isServing(s, this.#group));
    if (server === undefined) return undefined;
    const all = server.host.group(this.#group)?.luns() ?? [];
    const luns = all.filter(({ lunId }) => LUNS.includes(lunId));
    for (const { lunId } of luns) {
      this.#enter(server, this.#reading(server, { lunId, first: 0, length: SECTORS }, answered));
    }
    return luns.length;
  }

  check(): void {
    for (const key of this.#histories.keys()) this.#checkHistory(key);
  }

  #checkHistory(key: string): void {
    const history = this.#histories.get(key) ?? [];
    const survivors = this.#survivors.get(key);
    const violation =
      survivors === undefined ? findViolation(history) : findViolationAfterPowerLoss(history, survivors);
    if (violation !== undefined) this.#fail(`sector ${key}: ${violation}`);
  }
}

export function isServing({ process, host }: Server, group = GROUP): boolean {
  return process.isAlive && host.group(group)?.isServing() === true;
}
