import { ByteWriter } from '../../base/byte-writer.ts';
import { reportTargetPortGroupsCdb } from './cdb.ts';
import type { CommandContext } from './command-context.ts';
import { answer, type PreparedCommand, refuse } from './prepared-command.ts';
import { invalidCdbField } from './sense.ts';

/** States a group may be in: transitioning, unavailable, standby, active/non-optimized, active/optimized. */
const SUPPORTED_STATES = 0x8f;
const STATUS_BY_IMPLICIT_CHANGE = 2;
const format = { lengthOnly: 0, extended: 1 } as const;

/** REPORT TARGET PORT GROUPS (SPC-4 §6.37). */
export function prepareReportTargetPortGroups(
  cdb: Uint8Array,
  at: number,
  unit: CommandContext,
): PreparedCommand {
  const fields = reportTargetPortGroupsCdb.decode(cdb, at);
  if (fields.format > format.extended) return refuse(invalidCdbField(1, 7));
  const body = new ByteWriter(64);
  // An implicit transition takes no time worth waiting for.
  if (fields.format === format.extended) body.u8(format.extended << 4).zeros(3);
  for (const group of unit.paths.groups()) {
    body.u8((group.preferred ? 0x80 : 0) | group.state).u8(SUPPORTED_STATES);
    body.u16(group.tag).u8(0).u8(STATUS_BY_IMPLICIT_CHANGE).u8(0).u8(group.ports.length);
    for (const port of group.ports) body.u16(0).u16(port);
  }
  const data = body.finish();
  return answer(
    new ByteWriter(4 + data.length).u32(data.length).bytes(data).finish(),
    fields.allocationLength,
  );
}
