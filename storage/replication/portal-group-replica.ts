import type { CancelTimer, Timers } from '../../base/clock.ts';
import type { Counters } from '../../base/counters.ts';
import { describeError, ProtocolError } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import type { LentMemory, PeerTransport } from '../../base/peer-transport.ts';
import { LogCorruptionError } from '../../base/record-log.ts';
import type { BlockDevice } from '../block-device.ts';
import type { ImageSource, ImageVersionRef } from '../image/image-source.ts';
import { decodeIntact, type LoggedRecord, loggedControl } from '../lun/log-record.ts';
import { LunDevice, submitted } from '../lun/lun-device.ts';
import { LunTable } from '../lun/lun-table.ts';
import type { CheckpointStore } from './checkpoint-store.ts';
import { Checkpointer, type CheckpointMark } from './checkpointer.ts';
import { CommitApplier } from './commit-applier.ts';
import { Compactor } from './compactor.ts';
import { CopyCare, type VerifiedTo } from './copy-care.ts';
import { CopyCheck, type CopyReading } from './copy-report.ts';
import type { ReplicaCore, ReplicaEvent } from './core.ts';
import type { DiskSpace } from './disk-space.ts';
import { type EffectPorts, EffectRunner } from './effect-runner.ts';
import { decodeFrame } from './frame.ts';
import { boundUntilMs } from './grants.ts';
import type { ClusterAround, MemberIdentity, PortalGroupState } from './group-state.ts';
import { ImageWatch } from './image-watch.ts';
import { CATCH_UP_HOLD_MS, CHECKPOINT_GROWTH_BYTES, COMPACT_SLACK_BYTES, TICK_MS } from './limits.ts';
import { LogTrimmer } from './log-trimmer.ts';
import { LogWriter, type LogWriterEvents } from './log-writer.ts';
import { type CoreOptions, newCore } from './new-core.ts';
import { Notices } from './notices.ts';
import type { LunInfo, PortalGroup, PortalGroupStatus } from './portal-group.ts';
import { areOthersIdle, hadByAllLinked, isServing, leaseUntilMs } from './primary-state.ts';
import { ReceivedMemory } from './received-memory.ts';
import type { DamageStatus } from './record-mender.ts';
import { newReplica, type ReplicaState, stepReplica } from './replica-machine.ts';
import { lunInfo, replicaStatus } from './replica-status.ts';
import { RoomWatch } from './room-watch.ts';
import { ServiceWatch } from './service-watch.ts';
import { TailCache } from './tail-cache.ts';
import { WritePath } from './write-path.ts';

export interface ReplicaOptions extends CoreOptions {
  readonly transport: PeerTransport;
  readonly images: ImageSource;
  readonly timers: Timers;
  readonly logger: Logger;
  readonly counters: Counters;
  readonly propose: EffectPorts['propose'];
  readonly onServingChange: (serving: boolean) => void;
  /** The lease that had lapsed is not waited for any more: it did not come back in time, or the office has ended. */
  readonly onLapseEnd: () => void;
  /** Resolves once the portal address is off this node, its office having ended. Never rejects. */
  readonly letGo: () => Promise<void>;
  readonly onNotice: (notice: Uint8Array) => void;
  readonly onFatal: (error: unknown) => void;
  readonly diskSpace: DiskSpace | undefined;
  readonly checkpoints: CheckpointStore | undefined;
}

/** This node's member of one portal group: carries out what the machine says and tells it what came of it. */
export class PortalGroupReplica implements PortalGroup {
  readonly #options: ReplicaOptions;
  readonly #core: ReplicaCore;
  readonly #state: ReplicaState;
  readonly #table: LunTable;
  readonly #writer: LogWriter;
  readonly #applier: CommitApplier;
  readonly #writes: WritePath;
  readonly #trimmer: LogTrimmer;
  readonly #imageWatch: ImageWatch;
  readonly #room: RoomWatch;
  readonly #tail: TailCache;
  readonly #received: ReceivedMemory;
  readonly #effects: EffectRunner;
  readonly #compactor: Compactor;
  readonly #checkpointer: Checkpointer | undefined;
  #durability: PortalGroupState['durability'] = 'write-back';
  readonly #care: CopyCare;
  readonly #copyCheck: CopyCheck;
  readonly #service: ServiceWatch;
  readonly #notices: Notices;
  #cancelTick: CancelTimer | undefined;
  #isStopped = false;

  constructor(options: ReplicaOptions) {
    this.#options = options;
    const { files, clock } = options;
    this.#core = newCore(options);
    this.#state = newReplica(this.#core);
    const primary = () => this.#state.primary;
    this.#notices = new Notices({ ...options, core: this.#core, primary });
    this.#service = this.#makeServiceWatch();
    const view = this.#core.log;
    this.#table = new LunTable(options.images, (lun) => {
      this.#trimmer.wake();
      lun.close().catch((error: unknown) => this.#warn('replication.image-close', error));
    });
    const mark = this.#fillTable();
    this.#trimmer = new LogTrimmer(this.#table, view, options.trim);
    this.#imageWatch = new ImageWatch(this.#table);
    this.#room = new RoomWatch(options.diskSpace, this.#state, (event) => this.step(event));
    this.#writer = this.#makeWriter();
    this.#care = new CopyCare({
      ...options,
      core: this.#core,
      log: files.log,
      onFailure: (e) => this.#fail(e),
    });
    this.#copyCheck = new CopyCheck(files.log, () => files.meta);
    const scan = (fromIndex: number) => this.#care.scan(fromIndex);
    this.#applier = new CommitApplier({ scan }, view, this.#table, {
      onApplied: () => this.step({ kind: 'applied' }),
      onFailure: (e) => this.#care.applyingFailed(e, this.#table.appliedIndex, () => this.#applier.apply()),
    });
    this.#writes = new WritePath({
      view,
      table: this.#table,
      writer: this.#writer,
      readAt: (position, lengthBytes) => files.log.readAt(position, lengthBytes),
      readAtNow: files.log.readAtNow?.bind(files.log),
      soundBlock: (position, crc) => this.#care.mender.soundBlock(position, crc),
      readBegins: () => this.#trimmer.readBegins(),
      nowMs: () => clock.monotonicMs(),
      isDiskLow: () => this.#room.isOut,
      isDiskFilling: () => this.#room.isRunningOut,
      primary,
      durability: () => this.#durability,
      step: (event) => this.step(event),
      areOthersIdle: () => areOthersIdle(this.#state.primary, options.transport),
    });
    this.#received = new ReceivedMemory(this.#core, this.#table);
    this.#tail = new TailCache((slab) => this.#writes.memory.giveBack(slab));
    this.#checkpointer = this.#makeCheckpointer(mark);
    this.#effects = new EffectRunner({
      ...options,
      checkpointer: this.#checkpointer,
      holdMs: options.trim.holdMs ?? CATCH_UP_HOLD_MS,
      isDiskLow: () => this.#room.isOut,
      isDiskFilling: () => this.#room.isRunningOut,
      core: this.#core,
      table: this.#table,
      writer: this.#writer,
      applier: this.#applier,
      writes: this.#writes,
      tail: this.#tail,
      imageWatch: this.#imageWatch,
      trimmer: this.#trimmer,
      scan,
      primary,
      step: (event) => this.step(event),
      onFailure: (error) => this.#fail(error),
    });
    this.#compactor = this.#makeCompactor();
  }

  /** From the last checkpoint, where there is one; the rest of the log takes effect as it turns out committed. */
  #fillTable(): CheckpointMark | undefined {
    const { files, logger, groupId, counters } = this.#options;
    const checkpoint = files.takeCheckpoint();
    if (checkpoint === undefined) {
      this.#table.restart(files.meta.baseIndex, files.meta.luns);
      return undefined;
    }
    this.#table.restore(checkpoint.table);
    counters.add('replication.checkpoints-used');
    const { index, lastPosition } = checkpoint.origin;
    logger.info('replication.checkpoint-used', { group: groupId, index, nextIndex: files.log.nextIndex });
    return { lastPosition, sizeBytes: checkpoint.sizeBytes };
  }

  #makeServiceWatch(): ServiceWatch {
    const primary = () => this.#state.primary;
    const leaseLost = () => this.#writes.leaseLost();
    return new ServiceWatch({ ...this.#options, core: this.#core, primary, leaseLost });
  }

  #makeCheckpointer(mark: CheckpointMark | undefined): Checkpointer | undefined {
    const { groupId, files, checkpoints, timers, trim, counters } = this.#options;
    if (checkpoints === undefined) return undefined;
    const ports = {
      groupId,
      store: checkpoints,
      log: files.log,
      table: this.#table,
      timers,
      epochs: () => this.#core.log.epochs,
      growthBytes: trim.checkpointBytes ?? CHECKPOINT_GROWTH_BYTES,
      isDiskLow: () => this.#room.isDiskLow,
      onWritten: (sizeBytes: number) => {
        counters.add('replication.checkpoints');
        counters.add('replication.checkpoint-bytes', sizeBytes);
      },
      onTrouble: (reason: string) => this.#warn('replication.checkpoint-failed', reason),
      onFailure: (error: unknown) => this.#fail(error),
    };
    return new Checkpointer(ports, mark);
  }

  #makeCompactor(): Compactor {
    const { trim, counters } = this.#options;
    return new Compactor({
      log: { scan: (fromIndex) => this.#care.scan(fromIndex) },
      table: this.#table,
      baseIndex: () => this.#core.log.baseIndex,
      slackBytes: trim.slackBytes ?? COMPACT_SLACK_BYTES,
      isServing: () => this.isServing(),
      isDiskLow: () => this.#room.isOut,
      recordEpoch: () => this.#writes.recordEpoch(),
      submit: (records) => submitted(this.#writes, records, false),
      turns: this.#options.pace.compaction,
      onProgress: (carriedBytes) => {
        counters.add('replication.compactions');
        counters.add('replication.carried-bytes', carriedBytes);
        this.#trimmer.wake();
      },
      onTrouble: (reason) => this.#warn('replication.compaction-failed', reason),
      onFailure: (error) => this.#fail(error),
    });
  }

  verifyPart = (from: number, maxBytes: number): Promise<VerifiedTo> => this.#care.verifyPart(from, maxBytes);

  logBytes = (): number => this.#table.logBytes;

  readCopy = (): CopyReading => this.#copyCheck.ask();

  damage = (): DamageStatus => this.#care.mender.status();

  #makeWriter(): LogWriter {
    const view = this.#core.log;
    const { files, groupId, logger, timers } = this.#options;
    const { log } = files;
    const events: LogWriterEvents = {
      onPlaced: (index, position, logged) => {
        this.#table.hold(index, position, logged.record);
        this.#trimmer.grew(logged.payload.length);
        this.#room.took(logged.payload.length);
        // Kept only where there is somebody to send it to: its memory is used again the sooner.
        if ((this.#state.primary?.group.replicas.length ?? 0) > 1) this.#tail.add(index, logged);
      },
      onAppended: (cut, appendedIndex) => {
        this.step({ kind: 'appended', cut, appendedIndex });
        this.#room.tell();
      },
      onFull: (cut) => {
        logger.error('replication.log-full', { group: groupId });
        if (cut === view.cut) this.#writes.failUnappended(log.nextIndex);
        this.step({ kind: 'appendFailed', cut, appendedIndex: log.nextIndex });
      },
      onSynced: (cut) => this.step({ kind: 'synced', cut, durableIndex: log.durableNextIndex }),
      onCutFull: () => logger.error('replication.cut-full', { group: groupId }),
      onFailure: (error) => this.#fail(error),
    };
    return new LogWriter(log, events, timers);
  }

  start(): void {
    this.#tick();
  }

  /** One step of the machine, and whatever follows from it. */
  step(event: ReplicaEvent): void {
    if (this.#isStopped) return;
    try {
      const nowMs = this.#options.clock.monotonicMs();
      const { primary } = this.#state;
      const effects = stepReplica(this.#state, event, nowMs, this.#table.appliedIndex);
      if (primary !== undefined && this.#state.primary !== primary) this.#leaveOffice();
      if (this.#state.primary !== undefined && this.#state.primary !== primary) this.#noteOffice(nowMs);
      this.#effects.run(effects);
      if (event.kind === 'frame' && this.#state.primary !== undefined) {
        this.#tail.dropBefore(hadByAllLinked(this.#state.primary));
      }
      this.#received.settle(this.#state.primary === undefined);
      this.#writes.settle();
      if (!this.#writes.isGoingAhead) this.#service.look();
    } catch (error) {
      this.#fail(error);
    }
  }

  /** At once, not in turn with the effects: the numbers these writes wait for may soon be other records'. */
  #leaveOffice(): void {
    this.#writes.failAll();
    this.#tail.clear();
    this.#notices.forget();
  }

  #noteOffice(nowMs: number): void {
    const { epoch, grants } = this.#core;
    // What a new primary may have to wait for, beside the other members.
    const leaseLeftMs = Math.max(0, Math.round(boundUntilMs(grants) - nowMs));
    this.#options.logger.info('replication.office', { group: this.#options.groupId, epoch, leaseLeftMs });
  }

  #tick(): void {
    this.step({ kind: 'tick' });
    if (this.#isStopped) return;
    const nowMs = this.#options.clock.monotonicMs();
    if (this.#table.appliedIndex >= this.#core.log.commitIndex) {
      this.#imageWatch.check(nowMs, (ready) => this.step({ kind: 'imagesReady', ready }));
    }
    this.#room.tick();
    this.#compactor.tick(nowMs);
    this.#checkpointer?.tick(nowMs);
    this.#effects.tick(nowMs);
    this.#notices.tick(nowMs);
    this.#cancelTick = this.#options.timers.setTimer(TICK_MS, () => this.#tick());
  }

  applyState(group: PortalGroupState, around: ClusterAround): void {
    this.#durability = group.durability;
    this.#care.follow(group.replicas);
    this.step({ kind: 'state', group, ...around });
  }

  linkChanged(peer: MemberIdentity, up: boolean): void {
    this.step({ kind: 'link', peer, up });
    if (up) this.#notices.linkUp(peer);
  }

  peerEnded(peer: MemberIdentity): void {
    this.step({ kind: 'ended', peer });
  }

  /** A message for this group; one that is malformed is dropped and counted. */
  receive(from: MemberIdentity, message: Uint8Array, lent?: LentMemory): void {
    try {
      const frame = decodeFrame(message);
      if (frame.kind === 'notice') return this.#notices.take(from, frame);
      if (frame.kind === 'recordRequest' || frame.kind === 'record') {
        return this.#care.mender.receive(from.nodeId, frame);
      }
      const records: LoggedRecord[] = frame.kind === 'append' ? frame.records.map(decodeIntact) : [];
      const { cut } = this.#core.log;
      this.step({ kind: 'frame', from, frame, records });
      if (frame.kind === 'ack' || frame.kind === 'position') this.#notices.answered(from);
      if (frame.kind === 'append' && lent !== undefined && cut === this.#core.log.cut) {
        this.#received.took(frame.firstIndex, records, lent);
      }
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#options.counters.add(`replication.${error.code}`);
      this.#warn('replication.bad-message', error);
    }
  }

  publish(notice: Uint8Array): void {
    this.#notices.publish(notice);
  }

  isServing(): boolean {
    const { primary } = this.#state;
    return primary !== undefined && isServing(primary, this.#options.clock.monotonicMs());
  }

  leaseRemainingMs(): number {
    const { primary } = this.#state;
    if (primary?.phase !== 'serving') return 0;
    return Math.max(0, leaseUntilMs(primary) - this.#options.clock.monotonicMs());
  }

  readonly luns = (): LunInfo[] => lunInfo(this.#table);

  async resetLun(lun: { lunId: number; base: ImageVersionRef; lengthBlocks: number }): Promise<void> {
    await this.#submitControl(lun.lunId, (epoch, generation) =>
      loggedControl({ kind: 'resetLun', epoch, generation, ...lun }),
    );
  }

  readonly sync = (): Promise<void> => this.#writes.flush();

  async dropLun(lunId: number): Promise<void> {
    if (this.#table.get(lunId) === undefined) {
      this.#writes.assertServing();
      return;
    }
    await this.#submitControl(lunId, (epoch) => loggedControl({ kind: 'dropLun', epoch, lunId }));
  }

  async #submitControl(lunId: number, make: (epoch: number, index: number) => LoggedRecord): Promise<void> {
    this.#writes.assertServing();
    const index = this.#writes.nextIndex;
    const record = make(this.#writes.recordEpoch(), index);
    // From now on no write of this generation is given a place, so none can lie after the record.
    this.#table.noteEnding(lunId, index);
    await submitted(this.#writes, [record], false).done;
    await this.#writes.confirmServing();
  }

  openDevice(lunId: number): BlockDevice | undefined {
    const lun = this.#table.get(lunId);
    if (lun === undefined || this.#state.primary?.phase !== 'serving') return undefined;
    return new LunDevice(lun, this.#writes);
  }

  standbyDevice(lunId: number): BlockDevice | undefined {
    const lun = this.#table.get(lunId);
    return lun === undefined ? undefined : new LunDevice(lun, this.#writes);
  }

  status(): PortalGroupStatus {
    return replicaStatus(this.#state, this.#options.clock.monotonicMs());
  }

  /** Serves no more and lets go of the log; what is under way fails as not serving. */
  async stop(): Promise<void> {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.#copyCheck.stop();
    this.#cancelTick?.();
    this.#state.primary = undefined;
    this.#writes.failAll();
    this.#service.end();
    await Promise.all([this.#compactor.stop(), this.#checkpointer?.stop()]);
    this.#core.pace.leave();
    await this.#care.stop();
    await Promise.all([this.#effects.end(), this.#writer.stop(), this.#applier.pause()]);
    await Promise.all(Array.from(this.#table.all(), (lun) => lun.close()));
    await this.#options.files.log.close();
  }

  #fail(error: unknown): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.#cancelTick?.();
    this.#state.primary = undefined;
    this.#writes.failAll();
    const { checkpoints, groupId, onFatal } = this.#options;
    // Damage that a start by checkpoint passes over: the next one is to read everything, and to find it.
    const removing = error instanceof LogCorruptionError ? checkpoints?.remove(groupId) : undefined;
    if (removing === undefined) onFatal(error);
    else
      removing
        .catch((reason: unknown) => this.#warn('replication.checkpoint-failed', reason))
        .then(() => onFatal(error), onFatal);
  }

  #warn(event: string, error: unknown): void {
    this.#options.logger.warn(event, { group: this.#options.groupId, reason: describeError(error) });
  }
}
