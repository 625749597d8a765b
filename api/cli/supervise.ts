import { EXIT_CODE } from '../../base/exit-code.ts';

/** A process that a signal ended: 128 and its number. */
const EXIT_SIGNALLED = 128;
const EXIT_SIGINT = 130;
const EXIT_SIGTERM = 143;

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 30_000;
/** One that ran for this long was well; the next pause is short again. */
const WELL_AFTER_MS = 60_000;

export interface Supervision {
  /** Runs the node once; its exit code. */
  readonly run: () => Promise<number>;
  readonly nowMs: () => number;
  readonly wait: (ms: number) => Promise<void>;
  readonly say: (text: string) => void;
}

/**
 * Starts a node again when it was fenced, crashed or was killed, since it then comes back as a new incarnation
 * and catches up. One that was told to stop, was refused, or whose disk has failed stays down.
 * @returns the exit code of the last run
 */
export async function supervise({ run, nowMs, wait, say }: Supervision): Promise<number> {
  let pauseMs = FIRST_PAUSE_MS;
  for (;;) {
    const startedMs = nowMs();
    const code = await run();
    if (!asksForAnotherStart(code)) return code;
    if (nowMs() - startedMs >= WELL_AFTER_MS || code === EXIT_CODE.fenced) pauseMs = FIRST_PAUSE_MS;
    say(`the node ended with ${code} and is started again in ${pauseMs / 1000} s\n`);
    await wait(pauseMs);
    pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
  }
}

function asksForAnotherStart(code: number): boolean {
  if (code === EXIT_CODE.fenced || code === EXIT_CODE.again) return true;
  return code > EXIT_SIGNALLED && code !== EXIT_SIGINT && code !== EXIT_SIGTERM;
}
