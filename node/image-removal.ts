import type { RemovedImageVersionDocument } from '../api/contract/images.ts';
import { propose } from '../api/serve-route.ts';
import type { Clock } from '../base/clock.ts';
import { OperationError } from '../base/errors.ts';
import type { ClusterView } from '../cluster/ports.ts';
import { apply } from '../cluster/state/apply.ts';
import type { Command } from '../cluster/state/commands.ts';
import { inWords } from '../cluster/state/image-removal.ts';
import type { ClusterState } from '../cluster/state/model.ts';
import type { ImageVersionRef } from '../storage/image/image-source.ts';
import type { ImageUse } from './portal/worker-protocol.ts';

export interface ImageRemovalPorts {
  readonly cluster: ClusterView;
  readonly clock: Clock;
  /** Of this node; see ImageUses. */
  readonly useHere: (image: ImageVersionRef) => Promise<readonly ImageUse[]>;
  /** The same of another node, which answers with a state of the cluster that is no older than the question. */
  readonly useElsewhere: (nodeId: string, image: ImageVersionRef) => Promise<readonly ImageUse[]>;
}

/**
 * Takes a version out of an image that nothing uses. The configuration knows who is to boot it; what disks are over, those
 * that serve them do. They are asked with a state by which no new disk would be over that version any more, and so it stays:
 * the entry itself is refused if clients or nodes have come since.
 * @throws OperationError naming who uses the version, or why that cannot be known
 */
export async function removeImageVersion(
  ports: ImageRemovalPorts,
  ref: ImageVersionRef,
  by: string,
): Promise<RemovedImageVersionDocument> {
  const { cluster, clock } = ports;
  const state = await cluster.linearizableState();
  const command: Command = {
    type: 'removeImageVersion',
    image: ref.name,
    version: ref.version,
    nextLunId: state.nextLunId,
    nodes: Object.keys(state.nodes),
    atMs: clock.wallMs(),
    by,
  };
  const { result } = apply(state, command);
  if (!result.ok) throw new OperationError(result.error.message, result.error);
  const uses = await usesOf(ports, state, ref);
  checkAllKnown(state, ref, uses);
  checkUnused(state, ref, uses);
  await propose(cluster, command);
  return { image: ref.name, version: ref.version };
}

async function usesOf(
  { cluster, useHere, useElsewhere }: ImageRemovalPorts,
  state: ClusterState,
  ref: ImageVersionRef,
): Promise<readonly ImageUse[]> {
  const primaries = new Set(Object.values(state.portalGroups).flatMap(({ primary }) => primary ?? []));
  const asked = Array.from(primaries, (nodeId) =>
    nodeId === cluster.nodeId ? useHere(ref) : useElsewhere(nodeId, ref),
  );
  return (await Promise.all(asked)).flat();
}

/** A group that nobody serves may have disks over any version of an image that its clients boot. */
function checkAllKnown(
  state: ClusterState,
  { name, version }: ImageVersionRef,
  uses: readonly ImageUse[],
): void {
  const concerned = new Set(
    Object.values(state.clients).flatMap((client) => (client.image === name ? client.portalGroup : [])),
  );
  const unknown = [...concerned].filter((groupId) => uses.every(({ group }) => group !== groupId)).sort();
  if (unknown.length === 0) return;
  throw new OperationError(
    `nobody serves ${inWords(unknown)} just now, where clients of image ${name} have their disks: what these are over cannot be known`,
    {
      kind: 'conflict',
      code: 'image-use-unknown',
      got: version,
      accepted: 'the same once every portal group is served',
    },
  );
}

function checkUnused(
  state: ClusterState,
  { name, version }: ImageVersionRef,
  uses: readonly ImageUse[],
): void {
  const lunIds = uses.flatMap((use) => use.lunIds);
  if (lunIds.length === 0) return;
  const byLun = new Map(Object.values(state.clients).map((client) => [client.lunId, client.name]));
  const who = lunIds.map((lunId) => byLun.get(lunId) ?? `LUN ${lunId} of a client that was removed`);
  const disks = lunIds.length === 1 ? 'the disk of' : 'the disks of';
  throw new OperationError(
    `${disks} ${inWords(who.sort())} ${lunIds.length === 1 ? 'is' : 'are'} over image ${name} version ${version}`,
    {
      kind: 'conflict',
      code: 'image-version-in-use',
      got: version,
      accepted:
        'a version that no disk is over: one that is dropped at boot is over a newer one after the next boot, one that is kept is over it until its client is removed',
    },
  );
}
