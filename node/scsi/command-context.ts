import type { BlockDevice } from '../../storage/block-device.ts';
import type { TargetPaths } from './access-state.ts';
import type { LogicalUnitIdentity } from './identity.ts';
import type { PreparedCommand } from './prepared-command.ts';
import type { Sense } from './sense.ts';
import type { Nexus, UnitState } from './unit-state.ts';

/** A unit that a copy reads or writes, as the initiator that asked for the copy sees it. */
export interface CopyUnit {
  readonly device: BlockDevice;
  readonly state: UnitState;
  /** Why the copy may not, now; undefined when it may. */
  refusesCopy(access: 'read' | 'write'): Sense | undefined;
}

/** What a command finds: the unit as one initiator sees it. */
export interface CommandContext extends CopyUnit {
  readonly identity: LogicalUnitIdentity;
  /** Every LUN of the target. */
  readonly luns: readonly number[];
  readonly nexus: Nexus;
  /** iSCSIProtocolLevel of the session that the command came by. */
  readonly protocolLevel: number;
  /** The ways to the target, and their asymmetric access states. */
  readonly paths: TargetPaths;
  /** The unit with this NAA designator: this one, or another that the initiator has a session with on this node. */
  copyUnit(naa: Uint8Array): CopyUnit | undefined;
  /** What the initiator has yet to be told, and with that has been. */
  takeAttention(): Sense | undefined;
}

/**
 * Checks the CDB at `at`, of which 16 bytes must be present, beyond what the command table says of it, and
 * answers or says what has to be done.
 */
export type CommandHandler = (cdb: Uint8Array, at: number, unit: CommandContext) => PreparedCommand;
