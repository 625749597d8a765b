import { describeError } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import { DeviceError } from '../../storage/block-device.ts';
import { MAX_LOGGED_FAILURES } from './limits.ts';
import type { PreparedCommand } from './prepared-command.ts';

/** Says what an administrator should know of: data that is damaged, and errors nobody has thought of. */
export class FailureLog {
  readonly #targetName: string;
  readonly #logger: Logger;
  #failures = 0;

  constructor(targetName: string, logger: Logger) {
    this.#targetName = targetName;
    this.#logger = logger;
  }

  note(error: unknown, command: PreparedCommand): void {
    const expected = error instanceof DeviceError;
    if ((expected && error.kind !== 'medium-error') || this.#failures >= MAX_LOGGED_FAILURES) return;
    this.#failures++;
    const fields = {
      targetName: this.#targetName,
      command: command.kind === 'operation' ? command.name : command.kind,
      ...('lengthBlocks' in command ? { lba: command.lba, lengthBlocks: command.lengthBlocks } : {}),
      error: describeError(error),
    };
    if (expected) this.#logger.warn('scsi.medium-error', fields);
    else
      this.#logger.error('scsi.device.failed', {
        ...fields,
        stack: error instanceof Error ? error.stack : undefined,
      });
  }
}
