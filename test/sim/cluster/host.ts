import { describeError, InvariantError, OperationError } from '../../../base/errors.ts';
import type { Logger } from '../../../base/logger.ts';
import type { PeerTransport } from '../../../base/peer-transport.ts';
import { SeededRandom } from '../../../base/random.ts';
import { LogCorruptionError, LogFailure, LogFullError, type RecordLog } from '../../../base/record-log.ts';
import { AppliedStore } from '../../../cluster/applied-store.ts';
import { ClusterNode } from '../../../cluster/cluster-node.ts';
import type { JoinedMembers } from '../../../cluster/cluster-node-options.ts';
import type { GroupDisks } from '../../../cluster/disk-registration.ts';
import type { RaftRecord } from '../../../cluster/raft-records.ts';
import { type LeftOver, Recovery } from '../../../cluster/recovery.ts';
import type { ClusterState } from '../../../cluster/state/model.ts';
import { unreadableLog } from '../../../cluster/unreadable-log.ts';
import { openSegmentedLog } from '../../../storage/log/segmented-log.ts';
import { FaultyDisk, type Pace, systemError } from '../../support/faulty-disk.ts';
import { Process, type World } from '../world.ts';
import { SimulatedDatabase } from './database.ts';
import { endpointsOf } from './endpoints.ts';
import type { LedgerNode } from './ledger.ts';
import type { RaftView } from './raft-view.ts';
import { WatchedLog } from './watched-log.ts';

/** Small, so that a short run fills several. */
const SEGMENT_SIZE_BYTES = 16 * 1024;
const LOG_BOUNDS = { maxEntries: 36, maxBytes: 64 * 1024, tailEntries: 6 };
const LOG_DIRECTORY = '/log';

/** How a process comes to its end. */
export type Ending = 'kill' | 'power' | 'exit' | 'fenced' | 'device' | 'removed';

export interface HostContext {
  readonly world: World;
  readonly genesis: ClusterState;
  /** Undefined: as usual. */
  readonly maxMessageBytes: number | undefined;
  readonly counters: { add(name: string, by?: number): void };
  attach(process: Process): PeerTransport;
  detach(process: Process): void;
  /** It has been removed, and ends for good. */
  leaves?(host: Host): void;
  /** Whom a process has links with from now on, and who is told that it is out; absent: with all. */
  peersChanged?(process: Process, peerIds: ReadonlySet<string>, leftIds: ReadonlySet<string>): void;
  /** It has ended, while its guardian goes on. */
  ended(process: Process): void;
  logger(nodeId: string): Logger;
  fail(what: string): void;
  note(where: string, what: string, fact: number, text?: () => string): void;
  /** Called before each half of an operation. */
  onDiskOperation(host: Host, operation: string): void;
  /** A process of this host takes part. */
  started(host: Host): void;
  recordWritten(host: Host, record: RaftRecord, before: RaftView): void;
  /** Where the host keeps its copies of portal groups; absent: nowhere. */
  groupDisks?(host: Host): GroupDisks;
}

/** One server: its disk, and the processes that run on it one after another. */
export class Host implements LedgerNode {
  readonly nodeId: string;
  readonly raftId: number;
  readonly disk: FaultyDisk;
  readonly database = new SimulatedDatabase();
  readonly watched: WatchedLog;
  readonly #context: HostContext;
  readonly #joined: JoinedMembers | undefined;
  /**
   * down: to be started again. removed: it is a member of nothing any more.
   */
  phase: 'down' | 'starting' | 'up' | 'removed' = 'down';
  process: Process;
  node: ClusterNode | undefined;
  starts = 0;
  /** Losses of power: what was in the memory of its kernel is gone with each. */
  powerLosses = 0;
  /** A process is to come back after it has ended. */
  restarts = true;
  /** Its next process comes at once, and is asked at once. */
  isRushed = false;
  /** Bits of its log have been flipped, which it has not noticed yet. */
  isDamaged = false;
  /** Damaged logs that it has set aside, which takes effect as a whole, as node/cluster-records.ts sees to. */
  #setAsideCount = 0;
  /** A log was set aside, and the one in its place may not say so yet. */
  #lost: string | undefined;
  /** Something that may have happened to this node since it was looked at last. */
  isDirty = false;
  /** How long each half of a disk operation takes. */
  diskMs: readonly [number, number] = [0, 1];
  #stalledUntilMs = 0;
  /** The next operation of this name fails. */
  armed: { readonly operation: string; readonly code: string } | undefined;
  /** A device error has been reported to the process that runs now. */
  #deviceFailed = false;

  /** @param joined what a node that came later was told */
  constructor(context: HostContext, nodeId: string, raftId: number, joined?: JoinedMembers) {
    this.#context = context;
    this.#joined = joined;
    this.nodeId = nodeId;
    this.raftId = raftId;
    this.disk = new FaultyDisk(new SeededRandom(context.world.random.below(2 ** 32)));
    this.disk.fault = (operation, path) => this.#fault(operation, path);
    this.watched = new WatchedLog({
      failed: (what) => context.fail(`${nodeId}: ${what}`),
      written: (record, before) => context.recordWritten(this, record, before),
    });
    this.process = new Process(context.world, nodeId, `${nodeId}.0`);
    this.process.kill();
  }

  get written(): RaftView {
    return this.watched.written;
  }

  get durable(): RaftView {
    return this.watched.durable;
  }

  get hasForgotten(): boolean {
    return this.#setAsideCount > 0;
  }

  get appliedIndex(): number {
    return this.node?.status().appliedIndex ?? 0;
  }

  get logDirectory(): string {
    return this.#setAsideCount === 0 ? LOG_DIRECTORY : `${LOG_DIRECTORY}-${this.#setAsideCount}`;
  }

  get isUp(): boolean {
    return this.phase === 'up' && this.process.isAlive;
  }

  #fault(operation: string, path: string): Error | undefined {
    const { armed } = this;
    if (armed?.operation !== operation || !path.startsWith(LOG_DIRECTORY)) return undefined;
    this.armed = undefined;
    if (armed.code !== 'ENOSPC') this.#deviceFailed = true;
    this.#context.counters.add(`fault.${armed.code.toLowerCase()}-${operation}`);
    return systemError(armed.code);
  }

  stall(forMs: number): void {
    this.#stalledUntilMs = Math.max(this.#stalledUntilMs, this.#context.world.nowMs + forMs);
  }

  /** Nothing is wrong with the disk any more, but for what is on it. */
  mendDisk(): void {
    this.#stalledUntilMs = 0;
    this.diskMs = [0, 1];
    this.armed = undefined;
    this.disk.capacityBytes = Number.MAX_SAFE_INTEGER;
  }

  start(): void {
    const { world } = this.#context;
    if (this.phase !== 'down' || !this.restarts) return;
    this.phase = 'starting';
    this.starts++;
    this.#deviceFailed = false;
    const process = new Process(world, this.nodeId, `${this.nodeId}.${this.starts}`);
    this.process = process;
    process.onEnter = () => {
      this.isDirty = true;
    };
    process.onThrown = (error) => this.#threw(process, error);
    this.#context.note(this.nodeId, 'start', this.starts);
    process.enter(() => {
      this.#run(process).catch((error: unknown) => this.#threw(process, error));
    });
  }

  async #run(process: Process): Promise<void> {
    const { genesis, counters, world, maxMessageBytes } = this.#context;
    const joined = this.#joined;
    const logger = this.#context.logger(this.nodeId);
    const pace: Pace = (operation) => this.#pace(process, operation);
    const records = await this.#openLog(pace);
    const lost = this.#lost;
    const owner = { clusterId: genesis.clusterId, nodeId: this.nodeId };
    const node = new ClusterNode({
      nodeId: this.nodeId,
      incarnation: process.incarnation,
      endpoints: endpointsOf(this.nodeId),
      genesis,
      ...(joined === undefined ? {} : { joined }),
      ...(maxMessageBytes === undefined ? {} : { maxMessageBytes }),
      records: this.watched.watch(records),
      ...(lost === undefined ? {} : { lost }),
      setAside: (reason) => this.#setAside(reason, pace),
      appliedStore: new AppliedStore(this.database.mount(pace), owner),
      transport: this.#context.attach(process),
      clock: process,
      timers: process,
      random: new SeededRandom(world.random.below(2 ** 32)),
      logger,
      counters,
      logBounds: LOG_BOUNDS,
      ...(this.#context.groupDisks === undefined
        ? {}
        : { groupDisks: this.#context.groupDisks(this), boot: `boot-${this.powerLosses}` }),
      onRemoved: () => process.enterAfter(world.between(0, 20), () => this.toldRemoved()),
      onPeersChange: (peers, leftIds) =>
        this.#context.peersChanged?.(process, new Set(peers.map((p) => p.nodeId)), leftIds),
      onFenced: () => process.enterAfter(world.between(0, 20), () => this.end('fenced')),
      onFatal: (error) => this.#fatal(process, error),
    });
    await node.start();
    // What has been lost is written down in the log itself.
    this.#lost = undefined;
    this.node = node;
    this.phase = 'up';
    this.isDirty = true;
    this.#context.note(this.nodeId, 'up', 0);
    this.#context.started(this);
    this.isRushed = false;
  }

  async #openLog(pace: Pace): Promise<RecordLog> {
    const { counters } = this.#context;
    try {
      const { log, report } = await openSegmentedLog({
        directory: this.logDirectory,
        fileSystem: this.disk.mount(pace),
        segmentSizeBytes: SEGMENT_SIZE_BYTES,
        logger: this.#context.logger(this.nodeId),
        counters,
      });
      if (report.tornTail !== undefined) counters.add('seen.torn-tail');
      await this.watched.reopened(log);
      return log;
    } catch (error) {
      // What could not be read just now may be read at another start.
      if (!(error instanceof LogCorruptionError) || this.#deviceFailed) throw error;
      return unreadableLog(error);
    }
  }

  async #setAside(reason: string, pace: Pace): Promise<RecordLog> {
    // Power lost on the way may have left the first record of the log in its place alone; that is begun anew.
    const isExpected = this.isDamaged || this.#lost !== undefined;
    if (!isExpected) this.#context.fail(`${this.nodeId} sees damage where there is none: ${reason}`);
    this.#context.counters.add('seen.damaged-log');
    this.#context.note(this.nodeId, 'sets its log aside', 0, () => reason);
    this.isDamaged = false;
    this.#lost = reason;
    this.#setAsideCount++;
    this.watched.forget();
    return this.watched.watch(await this.#openLog(pace));
  }

  /** Resolves after as long as half an operation of the disk takes; never, for a process that is gone. */
  #pace(process: Process, operation: string): Promise<void> {
    const { world } = this.#context;
    this.#context.onDiskOperation(this, operation);
    const stallMs = Math.max(0, this.#stalledUntilMs - world.nowMs);
    const [lowMs, highMs] = this.diskMs;
    const delayMs = stallMs + lowMs + (world.random.below(1000) / 1000) * (highMs - lowMs);
    return new Promise((resolve) => {
      process.enterAfter(delayMs, resolve);
    });
  }

  #threw(process: Process, error: unknown): void {
    if (!process.isAlive) return;
    if (this.#isDeviceError(error)) {
      this.#context.note(this.nodeId, 'device-error', 0, () => describeError(error));
      this.end('device');
    } else {
      const kind =
        error instanceof InvariantError ? 'an invariant of the product fails' : 'an error is thrown';
      this.#context.fail(`${this.nodeId}: ${kind}: ${error instanceof Error ? error.stack : String(error)}`);
      this.end('exit');
    }
  }

  #isDeviceError(error: unknown): boolean {
    const isFull = error instanceof Error && 'code' in error && error.code === 'ENOSPC';
    // A node that finds no room for its first records does not start.
    return this.#deviceFailed || isFull || (error instanceof LogFullError && this.phase === 'starting');
  }

  #fatal(process: Process, error: unknown): void {
    if (!process.isAlive) return;
    const isOurs = error instanceof LogFailure && this.#deviceFailed;
    if (!isOurs) this.#context.fail(`${this.nodeId} ends without reason: ${describeError(error)}`);
    process.enterAfter(0, () => this.end('device'));
  }

  /** It is out of the cluster, and ends. */
  toldRemoved(): void {
    this.#context.leaves?.(this);
    this.#context.counters.add('members.retired');
    this.restarts = false;
    this.end('removed');
    this.phase = 'removed';
  }

  /** It ends for good, unless somebody lets it start again. */
  leave(): void {
    this.restarts = false;
    this.end('power');
  }

  /** Lets it start again. */
  comeBack(): void {
    this.restarts = true;
    this.start();
  }

  /**
   * What `bootfabric recover` does with the disk of a host that is down.
   * @param found told before anything is written
   * @returns undefined: it has lost something itself, or is no member
   */
  async recover(
    found: (leftOver: LeftOver) => void,
  ): Promise<{ readonly leftOver: LeftOver; readonly state: ClusterState } | undefined> {
    const { genesis, world, counters } = this.#context;
    if (this.process.isAlive || this.isDamaged || this.#lost !== undefined) return undefined;
    this.mendDisk();
    const atOnce: Pace = () => Promise.resolve();
    const records = this.watched.watch(await this.#openLog(atOnce));
    const owner = { clusterId: genesis.clusterId, nodeId: this.nodeId };
    const appliedStore = new AppliedStore(this.database.mount(atOnce), owner);
    try {
      const recovery = await Recovery.read({ records, appliedStore, genesis });
      const survivors = { self: this.nodeId, nodes: [this.nodeId], atMs: Math.floor(world.nowMs) };
      const plan = recovery.plan(survivors);
      found(recovery.leftOver);
      await recovery.write(plan, this.nodeId);
      return { leftOver: recovery.leftOver, state: plan.state };
    } catch (error) {
      if (!(error instanceof OperationError)) throw error;
      counters.add(`recover.${error.code}`);
      return undefined;
    } finally {
      await records.close();
    }
  }

  /** The process is gone at once. */
  end(how: Ending): void {
    if (how === 'power') this.powerLosses++;
    if (!this.process.isAlive) return;
    const { world, counters } = this.#context;
    counters.add(`fault.${how === 'device' || how === 'exit' ? `exit-${how}` : how}`);
    this.#context.note(this.nodeId, how, 0);
    this.process.kill();
    this.#context.detach(this.process);
    if (how !== 'power') this.#context.ended(this.process);
    this.node = undefined;
    // After an fsync that failed, the system may have dropped what it could not write.
    const forgets = how === 'power' || (how === 'device' && world.chance(50));
    if (forgets) {
      this.disk.crash();
      this.database.crash(world.random);
    } else {
      this.disk.kill();
      this.database.kill();
    }
    this.phase = 'down';
    if (!this.restarts) return;
    const longestMs = this.isRushed ? 30 : world.chance(15) ? 2_500 : 600;
    world.after(world.between(this.isRushed ? 1 : 20, longestMs), () => this.start());
  }
}
