/** One read or write of one sector. Every write has its own value. */
export interface Operation {
  readonly kind: 'read' | 'write';
  readonly value: number;
  readonly invokedMs: number;
  /** Infinity: the outcome is not known. */
  readonly respondedMs: number;
  /** Certainly on stable storage. */
  isDurable?: boolean;
}

interface Cluster {
  write: Operation | undefined;
  /** The last moment by which the value was there. */
  earliestEndMs: number;
  /** The first moment at which it was still there. */
  latestStartMs: number;
}

/**
 * Whether operations on one register, whose writes all have different values, can be put in one order that
 * respects real time (Gibbons and Korach, "Testing shared memories", 1997: no two forward zones overlap, and
 * no backward zone lies within a forward one).
 * @returns what is wrong, or undefined
 */
export function findViolation(operations: readonly Operation[]): string | undefined {
  const clusters = new Map<number, Cluster>();
  for (const op of operations) {
    const cluster = clusters.get(op.value) ?? {
      write: undefined,
      earliestEndMs: Number.POSITIVE_INFINITY,
      latestStartMs: Number.NEGATIVE_INFINITY,
    };
    if (op.kind === 'write') cluster.write = op;
    cluster.earliestEndMs = Math.min(cluster.earliestEndMs, op.respondedMs);
    cluster.latestStartMs = Math.max(cluster.latestStartMs, op.invokedMs);
    clusters.set(op.value, cluster);
  }
  for (const op of operations) {
    if (op.kind !== 'read') continue;
    const write = clusters.get(op.value)?.write;
    if (write === undefined) return `value ${op.value} was read and never written`;
    if (write.invokedMs > op.respondedMs) return `value ${op.value} was read before it was written`;
  }
  // A write without an outcome that nobody has read may never have happened.
  const zones = Array.from(clusters, ([value, c]) => ({ value, ...c })).filter(
    (c) => c.earliestEndMs !== Number.POSITIVE_INFINITY,
  );
  const forward = zones
    .filter((z) => z.earliestEndMs < z.latestStartMs)
    .sort((a, b) => a.earliestEndMs - b.earliestEndMs);
  for (let i = 1; i < forward.length; i++) {
    const [a, b] = [forward[i - 1], forward[i]] as [(typeof forward)[0], (typeof forward)[0]];
    if (b.earliestEndMs < a.latestStartMs) {
      return `values ${a.value} and ${b.value} were both there between ${b.earliestEndMs} and ${a.latestStartMs}`;
    }
  }
  for (const z of zones) {
    if (z.earliestEndMs < z.latestStartMs) continue;
    const around = forward.find(
      (f) => f.earliestEndMs < z.latestStartMs && z.earliestEndMs < f.latestStartMs,
    );
    if (around !== undefined) return `value ${z.value} was written while ${around.value} stayed there`;
  }
  return undefined;
}
