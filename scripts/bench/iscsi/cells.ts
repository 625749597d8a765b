/** One workload. */
export interface Cell {
  readonly name: string;
  readonly operation: 'read' | 'write';
  readonly sizeBytes: number;
  readonly pattern: 'random' | 'sequential';
  readonly depth: number;
  readonly clients: number;
  readonly luns: number;
  /** Nothing is pinned, and ours has a worker for each core. */
  readonly allCores: boolean;
  /** Writes are made by a client of ours that sends many with one system call (burst-main.ts). */
  readonly inBursts: boolean;
}

const KIB = 1024;
const DEPTHS = [1, 32, 128];

type Unnamed = Omit<Cell, 'name' | 'allCores' | 'inBursts'>;

function cell(fields: Unnamed & { allCores?: boolean; inBursts?: boolean }): Cell {
  const { operation, sizeBytes, pattern, depth, clients, luns, allCores = false, inBursts = false } = fields;
  const parts = [operation, `${sizeBytes / KIB}k`, pattern, `d${depth}`, `c${clients}`, `l${luns}`];
  const also = [...(allCores ? ['all-cores'] : []), ...(inBursts ? ['bursts'] : [])];
  return { ...fields, allCores, inBursts, name: [...parts, ...also].join('-') };
}

type Load = Pick<Cell, 'operation' | 'sizeBytes' | 'pattern'>;

const LOADS: readonly Load[] = (['read', 'write'] as const).flatMap((operation): Load[] => [
  { operation, sizeBytes: 4 * KIB, pattern: 'random' },
  { operation, sizeBytes: 64 * KIB, pattern: 'sequential' },
  { operation, sizeBytes: 128 * KIB, pattern: 'sequential' },
]);
/** As guests write their journals. */
const SMALL_SEQUENTIAL_WRITES: Load = { operation: 'write', sizeBytes: 4 * KIB, pattern: 'sequential' };
const SMALL_RANDOM_WRITES: Load = { operation: 'write', sizeBytes: 4 * KIB, pattern: 'random' };
const ALL_LOADS = [...LOADS, SMALL_SEQUENTIAL_WRITES];

export const CELLS: readonly Cell[] = [
  ...ALL_LOADS.flatMap((load) => DEPTHS.map((depth) => cell({ ...load, depth, clients: 1, luns: 1 }))),
  ...[SMALL_RANDOM_WRITES, SMALL_SEQUENTIAL_WRITES].flatMap((load) =>
    [32, 128].map((depth) => cell({ ...load, depth, clients: 1, luns: 1, inBursts: true })),
  ),
  ...[4, 16].flatMap((clients) => LOADS.map((load) => cell({ ...load, depth: 32, clients, luns: 1 }))),
  ...ALL_LOADS.map((load) => cell({ ...load, depth: 32, clients: 16, luns: 16 })),
  ...LOADS.map((load) => cell({ ...load, depth: 32, clients: 16, luns: 16, allCores: true })),
];

/** Those that the goals speak of. */
export const QUICK_CELLS: readonly string[] = [
  'read-4k-random-d1-c1-l1',
  'read-4k-random-d32-c1-l1',
  'read-4k-random-d128-c1-l1',
  'read-128k-sequential-d32-c1-l1',
  'write-4k-random-d32-c1-l1',
  'write-4k-sequential-d32-c1-l1',
  'write-64k-sequential-d32-c1-l1',
  'read-4k-random-d32-c16-l16-all-cores',
  'write-4k-random-d32-c16-l16-all-cores',
];
