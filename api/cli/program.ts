import { type Command, CommanderError } from 'commander';
import { errorDocument, errorText } from '../../base/error-text.ts';
import { OperationError } from '../../base/errors.ts';
import type { CliIo } from './cli-io.ts';
import { clientCommands, parseVersion } from './client-program.ts';
import { type CommandContext, type GlobalOptions, makeContext } from './command-context.ts';
import { addBootFile, listBootFiles, removeBootFile } from './commands/boot-files.ts';
import { type StartFromOptions, startGroupFrom } from './commands/group-start.ts';
import { importImage, listImages, removeImage } from './commands/images.ts';
import { listLuns } from './commands/luns.ts';
import { startScrub } from './commands/scrub.ts';
import { showStatus } from './commands/status.ts';
import { EXIT, exitCodeOf, UsageError } from './failures.ts';
import { type Asking, membershipCommands } from './node-program.ts';
import { helpOf, makeParser } from './parser.ts';
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
  const program = makeProgram(run);
  try {
    await program.parseAsync(args, { from: 'user' });
    return run.exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return answerParser(error, helpOf(program, args), io, asJson);
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

function answerParser(error: CommanderError, help: string, io: CliIo, asJson: boolean): number {
  if (error.exitCode === 0) return EXIT.ok;
  // Help in place of a missing command has been shown already.
  if (error.code === 'commander.help') return EXIT.usage;
  const message = error.message.replace(/^error: /, '').replace('\n(Did you', ' (did you');
  tell(new UsageError(message, { accepted: `see ${help}` }), io, asJson);
  return EXIT.usage;
}

function makeProgram(run: Run): Command {
  const { io } = run;
  const program = makeParser(io);
  /** Makes an action of a command that talks to the cluster. */
  const asking =
    <A extends readonly unknown[]>(action: (context: CommandContext, ...args: A) => Promise<void>) =>
    async (...args: A): Promise<void> =>
      action(await makeContext(program.opts<GlobalOptions>(), io), ...args);
  program.commandsGroup('On a host that is a node:');
  nodeCommands(program, run);
  program.commandsGroup('The cluster:');
  program
    .command('status')
    .description('how the cluster is')
    .action(asking((context) => showStatus(context)));
  membershipCommands(program, asking);
  policyCommands(program, asking);
  groupStartCommand(program, asking);
  program
    .command('scrub')
    .argument('[node]', 'which node; else the one that answers, or that of --node')
    .description('have a node read through all it keeps, and mend what is damaged')
    .action(async (node: string | undefined) => {
      if (node !== undefined) program.setOptionValue('node', node);
      await asking((context) => startScrub(context))();
    });
  program.commandsGroup('Disks, and the machines that boot from them:');
  imageCommands(program, asking);
  clientCommands(program, asking);
  program
    .command('lun')
    .description('disks of clients')
    .command('list')
    .description('all disks')
    .action(asking((context) => listLuns(context)));
  bootFileCommands(program, asking);
  program.commandsGroup('Help:').helpCommand(true);
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
      .description(description)
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
    .description('run this host’s node until told to stop (SIGTERM), and start it again after a crash')
    .requiredOption('--data <dir>', 'the directory of the node, as init or join made it')
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
  image
    .command('remove')
    .description('remove a version that no client boots and no disk is over; its number is not given again')
    .argument('<name>', 'name of the image')
    .argument('<version>', 'number of the version', parseVersion)
    .action(asking((context, name: string, version: number) => removeImage(context, name, version)));
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
  bootFile
    .command('remove')
    .description('remove an uploaded program that machines can do without')
    .argument('<name>', 'the name it is served under')
    .action(asking((context, name: string) => removeBootFile(context, name)));
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
