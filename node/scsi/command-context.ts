import type { BlockDevice } from '../../storage/block-device.ts';
import type { TargetPaths } from './access-state.ts';
import type { LogicalUnitIdentity } from './identity.ts';
import type { PreparedCommand } from './prepared-command.ts';
import type { Sense } from './sense.ts';
import type { Nexus, UnitState } from './unit-state.ts';

/** What a command finds: the unit as one initiator sees it. */
export interface CommandContext {
  readonly device: BlockDevice;
  readonly identity: LogicalUnitIdentity;
  /** Every LUN of the target. */
  readonly luns: readonly number[];
  /** What all initiators of the unit share. */
  readonly state: UnitState;
  readonly nexus: Nexus;
  /** The ways to the target, and their asymmetric access states. */
  readonly paths: TargetPaths;
  /** What the initiator has yet to be told, and with that has been. */
  takeAttention(): Sense | undefined;
}

/**
 * Checks the CDB at `at`, of which 16 bytes must be present, beyond what the command table says of it, and
 * answers or says what has to be done.
 */
export type CommandHandler = (cdb: Uint8Array, at: number, unit: CommandContext) => PreparedCommand;
