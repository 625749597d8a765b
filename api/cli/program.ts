import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { errorDocument, errorText } from '../../base/error-text.ts';
import { OperationError } from '../../base/errors.ts';
import type { NewClientDocument } from '../contract/clients.ts';
import type { CliIo } from './cli-io.ts';
import { type CommandContext, type GlobalOptions, makeContext } from './command-context.ts';
import { addBootFile, listBootFiles } from './commands/boot-files.ts';
import {
  addClient,
  type ChapOptions,
  changeClientChap,
  changeClientMultipath,
  changeClientSources,
  listClients,
  removeClient,
} from './commands/clients.ts';
import { type StartFromOptions, startGroupFrom } from './commands/group-start.ts';
import { importImage, listImages } from './commands/images.ts';
import { listLuns } from './commands/luns.ts';
import { startScrub } from './commands/scrub.ts';
import { showStatus } from './commands/status.ts';
import { EXIT, exitCodeOf, UsageError } from './failures.ts';
import { type Asking, membershipCommands } from './node-program.ts';
import { policyCommands } from './policy-program.ts';

/**
 * The command line as a function.
 * @param args what follows the program's name
 * @returns the exit code: 0 done, 1 refused, 2 wrong usage, 3 no node reached
 */
export async function runCli(args: readonly string[], io: CliIo): Promise<number> {
  // These have options of their own under the same names; all of what follows belongs to them.
  if (OF_THE_NODE.includes(args[0] ?? '')) return io.runNode(args);
  const run: Run = { io, exitCode: EXIT.ok };
  const asJson = args.includes('--json');
  try {
    await makeProgram(run).parseAsync(args, { from: 'user' });
    return run.exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return answerParser(error, io, asJson);
    if (!(error instanceof OperationError)) throw error;
    tell(error, io, asJson);
    return exitCodeOf(error);
  }
}

/** Commands that work on files of this host, and need no cluster to talk to. */
const OF_THE_NODE: readonly string[] = ['init', 'join', 'recover', 'restore', 'serve-lun'];

interface Run {
  readonly io: CliIo;
  exitCode: number;
}

function tell(error: OperationError, io: CliIo, asJson: boolean): void {
  const document = errorDocument(error);
  io.err(asJson ? `${JSON.stringify(document)}\n` : errorText(document));
}

function answerParser(error: CommanderError, io: CliIo, asJson: boolean): number {
  if (error.exitCode === 0) return EXIT.ok;
  // Help in place of a missing command has been shown already.
  if (error.code === 'commander.help') return EXIT.usage;
  const message = error.message.replace(/^error: /, '');
  tell(new UsageError(message, { accepted: 'see bootfabric --help' }), io, asJson);
  return EXIT.usage;
}

function makeProgram(run: Run): Command {
  const { io } = run;
  const program = new Command('bootfabric')
    .description('Clustered network boot: machines without disks, served by nodes that may fail.')
    .option(
      '--profile <file>',
      'administrator profile (else BOOTFABRIC_PROFILE, else ~/.config/bootfabric/admin.json)',
    )
    .option('--node <id>', 'ask this node (else the nodes in turn)')
    .option('--json', 'print JSON documents')
    .exitOverride()
    .configureOutput({ writeOut: io.out, writeErr: io.err, outputError: () => {} });
  /** Makes an action of a command that talks to the cluster. */
  const asking =
    <A extends readonly unknown[]>(action: (context: CommandContext, ...args: A) => Promise<void>) =>
    async (...args: A): Promise<void> =>
      action(await makeContext(program.opts<GlobalOptions>(), io), ...args);
  nodeCommands(program, run);
  membershipCommands(program, asking);
  program
    .command('status')
    .description('how the cluster is')
    .action(asking((context) => showStatus(context)));
  program
    .command('scrub')
    .argument('[node]', 'which node; else the one that answers, or that of --node')
    .description('have a node read through all it keeps, and mend what is damaged')
    .action(async (node: string | undefined) => {
      if (node !== undefined) program.setOptionValue('node', node);
      await asking((context) => startScrub(context))();
    });
  imageCommands(program, asking);
  clientCommands(program, asking);
  program
    .command('lun')
    .description('disks of clients')
    .command('list')
    .description('all disks')
    .action(asking((context) => listLuns(context)));
  bootFileCommands(program, asking);
  groupStartCommand(program, asking);
  policyCommands(program, asking);
  return program;
}

function nodeCommands(program: Command, run: Run): void {
  const ofTheNode = [
    ['init', 'prepare a new cluster'],
    ['join', 'make this host a node of a cluster that runs'],
    ['recover', 'make a cluster of what is left, where a majority of its nodes is lost for good'],
    ['restore', 'prepare a new cluster from a backup of the configuration'],
    ['serve-lun', 'serve raw files as iSCSI disks without a cluster'],
  ] as const;
  for (const [name, description] of ofTheNode) {
    program
      .command(name)
      .description(`${description} (see bootfabric ${name} --help)`)
      .allowUnknownOption()
      .allowExcessArguments()
      .action(() => {
        throw new UsageError(`${name} takes its options after it`, {
          accepted: `bootfabric ${name} OPTIONS`,
        });
      });
  }
  program
    .command('start')
    .description('run one node until told to stop')
    .requiredOption('--data <dir>', 'the directory of the node, as init made it')
    .action(async ({ data }: { data: string }) => {
      run.exitCode = await run.io.runNode(['start', '--data', data]);
    });
}

function imageCommands(program: Command, asking: Asking): void {
  const image = program.command('image').description('golden disks');
  image
    .command('import')
    .description('give an image its next version, from the raw bytes of a disk')
    .argument('<name>', 'name of the image, new or not')
    .argument('<file>', 'the disk')
    .option('--no-wait', 'do not wait until all nodes hold it')
    .action(
      asking((context, name: string, file: string, { wait }: { wait: boolean }) =>
        importImage(context, { name, file, wait }),
      ),
    );
  image
    .command('list')
    .description('all images and versions')
    .action(asking((context) => listImages(context)));
}

interface ClientOptions {
  readonly mac: string[];
  readonly image: string;
  readonly imageVersion?: number;
  readonly writeCache?: 'discard' | 'keep';
  readonly address?: string;
  readonly portalGroup?: string;
  readonly chap?: 'one-way' | 'mutual';
  readonly from?: string[];
  readonly multipath?: boolean;
}

function clientCommands(program: Command, asking: Asking): void {
  const client = program.command('client').description('machines that boot');
  client
    .command('add')
    .description('register a machine and give it a disk')
    .argument('<name>', 'name of the client')
    .addOption(macOption())
    .requiredOption('--image <image>', 'the image it boots')
    .option('--image-version <n>', 'this version (else the newest at each boot)', parseVersion)
    .addOption(
      new Option('--write-cache <mode>', 'what becomes of its writes at its next boot').choices([
        'discard',
        'keep',
      ]),
    )
    .option('--address <ipv4>', 'the address to give it')
    .option('--portal-group <id>', 'where its disk is served (else where the fewest are)')
    .addOption(
      new Option('--chap [mode]', 'let it attach its disk with a secret only, which it is given as it boots')
        .choices(['one-way', 'mutual'])
        .preset('one-way'),
    )
    .addOption(fromOption())
    .option('--multipath', 'show its disk at all nodes that keep a copy, for multipath software')
    .action(
      asking((context, name: string, { mac, chap, from, ...options }: ClientOptions) => {
        const document: NewClientDocument = {
          name,
          macs: mac,
          ...options,
          ...(chap === undefined ? {} : { chap }),
          ...(from === undefined ? {} : { sources: from }),
        };
        return addClient(context, document);
      }),
    );
  accessCommands(client, asking);
  client
    .command('list')
    .description('all clients')
    .action(asking((context) => listClients(context)));
  client
    .command('remove')
    .description('forget a machine and drop its writes')
    .argument('<name>', 'name of the client')
    .action(asking((context, name: string) => removeClient(context, name)));
}

function accessCommands(client: Command, asking: Asking): void {
  client
    .command('chap')
    .description('the secrets with which a client attaches its disk; new ones count from its next boot on')
    .argument('<name>', 'name of the client')
    .option('--rotate', 'new secrets')
    .option('--one-way', 'new secrets; the client proves itself')
    .option('--mutual', 'new secrets; client and target prove themselves to each other')
    .option('--off', 'no secrets any more')
    .option('--revoke', 'at once: the system that runs is cut off, and not let in again before it boots')
    .option('--show', 'show the new secrets, this once')
    .action(
      asking((context, name: string, options: ChapOptions) => changeClientChap(context, name, options)),
    );
  client
    .command('sources')
    .description('from which addresses a client may attach its disk')
    .argument('<name>', 'name of the client')
    .argument('[sources...]', 'IPv4 addresses and subnets (none: anywhere)')
    .action(
      asking((context, name: string, sources: string[]) => changeClientSources(context, name, sources)),
    );
  client
    .command('multipath')
    .description('whether a client finds its disk at all nodes that keep a copy')
    .argument('<name>', 'name of the client')
    .option('--on', 'it has multipath software, which sees one disk with several paths')
    .option('--off', 'only at the address of its portal group')
    .action(
      asking((context, name: string, options: { on?: boolean; off?: boolean }) =>
        changeClientMultipath(context, name, options),
      ),
    );
}

function fromOption(): Option {
  return new Option(
    '--from <source>',
    'an IPv4 address or subnet it may attach its disk from (repeatable; else anywhere)',
  ).argParser((value: string, earlier: readonly string[] | undefined) => [...(earlier ?? []), value]);
}

function macOption(): Option {
  return new Option('--mac <mac>', 'MAC address of one of its network cards (repeatable)')
    .argParser((value: string, earlier: readonly string[] | undefined) => [...(earlier ?? []), value])
    .makeOptionMandatory();
}

function parseVersion(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError('A version is a whole number from 1 on.');
  return Number(text);
}

function bootFileCommands(program: Command, asking: Asking): void {
  const bootFile = program.command('boot-file').description('network boot programs');
  bootFile
    .command('add')
    .description('upload a network boot program')
    .argument('<file>', 'the program')
    .option('--name <name>', 'the name it is served under (else its own)')
    .action(asking((context, file: string, { name }: { name?: string }) => addBootFile(context, file, name)));
  bootFile
    .command('list')
    .description('uploaded programs')
    .action(asking((context) => listBootFiles(context)));
}

function groupStartCommand(program: Command, asking: Asking): void {
  const existing = program.commands.find((command) => command.name() === 'portal-group');
  const group = existing ?? program.command('portal-group').description('portal groups');
  group
    .command('start-from')
    .description('let a portal group that nobody can serve go on from a copy that may lack writes')
    .argument('<group>', 'the portal group')
    .argument('<node>', 'the node whose copy becomes the only one')
    .option('--i-accept-data-loss', 'give up what only the lost copies hold')
    .option('--accept-holes', 'also from a copy that lacks blocks in the middle')
    .action(
      asking((context, group: string, node: string, options: StartFromOptions) =>
        startGroupFrom(context, group, node, options),
      ),
    );
}
