import { OperationError } from '../../../base/errors.ts';
import { routes } from '../../contract/routes.ts';
import type { NodeStatusDocument } from '../../contract/status.ts';
import { type CommandContext, print } from '../command-context.ts';
import { counted, orDash, table, yesNo } from '../table.ts';
import { integrityText } from './scrub.ts';

type PortalGroupStatus = NodeStatusDocument['portalGroups'][number];

/** `bootfabric status`: of one node, and for people what only the others know of that somebody has to see to. */
export async function showStatus(context: CommandContext): Promise<void> {
  const status = await context.api.call(routes.getStatus, {});
  const isOfAll = !context.asJson && !context.api.isForOneNode;
  const others = isOfAll ? await alarmsOfOthers(context, status) : [];
  print(context, status, () => [statusText(status), ...others].join('\n'));
}

async function alarmsOfOthers({ api }: CommandContext, status: NodeStatusDocument): Promise<string[]> {
  const others = status.nodes.filter((node) => node.nodeId !== status.nodeId && node.status === 'up');
  const silent: string[] = [];
  const alarms = await Promise.all(
    others.map(async ({ nodeId }) => {
      try {
        return alarmSections(await api.ofNode(nodeId).call(routes.getStatus, {}));
      } catch (error) {
        if (!(error instanceof OperationError)) throw error;
        silent.push(nodeId);
        return [];
      }
    }),
  );
  const unknown = `Alarms that only ${silent.sort().join(', ')} would know of are not known: no answer\n`;
  return [...alarms.flat(), ...(silent.length === 0 ? [] : [unknown])];
}

/** What somebody has to see to of what only this node knows. */
function alarmSections(status: NodeStatusDocument): string[] {
  const damage = status.integrity.leftCount === 0 ? '' : integrityText(status);
  return [refetchText(status), ...roomAndSlowness(status), damage].filter((section) => section !== '');
}

function roomAndSlowness({ nodeId, portalGroups }: NodeStatusDocument): string[] {
  const room = portalGroups.flatMap(({ id, room }) => (room === null ? [] : [`  ${id}: ${room}\n`]));
  const slow = portalGroups.flatMap(({ id, slow }) => (slow === null ? [] : [`  ${id}: ${slow}\n`]));
  return [
    room.length === 0 ? '' : `ALARM, disks of portal groups, as ${nodeId} sees them:\n${room.join('')}`,
    slow.length === 0 ? '' : `ALARM, slow copies of portal groups:\n${slow.join('')}`,
  ].filter((section) => section !== '');
}

/** What `bootfabric status` prints for people. */
export function statusText(status: NodeStatusDocument): string {
  const { cluster } = status;
  const leader = cluster.leader === null ? 'no leader' : `leader ${cluster.leader}`;
  const head =
    `Cluster ${status.clusterName}: ${leader}, term ${cluster.term}, ` +
    `applied ${cluster.appliedIndex} of ${cluster.commitIndex} committed\n` +
    `${diskText(cluster.disk)}\n` +
    `As node ${status.nodeId} (${cluster.role}) sees it, up since ${status.startedAt}\n`;
  const sections = [
    head,
    refetchText(status),
    nodeTable(status),
    removedVotersText(status),
    groupTable(status),
    placementText(status),
    sessionTable(status),
    imageTable(status),
    integrityText(status),
  ];
  const waiting = status.portalGroups.flatMap(({ id, waiting }) =>
    waiting === null ? [] : [`  ${id}: ${waiting}\n`],
  );
  if (waiting.length > 0) sections.push(`ALARM, portal groups that nobody can serve:\n${waiting.join('')}`);
  const losses = status.portalGroups.flatMap(({ id, dataLoss }) =>
    dataLoss === null ? [] : [`  ${id}: ${dataLoss}\n`],
  );
  if (losses.length > 0) sections.push(`Acknowledged writes may have been lost:\n${losses.join('')}`);
  sections.push(...roomAndSlowness(status));
  const missing = status.missing.map((what) => `  ${what}\n`).join('');
  if (missing !== '') sections.push(`Missing on ${status.nodeId}:\n${missing}`);
  return sections.filter((section) => section !== '').join('\n');
}

function refetchText({ nodeId, cluster: { refetch } }: NodeStatusDocument): string {
  if (refetch === null) return '';
  const { reason, receivedBytes, totalBytes, waitingFor } = refetch;
  const fetched = totalBytes === 0 ? 'nothing yet' : `${receivedBytes} of ${totalBytes} bytes`;
  const waiting = waitingFor.length === 0 ? '' : `, and has to hear from ${waitingFor.join(', ')}`;
  return (
    `ALARM, ${nodeId} has lost data and takes no part before it has everything from the others: ${reason}\n` +
    `It has fetched ${fetched}${waiting}\n`
  );
}

function diskText({ p50Ms, p99Ms, underWayMs }: NodeStatusDocument['cluster']['disk']): string {
  if (p50Ms === null || p99Ms === null) return 'Nothing has been written to the cluster log yet';
  const stuck = underWayMs < 1000 ? '' : `, one is under way for ${Math.round(underWayMs)} ms`;
  return `Writing the cluster log here takes ${p50Ms.toFixed(1)} ms (median), ${p99Ms.toFixed(1)} ms (99th percentile)${stuck}`;
}

function nodeTable({ nodes, nodeId }: NodeStatusDocument): string {
  return table(
    ['NODE', 'ADDRESS', 'STATUS', 'VOTE', 'CONNECTED', 'LAST HEARD', 'LAG'],
    nodes.map((node) => [
      node.nodeId,
      node.address,
      node.draining ? `${node.status}, draining` : node.status,
      orDash(node.vote),
      node.nodeId === nodeId || node.linkUp === null ? '-' : yesNo(node.linkUp),
      node.lastContactMs === null ? '-' : `${Math.round(node.lastContactMs)} ms ago`,
      node.lagEntries === null ? '-' : counted(node.lagEntries, 'entry', 'entries'),
    ]),
  );
}

function removedVotersText({ cluster: { removedVoters } }: NodeStatusDocument): string {
  if (removedVoters.length === 0) return '';
  const who = removedVoters.join(', ');
  return `Removed, but to run on, since the others need their votes until enough of them are in touch: ${who}\n`;
}

/** What is known on one node of all portal groups. */
export function groupTable({ portalGroups, nodeId }: NodeStatusDocument): string {
  return table(
    [
      ...['PORTAL GROUP', 'PORTAL', 'EPOCH', 'PRIMARY', 'IN SYNC', 'WRITES', 'CATCHING UP'],
      ...[`ROLE OF ${nodeId}`, 'SERVING'],
    ],
    portalGroups.map((group) => [
      group.id,
      group.portal,
      String(group.epoch),
      orDash(group.primary),
      `${group.inSync.length} of ${group.replicas.length}: ${group.inSync.join(', ')}`,
      group.minInSync > 1 ? `${group.durability}, on ${group.minInSync} or more` : group.durability,
      catchUpText(group),
      group.role,
      yesNo(group.serving),
    ]),
  );
}

/** Only the primary knows how far the others are. */
function catchUpText({ catchUp, inSync, replicas, primary, role }: PortalGroupStatus): string {
  const known = catchUp.map((c) => `${c.nodeId} (${c.detail})`).join(', ');
  const behind = replicas.filter((id) => !inSync.includes(id)).join(', ');
  if (role === 'primary' || primary === null || behind === '') return known || '-';
  return `${behind} (--node ${primary} knows how far)`;
}

function placementText({ placement }: NodeStatusDocument): string {
  const { rebalance, doing, next, waitingFor, warnings } = placement;
  const lines = [
    ...doing.map((what) => `Under way: ${what}\n`),
    ...(next === null ? [] : [`Next: ${next}\n`]),
    ...(waitingFor === null ? [] : [`Before anything is moved for balance: ${waitingFor}\n`]),
    ...(rebalance === 'on' ? [] : ['Rebalancing is off: nothing is moved for balance\n']),
    ...warnings.map((what) => `WARNING: ${what}\n`),
  ];
  return lines.join('');
}

function sessionTable({ sessions }: NodeStatusDocument): string {
  return table(
    ['SESSION OF', 'PORTAL GROUP', 'FROM', 'INITIATOR'],
    sessions.map((s) => [orDash(s.client), orDash(s.portalGroup), s.remoteAddress, s.initiatorName]),
  );
}

function imageTable({ images, nodeId }: NodeStatusDocument): string {
  return table(
    ['IMAGE', 'VERSION', `HELD BY ${nodeId}`],
    images.map((image) => [image.image, String(image.version), yesNo(image.held)]),
  );
}
