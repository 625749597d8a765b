import type { NodeId } from './model.ts';

/** Who holds how much, beside what it is to hold. */
export interface Share {
  readonly nodeId: NodeId;
  readonly weight: number;
  readonly load: number;
}

/**
 * Balance is the least sum of load² / weight. Passing one unit from one node to another is worth it only if that sum
 * falls, so whatever is done for balance is never undone for balance. All in whole numbers, for the same answer on
 * every node.
 * @returns by how much the sum falls, as a fraction of which the denominator is positive
 */
function fall(from: Share, to: Share): { readonly over: number; readonly under: number } {
  return {
    over: (2 * from.load - 1) * to.weight - (2 * to.load + 1) * from.weight,
    under: from.weight * to.weight,
  };
}

/** Whether the first one is worse off with one unit less to take than the second would be: for orders of preference. */
export function compareRoom(a: Share, b: Share): number {
  return (2 * a.load + 1) * b.weight - (2 * b.load + 1) * a.weight;
}

/** Negative: taking a unit away from the first one lets the sum fall further. */
export function compareBurden(a: Share, b: Share): number {
  return (2 * b.load - 1) * a.weight - (2 * a.load - 1) * b.weight;
}

/**
 * The first thing to do so that the sum falls as far as one unit can let it fall, which may be passed on along up to
 * `maxSteps` nodes: the last step, since the rest then still leads there. Asked again after it has been done, the answer
 * is the step before; and once nothing lets the sum fall, none.
 * @param shares in an order that is the same on every node
 * @param mayPass whether there is a unit that the first may pass to the second
 */
export function stepToBalance(
  shares: readonly Share[],
  mayPass: (from: NodeId, to: NodeId) => boolean,
  maxSteps: number,
): { readonly from: NodeId; readonly to: NodeId } | undefined {
  let best:
    | {
        readonly over: number;
        readonly under: number;
        readonly steps: number;
        readonly from: NodeId;
        readonly to: NodeId;
      }
    | undefined;
  for (const first of shares) {
    for (const { share, before, steps } of reachable(first, shares, mayPass, maxSteps)) {
      const { over, under } = fall(first, share);
      if (over <= 0) continue;
      const further = best === undefined ? 1 : over * best.under - best.over * under;
      if (further < 0 || (further === 0 && best !== undefined && steps >= best.steps)) continue;
      best = { over, under, steps, from: before, to: share.nodeId };
    }
  }
  return best === undefined ? undefined : { from: best.from, to: best.to };
}

interface Reached {
  readonly share: Share;
  readonly before: NodeId;
  readonly steps: number;
}

/** Where a unit of `first` could end up, by the shortest ways. */
function reachable(
  first: Share,
  shares: readonly Share[],
  mayPass: (from: NodeId, to: NodeId) => boolean,
  maxSteps: number,
): Reached[] {
  const reached: Reached[] = [];
  const seen = new Set<NodeId>([first.nodeId]);
  let front: readonly Share[] = [first];
  for (let steps = 1; steps <= maxSteps && front.length > 0; steps++) {
    const next: Share[] = [];
    for (const { nodeId: before } of front) {
      for (const share of shares) {
        if (seen.has(share.nodeId) || !mayPass(before, share.nodeId)) continue;
        seen.add(share.nodeId);
        next.push(share);
        reached.push({ share, before, steps });
      }
    }
    front = next;
  }
  return reached;
}
