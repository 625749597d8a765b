import type { Counters } from '../../base/counters.ts';
import { describeError, InvariantError } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import { LogFailure, LogFullError } from '../../base/record-log.ts';
import { isNoSpace } from './file-system.ts';

/** What a log has failed by, for good: the first that came up. Told of once, in a turn of its own. */
export class FirstFailure {
  readonly #logger: Logger;
  readonly #counters: Counters;
  #known: LogFailure | undefined;
  #tell: (failure: LogFailure) => void = () => {};

  constructor(logger: Logger, counters: Counters) {
    this.#logger = logger;
    this.#counters = counters;
  }

  get known(): LogFailure | undefined {
    return this.#known;
  }

  /** See RecordLog.onFailure. */
  onFailure(handler: (failure: LogFailure) => void): void {
    this.#tell = handler;
    const known = this.#known;
    if (known !== undefined) queueMicrotask(() => handler(known));
  }

  /** @returns the one that counts */
  note(doing: string, error: unknown): LogFailure {
    if (this.#known !== undefined) return this.#known;
    const failure =
      error instanceof LogFailure
        ? error
        : new LogFailure(`${doing} failed: ${describeError(error)}`, { cause: error });
    this.#known = failure;
    this.#logger.error('log.failed', { error: failure.message });
    this.#counters.add('log.failures');
    // Whoever is told may throw, and those whose calls fail by this are to be answered.
    queueMicrotask(() => this.#tell(failure));
    return failure;
  }

  /** @returns what a call fails with that met this: only a full disk, or a bug of ours, is no failure of the log */
  errorFor(doing: string, error: unknown): Error {
    if (error instanceof LogFullError || error instanceof InvariantError) return error;
    if (isNoSpace(error))
      return new LogFullError('the file system has no space for the log', { cause: error });
    return this.note(doing, error);
  }
}
