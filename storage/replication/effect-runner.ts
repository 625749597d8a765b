import type { Clock } from '../../base/clock.ts';
import type { Counters } from '../../base/counters.ts';
import type { Logger } from '../../base/logger.ts';
import type { PeerTransport } from '../../base/peer-transport.ts';
import type { RecordLog } from '../../base/record-log.ts';
import { decodeGroupRecord, encodeControlRecord } from '../lun/log-record.ts';
import type { LunTable } from '../lun/lun-table.ts';
import type { Checkpointer } from './checkpointer.ts';
import type { CommitApplier } from './commit-applier.ts';
import type { MembershipChange, ReplicaCore, ReplicaEffect, ReplicaEvent } from './core.ts';
import { epochsBefore } from './epoch-table.ts';
import { encodeFrame } from './frame.ts';
import { decodeLuns, encodeLuns } from './group-meta.ts';
import type { MemberIdentity, ProposalOutcome } from './group-state.ts';
import type { ImageWatch } from './image-watch.ts';
import { MAX_WAITING_EFFECTS } from './limits.ts';
import { LogReadings } from './log-readings.ts';
import type { LogTrimmer } from './log-trimmer.ts';
import type { LogWriter } from './log-writer.ts';
import { appendFrame, commonFields } from './primary-frames.ts';
import { memberOf, type PrimaryState } from './primary-state.ts';
import type { ReplicaFiles } from './replica-files.ts';
import { type OwnEffect, type WaitingEffect, withoutSuperseded } from './superseded.ts';
import type { TailCache } from './tail-cache.ts';
import type { WritePath } from './write-path.ts';

export interface EffectPorts {
  readonly groupId: string;
  readonly self: MemberIdentity;
  readonly core: ReplicaCore;
  readonly files: ReplicaFiles;
  readonly transport: PeerTransport;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly counters: Counters;
  readonly table: LunTable;
  readonly writer: LogWriter;
  readonly applier: CommitApplier;
  readonly writes: WritePath;
  readonly tail: TailCache;
  readonly imageWatch: ImageWatch;
  readonly checkpointer: Checkpointer | undefined;
  /** How long the log is kept for a member that was catching up and is out of reach. */
  readonly holdMs: number;
  readonly isDiskLow: () => boolean;
  /** Clients will be refused space before long. */
  readonly isDiskFilling: () => boolean;
  readonly trimmer: LogTrimmer;
  readonly scan: RecordLog['scan'];
  readonly primary: () => PrimaryState | undefined;
  readonly step: (event: ReplicaEvent) => void;
  readonly propose: (change: MembershipChange) => Promise<ProposalOutcome>;
  readonly letGo: () => Promise<void>;
  readonly onFailure: (error: unknown) => void;
}

/**
 * Carries out effects strictly in order. One that touches stable storage holds up all after it: so nothing is
 * sent under an epoch, or acknowledged, before what it rests on has been persisted. But nothing rests on where the log
 * begins: while that is written down, only those wait that write to the same file or replace what it tells of.
 */
export class EffectRunner {
  readonly #ports: EffectPorts;
  readonly #readings: LogReadings;
  #queue: WaitingEffect[] = [];
  #isRunning = false;
  #isEnded = false;
  #blocked: Promise<void> | undefined;
  #isTrimming = false;
  /** Where the log is to begin is being written down. */
  #savingBase: Promise<void> | undefined;
  /** Where members were that are being sent to, or were a while ago. */
  readonly #holds = new Map<string, { readonly index: number; readonly atMs: number }>();

  constructor(ports: EffectPorts) {
    this.#ports = ports;
    this.#readings = new LogReadings(ports);
  }

  run(effects: readonly WaitingEffect[]): void {
    if (this.#isEnded) return;
    for (const effect of effects) {
      // Nothing rests on them, and what they would wait for may be what they are about: a disk that takes nothing.
      if (effect.kind === 'propose' && effect.change.kind === 'handOver') this.#propose(effect);
      else if (effect.kind === 'complain') this.#complain(effect);
      else this.#queue.push(effect);
    }
    if (this.#blocked !== undefined && this.#queue.length > MAX_WAITING_EFFECTS) {
      this.#queue = withoutSuperseded(this.#queue);
    }
    if (!this.#isRunning && this.#blocked === undefined) this.#drain();
  }

  /** Nothing is begun any more, and what is queued is dropped; resolves when nothing is under way. */
  async end(): Promise<void> {
    this.#isEnded = true;
    this.#queue = [];
    this.#readings.end();
    await this.#blocked;
    await this.#savingBase?.catch(() => {});
  }

  #drain(): void {
    this.#isRunning = true;
    try {
      for (let effect = this.#queue.shift(); effect !== undefined; effect = this.#queue.shift()) {
        const wait = this.#carryOut(effect);
        if (wait !== undefined) {
          this.#waitFor(wait);
          return;
        }
      }
    } finally {
      this.#isRunning = false;
    }
  }

  #waitFor(wait: Promise<void>): void {
    this.#blocked = wait
      .then(() => {
        this.#blocked = undefined;
        this.#drain();
        this.#ports.writes.settle();
      })
      .catch((error: unknown) => this.#ports.onFailure(error));
  }

  #carryOut(effect: WaitingEffect): Promise<void> | undefined {
    const { core, files, transport, writer, applier, counters } = this.#ports;
    switch (effect.kind) {
      case 'persist':
        return this.#afterSaving(async () => {
          await files.saveEpoch(effect.epoch, effect.leaseMs, effect.epochs);
          core.persistedEpoch = effect.epoch;
        });
      case 'send':
        if (!transport.send(effect.to, encodeFrame(effect.frame))) counters.add('replication.not-sent');
        return undefined;
      case 'sendReset':
        this.#sendReset(effect.to);
        return undefined;
      case 'stream':
        this.#stream(effect);
        return undefined;
      case 'append':
        if (effect.cut === core.log.cut) writer.append(effect.cut, effect.firstIndex, effect.records);
        return undefined;
      case 'beginEpoch':
        this.#beginEpoch(effect);
        return undefined;
      case 'sync':
        writer.sync(core.log.cut, effect.index);
        return undefined;
      case 'truncate':
        return this.#afterSaving(() => this.#truncate(effect.fromIndex));
      case 'reset':
        return this.#afterSaving(() => this.#reset(effect));
      case 'shortenList':
        return this.#afterSaving(() => this.#shortenList(effect));
      case 'commit':
        applier.apply();
        return undefined;
      case 'propose':
        this.#propose(effect);
        return undefined;
      case 'letGo':
        this.#letGo(effect.reign);
        return undefined;
      case 'complain':
        this.#complain(effect);
        return undefined;
      case 'trim':
        this.#trim(effect);
        return undefined;
    }
  }

  /** For what would write the meta file at the same time, or take the log from under what is being written down of it. */
  #afterSaving(change: () => Promise<void>): Promise<void> {
    return this.#savingBase === undefined ? change() : this.#savingBase.then(change);
  }

  #beginEpoch({ epoch, cut, index }: Extract<ReplicaEffect, { kind: 'beginEpoch' }>): void {
    const { core, self, writer } = this.#ports;
    if (cut !== core.log.cut) return;
    const payload = encodeControlRecord({ kind: 'epochStart', epoch, primary: self.nodeId });
    writer.append(cut, index, [{ payload, record: decodeGroupRecord(payload) }]);
  }

  async #truncate(fromIndex: number): Promise<void> {
    const { core, writer, table, counters } = this.#ports;
    counters.add('replication.truncated');
    if (fromIndex < table.appliedIndex) return this.#truncateApplied(fromIndex);
    await writer.truncate(core.log.cut, fromIndex);
    table.release(fromIndex);
  }

  /**
   * The checkpoint this member started from knew records as committed that the group has given up since, by an
   * administrator's word. The index cannot go back: it is made anew from the log.
   */
  async #truncateApplied(fromIndex: number): Promise<void> {
    const { core, files, writer, table, applier, checkpointer, logger, groupId } = this.#ports;
    logger.warn('replication.committed-given-up', { group: groupId, fromIndex, applied: table.appliedIndex });
    await applier.pause();
    checkpointer?.forget();
    await writer.truncate(core.log.cut, fromIndex);
    table.restart(files.meta.baseIndex, files.meta.luns);
    applier.resume();
  }

  async #reset(effect: Extract<ReplicaEffect, { kind: 'reset' }>): Promise<void> {
    const { core, files, writer, table, applier, imageWatch, counters } = this.#ports;
    counters.add('replication.started-over');
    const { baseIndex, epochs } = effect;
    const list = decodeLuns(effect.snapshot);
    await applier.pause();
    this.#ports.checkpointer?.forget();
    await files.replace({ baseIndex, ...list, epochs }, () => writer.reset(core.log.cut, baseIndex));
    table.restart(baseIndex, list.luns);
    imageWatch.invalidate();
    applier.resume();
  }

  /**
   * The group goes on from this copy, though its list of LUNs knows of records that never came. Disks that these began anew
   * are there, and empty: nothing in the log is of their present generation.
   */
  async #shortenList({ cut, lunsIndex }: Extract<ReplicaEffect, { kind: 'shortenList' }>): Promise<void> {
    const { core, files, table, applier, checkpointer, imageWatch, logger, groupId } = this.#ports;
    if (cut !== core.log.cut) return;
    const { baseIndex, lunsIndex: knownIndex } = files.meta;
    logger.warn('replication.list-shortened', { group: groupId, lunsIndex, knownIndex });
    await applier.pause();
    await checkpointer?.remove();
    const luns = files.meta.luns.map((lun) => ({ ...lun, generation: Math.min(lun.generation, lunsIndex) }));
    await files.saveBase(baseIndex, { luns, lunsIndex });
    table.restart(baseIndex, luns);
    imageWatch.invalidate();
    applier.resume();
  }

  #complain({ event, fields }: Extract<ReplicaEffect, { kind: 'complain' }>): void {
    const { logger, counters, groupId } = this.#ports;
    counters.add(event);
    logger.error(event, { group: groupId, ...fields });
  }

  #propose({ change, reason }: Extract<ReplicaEffect, { kind: 'propose' }>): void {
    const { propose, step, logger, counters, groupId } = this.#ports;
    const why = reason === undefined ? {} : { reason };
    logger.info('replication.propose', { group: groupId, ...change, ...why });
    propose(change).then(
      (outcome) => {
        if (reason === 'slow' && outcome === 'applied') counters.add('replication.put-out-slow');
        if (reason === 'own-disk' && outcome === 'applied') counters.add('replication.handed-over');
        step({ kind: 'proposed', change, outcome });
      },
      () => step({ kind: 'proposed', change, outcome: 'unknown' }),
    );
  }

  #letGo(reign: number): void {
    const { letGo, step, onFailure } = this.#ports;
    letGo().then(() => step({ kind: 'letGone', reign }), onFailure);
  }

  #sendReset(to: string): void {
    const { core, files, transport, clock, logger, groupId } = this.#ports;
    const primary = this.#ports.primary();
    if (primary === undefined) return;
    const { baseIndex } = files.meta;
    const epochs = epochsBefore(core.log.epochs, baseIndex);
    const common = commonFields(primary, clock.monotonicMs());
    const snapshot = encodeLuns(files.meta);
    logger.info('replication.reset-member', { group: groupId, member: to, baseIndex });
    transport.send(to, encodeFrame({ kind: 'reset', ...common, baseIndex, epochs, snapshot }));
  }

  #stream(effect: Extract<ReplicaEffect, { kind: 'stream' }>): void {
    const { to, fromIndex, maxBytes } = effect;
    const cached = this.#ports.tail.take(fromIndex, maxBytes);
    if (cached !== undefined) {
      this.#sendRecords(to, fromIndex, cached);
      return;
    }
    this.#readings
      .next(effect, () => this.#ports.clock.monotonicMs())
      .then(
        (records) => this.#sendRecords(to, fromIndex, records),
        (error: unknown) => {
          // They may have been let go of during the read.
          if (fromIndex >= this.#ports.core.log.baseIndex) this.#ports.onFailure(error);
          else this.#ports.step({ kind: 'streamed', to, fromIndex, sent: undefined });
        },
      );
  }

  #sendRecords(to: MemberIdentity, fromIndex: number, records: readonly Uint8Array[]): void {
    const { transport, clock, step } = this.#ports;
    const primary = this.#ports.primary();
    if (primary === undefined) return;
    // Reading may have gone past what counts as appended so far.
    const count = Math.min(records.length, primary.core.log.appendedIndex - fromIndex);
    const sending = records.slice(0, Math.max(0, count));
    let lengthBytes = 0;
    for (const record of sending) lengthBytes += record.length;
    const member = memberOf(primary, to);
    const message = { firstIndex: fromIndex, records: sending };
    const isSent =
      count > 0 &&
      member !== undefined &&
      transport.send(to.nodeId, encodeFrame(appendFrame(primary, member, message, clock.monotonicMs())));
    const sent = isSent ? { nextIndex: fromIndex + count, lengthBytes } : undefined;
    step({ kind: 'streamed', to, fromIndex, sent });
  }

  /** Lets go of what is read no more, and of the head of the log where nothing there is in use. */
  tick(nowMs: number): void {
    this.#readings.tick(nowMs);
    this.#maybeTrim(nowMs);
  }

  #maybeTrim(nowMs: number): void {
    if (this.#isTrimming) return;
    const baseIndex = this.#ports.trimmer.propose(nowMs, this.#stillSending(nowMs));
    if (baseIndex === undefined) return;
    this.#isTrimming = true;
    this.#prepareTrim(baseIndex).catch((error: unknown) => this.#ports.onFailure(error));
  }

  /**
   * The list of LUNs takes the place of records that a loss of power could take away, and the log would then go on with
   * others in their places: so all of them are made durable first.
   */
  async #prepareTrim(baseIndex: number): Promise<void> {
    const { core, files, table, step } = this.#ports;
    const { cut } = core.log;
    const list = { luns: table.describe(), lunsIndex: table.appliedIndex };
    if (files.log.durableNextIndex < list.lunsIndex) await files.log.sync();
    if (cut !== core.log.cut) {
      this.#isTrimming = false;
      return;
    }
    step({ kind: 'trimming', lunsIndex: list.lunsIndex });
    this.run([{ kind: 'trim', baseIndex, list, cut }]);
  }

  /** From where on the log is still to be sent, or was when a link broke a moment ago. */
  #stillSending(nowMs: number): number {
    const { primary, holdMs, isDiskLow, isDiskFilling } = this.#ports;
    for (const { nodeId, linkUp, mode, ackedIndex, promptness } of primary()?.members.values() ?? []) {
      // One that is too slow may never come to the end: the disk is not to fill up for it.
      const isHopeless = promptness.backOffMs > 0 && isDiskFilling();
      const isSending = linkUp && mode === 'streaming' && ackedIndex > 0;
      if (isHopeless) this.#holds.delete(nodeId);
      else if (isSending) this.#holds.set(nodeId, { index: ackedIndex, atMs: nowMs });
    }
    const patienceMs = isDiskLow() ? 0 : holdMs;
    let keepFrom = Number.POSITIVE_INFINITY;
    for (const [nodeId, { index, atMs }] of this.#holds) {
      if (nowMs - atMs > patienceMs || primary() === undefined) this.#holds.delete(nodeId);
      else keepFrom = Math.min(keepFrom, index);
    }
    return keepFrom;
  }

  #trim({ baseIndex, list, cut }: OwnEffect): void {
    const { files, table, core } = this.#ports;
    // Effects before this one may have replaced the log.
    if (cut !== core.log.cut || baseIndex <= core.log.baseIndex || baseIndex > table.appliedIndex) {
      this.#isTrimming = false;
      return;
    }
    this.#savingBase = files.saveBase(baseIndex, list).then(() => {
      this.#savingBase = undefined;
      this.#trimmed(baseIndex, cut);
    });
    // What waits for it then waits for ever: nothing is written over a file that could not be made durable.
    this.#savingBase.catch((error: unknown) => this.#ports.onFailure(error));
  }

  #trimmed(baseIndex: number, cut: number): void {
    const { table, trimmer, step, core } = this.#ports;
    // The log is about to be cut or replaced, and may come to begin elsewhere.
    if (cut !== core.log.cut) {
      this.#isTrimming = false;
      return;
    }
    step({ kind: 'trimmed', baseIndex });
    table.forgetBefore(baseIndex);
    const isClear = trimmer.beginTurn();
    // Reads that began earlier may still fetch blocks that lay below the new base.
    this.#removeHead(baseIndex, isClear).catch((error: unknown) => this.#ports.onFailure(error));
  }

  async #removeHead(baseIndex: number, isClear: () => boolean): Promise<void> {
    const { files, trimmer } = this.#ports;
    while (!isClear()) await trimmer.nextReadEnd();
    await files.log.trimBefore(baseIndex);
    this.#ports.counters.add('replication.trimmed');
    this.#isTrimming = false;
  }
}
