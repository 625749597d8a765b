import { unreachable } from '../../base/errors.ts';
import { type BlockDevice, type DeviceError, LOGICAL_BLOCK_BYTES } from '../../storage/block-device.ts';
import { VERIFY_STEP_BLOCKS } from './limits.ts';
import {
  checkCondition,
  goodWithoutData,
  type PreparedCommand,
  type ScsiOutcome,
} from './prepared-command.ts';
import { sense } from './sense.ts';
import { firstDifference } from './write-command.ts';

/** What a command ends with by what its device does: reads to verify, and failures. */

/** Reads all of it, for nothing but to see that it can be. @throws DeviceError */
export async function verifyMedium(
  device: BlockDevice,
  lba: number,
  lengthBlocks: number,
): Promise<ScsiOutcome> {
  for (let done = 0; done < lengthBlocks; done += VERIFY_STEP_BLOCKS) {
    await device.read(lba + done, Math.min(VERIFY_STEP_BLOCKS, lengthBlocks - done));
  }
  return goodWithoutData;
}

/** @throws DeviceError */
export async function compareMedium(
  device: BlockDevice,
  command: { readonly lba: number; readonly lengthBlocks: number; readonly repeated: boolean },
  dataOut: readonly Uint8Array[],
): Promise<ScsiOutcome> {
  const expected = Buffer.concat(dataOut);
  const found = Buffer.concat(await device.read(command.lba, command.lengthBlocks));
  const period = command.repeated ? LOGICAL_BLOCK_BYTES : found.length;
  for (let at = 0; at < found.length; at += period) {
    const differing = firstDifference(found.subarray(at, at + period), expected);
    if (differing >= 0) return checkCondition({ ...sense.miscompare, information: at + differing });
  }
  return goodWithoutData;
}

/** The status that says what has failed. */
export function outcomeOf(error: DeviceError, command: PreparedCommand): ScsiOutcome {
  const first = 'lba' in command ? command.lba : undefined;
  // The damage may begin before what was asked for: blocks are kept in larger ones (SPC-4 4.5.2.2).
  const lba = first === undefined ? undefined : Math.max(first, error.lba ?? first);
  const information = lba === undefined ? {} : { information: lba };
  switch (error.kind) {
    case 'not-serving':
      return { kind: 'not-serving' };
    case 'out-of-range':
      return checkCondition({ ...sense.lbaOutOfRange, ...information });
    case 'read-only':
      return checkCondition(sense.writeProtected);
    // It may write again without anybody doing anything about it here: initiators try again.
    case 'too-few-copies':
      return checkCondition(sense.becomingReady);
    case 'no-space':
      return checkCondition(sense.spaceAllocationFailed);
    case 'medium-error': {
      const writing = command.kind === 'write' || command.kind === 'flush' || command.kind === 'operation';
      return checkCondition({ ...(writing ? sense.writeError : sense.unrecoveredReadError), ...information });
    }
    default:
      return unreachable(error.kind);
  }
}
