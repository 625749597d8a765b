import { ProtocolError } from '../base/errors.ts';
import { pack, unpack } from './msgpack.ts';
import type { Command } from './state/commands.ts';
import { FIRST_STATE_VERSION, newerState, type StateVersions } from './state/versions.ts';

/**
 * A command as it stands in the log: the version of the configuration that it needs, then itself. That form never
 * changes, so that any program can tell what is too new for it. A command without a version is of the first one.
 */
export function encodeCommand(command: Command, { neededBy }: StateVersions): Uint8Array {
  return pack([neededBy(command), command]);
}

/** What is no command of the version it names is one of no type, which apply refuses, alike on every node. */
const NO_COMMAND = { type: 'undecodable' } as unknown as Command;

/** @throws OperationError code "newer-state": others apply it, so that to pass it over would be to differ from them */
export function decodeCommand(bytes: Uint8Array, { newest, neededBy }: StateVersions): Command {
  const [version, command] = split(bytes);
  if (!Number.isSafeInteger(version) || typeof command !== 'object' || command === null) return NO_COMMAND;
  if ((version as number) > newest) throw newerState('a change', version as number, newest);
  // A program that knows no more than that version refuses it, so all must.
  return neededBy(command as Command) > (version as number) ? NO_COMMAND : (command as Command);
}

function split(bytes: Uint8Array): readonly unknown[] {
  try {
    const content = unpack(bytes);
    if (!Array.isArray(content)) return [FIRST_STATE_VERSION, content];
    return content.length === 2 ? content : [];
  } catch (error) {
    if (error instanceof ProtocolError) return [];
    throw error;
  }
}
