import { isIPv4 } from 'node:net';
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { DEFAULT_QUEUE_DEPTH, MAX_QUEUE_DEPTH } from '../iscsi/limits.ts';
import type { PortalAddress } from '../iscsi/ports.ts';
import { DEFAULT_CACHE_MIB, MAX_CACHE_MIB, MAX_FILES, MAX_PORTALS, MAX_WORKERS } from './limits.ts';

/** What becomes of writes; see the help text. */
export type WritesMode = 'keep' | 'discard' | 'merge';

/** The options of `bootfabric serve-lun`, each right in itself. */
export interface ServeLunOptions {
  readonly files: readonly string[];
  readonly listen: readonly PortalAddress[];
  readonly readOnly: boolean;
  readonly workers: number;
  readonly writes: WritesMode;
  /** Parent of the directories that writes go to; undefined: beside each file. */
  readonly writeLog: string | undefined;
  readonly cacheBytes: number;
  /** Commands that one session may have outstanding. */
  readonly queueDepth: number;
  readonly json: boolean;
  readonly logLevel: string;
}

export type ParsedServeLun =
  | { readonly kind: 'options'; readonly options: ServeLunOptions }
  | { readonly kind: 'help'; readonly text: string }
  | { readonly kind: 'usage'; readonly message: string };

interface Typed {
  readonly listen?: readonly PortalAddress[];
  readonly readOnly?: boolean;
  readonly workers: number;
  readonly writes: WritesMode;
  readonly writeLog?: string;
  readonly cache: number;
  readonly queueDepth: number;
  readonly json?: boolean;
  readonly logLevel: string;
}

const DEFAULT_LISTEN: PortalAddress = { address: '127.0.0.1', port: 3260 };
const BYTES_PER_MIB = 1_048_576;
const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'];

const WRITES_HELP = `
Writes never change FILE while it is served. They go into a log of their own, as those of a client do on a
node: acknowledged from the page cache (WCE=1), on the disk after SYNCHRONIZE CACHE or FUA. --writes says what
becomes of the log, which is the directory FILE.writes (or one in --write-log DIR):

  keep     it stays, and a later run goes on with it (default)
  discard  a new one for this run, removed at its end
  merge    at the end of the run its blocks are written into FILE, then it is removed; a run that was
           killed leaves it, and the next one goes on with it

Several runs may serve one FILE at once, each with a --write-log of its own. One that merges has the FILE alone.

Each worker is a thread that serves its own share of the files, at the port given plus its number (0, 1, ...).
A login at another worker's port is redirected. SIGINT (Ctrl-C) or SIGTERM ends the run cleanly.`;

/** @param args what follows "serve-lun" on the command line */
export function parseServeLunArguments(args: readonly string[]): ParsedServeLun {
  let help = '';
  const command = serveLunCommand();
  command.exitOverride().configureOutput({
    writeOut: (text) => {
      help += text;
    },
    writeErr: () => {},
  });
  try {
    command.parse(args, { from: 'user' });
    return {
      kind: 'options',
      options: optionsOf(command.processedArgs[0] as string[], command.opts<Typed>()),
    };
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return { kind: 'help', text: help };
    return { kind: 'usage', message: error.message.replace(/^error: /, '') };
  }
}

function serveLunCommand(): Command {
  return new Command('bootfabric serve-lun')
    .description(
      'Serve raw files as iSCSI disks without a cluster: one target for each file, its disk LUN 0.',
    )
    .argument('<file...>', 'raw disk images')
    .addOption(
      new Option('--listen <address:port>', 'portal; repeatable (default: 127.0.0.1:3260)').argParser(
        collectPortal,
      ),
    )
    .option('--read-only', 'refuse writes')
    .option('--workers <n>', 'data-plane threads', wholeNumber(1, MAX_WORKERS), 1)
    .addOption(
      new Option('--writes <mode>', 'what becomes of writes')
        .choices(['keep', 'discard', 'merge'])
        .default('keep'),
    )
    .option('--write-log <dir>', 'keep the logs of writes in this directory instead of beside each file')
    .option(
      '--cache <mib>',
      'memory for blocks of files, for each worker, in MiB',
      wholeNumber(1, MAX_CACHE_MIB),
      DEFAULT_CACHE_MIB,
    )
    .option(
      '--queue-depth <n>',
      'commands that one initiator may have outstanding',
      wholeNumber(1, MAX_QUEUE_DEPTH),
      DEFAULT_QUEUE_DEPTH,
    )
    .addOption(
      new Option('--log-level <level>', 'least level of messages on standard error')
        .choices(LOG_LEVELS)
        .default('warn'),
    )
    .option('--json', 'print JSON documents')
    .addHelpText('after', WRITES_HELP);
}

function optionsOf(files: readonly string[], typed: Typed): ServeLunOptions {
  if (files.length > MAX_FILES)
    throw usage(`${files.length} files are given, ${MAX_FILES} at most can be served`);
  return {
    files,
    listen: typed.listen ?? [DEFAULT_LISTEN],
    readOnly: typed.readOnly ?? false,
    workers: typed.workers,
    writes: typed.writes,
    writeLog: typed.writeLog,
    cacheBytes: typed.cache * BYTES_PER_MIB,
    queueDepth: typed.queueDepth,
    json: typed.json ?? false,
    logLevel: typed.logLevel,
  };
}

function usage(message: string): CommanderError {
  return new CommanderError(2, 'bootfabric.usage', message);
}

function collectPortal(
  text: string,
  earlier: readonly PortalAddress[] | undefined,
): readonly PortalAddress[] {
  const portals = [...(earlier ?? []), parsePortal(text)];
  if (portals.length > MAX_PORTALS) throw new InvalidArgumentError(`At most ${MAX_PORTALS} portals.`);
  return portals;
}

function parsePortal(text: string): PortalAddress {
  const [address = '', port = '', ...rest] = text.split(':');
  const portNumber = /^\d{1,5}$/.test(port) ? Number(port) : Number.NaN;
  // Initiators are told the address by SendTargets, so it has to be one they can use.
  if (rest.length > 0 || !isIPv4(address) || address === '0.0.0.0' || !(portNumber <= 65_535)) {
    throw new InvalidArgumentError(
      'Expected is an IPv4 address of this host and a port, such as 127.0.0.1:3260.',
    );
  }
  return { address, port: portNumber };
}

function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
    if (value >= min && value <= max) return value;
    throw new InvalidArgumentError(`Expected is a whole number from ${min} to ${max}.`);
  };
}
