import { routes } from '../../contract/routes.ts';
import type { NodeStatusDocument } from '../../contract/status.ts';
import { type CommandContext, print } from '../command-context.ts';
import { orDash, table, yesNo } from '../table.ts';

/** `bootfabric status` */
export async function showStatus(context: CommandContext): Promise<void> {
  const status = await context.api.call(routes.getStatus, {});
  print(context, status, () => statusText(status));
}

function statusText(status: NodeStatusDocument): string {
  const { cluster } = status;
  const leader = cluster.leader === null ? 'no leader' : `leader ${cluster.leader}`;
  const head =
    `Cluster ${status.clusterName}: ${leader}, term ${cluster.term}, ` +
    `applied ${cluster.appliedIndex} of ${cluster.commitIndex} committed\n` +
    `As node ${status.nodeId} (${cluster.role}) sees it, up since ${status.startedAt}\n`;
  const sections = [head, nodeTable(status), groupTable(status), sessionTable(status), imageTable(status)];
  const missing = status.missing.map((what) => `  ${what}\n`).join('');
  if (missing !== '') sections.push(`Missing on ${status.nodeId}:\n${missing}`);
  return sections.filter((section) => section !== '').join('\n');
}

function nodeTable({ nodes, nodeId }: NodeStatusDocument): string {
  return table(
    ['NODE', 'ADDRESS', 'STATUS', 'CONNECTED'],
    nodes.map((node) => [
      node.nodeId,
      node.address,
      node.status,
      node.nodeId === nodeId || node.linkUp === null ? '-' : yesNo(node.linkUp),
    ]),
  );
}

function groupTable({ portalGroups, nodeId }: NodeStatusDocument): string {
  return table(
    ['PORTAL GROUP', 'PORTAL', 'EPOCH', 'PRIMARY', 'IN SYNC', 'CATCHING UP', `ROLE OF ${nodeId}`, 'SERVING'],
    portalGroups.map((group) => [
      group.id,
      group.portal,
      String(group.epoch),
      orDash(group.primary),
      `${group.inSync.length} of ${group.replicas.length}: ${group.inSync.join(', ')}`,
      group.catchUp.map((c) => `${c.nodeId} (${c.detail})`).join(', ') || '-',
      group.role,
      yesNo(group.serving),
    ]),
  );
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
