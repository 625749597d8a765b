import { randomUUID } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach } from 'vitest';
import type { CliIo } from '../../api/cli/cli-io.ts';
import { runCli } from '../../api/cli/program.ts';
import { ManualClock } from '../../base/clock.ts';
import { type ApiFixture, authority, startApiFixture } from './api-fixture.ts';
import { CLUSTER_ID, TOKEN } from './fake-cluster.ts';

export interface CliOutcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** An administrator's profile for the API at this port. */
export function profileFor(port: number): Readonly<Record<string, unknown>> {
  return {
    clusterName: 'lab',
    clusterId: CLUSTER_ID,
    apiUrls: [`https://127.0.0.1:${port}`],
    caCertificate: authority.certificatePem,
    token: TOKEN,
  };
}

/** Runs the command line to its end. @param changes what differs from a terminal of an administrator's */
export async function runCommand(
  args: readonly string[],
  profileFile: string,
  changes: Partial<CliIo> = {},
): Promise<CliOutcome> {
  let out = '';
  let err = '';
  const clock = new ManualClock();
  const code = await runCli(args, {
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    version: '1.2.3',
    errIsTerminal: false,
    profileVariable: profileFile,
    homeDirectory: tmpdir(),
    clock,
    sleep: async (ms) => clock.advance(ms),
    runNode: () => Promise.resolve(17),
    ...changes,
  });
  return { code, out, err };
}

/** What a command that was refused says with --json. */
export function errorOf(text: string): Record<string, unknown> {
  return (JSON.parse(text) as { readonly error: Record<string, unknown> }).error;
}

/** One node's API and an administrator with a profile for it. */
export interface CliSession {
  readonly api: ApiFixture;
  readonly run: (args: readonly string[], changes?: Partial<CliIo>) => Promise<CliOutcome>;
  readonly close: () => Promise<void>;
}

async function startCliSession(): Promise<CliSession> {
  const api = await startApiFixture('n1');
  const profile = join(tmpdir(), `bootfabric-${randomUUID()}.json`);
  await writeFile(profile, JSON.stringify(profileFor(api.server.port)));
  return {
    api,
    run: (args, changes) => runCommand(args, profile, changes),
    close: async () => {
      await api.server.close();
      await rm(profile);
    },
  };
}

/** Starts one before each test of a file, and closes it after. @returns what the present test's own is found by */
export function eachTestHasSession(): Omit<CliSession, 'close'> {
  let session: CliSession | undefined;
  beforeEach(async () => {
    session = await startCliSession();
    return session.close;
  });
  const present = (): CliSession => {
    if (session === undefined) throw new Error('only a test has a session');
    return session;
  };
  return {
    get api() {
      return present().api;
    },
    run: (args, changes) => present().run(args, changes),
  };
}
