import type { Logger } from '../../base/logger.ts';
import type { ClusterState } from '../../cluster/state/model.ts';
import type { TargetSessions } from '../iscsi/target-sessions.ts';
import { accessState } from '../scsi/access-state.ts';
import { findRow } from '../scsi/command-table.ts';
import { LogicalUnit } from '../scsi/logical-unit.ts';
import { checkCondition, dataOutBytes } from '../scsi/prepared-command.ts';
import { sense } from '../scsi/sense.ts';
import { ONLY_LUN, type ServedGroups } from './group-directory.ts';
import { lunIdentity } from './lun-identity.ts';
import type { RemoteCommand, RemoteOutcome } from './remote-command.ts';

export interface RemoteUnitOptions {
  readonly state: () => ClusterState | undefined;
  readonly groups: Omit<ServedGroups, 'forward'>;
  readonly targets: TargetSessions;
  readonly logger: Logger;
}

/**
 * Carries out, on the primary, a command of an initiator that is logged in by a path in standby: under the name that this
 * path gives it, beside the sessions that are here. Its own node has checked who it is.
 */
export async function carryOutRemote(
  command: RemoteCommand,
  { state: present, groups, targets, logger }: RemoteUnitOptions,
): Promise<RemoteOutcome> {
  const { groupId, lunId, targetPort, initiatorPort, cdb, dataOut } = command;
  const state = present();
  const client = Object.values(state?.clients ?? {}).find((c) => c.lunId === lunId);
  if (state === undefined || client?.portalGroup !== groupId || client.multipath !== true)
    return { kind: 'not-here' };
  const device = await groups.device(groupId, client);
  if (device === undefined) return { kind: 'not-here' };
  const row = findRow(cdb[0] as number, (cdb[1] as number) & 0x1f);
  if (row?.whileInactive !== 'forwarded') return checkCondition(sense.portInStandby);
  return targets.visit(client.targetName, ONLY_LUN, device, async (shared) => {
    const unit = new LogicalUnit({
      device,
      identity: { ...lunIdentity(state.clusterId, lunId), targetName: client.targetName },
      luns: [ONLY_LUN],
      state: shared,
      initiatorPort,
      logger,
      paths: { ...groups.paths(groupId, targetPort), ownState: () => accessState.activeOptimized },
    });
    try {
      // What its session has to be told of, its own node tells it.
      while (unit.takeAttention() !== undefined);
      const prepared = unit.prepare(cdb, 0);
      const wantedBytes = dataOutBytes(prepared);
      if (dataOut.length < wantedBytes) return checkCondition(sense.parameterListLengthError);
      return await unit.run(prepared, [dataOut.subarray(0, wantedBytes)]);
    } finally {
      unit.detach();
    }
  });
}
