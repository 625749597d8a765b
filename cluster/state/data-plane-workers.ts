import type { NodeRecord, PortalGroupId, WorkerEndpoints } from './model.ts';

/**
 * Data-plane workers. A node has one or more of them, each with portals and links of its own, and each has whole portal
 * groups: which one has a group follows from the group's name and from how many there are, on every node alike and
 * for as long as a process lives. So each node knows where another one keeps its copy, and no two threads of
 * a process ever have the same one open.
 */

const FNV_OFFSET = 0x811c9dc5;
const FNV_PRIME = 0x01000193;
/** More digits than a number that stands for itself has. */
const NUMBERED = /(?:^|\D)(\d{1,9})$/;

/** @returns from 0 on; groups that are numbered, as those of a new cluster are, are dealt out in turn */
export function workerOfGroup(groupId: PortalGroupId, workers: number): number {
  const number = NUMBERED.exec(groupId)?.[1];
  return (number === undefined ? hashOf(groupId) : Number(number)) % workers;
}

/** Where a node's worker for this group is. */
export function endpointsOfGroup(
  node: Pick<NodeRecord, 'endpoints' | 'workers'>,
  groupId: PortalGroupId,
): WorkerEndpoints {
  const all = workersOfNode(node);
  return all[workerOfGroup(groupId, all.length)] ?? node.endpoints;
}

/** At least one. */
export function workersOfNode({
  endpoints: { replication, iscsi },
  workers = [],
}: Pick<NodeRecord, 'endpoints' | 'workers'>): readonly WorkerEndpoints[] {
  return [{ replication, iscsi }, ...workers];
}

/**
 * Whether two workers of two nodes can ever have a group in common: numbers in turn meet where they differ by a multiple
 * of what both counts are divisible by. As many workers on either side have one link each.
 */
export function canShareGroups(
  one: { readonly worker: number; readonly workers: number },
  other: { readonly worker: number; readonly workers: number },
): boolean {
  return (one.worker - other.worker) % commonDivisor(one.workers, other.workers) === 0;
}

function commonDivisor(a: number, b: number): number {
  return b === 0 ? a : commonDivisor(b, a % b);
}

/** FNV-1a of 32 bits, over the name's characters, which are ASCII. */
function hashOf(name: string): number {
  let hash = FNV_OFFSET;
  for (const character of name) {
    hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), FNV_PRIME) >>> 0;
  }
  return hash;
}
