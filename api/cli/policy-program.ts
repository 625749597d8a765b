import { type Command, InvalidArgumentError, Option } from 'commander';
import type { NewClusterSettingsDocument, NewGroupPolicyDocument } from '../contract/policies.ts';
import {
  type NodeSetOptions,
  OWN,
  setCluster,
  setNode,
  setPortalGroup,
  showCluster,
} from './commands/policies.ts';
import {
  type AddPortalGroupOptions,
  addPortalGroup,
  listPortalGroups,
  removePortalGroup,
} from './commands/portal-groups.ts';
import type { Asking } from './node-program.ts';

/** Commands that say how things are to be. They join those of the same names. */
export function policyCommands(program: Command, asking: Asking): void {
  named(program, 'node', 'nodes of the cluster')
    .command('set')
    .description('say how much a node is to hold, and what fails together with it')
    .argument('<id>', 'the node')
    .option(
      '--weight <n>',
      `its share beside the others', 1 to 1000 ("${OWN}": as its own settings say)`,
      parseWeight,
    )
    .option('--rack <name>', `its rack, room or power supply ("${OWN}": as its own settings say)`)
    .action(asking((context, id: string, options: NodeSetOptions) => setNode(context, id, options)));
  const cluster = named(program, 'cluster', 'settings of the cluster as a whole');
  cluster
    .command('show')
    .description('the settings')
    .action(asking((context) => showCluster(context)));
  cluster
    .command('set')
    .description('change settings')
    .option('--replicas <n>', 'copies of each portal group, where there are as many nodes', parseCount)
    .addOption(
      new Option('--rebalance <on|off>', 'whether portal groups are moved for the sake of balance').choices([
        'on',
        'off',
      ]),
    )
    .option('--rebalance-delay <seconds>', 'how long the cluster must have been calm before', parseCount)
    .option(
      '--replace-after <seconds>',
      'how long a node may be down before its copies are made anew',
      parseCount,
    )
    .option(
      '--catch-up <MiB/s>',
      'what a node sends at most to copies that catch up, and takes in of them, 1 to 2048',
      parseCount,
    )
    .action(asking((context, options: ClusterOptions) => setCluster(context, settingsOf(options))));
  portalGroupCommands(named(program, 'portal-group', 'units of placement and failover'), asking);
  named(program, 'portal-group', 'units of placement and failover')
    .command('set')
    .description("say what a group's writes need")
    .argument('<group>', 'id of the portal group')
    .option('--min-in-sync <n>', 'writes wait while fewer copies than this are in sync', parseCount)
    .addOption(
      new Option(
        '--durability <mode>',
        'whether a write is on disks, or in memories, when it is acknowledged',
      ).choices(['write-back', 'durable']),
    )
    .action(
      asking((context, group: string, options: NewGroupPolicyDocument) =>
        setPortalGroup(context, group, options),
      ),
    );
}

function portalGroupCommands(group: Command, asking: Asking): void {
  group
    .command('list')
    .description('all portal groups, as one node sees them')
    .action(asking((context) => listPortalGroups(context)));
  group
    .command('add')
    .description('add a portal group, which new clients may have their disks in')
    .argument('<address>', 'its movable IPv4 address')
    .option('--port <n>', 'its port (else that of the others)', parseCount)
    .option('--id <id>', 'its id (else the next pgN)')
    .option('--on <node>', 'a node to keep a copy (repeatable; else chosen as for balance)', collect)
    .option(
      '--of-former-node',
      'though a node that was removed had the address; its host must have it no more',
    )
    .action(
      asking((context, address: string, options: AddPortalGroupOptions) =>
        addPortalGroup(context, address, options),
      ),
    );
  group
    .command('remove')
    .description('remove a portal group that no client has its disk in')
    .argument('<group>', 'id of the portal group')
    .action(asking((context, id: string) => removePortalGroup(context, id)));
}

function collect(value: string, earlier: readonly string[] | undefined): readonly string[] {
  return [...(earlier ?? []), value];
}

interface ClusterOptions {
  readonly replicas?: number;
  readonly rebalance?: 'on' | 'off';
  readonly rebalanceDelay?: number;
  readonly replaceAfter?: number;
  readonly catchUp?: number;
}

function settingsOf({
  replicas,
  rebalance,
  rebalanceDelay,
  replaceAfter,
  catchUp,
}: ClusterOptions): NewClusterSettingsDocument {
  return {
    ...(replicas === undefined ? {} : { replicasPerGroup: replicas }),
    ...(rebalance === undefined ? {} : { rebalance }),
    ...(rebalanceDelay === undefined ? {} : { rebalanceDelaySeconds: rebalanceDelay }),
    ...(replaceAfter === undefined ? {} : { replaceAfterSeconds: replaceAfter }),
    ...(catchUp === undefined ? {} : { catchUpMebibytesPerSecond: catchUp }),
  };
}

function named(program: Command, name: string, description: string): Command {
  const existing = program.commands.find((command) => command.name() === name);
  return existing ?? program.command(name).description(description);
}

function parseCount(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('A whole number is expected.');
  return Number(text);
}

function parseWeight(text: string): number | typeof OWN {
  return text === OWN ? OWN : parseCount(text);
}
