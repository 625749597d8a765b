import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Command } from 'commander';
import { BACKUP_FORMAT_VERSION } from '../../api/contract/limits.ts';
import { type BackupDocument, backupSchema } from '../../api/contract/nodes.ts';
import { describeError, OperationError } from '../../base/errors.ts';
import { findSchemaFault } from '../../base/schema-check.ts';
import { completeState } from '../../cluster/state/genesis.ts';
import type { ClusterState } from '../../cluster/state/model.ts';
import { type InitSources, refuseTaken, reportOf, reportText, writeDirectory } from './init.ts';
import { makeCluster } from './init-cluster.ts';
import { repeated } from './init-options.ts';
import { planCluster } from './init-plan.ts';
import { type CommandOutput, runOfflineCommand } from './offline-command.ts';

interface RestoreOptions {
  readonly out: string;
  readonly node: readonly string[];
  readonly ports?: string;
  readonly portalInterface?: string;
  readonly workers?: string;
  readonly dhcpInterface?: readonly string[];
  readonly ipxeDir: string;
  readonly json?: boolean;
}

/**
 * `bootfabric restore`: prepares a new cluster that has the configuration of a backup.
 * @param args what follows "restore"
 * @returns the exit code: 0 made, 1 refused, 2 wrong usage; either way nothing is left half-made
 */
export async function runRestore(
  args: readonly string[],
  sources: InitSources,
  output: CommandOutput,
): Promise<number> {
  const command = restoreCommand();
  return await runOfflineCommand(command, args, output, async (asJson) => {
    const options = command.opts<RestoreOptions>();
    const [file = ''] = command.args;
    const state = await readBackup(file);
    const directory = resolve(options.out);
    const plan = planOf(options, state);
    await refuseTaken(directory);
    const inputs = { nowMs: sources.clock.wallMs(), random: sources.random };
    const cluster = makeCluster(plan, inputs, state);
    await writeDirectory(directory, cluster);
    const report = reportOf(plan, cluster, directory);
    output.out(
      asJson ? `${JSON.stringify(report)}\n` : restoredText(reportText(report, plan.portalInterface), state),
    );
  });
}

function restoreCommand(): Command {
  return new Command('bootfabric restore')
    .description(
      'Prepare a new cluster that has the configuration of a backup: settings, clients, portal groups, names ' +
        'of images and boot files. Disks begin anew, and images and boot files are to be added again.',
    )
    .argument('<file>', 'what "bootfabric backup" wrote')
    .requiredOption('--out <dir>', 'directory to make; must not hold anything yet')
    .addOption(
      repeated('--node <id=address>', 'a node and its IPv4 address; once per node').makeOptionMandatory(),
    )
    .option('--ports <name=port,...>', 'other ports than the usual ones, the same on every node')
    .option('--portal-interface <name>', 'network interface that carries portal addresses')
    .option(
      '--workers <n>',
      'data-plane workers of a node, or auto: as many as its processors are good for (else one)',
    )
    .addOption(repeated('--dhcp-interface <name>', 'answer DHCP on this interface'))
    .option('--ipxe-dir <dir>', "where iPXE's boot programs are", '/usr/lib/ipxe')
    .option('--json', 'print a JSON document');
}

/** The same checks as for a cluster that is new altogether. */
function planOf(options: RestoreOptions, state: ClusterState): ReturnType<typeof planCluster> {
  const portals = Object.values(state.portalGroups).map((group) => `${group.address}:${group.port}`);
  const plan = planCluster({ ...options, cluster: state.clusterName, portal: portals, dhcp: 'off' });
  return { ...plan, dhcp: state.settings.dhcp };
}

/** @throws OperationError when the file is missing, damaged, or of another format */
async function readBackup(file: string): Promise<ClusterState> {
  const refuse = (message: string, code: string, got: unknown, accepted: string): OperationError =>
    new OperationError(message, { kind: 'invalid', code, got, accepted });
  const whole = 'a file that "bootfabric backup" wrote, unchanged';
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    throw refuse(`the backup cannot be read: ${describeError(error)}`, 'bad-backup', file, whole);
  }
  const document = parsed(text);
  if (findSchemaFault(backupSchema, document) !== undefined) {
    throw refuse(`${file} is not a backup`, 'bad-backup', file, whole);
  }
  const { version, sha256, state } = document as BackupDocument;
  if (version !== BACKUP_FORMAT_VERSION) {
    const accepted = `version ${BACKUP_FORMAT_VERSION}`;
    throw refuse(`${file} is a backup of another format`, 'backup-version', version, accepted);
  }
  const got = createHash('sha256').update(state).digest('hex');
  if (got !== sha256) throw refuse(`${file} is damaged`, 'damaged-backup', got, `SHA-256 ${sha256}`);
  return completeState(JSON.parse(state) as ClusterState);
}

/** Undefined: it is not JSON. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function restoredText(text: string, { images, bootFiles }: ClusterState): string {
  const names = [...Object.keys(images), ...Object.keys(bootFiles)];
  if (names.length === 0) return text;
  return `${text}To be added again, from the same files:  ${names.join(', ')}\n`;
}
