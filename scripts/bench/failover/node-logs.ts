import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

/** What stands in a line of a node's log. */
export interface LogLine {
  readonly node: string;
  /** Milliseconds since 1970. */
  readonly time: number;
  readonly event?: string;
  readonly [field: string]: unknown;
}

/** Reads what nodes have logged since it was last asked. */
export class NodeLogs {
  readonly #files: readonly string[];
  readonly #read = new Map<string, number>();

  constructor(files: readonly string[]) {
    this.#files = files;
  }

  take(): LogLine[] {
    return this.#files.flatMap((file) => this.#takeOf(file)).sort((a, b) => a.time - b.time);
  }

  #takeOf(file: string): LogLine[] {
    const handle = openSync(file, 'r');
    try {
      const from = this.#read.get(file) ?? 0;
      const bytes = Buffer.alloc(fstatSync(handle).size - from);
      readSync(handle, bytes, 0, bytes.length, from);
      const whole = bytes.lastIndexOf(0x0a) + 1;
      this.#read.set(file, from + whole);
      // Beside the nodes' own lines there may be what Node itself prints.
      return bytes
        .toString('utf8', 0, whole)
        .split('\n')
        .filter((line) => line.startsWith('{'))
        .map((line) => JSON.parse(line) as LogLine);
    } finally {
      closeSync(handle);
    }
  }
}

/** The steps from a trouble to its end, in the order in which they come; each in milliseconds since it began. */
export const STEPS = ['missed', 'told', 'proposed', 'office', 'serving', 'address'] as const;
export type Step = (typeof STEPS)[number];
export type Breakdown = Partial<Record<Step, number>>;

export const STEP_MEANINGS: Readonly<Record<Step, string>> = {
  missed: 'another node has lost a connection with it',
  told: 'its guardian has told another node that it has ended',
  proposed: 'its fencing, or the move, has been proposed',
  office: 'the next primary has learned that it is to be one',
  serving: 'it has brought the others to its log and waited out the lease, if it had to',
  address: 'the address is on its interface, listened on and announced',
};

/**
 * @param lines of all nodes, in order
 * @param trouble what was done when, by the wall clock, to which node that served this group at this address
 */
export function breakdownOf(
  lines: readonly LogLine[],
  trouble: { readonly atMs: number; readonly node: string; readonly group: string; readonly address: string },
): Breakdown {
  const { atMs, node, group, address } = trouble;
  const holds: Readonly<Record<Step, (line: LogLine) => boolean>> = {
    missed: (line) => line.event === 'peer.down' && line['nodeId'] === node,
    told: (line) => line.event === 'cluster.ended' && line['nodeId'] === node,
    proposed: (line) => line.event === 'cluster.fencing' && line['nodeId'] === node,
    office: (line) => line.event === 'replication.office' && line['group'] === group,
    serving: (line) =>
      line.event === 'replication.serving' && line['group'] === group && line['serving'] === true,
    address: (line) => line.event === 'portal.address.taken' && line['address'] === address,
  };
  const later = lines.filter((line) => line.time >= atMs && line.node !== node);
  const found: Breakdown = {};
  for (const step of STEPS) {
    const line = later.find(holds[step]);
    if (line !== undefined) found[step] = line.time - atMs;
  }
  return found;
}
