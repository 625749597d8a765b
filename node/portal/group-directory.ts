import type { ClientRecord, ClusterState, NodeId, PortalGroupRecord } from '../../cluster/state/model.ts';
import { MOVABLE_PORTAL_TAG, portalTagOf, targetPaths } from '../../cluster/state/target-paths.ts';
import type { BlockDevice } from '../../storage/block-device.ts';
import type {
  Authentication,
  InitiatorIdentity,
  LoginDecision,
  LoginGranted,
  LoginRequestInfo,
  TargetDirectory,
} from '../iscsi/ports.ts';
import type { TargetPaths } from '../scsi/access-state.ts';
import type { ScsiOutcome } from '../scsi/prepared-command.ts';
import { authenticationOf, mayComeFrom } from './client-access.ts';
import { lunIdentity } from './lun-identity.ts';
import type { RemoteCommand } from './remote-command.ts';

/** What the directory needs of the portal groups on this node. */
export interface ServedGroups {
  isServing(groupId: string): boolean;
  /** Another node is the group's primary, so that it is or soon will be served there. */
  hasMoved(groupId: string): boolean;
  /**
   * The client's disk, made over its current image where it has none yet.
   * @returns undefined when it cannot be served here now
   */
  device(groupId: string, client: ClientRecord): Promise<BlockDevice | undefined>;
  /** The disk, which another node serves, as this one's copy has it; undefined where there is none yet. */
  standbyDevice(groupId: string, client: ClientRecord): BlockDevice | undefined;
  /** The paths to the group's disks, for a session that came by the portal with this tag. */
  paths(groupId: string, tag: number): TargetPaths;
  /** Has the group's primary carry out a command that came by a path in standby. */
  forward(command: RemoteCommand): Promise<ScsiOutcome>;
}

/** Where another worker of the same node is. */
export interface WorkerPortal {
  readonly address: string;
  readonly port: number;
}

/** Every client's disk is LUN 0 of a target of its own. */
export const ONLY_LUN = 0;

/**
 * Which targets an initiator finds at a portal of this node. A target is granted where its group is served and
 * redirected to the group's movable address from everywhere else; an initiator sees its own targets only. A client
 * with several paths finds its target at the fixed portals of all in-sync nodes as well.
 */
export class GroupDirectory implements TargetDirectory {
  readonly #state: () => ClusterState | undefined;
  readonly #groups: ServedGroups;
  readonly #fixedAt: NodeId | undefined;
  readonly #elsewhere: (groupId: string) => WorkerPortal | undefined;

  /**
   * @param options.fixedAt the node whose fixed portal this is; absent: the portal of the movable addresses
   * @param options.elsewhere the fixed portal of that worker of this node which has the group; undefined, or absent
   *   altogether: it is this one's
   */
  constructor(options: {
    state: () => ClusterState | undefined;
    groups: ServedGroups;
    fixedAt?: NodeId;
    elsewhere?: (groupId: string) => WorkerPortal | undefined;
  }) {
    this.#state = options.state;
    this.#groups = options.groups;
    this.#fixedAt = options.fixedAt;
    this.#elsewhere = options.elsewhere ?? (() => undefined);
  }

  list(initiator: InitiatorIdentity): ReturnType<TargetDirectory['list']> {
    const state = this.#state();
    if (state === undefined) return [];
    return clientsOf(state, initiator).flatMap((client) => {
      const portals = targetPaths(state, client).map(({ address, port, tag }) => ({ address, port, tag }));
      return portals.length === 0 ? [] : [{ targetName: client.targetName, portals }];
    });
  }

  /** A name alone proves nothing: whoever has to authenticate to a target has to before it is told of it. */
  authenticationForDiscovery(initiator: InitiatorIdentity): Authentication | undefined {
    const state = this.#state();
    const client = state === undefined ? undefined : clientsOf(state, initiator)[0];
    return client === undefined ? undefined : authenticationOf(client);
  }

  hasMoved(targetName: string): boolean {
    // Initiators come back to a fixed portal where it is.
    if (this.#fixedAt !== undefined) return false;
    const client = Object.values(this.#state()?.clients ?? {}).find((c) => c.targetName === targetName);
    return client !== undefined && this.#groups.hasMoved(client.portalGroup);
  }

  async login(request: LoginRequestInfo): Promise<LoginDecision> {
    const state = this.#state();
    if (state === undefined) return { kind: 'refused', reason: 'unavailable' };
    const client = Object.values(state.clients).find((c) => c.targetName === request.targetName);
    if (client === undefined) return { kind: 'refused', reason: 'not-found' };
    if (client.initiatorName !== request.initiatorName || !mayComeFrom(client, request.sourceAddress))
      return { kind: 'refused', reason: 'forbidden' };
    const group = state.portalGroups[client.portalGroup];
    if (group === undefined) return { kind: 'refused', reason: 'not-found' };
    // With several paths a redirect would only lead to one that the initiator has already.
    if (this.#fixedAt !== undefined && client.multipath !== true) {
      return { kind: 'redirect', address: group.address, port: group.port };
    }
    const elsewhere = this.#elsewhere(group.id);
    if (elsewhere !== undefined) {
      const { address, port } = this.#fixedAt === undefined ? group : elsewhere;
      return { kind: 'redirect', address, port };
    }
    const device = await this.#device(client, group);
    if (device === undefined) return { kind: 'refused', reason: 'unavailable' };
    return this.#grant(state, client, device);
  }

  /** At a movable address that is no longer served here there is none: a redirect would only lead back to it. */
  async #device(client: ClientRecord, group: PortalGroupRecord): Promise<BlockDevice | undefined> {
    if (this.#groups.isServing(group.id)) return this.#groups.device(group.id, client);
    const isStandby =
      this.#fixedAt !== undefined &&
      group.primary !== this.#fixedAt &&
      group.inSync.some((member) => member.nodeId === this.#fixedAt);
    return isStandby ? this.#groups.standbyDevice(group.id, client) : undefined;
  }

  #grant(state: ClusterState, client: ClientRecord, device: BlockDevice): LoginDecision {
    const authentication = authenticationOf(client);
    const node = this.#fixedAt === undefined ? undefined : state.nodes[this.#fixedAt];
    const tag = node === undefined ? MOVABLE_PORTAL_TAG : portalTagOf(node);
    return {
      kind: 'granted',
      ...(authentication === undefined ? {} : { authentication }),
      targetName: client.targetName,
      identity: lunIdentity(state.clusterId, client.lunId),
      luns: new Map([[ONLY_LUN, device]]),
      ...(client.multipath === true ? this.#paths(client, tag) : {}),
    };
  }

  #paths(
    { portalGroup: groupId, lunId }: ClientRecord,
    tag: number,
  ): Pick<LoginGranted, 'paths' | 'forward'> {
    return {
      paths: this.#groups.paths(groupId, tag),
      forward: (command) => this.#groups.forward({ ...command, groupId, lunId, targetPort: tag }),
    };
  }
}

function clientsOf(state: ClusterState, initiator: InitiatorIdentity): ClientRecord[] {
  return Object.values(state.clients).filter(
    (client) =>
      client.initiatorName === initiator.initiatorName && mayComeFrom(client, initiator.sourceAddress),
  );
}
