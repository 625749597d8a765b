import type { ClientRecord, ClusterState, PortalGroupRecord } from '../../cluster/state/model.ts';
import type { BlockDevice } from '../../storage/block-device.ts';
import type {
  Authentication,
  InitiatorIdentity,
  LoginDecision,
  LoginRequestInfo,
  TargetDirectory,
} from '../iscsi/ports.ts';
import { authenticationOf, mayComeFrom } from './client-access.ts';
import { lunIdentity } from './lun-identity.ts';

/** What the directory needs of the portal groups on this node. */
export interface ServedGroups {
  isServing(groupId: string): boolean;
  /**
   * The client's disk, made over its current image where it has none yet.
   * @returns undefined when it cannot be served here now
   */
  device(groupId: string, client: ClientRecord): Promise<BlockDevice | undefined>;
}

/** Every client's disk is LUN 0 of a target of its own. */
const ONLY_LUN = 0;

/**
 * Which targets an initiator finds at a portal of this node. A target is granted where its group is served and
 * redirected to the group's movable address from everywhere else; an initiator sees its own targets only.
 */
export class GroupDirectory implements TargetDirectory {
  readonly #state: () => ClusterState | undefined;
  readonly #groups: ServedGroups;
  readonly #mayGrant: boolean;

  /** @param options.mayGrant false at the node's fixed portal, which only sends initiators on */
  constructor(options: { state: () => ClusterState | undefined; groups: ServedGroups; mayGrant: boolean }) {
    this.#state = options.state;
    this.#groups = options.groups;
    this.#mayGrant = options.mayGrant;
  }

  list(initiator: InitiatorIdentity): ReturnType<TargetDirectory['list']> {
    const state = this.#state();
    if (state === undefined) return [];
    return clientsOf(state, initiator).flatMap((client) => {
      const group = state.portalGroups[client.portalGroup];
      return group === undefined ? [] : [{ targetName: client.targetName, portals: [portalOf(group)] }];
    });
  }

  /** A name alone proves nothing: whoever has to authenticate to a target has to before it is told of it. */
  authenticationForDiscovery(initiator: InitiatorIdentity): Authentication | undefined {
    const state = this.#state();
    const client = state === undefined ? undefined : clientsOf(state, initiator)[0];
    return client === undefined ? undefined : authenticationOf(client);
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
    if (!this.#mayGrant) return { kind: 'redirect', ...portalOf(group) };
    // At a movable address that is no longer served here a redirect would only lead back to it.
    if (!this.#groups.isServing(group.id)) return { kind: 'refused', reason: 'unavailable' };
    const device = await this.#groups.device(group.id, client);
    if (device === undefined) return { kind: 'refused', reason: 'unavailable' };
    const authentication = authenticationOf(client);
    return {
      kind: 'granted',
      ...(authentication === undefined ? {} : { authentication }),
      targetName: client.targetName,
      identity: lunIdentity(state.clusterId, client.lunId),
      luns: new Map([[ONLY_LUN, device]]),
    };
  }
}

function portalOf(group: PortalGroupRecord): { address: string; port: number } {
  return { address: group.address, port: group.port };
}

function clientsOf(state: ClusterState, initiator: InitiatorIdentity): ClientRecord[] {
  return Object.values(state.clients).filter(
    (client) =>
      client.initiatorName === initiator.initiatorName && mayComeFrom(client, initiator.sourceAddress),
  );
}
