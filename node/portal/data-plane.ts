import type { CancelTimer, Timers } from '../../base/clock.ts';
import { describeError, ProtocolError } from '../../base/errors.ts';
import { parseIpv4 } from '../../base/ipv4.ts';
import type { Logger } from '../../base/logger.ts';
import type { ClientRecord, ClusterState } from '../../cluster/state/model.ts';
import type { BlockDevice } from '../../storage/block-device.ts';
import type { ImageVersionRef } from '../../storage/image/image-source.ts';
import type { ReplicationHost } from '../../storage/replication/index.ts';
import type { IscsiPortal } from '../iscsi/portal.ts';
import type { TargetSessions } from '../iscsi/target-sessions.ts';
import type { Endpoint } from '../net/tcp-segment.ts';
import type { TargetPaths } from '../scsi/access-state.ts';
import { describeCatchUp } from './catch-up-text.ts';
import { isBarred, losesPathAt } from './client-access.ts';
import { ClientDisks } from './client-disks.ts';
import type { ServedGroups } from './group-directory.ts';
import { GroupPaths } from './group-paths.ts';
import { KnownInitiators } from './known-initiators.ts';
import { Lapses } from './lapses.ts';
import { GUARDIAN_RENEW_EVERY_MS, HANDOVER_CHECK_MS } from './limits.ts';
import { PortalAddress, type PortalAddressPorts } from './portal-address.ts';
import { decodeNotice, encodeNotice, endpointOf, type PortalNotice } from './portal-notice.ts';
import { describeRoom } from './room-text.ts';
import { describeSlow } from './slow-text.ts';
import type { BeginBootAnswer, DataPlaneStatus, ImageUse } from './worker-protocol.ts';

export interface DataPlaneOptions {
  readonly nodeId: string;
  /** Whether a group is this worker's. */
  readonly hasGroup: (groupId: string) => boolean;
  readonly replication: ReplicationHost;
  readonly addressPorts: Omit<PortalAddressPorts, 'isServing' | 'taken'> & {
    /** Lets initiators with connections to the portal's earlier place notice that it is here; not on loopback. */
    nudge(portal: Endpoint, initiators: readonly Endpoint[]): void;
  };
  /** Tells the guardian that this event loop is alive. */
  readonly renewAddresses: () => void;
  readonly timers: Timers;
  readonly logger: Logger;
  readonly counters: { snapshot(): Record<string, number> };
  /** What sessions share, by whichever of the node's portals they came. */
  readonly targets: TargetSessions;
}

interface NodePortals {
  /** At the movable addresses that are here. */
  readonly movable: IscsiPortal;
  /** At the node's own address. */
  readonly fixed: IscsiPortal;
}

/**
 * What one worker does with its portal groups: their addresses follow their service, their LUNs follow the
 * clients of the cluster log, and a booting client gets its disk as the write-cache policy says.
 */
export class DataPlane implements Omit<ServedGroups, 'forward'> {
  readonly #options: DataPlaneOptions;
  readonly #addresses = new Map<string, PortalAddress>();
  readonly #paths: GroupPaths;
  readonly #disks: ClientDisks;
  #portals: NodePortals | undefined;
  readonly #lapses: Lapses;
  readonly #initiators: KnownInitiators;
  #areSessionsNew = false;
  /** None began or ended between the last two renewals, nor since. */
  #areSessionsQuiet = false;
  #cancelTelling: CancelTimer | undefined;
  #state: ClusterState | undefined;
  #cancelRenewal: CancelTimer | undefined;

  constructor(options: DataPlaneOptions) {
    this.#options = options;
    this.#initiators = new KnownInitiators(options.timers);
    this.#paths = new GroupPaths({
      nodeId: options.nodeId,
      isActive: (groupId) => this.isServing(groupId) || this.#lapses.isAwaitingLease(groupId),
      onChange: (groupId) => this.#tellOfPaths(groupId),
    });
    this.#disks = new ClientDisks({
      state: () => this.#state,
      group: (groupId) => options.replication.group(groupId),
      closeTarget: (targetName) => this.#closeTarget(targetName),
      logger: options.logger,
    });
    this.#lapses = new Lapses({
      timers: options.timers,
      hasMoved: (groupId) => this.hasMoved(groupId),
      moved: (groupId) => this.#movedAway(groupId),
      endSessions: (groupId, hasMoved) => this.#endSessions(groupId, hasMoved),
    });
    options.replication.onServingChange((groupId, serving) => this.#servingChanged(groupId, serving));
    options.replication.onLapseEnd((groupId) => this.#lapses.leaseGivenUp(groupId));
  }

  /** The portals whose sessions end when a target leaves this node. */
  attachPortals(portals: NodePortals): void {
    this.#portals = portals;
  }

  start(): void {
    const renew = (): void => {
      this.#options.renewAddresses();
      this.#areSessionsQuiet = !this.#areSessionsNew;
      if (this.#areSessionsNew) this.#publishAll();
      this.#cancelRenewal = this.#options.timers.setTimer(GUARDIAN_RENEW_EVERY_MS, renew);
    };
    renew();
  }

  stop(): void {
    this.#cancelRenewal?.();
    this.#cancelTelling?.();
    this.#initiators.stop();
    this.#lapses.stop();
    for (const address of this.#addresses.values()) address.setWanted(false);
  }

  state(): ClusterState | undefined {
    return this.#state;
  }

  applyState(state: ClusterState): void {
    const before = this.#state;
    const barred = Object.values(this.#state?.clients ?? {}).filter((c) =>
      isBarred(c, state.clients[c.name]),
    );
    this.#state = state;
    for (const client of barred) this.#closeTarget(client.targetName);
    for (const { name, targetName } of Object.values(before?.clients ?? {})) {
      if (before !== undefined && losesPathAt(this.#options.nodeId, before, state, name))
        this.#portals?.fixed.closeTarget(targetName);
    }
    const { leaseMs, catchUpBytesPerSecond } = state.settings;
    this.#options.replication.applyClusterState({
      groups: Object.values(state.portalGroups).filter(({ id }) => this.#options.hasGroup(id)),
      nodes: Object.values(state.nodes),
      leaseMs,
      ...(catchUpBytesPerSecond === undefined ? {} : { catchUpBytesPerSecond }),
    });
    this.#paths.applyState(state);
    for (const groupId of Object.keys(state.portalGroups)) this.#disks.dropWithoutClient(groupId);
  }

  /** Resolves once no session waits any more for another node to take over. */
  async handedOver(): Promise<void> {
    while (this.#lapses.size > 0) {
      await new Promise<void>((resolve) => this.#options.timers.setTimer(HANDOVER_CHECK_MS, resolve));
    }
  }

  isServing(groupId: string): boolean {
    return this.#options.replication.group(groupId)?.isServing() ?? false;
  }

  hasMoved(groupId: string): boolean {
    return this.#options.replication.group(groupId)?.status().role !== 'primary';
  }

  /** This node's office in the group has ended. @returns when its address is off this node */
  letGo(groupId: string): Promise<void> {
    const address = this.#addresses.get(groupId);
    address?.setWanted(false);
    return address?.whenReleased() ?? Promise.resolve();
  }

  /** What the node of the group's primary tells the others. */
  heard(groupId: string, bytes: Uint8Array): void {
    let notice: PortalNotice;
    try {
      notice = decodeNotice(bytes);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#options.logger.warn('portal.bad-notice', { group: groupId, reason: describeError(error) });
      return;
    }
    this.#initiators.heard(groupId, notice.initiators);
    if (notice.isOpen) this.#lapses.openElsewhere(groupId);
  }

  /**
   * To be told to the other members: at once where little happens, since should this node die now, only who knows of a
   * session can make its initiator notice; else with whatever else changes until the next renewal.
   */
  sessionsChanged(): void {
    this.#areSessionsNew = true;
    if (!this.#areSessionsQuiet) return;
    this.#areSessionsQuiet = false;
    this.#cancelTelling = this.#options.timers.setTimer(0, () => this.#publishAll());
  }

  device(groupId: string, client: ClientRecord): Promise<BlockDevice | undefined> {
    return this.#disks.open(groupId, client);
  }

  standbyDevice(groupId: string, client: ClientRecord): BlockDevice | undefined {
    return this.#disks.openStandby(groupId, client);
  }

  /** The node that serves the group, as far as is known here. */
  primaryOf(groupId: string): string | undefined {
    return this.#state?.portalGroups[groupId]?.primary;
  }

  paths(groupId: string, tag: number): TargetPaths {
    return this.#paths.by(groupId, tag);
  }

  /** See ClientDisks. */
  beginBoot(clientName: string): Promise<BeginBootAnswer> {
    return this.#disks.beginBoot(clientName);
  }

  /** See ClientDisks. */
  imageUse(image: ImageVersionRef): Promise<readonly ImageUse[]> {
    return this.#disks.usesOf(image);
  }

  status(): Omit<DataPlaneStatus, 'integrity'> {
    const groups = Object.keys(this.#state?.portalGroups ?? {}).flatMap((id) => {
      const group = this.#options.replication.group(id);
      return group === undefined ? [] : [{ id, group }];
    });
    return {
      groups: groups.map(({ id, group }) => {
        const { role, epoch, primary, commitIndex, nextIndex, catchUp, room, slow } = group.status();
        return {
          id,
          role,
          epoch,
          commitIndex,
          nextIndex,
          serving: group.isServing(),
          listening: this.#addresses.get(id)?.listening ?? false,
          catchUp: catchUp === undefined ? null : describeCatchUp(catchUp),
          room: describeRoom(room) ?? null,
          slow: describeSlow(slow, primary) ?? null,
        };
      }),
      sessions: this.#allPortals()
        .flatMap((portal) => portal.sessions())
        .map((s) => ({
          target: s.targetName ?? '',
          initiator: s.initiatorName,
          remote: s.remote,
          readBytes: s.readBytes,
          writtenBytes: s.writtenBytes,
        })),
      luns: groups.flatMap(({ id, group }) =>
        group.luns().map((lun) => ({
          lunId: lun.lunId,
          portalGroup: id,
          image: lun.base.name,
          imageVersion: lun.base.version,
          lengthBlocks: lun.lengthBlocks,
          writtenBytes: lun.writtenBytes,
        })),
      ),
      counters: this.#options.counters.snapshot(),
    };
  }

  /** The guardian took addresses away because this thread was silent too long. */
  addressesLost(addresses: readonly string[]): void {
    for (const portal of this.#addresses.values()) {
      if (addresses.includes(portal.address)) portal.lost();
    }
  }

  /** The address follows at once, its sessions later. */
  #servingChanged(groupId: string, serving: boolean): void {
    const group = this.#state?.portalGroups[groupId];
    if (group === undefined) return this.#groupRemoved(groupId);
    if (!serving && this.hasMoved(groupId)) this.#announceDrops(groupId);
    this.#addressOf(groupId, group).setWanted(serving);
    if (!serving) return this.#lapses.begin(groupId);
    this.#lapses.forget(groupId);
    for (const name of this.#targetsOf(groupId)) this.#portals?.movable.closeMoved(name);
    this.#paths.refresh(groupId);
    this.#disks.dropWithoutClient(groupId);
  }

  /**
   * At fixed portals what was asked of this node while it served the disk is answered by a reset, and at once: there
   * initiators come again to this very node.
   */
  #movedAway(groupId: string): void {
    for (const name of this.#targetsOf(groupId)) this.#portals?.fixed.closeTarget(name);
    this.#paths.refresh(groupId);
  }

  /** No client had its disk there, so that its address is all that is left. */
  #groupRemoved(groupId: string): void {
    this.#addresses.get(groupId)?.setWanted(false);
    this.#addresses.delete(groupId);
    this.#lapses.forget(groupId);
  }

  /** While the address is still here: nothing can be sent from one that is gone. */
  #announceDrops(groupId: string): void {
    for (const portal of this.#allPortals()) {
      for (const name of this.#targetsOf(groupId)) portal.announceDrop(name);
    }
  }

  #tellOfPaths(groupId: string): void {
    for (const client of Object.values(this.#state?.clients ?? {})) {
      if (client.portalGroup === groupId && client.multipath === true)
        this.#options.targets.accessChanged(client.targetName);
    }
  }

  #endSessions(groupId: string, hasMoved: boolean): void {
    for (const name of this.#targetsOf(groupId)) {
      if (hasMoved) this.#portals?.movable.closeTarget(name);
      else this.#closeTarget(name);
    }
    this.#paths.refresh(groupId);
  }

  #targetsOf(groupId: string): string[] {
    const clients = Object.values(this.#state?.clients ?? {});
    return clients.filter((c) => c.portalGroup === groupId).map((c) => c.targetName);
  }

  #publishAll(): void {
    this.#areSessionsNew = false;
    for (const [groupId, address] of this.#addresses) if (address.listening) this.#publish(groupId);
  }

  #publish(groupId: string): void {
    const targets = new Set(this.#targetsOf(groupId));
    const sessions = this.#portals?.movable.sessions() ?? [];
    const here = sessions.flatMap(({ targetName, remote }) =>
      targets.has(targetName ?? '') ? (endpointOf(remote) ?? []) : [],
    );
    const initiators = this.#initiators.toTell(groupId, here);
    this.#options.replication.group(groupId)?.publish(encodeNotice({ isOpen: true, initiators }));
  }

  /** Tells the network, and the initiators of whoever held the address before. */
  #announce(groupId: string, group: { address: string; port: number }): void {
    this.#options.addressPorts.announce(group.address);
    const portal = { address: parseIpv4(group.address), port: group.port };
    this.#options.addressPorts.nudge(portal, this.#initiators.toNudge(groupId));
  }

  #addressOf(groupId: string, group: { address: string; port: number }): PortalAddress {
    let address = this.#addresses.get(groupId);
    if (address === undefined) {
      address = new PortalAddress({
        address: group.address,
        port: group.port,
        ports: {
          ...this.#options.addressPorts,
          isServing: () => this.isServing(groupId),
          announce: () => this.#announce(groupId, group),
          taken: () => {
            this.#initiators.taken(groupId);
            this.#publish(groupId);
          },
        },
        timers: this.#options.timers,
        logger: this.#options.logger,
      });
      this.#addresses.set(groupId, address);
    }
    return address;
  }

  #closeTarget(targetName: string): void {
    for (const portal of this.#allPortals()) portal.closeTarget(targetName);
  }

  #allPortals(): readonly IscsiPortal[] {
    return this.#portals === undefined ? [] : [this.#portals.movable, this.#portals.fixed];
  }
}
