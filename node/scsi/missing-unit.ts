import { inquiryCdb, opcode, requestSenseCdb } from './cdb.ts';
import { encodeMissingUnitInquiry } from './inquiry.ts';
import { prepareReportLuns } from './parameter-command.ts';
import { answer, type PreparedCommand, refuse } from './prepared-command.ts';
import { encodeDescriptorSense, encodeSense, sense } from './sense.ts';

/** Commands to a LUN that holds nothing (SPC-4 §5.3, SAM-5 §5.11): three are answered, the rest refused. */
export function prepareForMissingUnit(cdb: Uint8Array, at: number, luns: readonly number[]): PreparedCommand {
  switch (cdb[at] as number) {
    case opcode.inquiry: {
      const { evpd, allocationLength } = inquiryCdb.decode(cdb, at);
      return evpd ? refuse(sense.invalidFieldInCdb) : answer(encodeMissingUnitInquiry(), allocationLength);
    }
    case opcode.reportLuns:
      return prepareReportLuns(cdb, at, luns);
    case opcode.requestSense: {
      const { descriptor, allocationLength } = requestSenseCdb.decode(cdb, at);
      const encode = descriptor ? encodeDescriptorSense : encodeSense;
      return answer(encode(sense.unitNotSupported), allocationLength);
    }
    default:
      return refuse(sense.unitNotSupported);
  }
}
