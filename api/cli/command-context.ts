import { ApiClient } from './api-client.ts';
import type { CliIo } from './cli-io.ts';
import { loadProfile, profileFile, rememberNodes } from './profile.ts';

/** Options that every command takes. */
export interface GlobalOptions {
  readonly profile?: string;
  readonly node?: string;
  readonly json?: boolean;
}

/** What one command has to work with. */
export interface CommandContext {
  readonly api: ApiClient;
  readonly io: CliIo;
  /** Whether results are printed as JSON documents. */
  readonly asJson: boolean;
}

/** @throws UsageError without a usable profile */
export async function makeContext(options: GlobalOptions, io: CliIo): Promise<CommandContext> {
  const profile = await loadProfile(options.profile, io);
  const file = profileFile(options.profile, io);
  const learned = (nodeUrls: readonly string[], deadUrls: readonly string[]): Promise<void> =>
    rememberNodes(file, profile, nodeUrls, deadUrls);
  return { api: new ApiClient(profile, options.node, learned), io, asJson: options.json === true };
}

/** Prints a result: the document for machines, or the text for people. */
export function print(context: CommandContext, document: unknown, text: (() => string) | string): void {
  if (context.asJson) context.io.out(`${JSON.stringify(document)}\n`);
  else context.io.out(typeof text === 'string' ? text : text());
}
