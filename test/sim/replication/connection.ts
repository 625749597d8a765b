import type { BlockDevice, DeviceError } from '../../../storage/block-device.ts';

/** Of memory that was given back. */
const USED_AGAIN = 0xee;

export interface DataOut {
  readonly lba: number;
  /** Used again, with something else in it, as soon as the device allows. */
  readonly parts: readonly Uint8Array[];
  readonly forceUnitAccess: boolean;
}

export interface Watch {
  readonly counters: { add(name: string): void };
  readonly fail: (what: string) => void;
  /** The number that the next record handed to the log will have. */
  readonly nextIndex: () => number;
}

/** A write as node/iscsi has it done: begun before this returns where that can be, and with a promise where not. */
export function writeAsConnectionsDo(
  device: BlockDevice,
  { lba, parts, forceUnitAccess }: DataOut,
  { counters, fail, nextIndex }: Watch,
): Promise<void> {
  return new Promise((resolve, reject) => {
    let hasReturned = false;
    let hasEnded = false;
    const before = nextIndex();
    const ended = (error: DeviceError | undefined): void => {
      if (!hasReturned) fail('a write has ended before beginning it returns');
      if (hasEnded) fail('a write ends twice');
      hasEnded = true;
      if (error === undefined) resolve();
      else reject(error);
    };
    const hasBegun = device.beginWrite?.(lba, parts, { forceUnitAccess }, ended) === true;
    hasReturned = true;
    // Of this turn, for this one is not among them yet.
    if (nextIndex() > before) counters.add('sim.gone-ahead');
    if (hasBegun) {
      for (const part of parts) part.fill(USED_AGAIN);
      counters.add('sim.begun-writes');
    } else {
      device.write(lba, parts, { forceUnitAccess }).then(resolve, reject);
    }
  });
}

/** A read as node/iscsi has it done: answered at once where that can be. */
export async function readAsConnectionsDo(
  device: BlockDevice,
  lba: number,
  lengthBlocks: number,
  { counters }: Pick<Watch, 'counters'>,
): Promise<Buffer> {
  const now = device.readNow?.(lba, lengthBlocks);
  if (now === undefined) return Buffer.concat(await device.read(lba, lengthBlocks));
  counters.add('sim.reads-at-once');
  return Buffer.concat(now);
}
