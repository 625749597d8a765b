import { isIPv4 } from 'node:net';
import { ipv4InSubnet, parseIpv4, parseIpv4Subnet } from '../../base/ipv4.ts';
import type { ClientRecord, ClusterState, NodeId } from '../../cluster/state/model.ts';
import type { Authentication } from '../iscsi/ports.ts';

/** Who may attach a client's disk, as the cluster's configuration has it. */

/** Whether its initiator may log in from there. @param sourceAddress of its connection */
export function mayComeFrom(client: ClientRecord, sourceAddress: string): boolean {
  if (client.sources === undefined) return true;
  // As an IPv6 socket spells an IPv4 address.
  const address = sourceAddress.replace(/^::ffff:/, '');
  if (!isIPv4(address)) return false;
  return client.sources.some((source) =>
    source.includes('/') ? ipv4InSubnet(parseIpv4(address), parseIpv4Subnet(source)) : source === address,
  );
}

/** What its initiator has to prove; undefined: nothing. */
export function authenticationOf({ chap }: ClientRecord): Authentication | undefined {
  if (chap === undefined) return undefined;
  const good = chap.previous === undefined ? [chap.current] : [chap.current, chap.previous];
  return { credentials: good.filter((c) => c !== null), optional: good.includes(null) };
}

/** Whether sessions of a client must end: it is gone, or what they were let in by is good no longer. */
export function isBarred(before: ClientRecord, now: ClientRecord | undefined): boolean {
  if (now === undefined) return true;
  if (now.chap?.previous === undefined && now.chap?.current?.secret !== before.chap?.current?.secret)
    return true;
  // Who may still come logs in again at once.
  return now.sources !== undefined && JSON.stringify(now.sources) !== JSON.stringify(before.sources);
}

/** Whether sessions of a client at a node's fixed portal must end: it has no path there any more. */
export function losesPathAt(nodeId: NodeId, before: ClusterState, now: ClusterState, name: string): boolean {
  const hasPath = (state: ClusterState): boolean => {
    const client = state.clients[name];
    return (
      client?.multipath === true && state.portalGroups[client.portalGroup]?.replicas.includes(nodeId) === true
    );
  };
  return hasPath(before) && !hasPath(now);
}
