import type {
  BootFileRecord,
  ClientRecord,
  ClusterState,
  ImageRecord,
  ImageVersionRecord,
  PortalGroupRecord,
} from '../cluster/state/model.ts';
import { namesOf } from '../cluster/state/names.ts';
import { refusalOfGroup } from '../cluster/state/outcome.ts';
import { targetPaths } from '../cluster/state/target-paths.ts';
import { ApiError } from './api-error.ts';
import type { BootFileDocument } from './contract/boot-files.ts';
import type { ChapMode, ClientDocument } from './contract/clients.ts';
import type { ImageVersionDocument } from './contract/images.ts';

/** Documents of the contract, made of the replicated configuration. */

export function clientDocument(state: ClusterState, client: ClientRecord): ClientDocument {
  const group = state.portalGroups[client.portalGroup];
  return {
    name: client.name,
    macs: [...client.macs],
    image: client.image,
    imageVersion: client.imageVersion ?? null,
    writeCache: client.writeCache,
    portalGroup: client.portalGroup,
    portal: group === undefined ? '' : `${group.address}:${group.port}`,
    lunId: client.lunId,
    address: client.address ?? null,
    targetName: client.targetName,
    initiatorName: client.initiatorName,
    chap: chapMode(client),
    chapAwaitsBoot: client.chap?.previous !== undefined,
    sources: client.sources === undefined ? null : [...client.sources],
    multipath: client.multipath === true,
    paths: targetPaths(state, client).map(({ address, port, tag }) => `${address}:${port},${tag}`),
  };
}

export function chapMode({ chap }: ClientRecord): ChapMode {
  if (chap === undefined || chap.current === null) return 'off';
  return chap.current.mutual === undefined ? 'one-way' : 'mutual';
}

export function imageVersionDocument(
  state: ClusterState,
  image: ImageRecord,
  version: ImageVersionRecord,
): ImageVersionDocument {
  const without = Object.values(state.nodes).filter((node) => !version.holders.includes(node.nodeId));
  return {
    image: image.name,
    version: version.version,
    sizeBytes: version.sizeBytes,
    chunkSizeBytes: version.chunkSizeBytes,
    manifestSha256: version.manifestSha256,
    createdAt: new Date(version.createdAtMs).toISOString(),
    holders: [...version.holders],
    awaited: without.filter((node) => node.status === 'up').map((node) => node.nodeId),
    absent: without.filter((node) => node.status !== 'up').map((node) => node.nodeId),
  };
}

export function bootFileDocument(file: BootFileRecord): BootFileDocument {
  return { name: file.name, sizeBytes: file.sizeBytes, sha256: file.sha256, holders: [...file.holders] };
}

/** @throws ApiError "unknown-client" */
export function findClient(state: ClusterState, name: string): ClientRecord {
  const client = Object.hasOwn(state.clients, name) ? state.clients[name] : undefined;
  if (client !== undefined) return client;
  throw new ApiError('unknown-client', `there is no client "${name}"`, {
    got: name,
    accepted: 'the name of a registered client',
  });
}

/** @throws ApiError "unknown-portal-group" */
export function findGroup(state: ClusterState, id: string): PortalGroupRecord {
  const group = Object.hasOwn(state.portalGroups, id) ? state.portalGroups[id] : undefined;
  if (group !== undefined) return group;
  const { message, got, accepted } = refusalOfGroup(state, id);
  throw new ApiError('unknown-portal-group', message, {
    got,
    ...(accepted === undefined ? {} : { accepted }),
  });
}

/** @throws ApiError "unknown-image" or "unknown-image-version" */
export function findImageVersion(
  state: ClusterState,
  name: string,
  number: number,
): { image: ImageRecord; version: ImageVersionRecord } {
  const image = Object.hasOwn(state.images, name) ? state.images[name] : undefined;
  if (image === undefined) {
    const accepted = namesOf(state.images) || 'no image has been added yet';
    throw new ApiError('unknown-image', `there is no image "${name}"`, { got: name, accepted });
  }
  const version = image.versions.find((v) => v.version === number);
  if (version !== undefined) return { image, version };
  throw new ApiError('unknown-image-version', `image ${name} has no version ${number}`, {
    got: number,
    accepted: image.versions.map((v) => v.version).join(', '),
  });
}
