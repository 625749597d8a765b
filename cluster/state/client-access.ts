import { ProtocolError } from '../../base/errors.ts';
import { parseIpv4, parseIpv4Subnet } from '../../base/ipv4.ts';
import type { Command, CommandRefusal } from './commands.ts';
import { MAX_SOURCES_PER_CLIENT } from './limits.ts';
import type { ChapCredentials, ClientChap, ClientRecord, ClusterState } from './model.ts';
import { lookup } from './names.ts';
import { accepted, type Outcome, refused } from './outcome.ts';

/** Who may log in to a client's disk: what it has to prove, and where it may come from. */

/**
 * Twelve to sixteen characters, which Windows takes, of 64 kinds: 96 bits where all are random (RFC 7143 §12.1.3).
 * None of them means anything in a boot script or a URL.
 */
const SECRET = /^[A-Za-z0-9][A-Za-z0-9._]{11,15}$/;
const USERNAME = /^[A-Za-z0-9][A-Za-z0-9.-]{0,62}$/;

/**
 * New credentials, or none any more (null). A system that runs logs in again with those it was started with, so
 * they are good until the client boots next, unless they are revoked.
 */
export function setClientChap(
  state: ClusterState,
  command: Extract<Command, { type: 'setClientChap' }>,
): Outcome {
  const client = lookup(state.clients, command.name);
  if (client === undefined) return refused(state, unknownClient(command.name));
  const refusal = command.credentials === null ? undefined : checkCredentials(command.credentials);
  if (refusal !== undefined) return refused(state, refusal);
  const { chap: before, ...rest } = client;
  const current = command.credentials;
  const running = runningCredentials(before);
  const chap: ClientChap | undefined =
    command.revoke || isSame(running, current) ? withoutPrevious(current) : { current, previous: running };
  return replace(state, chap === undefined ? rest : { ...rest, chap });
}

/** The client boots anew: what it was started with before is good no longer. */
export function settleClientChap(
  state: ClusterState,
  command: Extract<Command, { type: 'settleClientChap' }>,
): Outcome {
  const client = lookup(state.clients, command.name);
  if (client === undefined) return refused(state, unknownClient(command.name));
  const { chap, ...rest } = client;
  const settled = withoutPrevious(chap?.current ?? null);
  return replace(state, settled === undefined ? rest : { ...rest, chap: settled });
}

export function setClientSources(
  state: ClusterState,
  command: Extract<Command, { type: 'setClientSources' }>,
): Outcome {
  const client = lookup(state.clients, command.name);
  if (client === undefined) return refused(state, unknownClient(command.name));
  const refusal = checkSources(command.sources);
  if (refusal !== undefined) return refused(state, refusal);
  const { sources: _, ...rest } = client;
  return replace(state, command.sources.length === 0 ? rest : { ...rest, sources: [...command.sources] });
}

/** What a system started before this change logs in with. */
function runningCredentials(chap: ClientChap | undefined): ChapCredentials | null {
  if (chap === undefined) return null;
  return chap.previous === undefined ? chap.current : chap.previous;
}

function withoutPrevious(current: ChapCredentials | null): ClientChap | undefined {
  return current === null ? undefined : { current };
}

function isSame(one: ChapCredentials | null, other: ChapCredentials | null): boolean {
  return one?.secret === other?.secret && one?.mutual?.secret === other?.mutual?.secret;
}

function replace(state: ClusterState, client: ClientRecord): Outcome {
  return accepted({ ...state, clients: { ...state.clients, [client.name]: client } }, client);
}

/** Never tells what was given: it may be all but a secret. */
export function checkCredentials(credentials: ChapCredentials): CommandRefusal | undefined {
  const { mutual } = credentials;
  const pairs = mutual === undefined ? [credentials] : [credentials, mutual];
  const wrong = pairs.some(({ username, secret }) => !USERNAME.test(username) || !SECRET.test(secret));
  if (wrong || mutual?.secret === credentials.secret) {
    return {
      kind: 'invalid',
      code: 'bad-chap-credentials',
      message: 'the CHAP names and secrets are malformed',
      accepted:
        'names of up to 63 letters, digits, dots and hyphens; secrets of 12 to 16 letters, digits, dots and ' +
        'underscores, another one for each direction',
    };
  }
  return undefined;
}

export function checkSources(sources: readonly string[]): CommandRefusal | undefined {
  if (sources.length > MAX_SOURCES_PER_CLIENT) {
    return {
      kind: 'invalid',
      code: 'too-many-sources',
      message: `a client cannot have ${sources.length} source addresses`,
      got: sources.length,
      accepted: `at most ${MAX_SOURCES_PER_CLIENT}`,
    };
  }
  const wrong = sources.find((source) => !isSource(source));
  if (wrong === undefined) return undefined;
  return {
    kind: 'invalid',
    code: 'bad-source',
    message: `"${wrong}" is neither an IPv4 address nor a subnet`,
    got: wrong,
    accepted: 'an address such as 192.0.2.10, or a subnet such as 192.0.2.0/24',
  };
}

function isSource(text: string): boolean {
  try {
    if (text.includes('/')) parseIpv4Subnet(text);
    else parseIpv4(text);
    return true;
  } catch (error) {
    if (error instanceof ProtocolError) return false;
    throw error;
  }
}

export function unknownClient(name: string): CommandRefusal {
  return {
    kind: 'not-found',
    code: 'unknown-client',
    message: `there is no client "${name}"`,
    got: name,
    accepted: 'the name of a registered client',
  };
}
