import { mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import type { Clock } from '../../base/clock.ts';
import { describeError, OperationError } from '../../base/errors.ts';
import type { RandomSource } from '../../base/random.ts';
import { AUTHORITY_KEY_FILE, makeCluster, type NewCluster, PROFILE_FILE } from './init-cluster.ts';
import { type InitOptions, initCommand } from './init-options.ts';
import { type InitPlan, planCluster } from './init-plan.ts';
import { writeNewFile } from './node-directory.ts';
import { type CommandOutput, runOfflineCommand } from './offline-command.ts';

/** Randomness must be cryptographically strong: secrets and the cluster id come from it. */
export interface InitSources {
  readonly clock: Clock;
  readonly random: RandomSource;
}

/** What was made, as --json prints it. */
export interface InitReport {
  readonly clusterName: string;
  readonly clusterId: string;
  readonly directory: string;
  readonly profile: string;
  readonly nodes: readonly {
    readonly nodeId: string;
    readonly address: string;
    readonly directory: string;
  }[];
  readonly portals: readonly string[];
  /** Lets one more node in, within a day; see "bootfabric join". */
  readonly joinToken: string;
}

/**
 * `bootfabric init`.
 * @param args what follows "init"
 * @returns the exit code: 0 made, 1 refused, 2 wrong usage; either way nothing is left half-made
 */
export async function runInit(
  args: readonly string[],
  sources: InitSources,
  output: CommandOutput,
): Promise<number> {
  const command = initCommand();
  return await runOfflineCommand(command, args, output, async (asJson) => {
    const options = command.opts<InitOptions>();
    const plan = planCluster(options);
    const directory = resolve(options.out);
    await refuseTaken(directory);
    const cluster = makeCluster(plan, { nowMs: sources.clock.wallMs(), random: sources.random });
    await writeDirectory(directory, cluster);
    const report = reportOf(plan, cluster, directory);
    output.out(asJson ? `${JSON.stringify(report)}\n` : reportText(report, plan.portalInterface));
  });
}

/** All files go into a sibling that then takes the directory's name at once. @throws OperationError */
export async function writeDirectory(
  directory: string,
  { files, clusterId }: Pick<NewCluster, 'files' | 'clusterId'>,
): Promise<void> {
  const partial = join(dirname(directory), `.${basename(directory)}.partial-${clusterId}`);
  try {
    await mkdir(dirname(directory), { recursive: true });
    await mkdir(partial, { mode: 0o700 });
    for (const file of files) await writeNewFile(join(partial, file.path), file.text, file.mode);
    await rename(partial, directory);
    await syncDirectory(dirname(directory));
  } catch (error) {
    await rm(partial, { recursive: true, force: true });
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOTEMPTY' || code === 'EEXIST' || code === 'ENOTDIR') throw taken(directory);
    throw new OperationError(`${directory} cannot be written: ${describeError(error)}`, {
      kind: code === 'ENOSPC' ? 'no-space' : 'unavailable',
      code: 'not-written',
      got: directory,
      accepted: 'a directory this user may write, with some space',
    });
  }
}

async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** @throws OperationError kind "conflict" when there is anything in the directory */
export async function refuseTaken(directory: string): Promise<void> {
  let entries: string[];
  try {
    entries = await readdir(directory);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return;
    if (code === 'ENOTDIR') throw taken(directory);
    throw new OperationError(`${directory} cannot be read: ${describeError(error)}`, {
      kind: 'unavailable',
      code: 'not-written',
      got: directory,
      accepted: 'a directory this user may write',
    });
  }
  if (entries.includes(PROFILE_FILE)) {
    throw new OperationError(`${directory} has a cluster already`, {
      kind: 'conflict',
      code: 'cluster-exists',
      got: directory,
      accepted: 'a directory that does not exist or is empty',
    });
  }
  if (entries.length > 0) throw taken(directory);
}

function taken(directory: string): OperationError {
  return new OperationError(`${directory} exists and is not an empty directory`, {
    kind: 'conflict',
    code: 'directory-taken',
    got: directory,
    accepted: 'a directory that does not exist or is empty',
  });
}

export function reportOf(plan: InitPlan, cluster: NewCluster, directory: string): InitReport {
  return {
    clusterName: plan.clusterName,
    clusterId: cluster.clusterId,
    directory,
    profile: join(directory, PROFILE_FILE),
    nodes: plan.nodes.map((node) => ({ ...node, directory: join(directory, node.nodeId) })),
    portals: plan.portals.map((portal) => `${portal.address}:${portal.port}`),
    joinToken: cluster.joinToken,
  };
}

/** @param portalInterface what carries portal addresses; a host that joins has to say what does there */
export function reportText(report: InitReport, portalInterface: string | null): string {
  const carrying = portalInterface === null ? '' : ' --portal-interface NAME';
  const width = Math.max(...report.nodes.map((n) => n.nodeId.length));
  return [
    `Cluster ${report.clusterName} is prepared in ${report.directory}`,
    '',
    ...report.nodes.map((n) => `  ${n.nodeId.padEnd(width)}  ${n.address.padEnd(15)}  ${n.directory}`),
    '',
    'Copy each directory to its node and run there:  bootfabric start --data DIRECTORY',
    `Administrator profile (secret):                 ${report.profile}`,
    `Authority's key (secret; nodes have copies):    ${join(report.directory, AUTHORITY_KEY_FILE)}`,
    '',
    'One more host may join within a day, once these nodes run:',
    `  bootfabric join ${report.joinToken} --id ID --address ADDRESS${carrying} --out DIRECTORY`,
    '',
  ].join('\n');
}
