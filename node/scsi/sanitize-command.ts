import { bit, bits, layout, u16 } from '../../base/layout.ts';
import { LOGICAL_BLOCK_BYTES } from '../../storage/block-device.ts';
import { sanitizeCdb, serviceAction } from './cdb.ts';
import type { CommandContext } from './command-context.ts';
import {
  accept,
  checkCondition,
  goodWithoutData,
  type PreparedCommand,
  refuse,
  type ScsiOutcome,
} from './prepared-command.ts';
import { invalidCdbField, invalidListField, type Sense, sense } from './sense.ts';
import { type SanitizeState, withoutSanitize } from './server-state.ts';

/**
 * SANITIZE (SBC-3 §5.20). Whatever the method, the blocks cannot be read back through the unit from then on. The
 * log under a LUN keeps its old records until they are trimmed: this is no erasure of the nodes' own disks.
 */

/** Parameter list of OVERWRITE, without its pattern (SBC-3 table 88). */
export const overwriteList = layout('SANITIZE OVERWRITE list', 4, {
  invert: bit(0, 7),
  passes: bits(0, 0, 5),
  patternLength: u16(2),
});

export function prepareSanitize(cdb: Uint8Array, at: number, unit: CommandContext): PreparedCommand {
  const fields = sanitizeCdb.decode(cdb, at);
  const { parameterListLength: lengthBytes } = fields;
  switch (fields.serviceAction) {
    case serviceAction.sanitizeOverwrite: {
      const most = overwriteList.sizeBytes + LOGICAL_BLOCK_BYTES;
      if (lengthBytes <= overwriteList.sizeBytes || lengthBytes > most) return refuse(invalidCdbField(7));
      return sanitize('overwrite', fields, unit);
    }
    case serviceAction.sanitizeBlockErase:
      return lengthBytes === 0 ? sanitize('block-erase', fields, unit) : refuse(invalidCdbField(7));
    case serviceAction.sanitizeCryptoErase:
      return lengthBytes === 0 ? sanitize('crypto-erase', fields, unit) : refuse(invalidCdbField(7));
    default:
      return lengthBytes === 0 ? prepareExitFailureMode(unit) : refuse(invalidCdbField(7));
  }
}

function sanitize(
  method: SanitizeState['method'],
  fields: ReturnType<typeof sanitizeCdb.decode>,
  unit: CommandContext,
): PreparedCommand {
  const { sanitize: left } = unit.state.server;
  // No way out of a failure that was not to be left behind.
  if (left?.failed === true && !left.unrestrictedExit && fields.allowUnrestrictedExit)
    return refuse(invalidCdbField(1, 5));
  return {
    kind: 'operation',
    name: `sanitize-${method}`,
    dataOutBytes: fields.parameterListLength,
    outlivesTask: true,
    carryOut: async (list) => {
      const terms = decodeTerms(method, list);
      if ('asc' in terms) return checkCondition(terms);
      return start(
        { method, ...terms, unrestrictedExit: fields.allowUnrestrictedExit },
        fields.immediate,
        unit,
      );
    },
  };
}

type Terms = Pick<SanitizeState, 'pattern' | 'passes' | 'invert' | 'failed'>;

function decodeTerms(method: SanitizeState['method'], list: Uint8Array): Terms | Sense {
  if (method !== 'overwrite') return { pattern: '', passes: 1, invert: false, failed: false };
  const { invert, passes, patternLength } = overwriteList.decode(list);
  if (passes === 0) return invalidListField(0, 4);
  if (patternLength === 0 || patternLength !== list.length - overwriteList.sizeBytes)
    return invalidListField(2);
  const pattern = Buffer.from(list.subarray(overwriteList.sizeBytes)).toString('hex');
  return { pattern, passes, invert, failed: false };
}

async function start(
  terms: SanitizeState,
  immediate: boolean,
  { state }: CommandContext,
): Promise<ScsiOutcome> {
  const started = await state.startSanitize(terms);
  // Another has begun since this one was checked.
  if (started === undefined) return checkCondition(sense.sanitizeInProgress);
  if (immediate) return goodWithoutData;
  await started.ended;
  return state.server.sanitize?.failed === true ? checkCondition(sense.sanitizeFailed) : goodWithoutData;
}

/** Leaves a failure behind, if the operation that failed allowed it; without one there is nothing to leave. */
function prepareExitFailureMode({ state }: CommandContext): PreparedCommand {
  const { sanitize: left } = state.server;
  if (left?.failed !== true) return accept;
  if (!left.unrestrictedExit) return refuse(sense.sanitizeFailed);
  return {
    kind: 'operation',
    name: 'sanitize-exit-failure-mode',
    dataOutBytes: 0,
    carryOut: async () => {
      await state.change(withoutSanitize);
      return goodWithoutData;
    },
  };
}
