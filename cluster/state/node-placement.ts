import { DEFAULT_NODE_WEIGHT } from './limits.ts';
import type { NodeRecord } from './model.ts';

/** What counts of a node's place: the administrator's word before that of the node's own settings. */

export function weightOf(node: NodeRecord | undefined): number {
  return node?.assigned?.weight ?? node?.described?.weight ?? DEFAULT_NODE_WEIGHT;
}

/** Undefined: it is not known to share a fate with any other node. */
export function rackOf(node: NodeRecord | undefined): string | undefined {
  return node?.assigned?.rack ?? node?.described?.rack;
}
