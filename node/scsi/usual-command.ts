import type { BlockDevice } from '../../storage/block-device.ts';
import { opcode } from './cdb.ts';
import * as media from './media-command.ts';
import type { PreparedCommand } from './prepared-command.ts';

/** Bits of byte 1 that READ and WRITE of 10 and more bytes have no use for. */
const UNUSED_FLAGS = 0x07;

/**
 * Prepares the usual commands, READ and WRITE of 10 and 16 bytes, without a look into the table.
 * @returns undefined for any other, and for one that will be refused
 */
export function prepareUsual(cdb: Uint8Array, at: number, device: BlockDevice): PreparedCommand | undefined {
  if (((cdb[at + 1] as number) & UNUSED_FLAGS) !== 0) return undefined;
  let command: PreparedCommand;
  switch (cdb[at] as number) {
    case opcode.read10:
      if (cdb[at + 9] !== 0) return undefined;
      command = media.prepareRead(media.range10(cdb, at), device);
      break;
    case opcode.write10:
      if (cdb[at + 9] !== 0) return undefined;
      command = media.prepareWrite(media.range10(cdb, at), device);
      break;
    case opcode.read16:
      if (cdb[at + 15] !== 0) return undefined;
      command = media.prepareRead(media.range16(cdb, at), device);
      break;
    case opcode.write16:
      if (cdb[at + 15] !== 0) return undefined;
      command = media.prepareWrite(media.range16(cdb, at), device);
      break;
    default:
      return undefined;
  }
  return command.kind === 'done' ? undefined : command;
}
