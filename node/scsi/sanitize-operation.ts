import type { Timers } from '../../base/clock.ts';
import { describeError, InvariantError } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import { type BlockDevice, DeviceError, LOGICAL_BLOCK_BYTES } from '../../storage/block-device.ts';
import { SANITIZE_BYTES_PER_SECOND, SANITIZE_PASS_MS, WRITE_STEP_BLOCKS } from './limits.ts';
import type { SanitizeState } from './server-state.ts';
import type { WriteGate } from './write-gate.ts';

/**
 * A sanitize operation under way (SBC-3 §4.11). It belongs to the unit and not to the task that asked for it:
 * aborts, resets and the end of the session leave it alone. Erasing gives up all blocks, in one go; overwriting
 * keeps to a pace.
 */
export class SanitizeOperation {
  /** Settles when it is over, well or not; never rejects but for a bug. */
  readonly ended: Promise<void>;
  failed = false;
  readonly #state: SanitizeState;
  readonly #device: BlockDevice;
  readonly #gate: WriteGate;
  readonly #timers: Timers;
  readonly #logger: Logger;
  #doneBlocks = 0;
  #stopped = false;
  #wake: (() => void) | undefined;

  constructor(
    state: SanitizeState,
    device: BlockDevice,
    gate: WriteGate,
    options: { readonly timers: Timers; readonly logger: Logger },
    onEnd: (failed: boolean) => Promise<void>,
  ) {
    this.#state = state;
    this.#device = device;
    this.#gate = gate;
    this.#timers = options.timers;
    this.#logger = options.logger;
    this.ended = this.#run(onEnd);
  }

  /** In parts of 65,536. */
  get progress(): number {
    const total = this.#device.lengthBlocks * this.#state.passes;
    return Math.min(0xffff, Math.floor((this.#doneBlocks / total) * 65_536));
  }

  /** Leaves off where it is. */
  stop(): void {
    this.#stopped = true;
    this.#wake?.();
  }

  async #run(onEnd: (failed: boolean) => Promise<void>): Promise<void> {
    try {
      await this.#work();
      if (!this.#stopped) await onEnd(false);
    } catch (error) {
      if (error instanceof InvariantError) throw error;
      // Whoever serves the unit now carries the operation on.
      if (error instanceof DeviceError && error.kind === 'not-serving') return;
      this.failed = true;
      this.#logger.error('scsi.sanitize.failed', { error: describeError(error) });
      await onEnd(true).catch((again: unknown) => {
        if (again instanceof InvariantError) throw again;
      });
    }
  }

  async #work(): Promise<void> {
    const { method, passes, invert, pattern } = this.#state;
    const { lengthBlocks } = this.#device;
    if (method !== 'overwrite') {
      await this.#gate.beside(() => this.#device.discard(0, lengthBlocks));
      return;
    }
    const block = blockOf(Buffer.from(pattern, 'hex'));
    for (let pass = 0; pass < passes; pass++) {
      // The last pass leaves the pattern as it was given (SBC-3 table 88).
      const inverted = invert && (passes - 1 - pass) % 2 === 1;
      await this.#overwrite(inverted ? block.map((byte) => ~byte) : block);
    }
    if (!this.#stopped) await this.#device.flush();
  }

  async #overwrite(block: Uint8Array): Promise<void> {
    const step = Buffer.alloc(WRITE_STEP_BLOCKS * LOGICAL_BLOCK_BYTES, block);
    const { lengthBlocks } = this.#device;
    const byPaceMs = (step.length / SANITIZE_BYTES_PER_SECOND) * 1000;
    const pauseMs = Math.max(byPaceMs, SANITIZE_PASS_MS / Math.ceil(lengthBlocks / WRITE_STEP_BLOCKS));
    for (let lba = 0; lba < lengthBlocks && !this.#stopped; lba += WRITE_STEP_BLOCKS) {
      const blocks = Math.min(WRITE_STEP_BLOCKS, lengthBlocks - lba);
      const data = [step.subarray(0, blocks * LOGICAL_BLOCK_BYTES)];
      await this.#gate.beside(() => this.#device.write(lba, data, { forceUnitAccess: false }));
      this.#doneBlocks += blocks;
      await this.#pause(pauseMs);
    }
  }

  #pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#timers.setTimer(delayMs, resolve);
      this.#wake = () => {
        cancel();
        resolve();
      };
    });
  }
}

/** The pattern repeated through one logical block, beginning anew in each (SBC-3 §5.20.2). */
function blockOf(pattern: Uint8Array): Uint8Array {
  return Buffer.alloc(LOGICAL_BLOCK_BYTES, pattern);
}
