import { withAudit } from './audit.ts';
import type { Command, CommandRefusal } from './commands.ts';
import type { ClusterState, ImageRecord } from './model.ts';
import { lookup, namesOf } from './names.ts';
import { accepted, type Outcome, refused } from './outcome.ts';

/** Clients that an error names, at most. */
const MAX_NAMED = 5;

/**
 * Takes a version out of an image. Its number is never given again: nodes know by it what to remove, and disks what they are
 * over. Whether a disk is over it is not known here: whoever proposes this has asked those that serve disks before, at a state
 * in which no new disk would be over it any more, which is what is checked here once more.
 */
export function removeImageVersion(
  state: ClusterState,
  command: Extract<Command, { type: 'removeImageVersion' }>,
): Outcome {
  const image = lookup(state.images, command.image);
  const version = image?.versions.find((v) => v.version === command.version);
  if (image === undefined || version === undefined) return refused(state, unknownVersion(state, command));
  const refusal =
    pinned(state, image, version.version) ??
    nextToBoot(state, image, version.version) ??
    changedMeanwhile(state, command);
  if (refusal !== undefined) return refused(state, refusal);
  const versions = image.versions.filter((v) => v !== version);
  const record: ImageRecord = { name: image.name, versions, lastVersion: newestNumber(image) };
  const images = { ...state.images, [image.name]: record };
  const detail = `${image.name} version ${version.version}, by ${command.by}`;
  return accepted(withAudit({ ...state, images }, command.atMs, 'image-version-removed', detail), {
    image: image.name,
    version: version.version,
  });
}

/** The highest number that a version of the image has had; 0: none yet. */
export function newestNumber(image: ImageRecord): number {
  return Math.max(image.lastVersion ?? 0, image.versions.at(-1)?.version ?? 0);
}

/** Whether there has been such a version that is no more. What is not known at all is not taken for removed. */
export function isRemoved(
  state: ClusterState,
  { name, version }: { name: string; version: number },
): boolean {
  const image = lookup(state.images, name);
  if (image === undefined || version > newestNumber(image)) return false;
  return !image.versions.some((v) => v.version === version);
}

function unknownVersion(
  state: ClusterState,
  { image: name, version }: { image: string; version: number },
): CommandRefusal {
  const image = lookup(state.images, name);
  if (image === undefined) {
    const message = `there is no image "${name}"`;
    const left = Object.entries(state.images).filter(([, { versions }]) => versions.length > 0);
    const accepted = namesOf(Object.fromEntries(left)) || 'no image has been imported yet';
    return { kind: 'not-found', code: 'unknown-image', message, got: name, accepted };
  }
  return {
    kind: 'not-found',
    code: 'unknown-image-version',
    message: `image ${name} has no version ${version}`,
    got: version,
    accepted: image.versions.map((v) => v.version).join(', ') || 'none is left',
  };
}

function pinned(state: ClusterState, { name }: ImageRecord, version: number): CommandRefusal | undefined {
  const clients = Object.values(state.clients).filter((c) => c.image === name && c.imageVersion === version);
  if (clients.length === 0) return undefined;
  const who = inWords(clients.map((client) => client.name));
  return {
    kind: 'conflict',
    code: 'image-version-in-use',
    message: `image ${name} version ${version} is what ${who} ${clients.length === 1 ? 'is' : 'are'} to boot`,
    got: version,
    accepted: 'a version that no client is pinned to',
  };
}

/** Clients that are pinned to nothing boot the newest version that the nodes of their group hold, whichever these are by then. */
function nextToBoot(state: ClusterState, image: ImageRecord, version: number): CommandRefusal | undefined {
  const clients = Object.values(state.clients).filter(
    (client) => client.image === image.name && client.imageVersion === undefined,
  );
  if (clients.length === 0) return undefined;
  const newer = image.versions.filter((v) => v.version > version);
  const nodeIds = Object.keys(state.nodes);
  if (newer.some((v) => nodeIds.every((nodeId) => v.holders.includes(nodeId)))) return undefined;
  const who = inWords(clients.map((client) => client.name));
  const newest = newer.at(-1);
  const lacking = nodeIds.filter((nodeId) => newest?.holders.includes(nodeId) === false);
  return {
    kind: 'conflict',
    code: 'image-version-in-use',
    message:
      newest === undefined
        ? `image ${image.name} version ${version} is the newest, which ${who} will boot`
        : `image ${image.name} version ${version} may be what ${who} will boot: ${inWords(lacking)} lacks version ${newest.version}`,
    got: version,
    accepted: 'a version older than one that every node holds',
  };
}

/** What was asked of those that serve disks is of no worth for clients and nodes that have come since. */
function changedMeanwhile(
  state: ClusterState,
  { image, version, nextLunId, nodes }: Extract<Command, { type: 'removeImageVersion' }>,
): CommandRefusal | undefined {
  const client = Object.values(state.clients).find((c) => c.image === image && c.lunId >= nextLunId);
  const nodeId = Object.keys(state.nodes).find((id) => !nodes.includes(id));
  if (client === undefined && nodeId === undefined) return undefined;
  const who = client === undefined ? `node ${nodeId}` : `client ${client.name}`;
  return {
    kind: 'conflict',
    code: 'image-use-changed',
    message: `${who} has been added while it was being found out who uses image ${image} version ${version}`,
    got: version,
    accepted: 'the same once more',
  };
}

/** The first few of them. */
export function inWords(names: readonly string[]): string {
  const named = names.slice(0, MAX_NAMED).join(', ');
  return names.length <= MAX_NAMED ? named : `${named} and ${names.length - MAX_NAMED} more`;
}
