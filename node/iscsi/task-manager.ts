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
  /** Counts a command that is yet to come as received. @returns whether there is one */
  skip(refCmdSN: number): boolean;
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
  if (plan.kind === 'target') return { response: await resetTarget(session) };
  if (plan.kind === 'nexus-reset') {
    for (const unit of session.units.values()) unit.state.reservation.release(unit);
    await session.endTasks(sense.nexusLost);
    return { response: taskResponse.complete };
  }
  const lun = decodeLun(request.lunHigh, request.lunLow);
  // An abort says itself what is not there.
  if (plan.kind === 'abort-task') return { response: await abortTask(request, lun, session) };
  const unit = session.units.get(lun);
  if (unit === undefined) return { response: taskResponse.lunDoesNotExist };
  switch (plan.kind) {
    case 'query-task':
      return found(session.tasks.has(request.referencedTaskTag, lun));
    case 'query-task-set':
      return found(session.tasks.hasAny(lun));
    case 'query-attentions':
      return describeAttentions(unit);
    case 'logical-unit':
      return { response: await endTasksOfUnit(plan, lun, unit, session) };
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
  lun: number,
  unit: LogicalUnit,
  session: ManagedSession,
): Promise<number> {
  // The tasks of other initiators are where the unit is active.
  if (plan.everyInitiator && !unit.isActive) return taskResponse.rejected;
  if (plan.reset) unit.resetReservation();
  const others = plan.everyInitiator ? session.others() : [];
  await Promise.all([
    session.endTasks(plan.reset ? plan.attention : undefined, lun),
    ...others.map((other) => other.endTasks(plan.attention, lun)),
  ]);
  return taskResponse.complete;
}

async function resetTarget(session: ManagedSession): Promise<number> {
  const units = [...session.units.values()];
  if (units.some((unit) => !unit.isActive)) return taskResponse.rejected;
  for (const unit of units) unit.resetReservation();
  await Promise.all([session, ...session.others()].map((each) => each.endTasks(sense.busReset)));
  return taskResponse.complete;
}

async function abortTask(request: Request, lun: number, session: ManagedSession): Promise<number> {
  if (session.tasks.has(request.referencedTaskTag, lun)) {
    await session.tasks.abort(request.referencedTaskTag);
    return taskResponse.complete;
  }
  return session.skip(request.refCmdSN) ? taskResponse.complete : taskResponse.taskDoesNotExist;
}
