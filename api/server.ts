import type { Server } from 'node:https';
import { setImmediate as turn } from 'node:timers/promises';
import type { TLSSocket } from 'node:tls';
import swagger from '@fastify/swagger';
import { type FastifyInstance, type FastifyReply, type FastifyRequest, fastify } from 'fastify';
import type { Counters } from '../base/counters.ts';
import { errorDocument } from '../base/error-text.ts';
import { describeError, InvariantError } from '../base/errors.ts';
import { ApiError, refusalOf } from './api-error.ts';
import { checkPeer, checkToken } from './authentication.ts';
import { JOIN_PREFIX } from './contract/join.ts';
import { API_PREFIX, MAX_JSON_BODY_BYTES } from './contract/limits.ts';
import { PEER_PREFIX } from './contract/peer-content.ts';
import { routes } from './contract/routes.ts';
import {
  HEADERS_TIMEOUT_MS,
  IDLE_TIMEOUT_MS,
  KEEP_ALIVE_TIMEOUT_MS,
  MAX_CONNECTIONS,
  MAX_HEADER_BYTES,
  MAX_PATH_PARAMETER_LENGTH,
} from './limits.ts';
import { bootFileRoutes } from './routes/boot-files.ts';
import { clientRoutes } from './routes/clients.ts';
import { groupStartRoutes } from './routes/group-start.ts';
import { imageRoutes } from './routes/images.ts';
import { joinRoutesOf } from './routes/join.ts';
import { nodeRoutes } from './routes/nodes.ts';
import { peerContentRoutes } from './routes/peer-content.ts';
import { policyRoutes } from './routes/policies.ts';
import { portalGroupRoutes } from './routes/portal-groups.ts';
import { statusRoutes } from './routes/status.ts';
import { type ApiContext, serveRoute } from './serve-route.ts';
import { validatorCompiler } from './validation.ts';

export interface ApiServerOptions extends ApiContext {
  /** PEM: the cluster's authority, and this node's certificate and key. */
  readonly tls: { readonly ca: string; readonly cert: string; readonly key: string };
  readonly host: string;
  /** 0: any free one, told by ApiServer.port. */
  readonly port: number;
  /** Of what is refused, by code, and of what is no TLS or no HTTP. */
  readonly counters: Counters;
  /** Told of a bug of ours, after the request has been answered; the process is then to end. */
  readonly onInvariantFailure: (error: InvariantError) => void;
}

export interface ApiServer {
  readonly port: number;
  /** Closes all connections, busy ones too. */
  close(): Promise<void>;
}

/**
 * Serves the API to administrators and content to other nodes; resolves once it listens. What it takes is a second's work on
 * a busy host, so the process has a turn after each part of it: the other nodes are to hear from it meanwhile.
 */
export async function startApiServer(options: ApiServerOptions): Promise<ApiServer> {
  const app = await makeApp(options);
  await app.listen({ host: options.host, port: options.port });
  const { port } = app.server.address() as { port: number };
  options.logger.info('api.listening', { host: options.host, port });
  return { port, close: () => app.close() };
}

async function makeApp(options: ApiServerOptions): Promise<FastifyInstance> {
  const app = fastify({
    https: {
      ...options.tls,
      minVersion: 'TLSv1.3',
      // Administrators have no certificate; which routes want one is decided per request, below.
      requestCert: true,
      rejectUnauthorized: false,
      maxHeaderSize: MAX_HEADER_BYTES,
    },
    bodyLimit: MAX_JSON_BODY_BYTES,
    connectionTimeout: IDLE_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
    // An image takes as long as it takes; what stands still is ended by the idle timeout.
    requestTimeout: 0,
    routerOptions: { maxParamLength: MAX_PATH_PARAMETER_LENGTH },
    forceCloseConnections: true,
  }) as unknown as FastifyInstance;
  await turn();
  const server = app.server as unknown as Server;
  server.maxConnections = MAX_CONNECTIONS;
  server.headersTimeout = HEADERS_TIMEOUT_MS;
  server.on('tlsClientError', () => options.counters.add('api.tls-error'));
  // Beside the framework's own listener, which answers.
  server.on('clientError', () => options.counters.add('api.malformed'));
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(() => (document) => JSON.stringify(document));
  // The stream itself is the body: bytes are never gathered before a handler asks for them.
  app.removeContentTypeParser('text/plain');
  app.addContentTypeParser('application/octet-stream', (_request, payload, done) => done(null, payload));
  answerErrors(app, options);
  admitCallers(app, options);
  await serveRoutes(app, options);
  return app;
}

/**
 * Before any body is read and whether or not the route exists: nodes by certificate, all others by token. Hosts that
 * ask to join have neither; what they show is checked by what they ask.
 */
function admitCallers(app: FastifyInstance, { cluster }: ApiServerOptions): void {
  app.addHook('onRequest', async (request) => {
    if (request.url.startsWith(`${PEER_PREFIX}/`)) checkPeer(request.raw.socket as TLSSocket, cluster);
    else if (!request.url.startsWith(`${JOIN_PREFIX}/`))
      checkToken(request.headers.authorization, cluster.state().tokens);
  });
}

function answerErrors(app: FastifyInstance, options: ApiServerOptions): void {
  app.setNotFoundHandler((request) => {
    throw new ApiError('unknown-route', `there is no ${request.method} ${request.url}`, {
      got: `${request.method} ${request.url}`,
      accepted: `what ${API_PREFIX}${routes.getOpenApi.path} lists`,
    });
  });
  app.setErrorHandler((error: unknown, request: FastifyRequest, reply: FastifyReply) => {
    const refusal = refusalOf(error);
    if (refusal !== undefined) {
      options.counters.add(`api.refused.${refusal.document.error.code}`);
      if (refusal.status === 401) void reply.header('www-authenticate', 'Bearer');
      return reply.code(refusal.status).send(refusal.document);
    }
    options.logger.error('api.failed', {
      method: request.method,
      route: request.routeOptions.url,
      error: describeError(error),
    });
    if (error instanceof InvariantError) setImmediate(() => options.onInvariantFailure(error));
    const failure = new ApiError('internal', 'this node failed; its log says how');
    return reply.code(failure.status).send(errorDocument(failure));
  });
}

async function serveRoutes(app: FastifyInstance, context: ApiServerOptions): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'bootfabric', version: API_PREFIX.slice('/api/'.length) },
      components: { securitySchemes: { token: { type: 'http', scheme: 'bearer' } } },
      security: [{ token: [] }],
    },
  });
  await turn();
  await app.register(async (scope) => {
    statusRoutes(scope, context);
    imageRoutes(scope, context);
    clientRoutes(scope, context);
    await turn();
    bootFileRoutes(scope, context);
    nodeRoutes(scope, context);
    groupStartRoutes(scope, context);
    portalGroupRoutes(scope, context);
    policyRoutes(scope, context);
    peerContentRoutes(scope, context);
    joinRoutesOf(scope, context);
    serveRoute(scope, routes.getOpenApi, async () => app.swagger());
    await turn();
  });
  await app.ready();
  await turn();
}
