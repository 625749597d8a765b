import { Command } from 'commander';
import { optionDescription } from '../../base/option-help.ts';
import type { CliIo } from './cli-io.ts';

/** How arguments are taken apart, and what help looks like, for all commands alike. */

/** The program without its commands. What is set here holds for each command made from it. */
export function makeParser(io: CliIo): Command {
  return new Command('bootfabric')
    .description('Clustered network boot: machines without disks, served by nodes that may fail.')
    .option(
      '--profile <file>',
      'administrator profile (else BOOTFABRIC_PROFILE, else ~/.config/bootfabric/admin.json)',
    )
    .option('--node <id>', 'ask this node (else the nodes in turn)')
    .option('--json', 'print JSON documents')
    .version(io.version, '--version', 'print the version of this program')
    .configureHelp({
      showGlobalOptions: true,
      visibleGlobalOptions: (command) => (command.parent === null ? [] : [...optionsAbove(command)]),
      commandDescription: (command) => sentence(command.description()),
      optionDescription,
    })
    .exitOverride()
    .configureOutput({ writeOut: io.out, writeErr: io.err, outputError: () => {} });
}

/** Of the program itself, those that make sense with one of its commands. */
function optionsAbove(command: Command): Command['options'] {
  const above = command.parent === null ? [] : [...optionsAbove(command.parent), ...command.parent.options];
  return above.filter((option) => option.long !== '--version');
}

function sentence(text: string): string {
  return /[.)]$/.test(text) ? text : `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

/** Which help tells of the command that these arguments meant, as "bootfabric client add --help". */
export function helpOf(program: Command, args: readonly string[]): string {
  let command = program;
  const words = [program.name()];
  for (const arg of args) {
    const next = command.commands.find((candidate) => candidate.name() === arg);
    if (next === undefined) continue;
    command = next;
    words.push(arg);
  }
  return `${words.join(' ')} --help`;
}
