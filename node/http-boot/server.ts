import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Clock, Timers } from '../../base/clock.ts';
import type { Counters } from '../../base/counters.ts';
import { describeError, InvariantError } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import { mintBootToken, verifyBootToken } from './boot-token.ts';
import { bootScriptUrl } from './boot-urls.ts';
import { byteRange } from './byte-range.ts';
import { firstScript, ipxeScript } from './ipxe-script.ts';
import {
  BEGIN_BOOT_TIMEOUT_MS,
  CONNECTIONS_MAX,
  HEADER_BYTES_MAX,
  HEADERS_TIMEOUT_MS,
  IDLE_TIMEOUT_MS,
  KEEP_ALIVE_MS,
  REQUEST_TIMEOUT_MS,
  REQUESTS_PER_CONNECTION_MAX,
  RETRY_SECONDS,
  TIMEOUT_CHECK_INTERVAL_MS,
} from './limits.ts';
import type { BootAnswer, BootFiles, BootService, ClientNames } from './ports.ts';
import { type Route, routeOf } from './route.ts';

export interface HttpBootServerOptions {
  readonly address: string;
  /** 0 lets the system choose. */
  readonly port: number;
  readonly clients: ClientNames;
  readonly boot: BootService;
  readonly files: BootFiles;
  /** The cluster's secret for boot tokens, the same on every node. */
  readonly secret: () => Uint8Array;
  /** "HOST:PORT" of every node's HTTP boot server, in the order in which a client shall try them. */
  readonly nodeEndpoints: () => readonly string[];
  readonly clock: Clock;
  readonly timers: Timers;
  readonly logger: Logger;
  readonly counters: Counters;
}

export interface HttpBootServer {
  readonly port: number;
  close(): Promise<void>;
}

/** Plain HTTP: boot firmware has no certificates to check. @throws the system's error when it cannot listen */
export async function startHttpBootServer(options: HttpBootServerOptions): Promise<HttpBootServer> {
  const server = createServer({
    maxHeaderSize: HEADER_BYTES_MAX,
    headersTimeout: HEADERS_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    connectionsCheckingInterval: TIMEOUT_CHECK_INTERVAL_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
  });
  server.maxConnections = CONNECTIONS_MAX;
  server.maxRequestsPerSocket = REQUESTS_PER_CONNECTION_MAX;
  server.timeout = IDLE_TIMEOUT_MS;
  server.on('request', (request, response) => {
    options.counters.add('http-boot.requests');
    void handle(request, response, options);
  });
  server.on('clientError', (_error, socket) => refuseMalformed(socket as Socket, options.counters));
  server.on('drop', () => options.counters.add('http-boot.busy'));
  await listen(server, options.address, options.port);
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((done) => {
        server.close(() => done());
        server.closeAllConnections();
      }),
  };
}

function listen(server: Server, address: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host: address, port, exclusive: true }, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

function refuseMalformed(socket: Socket, counters: Counters): void {
  counters.add('http-boot.malformed');
  if (socket.writable) socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n');
  else socket.destroy();
}

/** Rejects only for a bug of ours, which ends the process. */
async function handle(
  request: IncomingMessage,
  response: ServerResponse,
  options: HttpBootServerOptions,
): Promise<void> {
  // A body has no meaning in any request here.
  const hasBody =
    request.headers['transfer-encoding'] !== undefined || Number(request.headers['content-length'] ?? 0) > 0;
  if (hasBody) response.shouldKeepAlive = false;
  const route = routeOf(request.method ?? '', request.url ?? '');
  try {
    switch (route.kind) {
      case 'first':
      case 'script':
        await sendScript(route, request, response, options);
        break;
      case 'file':
        await sendFile(route.name, request, response, options);
        break;
      case 'method-not-allowed':
        response.setHeader('Allow', route.allow);
        sendText(response, 405, 'method not allowed\n');
        break;
      case 'not-found':
        sendText(response, 404, 'not found\n');
        break;
    }
  } catch (error) {
    if (error instanceof InvariantError) throw error;
    options.counters.add('http-boot.failed');
    options.logger.error('http-boot.failed', { route, error: describeError(error) });
    if (response.headersSent) response.destroy();
    else sendText(response, 503, 'not now\n');
  }
}

async function sendScript(
  { kind, mac, token }: Extract<Route, { kind: 'first' | 'script' }>,
  request: IncomingMessage,
  response: ServerResponse,
  options: HttpBootServerOptions,
): Promise<void> {
  const { counters, logger, clock } = options;
  const clientName = options.clients.nameByMac(mac);
  if (clientName === undefined) {
    counters.add('http-boot.unknown-client');
    sendText(response, 404, 'not found\n');
    return;
  }
  const remoteAddress = request.socket.remoteAddress ?? '';
  const verdict = verifyBootToken(options.secret(), clientName, token, clock.wallMs());
  if (verdict !== 'valid') {
    counters.add(`http-boot.token.${verdict}`);
    logger.warn('http-boot.token.refused', { client: clientName, mac, from: remoteAddress, verdict });
    sendText(response, 403, 'forbidden\n');
    return;
  }
  const answer =
    kind === 'first'
      ? undefined
      : await withinTime(options.boot.beginBoot({ mac, remoteAddress }), options.timers);
  const fresh = mintBootToken(options.secret(), clientName, clock.wallMs());
  const retryUrls = options.nodeEndpoints().map((endpoint) => bootScriptUrl(endpoint, mac, fresh));
  const sent = answer?.kind ?? 'first';
  counters.add(`http-boot.script.${sent}`);
  logger.info('http-boot.script.sent', { client: clientName, mac, to: remoteAddress, answer: sent });
  response.setHeader('Cache-Control', 'no-store');
  const scripted = { clientName, retryUrls };
  sendText(response, 200, answer === undefined ? firstScript(scripted) : ipxeScript(answer, scripted));
}

/** The answer, or a wait when it takes too long. */
function withinTime(answer: Promise<BootAnswer>, timers: Timers): Promise<BootAnswer> {
  return new Promise((resolve, reject) => {
    const cancel = timers.setTimer(BEGIN_BOOT_TIMEOUT_MS, () => {
      resolve({ kind: 'wait', reason: 'making it ready takes long', retryAfterSeconds: RETRY_SECONDS });
    });
    answer.then(resolve, reject).finally(cancel);
  });
}

async function sendFile(
  name: string,
  request: IncomingMessage,
  response: ServerResponse,
  options: HttpBootServerOptions,
): Promise<void> {
  const bytes = await options.files.open(name);
  if (bytes === undefined) {
    sendText(response, 404, 'not found\n');
    return;
  }
  const range = byteRange(request.headers.range, bytes.length);
  response.setHeader('Accept-Ranges', 'bytes');
  if (range.kind === 'unsatisfiable') {
    response.setHeader('Content-Range', `bytes */${bytes.length}`);
    sendText(response, 416, 'range not satisfiable\n');
    return;
  }
  const part = range.kind === 'part' ? bytes.subarray(range.start, range.end) : bytes;
  if (range.kind === 'part') {
    response.setHeader('Content-Range', `bytes ${range.start}-${range.end - 1}/${bytes.length}`);
  }
  options.counters.add('http-boot.files');
  response.statusCode = range.kind === 'part' ? 206 : 200;
  response.setHeader('Content-Type', 'application/octet-stream');
  response.setHeader('Content-Length', part.length);
  // Of a HEAD request Node sends the headers alone.
  response.end(part);
}

function sendText(response: ServerResponse, status: number, text: string): void {
  response.statusCode = status;
  response.setHeader('Content-Type', 'text/plain; charset=us-ascii');
  response.setHeader('Content-Length', Buffer.byteLength(text));
  response.end(text);
}
