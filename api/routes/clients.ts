import type { FastifyInstance } from 'fastify';
import { ProtocolError } from '../../base/errors.ts';
import { parseMacAddress } from '../../base/mac-address.ts';
import type { RandomSource } from '../../base/random.ts';
import type { ChapCredentials, ClientRecord } from '../../cluster/state/model.ts';
import { ApiError } from '../api-error.ts';
import type { ChapMode } from '../contract/clients.ts';
import { routes } from '../contract/routes.ts';
import { chapMode, clientDocument, findClient } from '../documents.ts';
import { type ApiContext, propose, readState, serveRoute } from '../serve-route.ts';

/** Machines that boot: registered, shown and forgotten. */
export function clientRoutes(app: FastifyInstance, { cluster, random }: ApiContext): void {
  serveRoute(app, routes.listClients, async ({ query }) => {
    const state = await readState(cluster, query);
    return { clients: Object.values(state.clients).map((client) => clientDocument(state, client)) };
  });

  serveRoute(app, routes.getClient, async ({ params, query }) => {
    const state = await readState(cluster, query);
    return clientDocument(state, findClient(state, params.name));
  });

  serveRoute(app, routes.addClient, async ({ body }) => {
    const { macs, writeCache, chap, ...rest } = body;
    const credentials = makeCredentials(chap ?? 'off', body.name, random);
    const client = await propose(cluster, {
      type: 'addClient',
      ...rest,
      ...(credentials === null ? {} : { chap: credentials }),
      macs: macs.map(canonicalMac),
      writeCache: writeCache ?? 'discard',
    });
    return clientDocument(cluster.state(), client as ClientRecord);
  });

  serveRoute(app, routes.removeClient, async ({ params }) => {
    const client = await propose(cluster, { type: 'removeClient', name: params.name });
    return clientDocument(cluster.state(), client as ClientRecord);
  });

  serveRoute(app, routes.setClientChap, async ({ params: { name }, body }) => {
    const before = findClient(await cluster.linearizableState(), name);
    if (body.mode === undefined && chapMode(before) === 'off') {
      throw new ApiError('chap-off', `client "${name}" has no CHAP secrets that could be rotated`, {
        accepted: 'the mode "one-way" or "mutual"',
      });
    }
    // Where nothing else is said, new secrets of the same kind.
    const credentials = makeCredentials(body.mode ?? chapMode(before), name, random);
    const command = { type: 'setClientChap', name, credentials, revoke: body.revoke ?? false } as const;
    const client = clientDocument(cluster.state(), (await propose(cluster, command)) as ClientRecord);
    if (body.reveal !== true || credentials === null) return { client, initiator: null, target: null };
    const { mutual, username, secret } = credentials;
    return { client, initiator: { username, secret }, target: mutual ?? null };
  });

  serveRoute(app, routes.setClientSources, async ({ params, body }) => {
    const client = await propose(cluster, { type: 'setClientSources', name: params.name, ...body });
    return clientDocument(cluster.state(), client as ClientRecord);
  });

  serveRoute(app, routes.setClientMultipath, async ({ params, body }) => {
    const client = await propose(cluster, { type: 'setClientMultipath', name: params.name, ...body });
    return clientDocument(cluster.state(), client as ClientRecord);
  });
}

/** Characters of a secret: 64, so that 16 of them are 96 random bits. */
const SECRET_CHARACTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._';
const SECRET_LENGTH = 16;
/** The name by which the target proves itself in mutual CHAP. */
const TARGET_USERNAME = 'bootfabric';

function makeCredentials(mode: ChapMode, username: string, random: RandomSource): ChapCredentials | null {
  if (mode === 'off') return null;
  const secret = makeSecret(random);
  if (mode === 'one-way') return { username, secret };
  return { username, secret, mutual: { username: TARGET_USERNAME, secret: makeSecret(random) } };
}

function makeSecret(random: RandomSource): string {
  for (;;) {
    const secret = Array.from(random.bytes(SECRET_LENGTH), (byte) => SECRET_CHARACTERS[byte & 63]).join('');
    // Command lines take what begins with a dot or an underscore for something else.
    if (/^[A-Za-z0-9]/.test(secret)) return secret;
  }
}

function canonicalMac(text: string, index: number): string {
  try {
    return parseMacAddress(text);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    throw new ApiError('bad-value', `in the body, macs[${index}]: ${error.message}`, {
      got: text,
      accepted: String(error.limit),
    });
  }
}
