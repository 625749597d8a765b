import { resolve } from 'node:path';
import { Command } from 'commander';
import type { Clock } from '../../base/clock.ts';
import { OperationError } from '../../base/errors.ts';
import { Recovery } from '../../cluster/recovery.ts';
import type { RecoveredState } from '../../cluster/state/recovery.ts';
import { openClusterStores } from '../cluster-stores.ts';
import { loadNodeDirectory } from './node-directory.ts';
import { type CommandOutput, runOfflineCommand } from './offline-command.ts';

interface RecoverOptions {
  readonly data: string;
  readonly cluster: string;
  readonly keep?: string;
  readonly acceptStaleData?: boolean;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

/**
 * `bootfabric recover`: makes a cluster of what one stopped node has, where a majority is lost for good.
 * @param args what follows "recover"
 * @returns the exit code: 0 done, 1 refused, 2 wrong usage
 */
export async function runRecover(
  args: readonly string[],
  clock: Clock,
  output: CommandOutput,
): Promise<number> {
  const command = recoverCommand();
  return await runOfflineCommand(command, args, output, () =>
    recover(command.opts<RecoverOptions>(), clock, output),
  );
}

function recoverCommand(): Command {
  return new Command('bootfabric recover')
    .description(
      'Make a cluster of what this stopped node has, where a majority of the nodes is lost for good. ' +
        'Only for that: changes that only lost nodes had are gone afterwards, and a lost node that is ' +
        'started again could serve disks that have moved on.',
    )
    .requiredOption('--data <dir>', 'the directory of this node; it must not be running')
    .requiredOption('--cluster <name>', 'name of the cluster, to show that this is the one that is meant')
    .option('--keep <id,...>', 'other nodes that are left, and will be started after this one')
    .option('--accept-stale-data', 'go on with copies that were behind, or empty, where no other is left')
    .option('--dry-run', 'show what would be done, and do nothing')
    .option('--json', 'print a JSON document');
}

async function recover(options: RecoverOptions, clock: Clock, output: CommandOutput): Promise<void> {
  const directory = await loadNodeDirectory(resolve(options.data));
  const { nodeId } = directory.config;
  const { clusterName } = directory.genesis;
  if (options.cluster !== clusterName) {
    throw new OperationError(`${options.data} is of cluster ${clusterName}`, {
      kind: 'conflict',
      code: 'other-cluster',
      got: options.cluster,
      accepted: clusterName,
    });
  }
  const stores = await openClusterStores(directory);
  try {
    const recovery = await Recovery.read({ ...stores, genesis: directory.genesis });
    const keep = checkKept(
      options.keep?.split(',') ?? [],
      nodeId,
      Object.keys(recovery.leftOver.state.nodes),
    );
    const plan = recovery.plan({ self: nodeId, nodes: [nodeId, ...keep], atMs: clock.wallMs() });
    const isWritten = options.dryRun !== true;
    const { term, lastIndex, commitIndex } = recovery.leftOver;
    const { lostNodes, staleGroups, lostGroups } = plan;
    const report = {
      nodeId,
      clusterName,
      term,
      lastIndex,
      commitIndex,
      keep,
      lostNodes,
      staleGroups,
      lostGroups,
    };
    if (options.json !== true) output.err(warning(report));
    if (isWritten) {
      refuseStale(plan, options.acceptStaleData === true);
      await recovery.write(plan, nodeId);
    }
    if (options.json === true) output.out(`${JSON.stringify({ ...report, written: isWritten })}\n`);
    else output.out(isWritten ? doneText(nodeId, options.data) : 'Nothing was changed (--dry-run)\n');
  } finally {
    await stores.close();
  }
}

function checkKept(keep: readonly string[], self: string, known: readonly string[]): string[] {
  const unknown = keep.find((id) => !known.includes(id));
  if (unknown !== undefined) {
    throw new OperationError(`--keep: the cluster has no node "${unknown}"`, {
      kind: 'invalid',
      code: 'unknown-node',
      got: unknown,
      accepted: known.join(', '),
    });
  }
  return [...new Set(keep)].filter((id) => id !== self);
}

function refuseStale({ staleGroups, lostGroups }: RecoveredState, isAccepted: boolean): void {
  const groups = [...staleGroups, ...lostGroups];
  if (isAccepted || groups.length === 0) return;
  throw new OperationError(
    `no whole copy is left of portal group ${groups.join(', ')}: clients would lose acknowledged writes`,
    {
      kind: 'conflict',
      code: 'stale-data',
      got: groups,
      accepted: 'recovery on another node that is left, or --accept-stale-data',
    },
  );
}

interface Report {
  readonly nodeId: string;
  readonly clusterName: string;
  readonly term: number;
  readonly lastIndex: number;
  readonly commitIndex: number;
  readonly keep: readonly string[];
  readonly lostNodes: readonly string[];
  readonly staleGroups: readonly string[];
  readonly lostGroups: readonly string[];
}

function warning(report: Report): string {
  const { nodeId, term, lastIndex, commitIndex, keep, lostNodes, staleGroups, lostGroups } = report;
  const orNone = (names: readonly string[]): string => names.join(', ') || 'none';
  const line = '!'.repeat(78);
  return [
    line,
    `RECOVERY of cluster ${report.clusterName} from what node ${nodeId} has`,
    line,
    `  Its log ends at entry ${lastIndex} of term ${term}; it knows of ${commitIndex} that they were committed.`,
    '  Changes of the configuration that only lost nodes had are LOST. Of several nodes that are left, recover',
    '  the one whose log has the highest term and, of these, the highest last entry (see --dry-run).',
    `  Removed for good, NEVER to be started again: ${orNone(lostNodes)}`,
    `  To be started after this one:                ${orNone(keep)}`,
    `  Portal groups with a copy that was behind:   ${orNone(staleGroups)}`,
    `  Portal groups whose disks are lost:          ${orNone(lostGroups)}`,
    line,
    '',
  ].join('\n');
}

function doneText(nodeId: string, directory: string): string {
  return (
    `Node ${nodeId} is a cluster of its own from its next start on; that is recorded (bootfabric node list --json)\n` +
    `Run:  bootfabric start --data ${directory}\n` +
    'Then let new hosts join: "bootfabric node token"\n'
  );
}
