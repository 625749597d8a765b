import type { FastifyInstance, FastifyReply, FastifyRequest, FastifySchema } from 'fastify';
import { OperationError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { RandomSource } from '../base/random.ts';
import type { ClusterView } from '../cluster/ports.ts';
import type { Command } from '../cluster/state/commands.ts';
import type { ClusterState } from '../cluster/state/model.ts';
import { ApiError } from './api-error.ts';
import { errorSchema } from './contract/errors.ts';
import { API_PREFIX } from './contract/limits.ts';
import type { Route, RouteBody, RouteParams, RouteQuery, RouteResponse } from './contract/routes.ts';
import type { NodeServices } from './ports.ts';

/** What every route may use. */
export interface ApiContext {
  readonly cluster: ClusterView;
  readonly services: NodeServices;
  /** Secrets are made of it. */
  readonly random: RandomSource;
  readonly logger: Logger;
}

/** A request that has been checked against its route. */
export interface CheckedRequest<R extends Route> {
  readonly params: RouteParams<R>;
  readonly query: RouteQuery<R>;
  readonly body: RouteBody<R>;
  readonly http: FastifyRequest;
  readonly reply: FastifyReply;
}

/** Serves one route of the contract with one handler. */
export function serveRoute<R extends Route>(
  app: FastifyInstance,
  route: R,
  handler: (request: CheckedRequest<R>) => Promise<RouteResponse<R>>,
): void {
  app.route({
    method: route.method,
    url: `${API_PREFIX}${route.path}`,
    schema: schemaOf(route),
    onRequest: async (http) => checkMediaType(route, http.headers['content-type']),
    handler: async (http, reply) => {
      const document = await handler({
        params: http.params as RouteParams<R>,
        query: http.query as RouteQuery<R>,
        body: http.body as RouteBody<R>,
        http,
        reply,
      });
      return reply.code(route.status).send(document);
    },
  });
}

/** Both parsers exist on every route; which of them it takes is said here. @throws ApiError "bad-media-type" */
function checkMediaType(route: Route, header: string | undefined): void {
  if (route.body === undefined) return;
  const wanted = route.body === 'bytes' ? 'application/octet-stream' : 'application/json';
  const given = header?.split(';')[0]?.trim().toLowerCase();
  if (given === wanted) return;
  throw new ApiError('bad-media-type', 'the body is of another kind than this route takes', {
    ...(header === undefined ? {} : { got: header }),
    accepted: `Content-Type: ${wanted}`,
  });
}

function schemaOf(route: Route): FastifySchema {
  const body = route.body === undefined || route.body === 'bytes' ? undefined : route.body;
  return {
    summary: route.summary,
    ...(route.params === undefined ? {} : { params: route.params }),
    ...(route.query === undefined ? {} : { querystring: route.query }),
    ...(body === undefined ? {} : { body }),
    ...(route.body === 'bytes' ? { consumes: ['application/octet-stream'] } : {}),
    response: { [route.status]: route.response, '4xx': errorSchema, '5xx': errorSchema },
  };
}

/** The configuration, as fresh as the query asks. @throws OperationError kind "unavailable" without a majority */
export async function readState(
  cluster: ClusterView,
  query: { readonly consistency?: 'linearizable' | 'local' },
): Promise<ClusterState> {
  return query.consistency === 'local' ? cluster.state() : cluster.linearizableState();
}

/** What an accepted command gave. @throws OperationError when it was refused or could not be replicated */
export async function propose(cluster: ClusterView, command: Command): Promise<unknown> {
  const result = await cluster.propose(command);
  if (result.ok) return result.value;
  const { kind, code, message, got, accepted } = result.error;
  throw new OperationError(message, {
    kind,
    code,
    ...(got === undefined ? {} : { got }),
    ...(accepted === undefined ? {} : { accepted }),
  });
}
