import { type Command, InvalidArgumentError } from 'commander';
import type { CommandContext } from './command-context.ts';
import {
  drainNode,
  listNodes,
  makeToken,
  moveGroup,
  removeNode,
  replaceNode,
  revokeToken,
  takeBackup,
  undrainNode,
} from './commands/nodes.ts';

/** Makes an action of a command that talks to the cluster. */
export type Asking = <A extends readonly unknown[]>(
  action: (context: CommandContext, ...args: A) => Promise<void>,
) => (...args: A) => Promise<void>;

interface Waiting {
  readonly wait: boolean;
}

/** Commands about the nodes of a cluster. */
export function membershipCommands(program: Command, asking: Asking): void {
  const node = program.command('node').description('nodes of the cluster');
  node
    .command('list')
    .description('all nodes, and what each leads and holds')
    .action(asking((context) => listNodes(context)));
  node
    .command('token')
    .description('let one more host join: prints a token for "bootfabric join"')
    .option('--ttl <seconds>', 'how long it is good for (else a day)', parseSeconds)
    .action(asking((context, { ttl }: { ttl?: number }) => makeToken(context, ttl)));
  node
    .command('revoke-token')
    .description('make a join token useless')
    .argument('<id>', 'id of the token, as "node list" shows it')
    .action(asking((context, id: string) => revokeToken(context, id)));
  node
    .command('drain')
    .description('move everything that a node leads to others, and keep it away')
    .argument('<id>', 'the node')
    .option('--no-wait', 'do not wait until that is done')
    .action(asking((context, id: string, { wait }: Waiting) => drainNode(context, id, wait)));
  node
    .command('undrain')
    .description('let a node lead again; also calls a replacement off')
    .argument('<id>', 'the node')
    .action(asking((context, id: string) => undrainNode(context, id)));
  node
    .command('remove')
    .description('remove a node for good; one that is up is drained first')
    .argument('<id>', 'the node')
    .option('--no-wait', 'do not drain it: remove it now, or be told what stands in the way')
    .action(asking((context, id: string, { wait }: Waiting) => removeNode(context, id, wait)));
  node
    .command('replace')
    .description('give everything that a node holds to another one, and then remove it')
    .argument('<id>', 'the node that is to go, up or not')
    .requiredOption('--with <id>', 'the node that takes its place; it has joined already')
    .option('--no-wait', 'do not wait until that is done')
    .action(
      asking((context, id: string, { with: replacement, wait }: Waiting & { with: string }) =>
        replaceNode(context, { id, replacement, wait }),
      ),
    );
  program
    .command('portal-group')
    .description('units of placement and failover')
    .command('move')
    .description('let another in-sync member lead a portal group')
    .argument('<group>', 'id of the portal group')
    .argument('<node>', 'id of the node')
    .action(asking((context, group: string, to: string) => moveGroup(context, group, to)));
  program
    .command('backup')
    .description('write the whole configuration to a file, for bootfabric restore')
    .argument('<file>', 'a file that does not exist yet')
    .action(asking((context, file: string) => takeBackup(context, file)));
}

function parseSeconds(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError('A whole number of seconds is expected.');
  return Number(text);
}
