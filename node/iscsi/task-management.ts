import { type Sense, sense } from '../scsi/sense.ts';

/** Task management (RFC 7143 §11.5, §11.6). */
export const taskFunction = {
  abortTask: 1,
  abortTaskSet: 2,
  clearAca: 3,
  clearTaskSet: 4,
  logicalUnitReset: 5,
  targetWarmReset: 6,
  targetColdReset: 7,
  taskReassign: 8,
} as const;

export const taskResponse = {
  complete: 0,
  taskDoesNotExist: 1,
  lunDoesNotExist: 2,
  reassignNotSupported: 4,
  notSupported: 5,
  rejected: 255,
} as const;

/** What a function does, without saying to which session. */
export type TaskManagementPlan =
  | { readonly kind: 'answer'; readonly response: number }
  | { readonly kind: 'abort-task' }
  /** Ends the tasks of a logical unit: this initiator's, or with `everyInitiator` all. */
  | {
      readonly kind: 'logical-unit';
      readonly everyInitiator: boolean;
      readonly reset: boolean;
      /** What initiators other than this one are told. */
      readonly attention: Sense;
    }
  /** Ends all tasks of the target; with `cold` also every session. */
  | { readonly kind: 'target'; readonly cold: boolean };

export function planTaskManagement(code: number): TaskManagementPlan {
  switch (code) {
    case taskFunction.abortTask:
      return { kind: 'abort-task' };
    case taskFunction.abortTaskSet:
      return { kind: 'logical-unit', everyInitiator: false, reset: false, attention: sense.commandsCleared };
    case taskFunction.clearTaskSet:
      return { kind: 'logical-unit', everyInitiator: true, reset: false, attention: sense.commandsCleared };
    case taskFunction.logicalUnitReset:
      return { kind: 'logical-unit', everyInitiator: true, reset: true, attention: sense.deviceReset };
    case taskFunction.targetWarmReset:
      return { kind: 'target', cold: false };
    case taskFunction.targetColdReset:
      return { kind: 'target', cold: true };
    case taskFunction.taskReassign:
      return { kind: 'answer', response: taskResponse.reassignNotSupported };
    default:
      return { kind: 'answer', response: taskResponse.notSupported };
  }
}
