/** What a simulation is told, and what has come of it. */

export interface SimulationOptions {
  readonly seed: number;
  /** How long trouble lasts, in simulated ms. */
  readonly troubleMs?: number;
  /** Of whole nodes: the members of a group die together, time and again, and one of them with a damaged copy. */
  readonly doubleFailures?: boolean;
  /** Of whole nodes: the disks of one node after another are slow for seconds, and do not fail. */
  readonly limping?: boolean;
  /** Of whole nodes: directories are replaced by what they were some time ago, and disks are lost for good, two at once. */
  readonly oldCopies?: boolean;
  /** Given each line of the trace. */
  readonly print?: (line: string) => void;
}

export interface SimulationResult {
  readonly seed: number;
  /** What went wrong first; undefined: nothing. */
  readonly violation: string | undefined;
  readonly counts: Readonly<Record<string, number>>;
  readonly simulatedMs: number;
  readonly operations: number;
  readonly events: number;
  /** Differs if anything at all went differently. */
  readonly traceHash: string;
}
