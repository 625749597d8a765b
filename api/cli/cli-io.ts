import type { Clock } from '../../base/clock.ts';

/** The world as the command line sees it; main.ts makes the real one. */
export interface CliIo {
  /** Of this program, as "0.1.0". */
  readonly version: string;
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  /** Whether `err` is a terminal, on which a line can be written over. */
  readonly errIsTerminal: boolean;
  /** From the environment, undefined when not set. */
  readonly profileVariable: string | undefined;
  readonly homeDirectory: string;
  readonly clock: Clock;
  readonly sleep: (ms: number) => Promise<void>;
  /** Runs node/main with these arguments until it ends. @returns its exit code */
  readonly runNode: (args: readonly string[]) => Promise<number>;
}
