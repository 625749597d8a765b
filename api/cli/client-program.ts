import { type Command, InvalidArgumentError, Option } from 'commander';
import type { NewClientDocument } from '../contract/clients.ts';
import {
  addClient,
  type ChapOptions,
  changeClientChap,
  changeClientMultipath,
  changeClientSources,
  listClients,
  removeClient,
} from './commands/clients.ts';
import type { Asking } from './node-program.ts';

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

/** Commands about the machines that boot. */
export function clientCommands(program: Command, asking: Asking): void {
  const client = program.command('client').description('machines that boot');
  client
    .command('add')
    .description('register a machine and give it a disk')
    .argument('<name>', 'name of the client')
    .addOption(macOption())
    .requiredOption('--image <image>', 'the image it boots')
    .option('--image-version <n>', 'this version (else the newest at each boot)', parseVersion)
    .addOption(
      new Option(
        '--write-cache <mode>',
        'what becomes of its writes at its next boot (else discard)',
      ).choices(['discard', 'keep']),
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

export function parseVersion(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError('A version is a whole number from 1 on.');
  return Number(text);
}
