import { inactiveSense } from './access-state.ts';
import { requestSenseCdb } from './cdb.ts';
import type { CommandContext } from './command-context.ts';
import type { CommandRow } from './command-row.ts';
import { answer, type PreparedCommand } from './prepared-command.ts';
import { encodeDescriptorSense, encodeSense, type Sense, sense } from './sense.ts';

/** REQUEST SENSE (SPC-4 §6.39): a pending unit attention, else the state that the unit is in. */
export function prepareRequestSense(cdb: Uint8Array, at: number, unit: CommandContext): PreparedCommand {
  const { descriptor, allocationLength } = requestSenseCdb.decode(cdb, at);
  const pending = unit.takeAttention() ?? inactiveSense(unit.paths) ?? sanitizeSense(unit) ?? sense.none;
  return answer(descriptor ? encodeDescriptorSense(pending) : encodeSense(pending), allocationLength);
}

/** Why a command may not be carried out because of a sanitize operation. @param allowed what its row says of it */
export function sanitizeBars(
  unit: Pick<CommandContext, 'state'>,
  allowed: CommandRow['duringSanitize'],
): Sense | undefined {
  const isAllowed = allowed === true || (allowed === 'failed' && unit.state.sanitize === undefined);
  return isAllowed ? undefined : sanitizeSense(unit);
}

/** Why the unit is not ready because of a sanitize operation; undefined when it is. */
export function sanitizeSense({ state }: Pick<CommandContext, 'state'>): Sense | undefined {
  const running = state.sanitize;
  if (running !== undefined) return { ...sense.sanitizeInProgress, progress: running.progress };
  return state.server.sanitize?.failed === true ? sense.sanitizeFailed : undefined;
}
