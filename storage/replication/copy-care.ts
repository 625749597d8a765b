import type { Clock } from '../../base/clock.ts';
import { LogCorruptionError, type LogRecord } from '../../base/record-log.ts';
import type { ReplicaCore } from './core.ts';
import { APPLY_PATIENCE_MS, APPLY_RETRY_MS } from './limits.ts';
import { RecordMender, type RecordMenderPorts } from './record-mender.ts';

export interface CopyCareOptions extends Omit<RecordMenderPorts, 'view' | 'others'> {
  readonly core: ReplicaCore;
  readonly clock: Clock;
}

export interface VerifiedTo {
  readonly nextIndex: number;
  /** As far as there was something to look at. */
  readonly endIndex: number;
  readonly readBytes: number;
}

/** Finds damage in this member's log, by whatever reads it, and has it mended. */
export class CopyCare {
  readonly #options: CopyCareOptions;
  readonly mender: RecordMender;
  #replicas: readonly string[] = [];
  /** The committed record that cannot be read back. */
  #stuck: { readonly index: number; readonly sinceMs: number } | undefined;
  #isStopped = false;

  constructor(options: CopyCareOptions) {
    this.#options = options;
    const { core } = options;
    this.mender = new RecordMender({
      ...options,
      view: core.log,
      others: () => {
        const others = this.#replicas.filter((nodeId) => core.links.get(nodeId)?.up === true);
        return others.sort((a, b) => Number(b === core.primary) - Number(a === core.primary));
      },
    });
  }

  /** Who has copies of the group. */
  follow(replicas: readonly string[]): void {
    this.#replicas = replicas.filter((nodeId) => nodeId !== this.#options.core.self.nodeId);
  }

  /** The log's scan; has damage mended that it comes upon. */
  async *scan(fromIndex: number): AsyncGenerator<LogRecord> {
    let next = fromIndex;
    try {
      for await (const scanned of this.#options.log.scan(fromIndex)) {
        next = scanned.index + 1;
        if (scanned.isDamaged === true) this.mender.look(scanned.index);
        yield scanned;
      }
    } catch (error) {
      if (error instanceof LogCorruptionError) this.mender.look(next);
      throw error;
    }
  }

  /**
   * Reads a part of the log, compares checksums and has damage mended; what is not committed and durable yet is not
   * looked at.
   */
  async verifyPart(fromIndex: number, maxBytes: number): Promise<VerifiedTo> {
    const { log, core } = this.#options;
    const endIndex = Math.min(log.durableNextIndex, core.log.commitIndex);
    const from = Math.max(fromIndex, log.firstIndex);
    if (this.#isStopped || from >= endIndex) return { nextIndex: from, endIndex, readBytes: 0 };
    const { nextIndex, readBytes, damaged } = await log.verify(from, endIndex, maxBytes);
    this.mender.note(damaged);
    return { nextIndex, endIndex, readBytes };
  }

  /** What is damaged may be mended with what others have, once there are links to them. */
  applyingFailed(error: unknown, appliedIndex: number, again: () => void): void {
    const { clock, timers, onFailure } = this.#options;
    const nowMs = clock.monotonicMs();
    if (this.#stuck?.index !== appliedIndex) this.#stuck = { index: appliedIndex, sinceMs: nowMs };
    const isOver = nowMs - this.#stuck.sinceMs >= APPLY_PATIENCE_MS;
    if (!(error instanceof LogCorruptionError) || isOver) onFailure(error);
    else timers.setTimer(APPLY_RETRY_MS, () => (this.#isStopped ? undefined : again()));
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.mender.stop();
  }
}
