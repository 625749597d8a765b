import { LOGICAL_BLOCK_BYTES } from '../../storage/block-device.ts';
import { modeSelect6Cdb, modeSelect10Cdb, modeSense6Cdb, modeSense10Cdb } from './cdb.ts';
import type { CommandContext } from './command-context.ts';
import {
  encodeModeSense,
  isSubpage,
  type ModeSenseQuestion,
  type ModeSenseUnit,
  PAGES,
} from './mode-page.ts';
import {
  accept,
  answer,
  checkCondition,
  goodWithoutData,
  type PreparedCommand,
  refuse,
  type ScsiOutcome,
} from './prepared-command.ts';
import { invalidCdbField, invalidListField, type Sense, sense } from './sense.ts';
import type { ModeParameters } from './server-state.ts';

/** MODE SENSE and MODE SELECT (SPC-4 §6.9 to §6.14). */

export function prepareModeSense6(cdb: Uint8Array, at: number, unit: CommandContext): PreparedCommand {
  const fields = modeSense6Cdb.decode(cdb, at);
  return prepareModeSense({ ...fields, longLba: false, longHeader: false }, unit);
}

export function prepareModeSense10(cdb: Uint8Array, at: number, unit: CommandContext): PreparedCommand {
  return prepareModeSense({ ...modeSense10Cdb.decode(cdb, at), longHeader: true }, unit);
}

type ModeSenseFields = Omit<ModeSenseQuestion, 'blockDescriptors'> & {
  readonly disableBlockDescriptors: boolean;
  readonly allocationLength: number;
};

function prepareModeSense(fields: ModeSenseFields, unit: CommandContext): PreparedCommand {
  const question = { ...fields, blockDescriptors: !fields.disableBlockDescriptors };
  const data = encodeModeSense(question, modeUnit(unit));
  if (data !== undefined) return answer(data, fields.allocationLength);
  // There are no subpages, so that it is the subpage code that is wrong wherever there is one.
  return refuse(isSubpage(fields.subpageCode) ? invalidCdbField(3) : invalidCdbField(2, 5));
}

function modeUnit({ device, state }: CommandContext): ModeSenseUnit {
  const { lengthBlocks, writeCacheEnabled, readOnly } = device;
  return { lengthBlocks, writeCacheEnabled, readOnly, modes: state.server.modes };
}

export function prepareModeSelect6(cdb: Uint8Array, at: number, unit: CommandContext): PreparedCommand {
  return prepareModeSelect({ ...modeSelect6Cdb.decode(cdb, at), longHeader: false }, unit);
}

export function prepareModeSelect10(cdb: Uint8Array, at: number, unit: CommandContext): PreparedCommand {
  return prepareModeSelect({ ...modeSelect10Cdb.decode(cdb, at), longHeader: true }, unit);
}

function prepareModeSelect(
  fields: {
    readonly pageFormat: boolean;
    readonly parameterListLength: number;
    readonly longHeader: boolean;
  },
  unit: CommandContext,
): PreparedCommand {
  if (!fields.pageFormat) return refuse(invalidCdbField(1, 4));
  if (fields.parameterListLength === 0) return accept;
  return {
    kind: 'operation',
    name: 'mode-select',
    dataOutBytes: fields.parameterListLength,
    carryOut: (list) => selectModes(list, fields.longHeader, unit),
  };
}

async function selectModes(
  list: Uint8Array,
  longHeader: boolean,
  unit: CommandContext,
): Promise<ScsiOutcome> {
  const { device, state, nexus } = unit;
  const wasWriteThrough = state.isWriteThrough;
  let refusal: Sense | undefined;
  let hasChanged = false;
  await state.change((present) => {
    const modes = decodeModeSelect(list, longHeader, { ...modeUnit(unit), modes: present.modes });
    if ('asc' in modes) {
      refusal = modes;
      return undefined;
    }
    hasChanged = JSON.stringify(modes) !== JSON.stringify(present.modes);
    return hasChanged ? { ...present, modes } : undefined;
  });
  if (refusal !== undefined) return checkCondition(refusal);
  if (hasChanged) state.tell(sense.modeParametersChanged, { but: nexus });
  // What was acknowledged while there was a write cache has to be safe once there is none.
  if (state.isWriteThrough && !wasWriteThrough) await device.flush();
  return goodWithoutData;
}

/** @returns what is wrong with the list, if anything is: then no parameter changes */
function decodeModeSelect(
  list: Uint8Array,
  longHeader: boolean,
  unit: ModeSenseUnit,
): ModeParameters | Sense {
  const headerBytes = longHeader ? 8 : 4;
  if (list.length < headerBytes) return sense.parameterListLengthError;
  const longLba = longHeader && ((list[4] as number) & 1) === 1;
  const descriptorBytes = longHeader ? readNumber(list.subarray(6, 8)) : (list[3] as number);
  let at = headerBytes + descriptorBytes;
  if (at > list.length) return sense.parameterListLengthError;
  if (descriptorBytes !== 0) {
    if (descriptorBytes !== (longLba ? 16 : 8)) return invalidListField(longHeader ? 6 : 3);
    // The last bytes, four in the long form and three in the short one, hold the block length.
    const lengthAt = at - (longLba ? 4 : 3);
    if (readNumber(list.subarray(lengthAt, at)) !== LOGICAL_BLOCK_BYTES) return invalidListField(lengthAt);
  }
  let { modes } = unit;
  while (at < list.length) {
    if (list.length - at < 2) return sense.parameterListLengthError;
    const page = PAGES.get((list[at] as number) & 0x3f);
    // Also turns away a page with subpages: there are none.
    if (page === undefined || ((list[at] as number) & 0x40) !== 0) return invalidListField(at, 5);
    if ((list[at + 1] as number) !== page.lengthBytes - 2) return invalidListField(at + 1);
    if (list.length - at < page.lengthBytes) return sense.parameterListLengthError;
    const given = list.subarray(at, at + page.lengthBytes);
    const current = page.encode({ ...unit, modes });
    const mask = page.changeable(unit);
    for (let i = 2; i < page.lengthBytes; i++) {
      const differing = (given[i] as number) ^ (current[i] as number);
      if ((differing & ~(mask[i] as number)) !== 0) return invalidListField(at + i);
    }
    modes = page.apply(given, modes);
    at += page.lengthBytes;
  }
  return modes;
}

/** Big-endian. */
function readNumber(bytes: Uint8Array): number {
  return bytes.reduce((value, byte) => value * 256 + byte, 0);
}
