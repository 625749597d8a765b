import { spawn } from 'node:child_process';

/** What became of a run of iscsi-test-cu. */
export interface SuiteRun {
  /**
   * ended: by itself. adrift: it goes round and round over a connection that has been closed. libiscsi does when its session is
   * dropped, and the one with which it comes again is dropped as well before its first command has been answered: it then
   * takes itself to be connecting still, and does not connect again (lib/connect.c, reconnect()). mute: it was still waiting
   * for something when its time was over.
   */
  readonly kind: 'ended' | 'adrift' | 'mute';
  /** What it said of its tests, and after that of its connections. */
  readonly output: string;
}

/** So often in a row it says nothing but that its connection has ended. */
const ADRIFT_LINES = 1_000;
const HUNG_UP = /^libiscsi:1 iscsi_service: POLLHUP/;
/** What is kept of its output, enough for all suites there are. */
const MAX_OUTPUT_CHARS = 4_000_000;

/**
 * Runs suites of libiscsi's iscsi-test-cu, which has no timeout of its own.
 * @param seconds in which this process was running, too
 */
export function runLibiscsiSuite(args: readonly string[], seconds: number): Promise<SuiteRun> {
  const env = { ...process.env, LIBISCSI_DEBUG: '1' };
  const tool = spawn('iscsi-test-cu', args, { stdio: ['ignore', 'pipe', 'pipe'], env });
  let output = '';
  let errors = '';
  let rest = '';
  let hungUpLines = 0;
  let secondsLeft = seconds;
  return new Promise((resolve, reject) => {
    const end = (kind: SuiteRun['kind']): void => {
      clearInterval(timer);
      if (kind !== 'ended') tool.kill('SIGKILL');
      resolve({ kind, output: `${output}${errors}` });
    };
    const timer = setInterval(() => {
      if (--secondsLeft <= 0) end('mute');
    }, 1_000);
    const takeError = (text: string): void => {
      if (errors.length < MAX_OUTPUT_CHARS) errors += text;
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) hungUpLines = HUNG_UP.test(line) ? hungUpLines + 1 : 0;
      if (hungUpLines >= ADRIFT_LINES) end('adrift');
    };
    tool.stdout.setEncoding('utf8').on('data', (text: string) => {
      if (output.length < MAX_OUTPUT_CHARS) output += text;
    });
    tool.stderr.setEncoding('utf8').on('data', takeError);
    tool.on('error', (error) => {
      clearInterval(timer);
      reject(error);
    });
    tool.on('close', () => end('ended'));
  });
}
