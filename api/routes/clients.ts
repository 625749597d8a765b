import type { FastifyInstance } from 'fastify';
import { ProtocolError } from '../../base/errors.ts';
import { parseMacAddress } from '../../base/mac-address.ts';
import type { ClientRecord } from '../../cluster/state/model.ts';
import { ApiError } from '../api-error.ts';
import { routes } from '../contract/routes.ts';
import { clientDocument, findClient } from '../documents.ts';
import { type ApiContext, propose, readState, serveRoute } from '../serve-route.ts';

/** Machines that boot: registered, shown and forgotten. */
export function clientRoutes(app: FastifyInstance, { cluster }: ApiContext): void {
  serveRoute(app, routes.listClients, async ({ query }) => {
    const state = await readState(cluster, query);
    return { clients: Object.values(state.clients).map((client) => clientDocument(state, client)) };
  });

  serveRoute(app, routes.getClient, async ({ params, query }) => {
    const state = await readState(cluster, query);
    return clientDocument(state, findClient(state, params.name));
  });

  serveRoute(app, routes.addClient, async ({ body }) => {
    const { macs, writeCache, ...rest } = body;
    const client = await propose(cluster, {
      type: 'addClient',
      ...rest,
      macs: macs.map(canonicalMac),
      writeCache: writeCache ?? 'discard',
    });
    return clientDocument(cluster.state(), client as ClientRecord);
  });

  serveRoute(app, routes.removeClient, async ({ params }) => {
    const client = await propose(cluster, { type: 'removeClient', name: params.name });
    return clientDocument(cluster.state(), client as ClientRecord);
  });
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
