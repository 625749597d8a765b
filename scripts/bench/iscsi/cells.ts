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
}

const KIB = 1024;
const DEPTHS = [1, 32, 128];

function cell(fields: Omit<Cell, 'name' | 'allCores'> & { allCores?: boolean }): Cell {
  const { operation, sizeBytes, pattern, depth, clients, luns, allCores = false } = fields;
  const parts = [operation, `${sizeBytes / KIB}k`, pattern, `d${depth}`, `c${clients}`, `l${luns}`];
  return { ...fields, allCores, name: [...parts, ...(allCores ? ['all-cores'] : [])].join('-') };
}

const one = { clients: 1, luns: 1 } as const;
const random4k = { operation: 'read', sizeBytes: 4 * KIB, pattern: 'random' } as const;
const sequential128k = { operation: 'read', sizeBytes: 128 * KIB, pattern: 'sequential' } as const;
const sequential64k = { operation: 'read', sizeBytes: 64 * KIB, pattern: 'sequential' } as const;
const write4k = { operation: 'write', sizeBytes: 4 * KIB, pattern: 'sequential' } as const;
const write64k = { operation: 'write', sizeBytes: 64 * KIB, pattern: 'sequential' } as const;

export const CELLS: readonly Cell[] = [
  ...DEPTHS.map((depth) => cell({ ...random4k, ...one, depth })),
  ...DEPTHS.map((depth) => cell({ ...sequential128k, ...one, depth })),
  cell({ ...sequential64k, ...one, depth: 32 }),
  ...DEPTHS.map((depth) => cell({ ...write4k, ...one, depth })),
  ...DEPTHS.map((depth) => cell({ ...write64k, ...one, depth })),
  ...[4, 16].flatMap((clients) => [
    cell({ ...random4k, clients, luns: 1, depth: 32 }),
    cell({ ...sequential128k, clients, luns: 1, depth: 32 }),
  ]),
  cell({ ...random4k, clients: 16, luns: 16, depth: 32 }),
  cell({ ...sequential128k, clients: 16, luns: 16, depth: 32 }),
  cell({ ...write4k, clients: 16, luns: 16, depth: 32 }),
  cell({ ...random4k, clients: 16, luns: 16, depth: 32, allCores: true }),
  cell({ ...sequential128k, clients: 16, luns: 16, depth: 32, allCores: true }),
];

/** Those that the goals speak of. */
export const QUICK_CELLS: readonly string[] = [
  'read-4k-random-d1-c1-l1',
  'read-4k-random-d32-c1-l1',
  'read-4k-random-d128-c1-l1',
  'read-128k-sequential-d32-c1-l1',
  'write-4k-sequential-d32-c1-l1',
  'write-64k-sequential-d32-c1-l1',
  'read-4k-random-d32-c16-l16-all-cores',
];
