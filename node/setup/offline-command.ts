import { type Command, CommanderError } from 'commander';
import { errorDocument, errorText } from '../../base/error-text.ts';
import { OperationError } from '../../base/errors.ts';
import { optionDescription } from '../../base/option-help.ts';

export interface CommandOutput {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
}

const EXIT = { ok: 0, refused: 1, usage: 2 } as const;

/**
 * Runs a command that works on files of this host, without an administrator's profile: help and one clear error as for
 * every command.
 * @param args what follows the command's name
 * @param carryOut throws OperationError for what an administrator can mend
 * @returns the exit code: 0 done, 1 refused, 2 wrong usage
 */
export async function runOfflineCommand(
  command: Command,
  args: readonly string[],
  output: CommandOutput,
  carryOut: (asJson: boolean) => Promise<void>,
): Promise<number> {
  const asJson = args.includes('--json');
  const fail = (error: unknown): void => {
    const document = errorDocument(error);
    output.err(asJson ? `${JSON.stringify(document)}\n` : errorText(document));
  };
  command
    .configureHelp({ optionDescription })
    .exitOverride()
    .configureOutput({ writeOut: output.out, writeErr: () => {} });
  try {
    command.parse(args, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return EXIT.ok;
    const message = error.message.replace(/^error: /, '');
    const accepted = `see ${command.name()} --help`;
    fail(new OperationError(message, { kind: 'invalid', code: 'usage', accepted }));
    return EXIT.usage;
  }
  try {
    await carryOut(asJson);
    return EXIT.ok;
  } catch (error) {
    if (!(error instanceof OperationError)) throw error;
    fail(error);
    return EXIT.refused;
  }
}
