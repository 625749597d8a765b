import type { LogicalUnit } from '../scsi/logical-unit.ts';
import type { PreparedCommand } from '../scsi/prepared-command.ts';
import type { WriteTransfer } from './data-out.ts';
import type { AnsweredTask } from './responder.ts';
import type { AttributedTask } from './task-order.ts';

/** A SCSI command from its arrival to its status. */
export interface Task extends AnsweredTask, AttributedTask {
  readonly cmdSN: number;
  readonly immediate: boolean;
  readonly unit: LogicalUnit | undefined;
  readonly command: PreparedCommand;
  readonly transfer: WriteTransfer | undefined;
  /** Bytes counted against MAX_SOLICITED_BYTES. */
  reservedBytes: number;
  /** Bytes of its data that are here, or were asked for. */
  heldBytes: number;
  running: boolean;
  aborted: boolean;
  /** To be ended as soon as the data that was asked for has come, or would have; set when someone waits for that. */
  onDataEnd: (() => void) | undefined;
  /** Set when someone waits for an aborted task to leave the device. */
  onSettled: (() => void) | undefined;
}
