import { serialLess } from '../../base/serial-number.ts';
import type { LogicalUnit } from '../scsi/logical-unit.ts';
import { decodeLun } from '../scsi/parameter-command.ts';
import { type Sense, sense } from '../scsi/sense.ts';
import type { taskManagementRequest } from './pdu.ts';
import { type TaskManagementPlan, taskResponse } from './task-management.ts';
import type { TaskSet } from './task-set.ts';

/** What task management needs of the session that was asked. */
export interface ManagedSession {
  readonly units: ReadonlyMap<number, LogicalUnit>;
  readonly tasks: TaskSet;
  /** Ends tasks of one LUN or all, and tells the initiator by `attention`, if it is given. */
  endTasks(attention: Sense | undefined, lun?: number): Promise<void>;
  /** The other sessions of the target. */
  others(): readonly Pick<ManagedSession, 'endTasks'>[];
  /** Whether a task management request with this tag, be it the one that asks, is not answered yet. */
  isManaging(initiatorTaskTag: number): boolean;
  /** Resolves once every command before this one has come. */
  received(cmdSN: number): Promise<void>;
  /** Counts a command that is yet to be delivered as received, so that it never is. @returns whether it was */
  skip(cmdSN: number): boolean;
  /** As skip, for all that are missing or held before a command. */
  skipAllBefore(cmdSN: number): void;
}

export interface TaskAnswer {
  readonly response: number;
  /** Three bytes, of a query of unit attentions alone. */
  readonly information?: Uint8Array;
}

type Request = ReturnType<typeof taskManagementRequest.decode>;

/** UADE DEPTH. */
const attentionDepth = { one: 1, several: 2 } as const;

/** Carries out a task management function. Resolves once no task that it ended can change a block any more. */
export async function manageTasks(
  plan: TaskManagementPlan,
  request: Request,
  session: ManagedSession,
): Promise<TaskAnswer> {
  if (plan.kind === 'answer') return { response: plan.response };
  if (plan.kind === 'target') return { response: await resetTarget(request, session) };
  if (plan.kind === 'nexus-reset') {
    for (const unit of session.units.values()) unit.state.reservation.release(unit);
    await session.endTasks(undefined);
    return { response: taskResponse.complete };
  }
  const lun = decodeLun(request.lunHigh, request.lunLow);
  // An abort says itself what is not there.
  if (plan.kind === 'abort-task') return { response: await abortTask(request, lun, session) };
  const unit = session.units.get(lun);
  if (unit === undefined) return { response: taskResponse.lunDoesNotExist };
  switch (plan.kind) {
    case 'query-task':
      if (session.isManaging(request.referencedTaskTag)) return { response: taskResponse.rejected };
      return found(session.tasks.has(request.referencedTaskTag, lun));
    case 'query-task-set':
      return found(session.tasks.hasAny(lun));
    case 'query-attentions':
      return describeAttentions(unit);
    case 'logical-unit':
      return { response: await endTasksOfUnit(plan, request, unit, session) };
  }
}

function found(isThere: boolean): TaskAnswer {
  return { response: isThere ? taskResponse.succeeded : taskResponse.complete };
}

/** QUERY ASYNCHRONOUS EVENT (SAM-5 §7.9): the next unit attention, which stays pending. */
function describeAttentions(unit: LogicalUnit): TaskAnswer {
  const { next, count } = unit.pendingAttentions;
  if (next === undefined) return { response: taskResponse.complete };
  const depth = count > 1 ? attentionDepth.several : attentionDepth.one;
  const information = Uint8Array.of((depth << 4) | next.key, next.asc, next.ascq);
  return { response: taskResponse.succeeded, information };
}

async function endTasksOfUnit(
  plan: Extract<TaskManagementPlan, { kind: 'logical-unit' }>,
  { cmdSN, lunHigh, lunLow }: Request,
  unit: LogicalUnit,
  session: ManagedSession,
): Promise<number> {
  // The tasks of other initiators are where the unit is active.
  if (plan.everyInitiator && !unit.isActive) return taskResponse.rejected;
  const lun = decodeLun(lunHigh, lunLow);
  const received = session.received(cmdSN);
  if (plan.reset) {
    await received;
    unit.resetReservation();
  }
  const own = plan.reset
    ? session.endTasks(plan.attention, lun)
    : session.tasks.endEarlier(lun, cmdSN, received);
  const others = plan.everyInitiator ? session.others() : [];
  await Promise.all([own, ...others.map((other) => other.endTasks(plan.attention, lun))]);
  return taskResponse.complete;
}

async function resetTarget({ cmdSN }: Request, session: ManagedSession): Promise<number> {
  const units = [...session.units.values()];
  if (units.some((unit) => !unit.isActive)) return taskResponse.rejected;
  session.skipAllBefore(cmdSN);
  for (const unit of units) unit.resetReservation();
  await Promise.all([session, ...session.others()].map((each) => each.endTasks(sense.busReset)));
  return taskResponse.complete;
}

/** @returns "complete" also where the command never came, and now never will (§11.6.1) */
async function abortTask(request: Request, lun: number, session: ManagedSession): Promise<number> {
  const { referencedTaskTag, refCmdSN, cmdSN } = request;
  if (session.isManaging(referencedTaskTag)) return taskResponse.rejected;
  if (session.tasks.has(referencedTaskTag, lun)) {
    await session.tasks.abort(referencedTaskTag);
    return taskResponse.complete;
  }
  const isBefore = serialLess(refCmdSN, cmdSN);
  return isBefore && session.skip(refCmdSN) ? taskResponse.complete : taskResponse.taskDoesNotExist;
}
