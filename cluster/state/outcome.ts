import type { CommandRefusal, CommandResult } from './commands.ts';
import type { ClusterState, PortalGroupId } from './model.ts';
import { namesOf } from './names.ts';

/** What applying one command gives. A refused command leaves the state the very same object. */
export interface Outcome {
  readonly state: ClusterState;
  readonly result: CommandResult;
}

export function accepted(state: ClusterState, value: unknown): Outcome {
  return { state, result: { ok: true, value } };
}

export function refused(state: ClusterState, refusal: CommandRefusal): Outcome {
  return { state, result: { ok: false, error: refusal } };
}

export function unknownGroup(state: ClusterState, groupId: PortalGroupId): Outcome {
  return refused(state, refusalOfGroup(state, groupId));
}

/** There is no such portal group. */
export function refusalOfGroup(state: ClusterState, groupId: PortalGroupId): CommandRefusal {
  return {
    kind: 'not-found',
    code: 'unknown-portal-group',
    message: `there is no portal group "${groupId}"`,
    got: groupId,
    accepted: namesOf(state.portalGroups),
  };
}
