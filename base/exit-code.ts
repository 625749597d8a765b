/**
 * How a node's process says why it ended, to whatever starts it again. A process that a signal ended counts as
 * crashed.
 */
export const EXIT_CODE = {
  stopped: 0,
  /** An administrator has to change something first. */
  refused: 1,
  usage: 2,
  /** A disk has failed: not to be started again before somebody has looked. */
  storage: 70,
  /** What may pass, a bug of ours included: to be started again, as a new incarnation. */
  again: 71,
  /** Fenced: the same, at once. */
  fenced: 75,
  /** Removed from the cluster: not to be started again; to come back it joins anew, under another id. */
  removed: 76,
} as const;
