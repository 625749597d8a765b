import { type Sense, sense } from '../scsi/sense.ts';
import { LEVEL_OF_QUERIES } from '../scsi/supported-opcodes.ts';

/** Task management (RFC 7143 §11.5, §11.6; from queryTask on RFC 7144 §6.3). */
export const taskFunction = {
  abortTask: 1,
  abortTaskSet: 2,
  clearAca: 3,
  clearTaskSet: 4,
  logicalUnitReset: 5,
  targetWarmReset: 6,
  targetColdReset: 7,
  taskReassign: 8,
  queryTask: 9,
  queryTaskSet: 10,
  nexusReset: 11,
  queryAsynchronousEvent: 12,
} as const;

export const taskResponse = {
  complete: 0,
  taskDoesNotExist: 1,
  lunDoesNotExist: 2,
  reassignNotSupported: 4,
  notSupported: 5,
  /** What a query asks after is there; "complete" says that it is not. */
  succeeded: 7,
  rejected: 255,
} as const;

/** What a function does, without saying to which session. */
export type TaskManagementPlan =
  | { readonly kind: 'answer'; readonly response: number }
  | { readonly kind: 'abort-task' }
  | { readonly kind: 'query-task' | 'query-task-set' | 'query-attentions' }
  /** Ends the session's tasks, then the session (RFC 7144 §6.3). */
  | { readonly kind: 'nexus-reset' }
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

/** @param protocolLevel as negotiated for the session */
export function planTaskManagement(code: number, protocolLevel: number): TaskManagementPlan {
  if (code >= taskFunction.queryTask && protocolLevel < LEVEL_OF_QUERIES) {
    return { kind: 'answer', response: taskResponse.notSupported };
  }
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
    case taskFunction.queryTask:
      return { kind: 'query-task' };
    case taskFunction.queryTaskSet:
      return { kind: 'query-task-set' };
    case taskFunction.nexusReset:
      return { kind: 'nexus-reset' };
    case taskFunction.queryAsynchronousEvent:
      return { kind: 'query-attentions' };
    default:
      return { kind: 'answer', response: taskResponse.notSupported };
  }
}
