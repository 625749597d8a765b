import type { ProtocolError } from '../../base/errors.ts';
import { LOGICAL_BLOCK_BYTES } from '../../storage/block-device.ts';
import { accept, dataOutBytes, type PreparedCommand, refuse } from '../scsi/prepared-command.ts';
import { type Sense, sense } from '../scsi/sense.ts';

/** What the PDU of a command says of its data (RFC 7143 §11.3). */
interface AnnouncedData {
  readonly read: boolean;
  readonly write: boolean;
  readonly expectedDataTransferLength: number;
}

/**
 * An initiator that announces less data than its WRITE needs gets the whole blocks of it written, and is told
 * of the rest as overflow (RFC 7143 §11.4.5). Anything else with too little data is refused, and so is what needs data and
 * announces some from the target: it would seem to have been carried out.
 */
export function fitToExpected(command: PreparedCommand, announced: AnnouncedData): PreparedCommand {
  const { read, write, expectedDataTransferLength } = announced;
  const expectedBytes = write ? expectedDataTransferLength : 0;
  if (command.kind === 'operation' && command.exactData === true && command.dataOutBytes !== expectedBytes) {
    return refuse(sense.invalidFieldInCdb);
  }
  if (dataOutBytes(command) <= expectedBytes) return command;
  const isOtherWay = read && expectedDataTransferLength > 0;
  if (command.kind !== 'write' || isOtherWay) return refuse(sense.invalidInformationUnit);
  const lengthBlocks = Math.floor(expectedBytes / LOGICAL_BLOCK_BYTES);
  return lengthBlocks === 0 ? accept : { ...command, lengthBlocks };
}

/** Whether the device goes on with it once its task has ended. */
export function outlivesItsTask(command: PreparedCommand): boolean {
  return command.kind === 'operation' && command.outlivesTask === true;
}

/** Sense of a command whose data did not follow the rules (RFC 7143 §11.4.7.2). */
export function transferSense(failure: ProtocolError): Sense {
  return TRANSFER_SENSE.get(failure.code) ?? sense.protocolServiceCrcError;
}

const TRANSFER_SENSE: ReadonlyMap<string, Sense> = new Map<string, Sense>([
  ['unexpected-unsolicited-data', sense.unexpectedUnsolicitedData],
  ['unexpected-data', sense.unexpectedUnsolicitedData],
  ['too-much-data', sense.incorrectAmountOfData],
  ['short-burst', sense.incorrectAmountOfData],
]);
