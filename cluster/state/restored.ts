import { withAudit } from './audit.ts';
import type { ClusterState, PortalGroupRecord } from './model.ts';
import { versionOf } from './versions.ts';

/**
 * The beginning of a new cluster with the configuration of another one: its settings, images, clients, boot files
 * and portal groups, but none of its nodes, tokens or content. Nobody holds an image until it is imported again; the same
 * content is then known as the same version. Pure.
 * @param genesis of the new cluster, with the groups of the other one
 */
export function restoredGenesis(genesis: ClusterState, from: ClusterState, atMs: number): ClusterState {
  const images = Object.entries(from.images).map(([name, image]) => [
    name,
    { ...image, versions: image.versions.map((version) => ({ ...version, holders: [] })) },
  ]);
  const bootFiles = Object.entries(from.bootFiles).map(([name, file]) => [name, { ...file, holders: [] }]);
  const groups = Object.values(genesis.portalGroups).map((group): [string, PortalGroupRecord] => {
    const before = from.portalGroups[group.id];
    if (before === undefined) return [group.id, group];
    const { durability, minInSync } = before;
    // More than there are could never be in sync.
    return [group.id, { ...group, durability, minInSync: Math.min(minInSync, group.replicas.length) }];
  });
  const restored: ClusterState = {
    ...genesis,
    settings: from.settings,
    images: Object.fromEntries(images) as ClusterState['images'],
    bootFiles: Object.fromEntries(bootFiles) as ClusterState['bootFiles'],
    clients: from.clients,
    portalGroups: Object.fromEntries(groups),
    nextLunId: from.nextLunId,
    stateVersion: Math.max(versionOf(genesis), versionOf(from)),
  };
  return withAudit(
    restored,
    atMs,
    'configuration-restored',
    `of cluster ${from.clusterName}, ${from.clusterId}`,
  );
}
