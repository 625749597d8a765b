import type { ClientRecord, ClusterState, ImageVersionRecord } from '../../cluster/state/model.ts';
import { LOGICAL_BLOCK_BYTES } from '../../storage/block-device.ts';

/** The image version a client boots now, or why it cannot. */
export type BootImage =
  | { readonly kind: 'version'; readonly name: string; readonly version: ImageVersionRecord }
  | { readonly kind: 'none'; readonly reason: string };

/**
 * The version the client is pinned to, else the newest one that every in-sync member of its portal group holds:
 * a LUN over anything less could not be served on after a failover. A replica that is still being brought up to
 * date does not count; it joins only once it holds what the LUNs need.
 */
export function chooseBootImage(state: ClusterState, client: ClientRecord): BootImage {
  const image = state.images[client.image];
  if (image === undefined) return { kind: 'none', reason: `image ${client.image} does not exist` };
  const needed = (state.portalGroups[client.portalGroup]?.inSync ?? []).map((member) => member.nodeId);
  const candidates = image.versions.filter(
    (v) => client.imageVersion === undefined || v.version === client.imageVersion,
  );
  const held = candidates.filter((v) => needed.every((nodeId) => v.holders.includes(nodeId)));
  const newest = held.reduce<ImageVersionRecord | undefined>(
    (best, v) => (best === undefined || v.version > best.version ? v : best),
    undefined,
  );
  if (newest !== undefined) return { kind: 'version', name: image.name, version: newest };
  const wanted = client.imageVersion === undefined ? 'any version' : `version ${client.imageVersion}`;
  return {
    kind: 'none',
    reason: `not every in-sync replica holds ${wanted} of image ${client.image} yet`,
  };
}

const KEPT_BLOCK_BYTES = 4096;

/** Length of a LUN over an image, in 512-byte blocks; whole 4 KiB blocks, the rest reads as zeros. */
export function lunLengthBlocks(imageSizeBytes: number): number {
  return (Math.ceil(imageSizeBytes / KEPT_BLOCK_BYTES) * KEPT_BLOCK_BYTES) / LOGICAL_BLOCK_BYTES;
}
