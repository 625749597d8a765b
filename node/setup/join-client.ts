import { request } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import { checkServerIdentity, type PeerCertificate } from 'node:tls';
import type { TSchema } from 'typebox';
import {
  authoritySchema,
  type JoinAnswerDocument,
  type JoinRequestDocument,
  joinAnswerSchema,
  joinRoutes,
} from '../../api/contract/join.ts';
import { describeError, OperationError, type OperationErrorKind } from '../../base/errors.ts';
import { findSchemaFault } from '../../base/schema-check.ts';
import { certificateSha256 } from './certificates.ts';
import type { JoinToken } from './join-token.ts';
import {
  JOIN_REQUEST_TIMEOUT_MS,
  JOIN_ROUND_PAUSE_MS,
  JOIN_ROUNDS,
  MAX_JOIN_ANSWER_BYTES,
} from './limits.ts';

/** What a node says while the cluster elects. */
const NO_LEADER = 'no-leader';

interface Asked {
  readonly endpoint: string;
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly body?: unknown;
  /** PEM; undefined: whoever answers is taken as it is, so nothing secret may be said. */
  readonly ca: string | undefined;
}

/**
 * Asks the nodes that the token names to be let in, one after another until one gives an answer, and all of them again where the
 * cluster is electing a leader. Nothing but the question for the authority's certificate is said before that certificate
 * has been found to be the token's.
 * @param pause between two rounds, of so many milliseconds
 * @throws OperationError
 */
export async function askToJoin(
  token: JoinToken,
  joinRequest: JoinRequestDocument,
  pause: (ms: number) => Promise<void> = sleep,
): Promise<JoinAnswerDocument> {
  for (let round = 1; ; round++) {
    const answer = await askAll(token, joinRequest);
    if ('document' in answer) return answer.document;
    if (!answer.isElecting || round === JOIN_ROUNDS) throw answer.failure;
    await pause(JOIN_ROUND_PAUSE_MS);
  }
}

interface NoAnswer {
  readonly isElecting: boolean;
  readonly failure: OperationError;
}

async function askAll(
  token: JoinToken,
  joinRequest: JoinRequestDocument,
): Promise<{ readonly document: JoinAnswerDocument } | NoAnswer> {
  const failures: string[] = [];
  let isElecting = false;
  for (const endpoint of token.apiEndpoints) {
    try {
      const ca = await fetchAuthority(endpoint, token);
      const asked: Asked = { endpoint, method: 'POST', path: joinRoutes.nodes, body: joinRequest, ca };
      return { document: await ask<JoinAnswerDocument>(asked, token.clusterId, joinAnswerSchema) };
    } catch (error) {
      if (!(error instanceof OperationError)) throw error;
      // A refusal would be the same everywhere; a node that cannot answer now may not be the only one.
      if (error.kind !== 'unavailable' && error.kind !== 'unknown-outcome') throw error;
      isElecting ||= error.code === NO_LEADER;
      failures.push(`${endpoint}: ${error.message}`);
    }
  }
  const failure = new OperationError(`no node of cluster ${token.clusterName} has answered`, {
    kind: 'unavailable',
    code: 'unreachable',
    got: failures.join('; '),
    accepted: 'at least one node that runs and can be reached from here',
  });
  return { isElecting, failure };
}

async function fetchAuthority(endpoint: string, token: JoinToken): Promise<string> {
  const asked: Asked = { endpoint, method: 'GET', path: joinRoutes.authority, ca: undefined };
  const { certificate } = await ask<{ certificate: string }>(asked, undefined, authoritySchema);
  let sha256: string;
  try {
    sha256 = certificateSha256(certificate);
  } catch {
    sha256 = 'none';
  }
  if (sha256 === token.authoritySha256) return certificate;
  throw new OperationError(`${endpoint} is not of cluster ${token.clusterName}: its authority is another`, {
    kind: 'conflict',
    code: 'other-authority',
    got: sha256,
    accepted: token.authoritySha256,
  });
}

/** @param clusterId the cluster that the certificate there must name; undefined: not looked at */
function ask<T>(asked: Asked, clusterId: string | undefined, schema: TSchema): Promise<T> {
  const colon = asked.endpoint.lastIndexOf(':');
  return new Promise((resolve, reject) => {
    let reached = false;
    const fail = (error: unknown): void => {
      const kind = reached && asked.method === 'POST' ? 'unknown-outcome' : 'unavailable';
      const details = { kind, code: 'no-answer', got: asked.endpoint } as const;
      reject(error instanceof OperationError ? error : new OperationError(describeError(error), details));
    };
    const outgoing = request(
      {
        host: asked.endpoint.slice(0, colon),
        port: Number(asked.endpoint.slice(colon + 1)),
        method: asked.method,
        path: asked.path,
        agent: false,
        minVersion: 'TLSv1.3',
        headers: asked.body === undefined ? {} : { 'content-type': 'application/json' },
        signal: AbortSignal.timeout(JOIN_REQUEST_TIMEOUT_MS),
        ...(asked.ca === undefined ? { rejectUnauthorized: false } : { ca: asked.ca }),
        checkServerIdentity: (host, certificate) =>
          clusterId === undefined ? undefined : checkServer(clusterId, host, certificate),
      },
      (response) => {
        collect(response).then((text) => {
          const read = readAnswer<T>(response.statusCode ?? 0, text, schema);
          if (read instanceof OperationError) fail(read);
          else resolve(read.document);
        }, fail);
      },
    );
    outgoing.on('socket', (socket) =>
      socket.once('secureConnect', () => {
        reached = true;
      }),
    );
    outgoing.on('error', fail);
    outgoing.end(asked.body === undefined ? undefined : JSON.stringify(asked.body));
  });
}

function checkServer(clusterId: string, host: string, certificate: PeerCertificate): Error | undefined {
  const { O } = certificate.subject;
  if (O !== clusterId) return new Error(`its certificate is of another cluster (${String(O)})`);
  return checkServerIdentity(host, certificate);
}

async function collect(response: AsyncIterable<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of response) {
    length += part.length;
    if (length > MAX_JOIN_ANSWER_BYTES) throw new Error('the answer is too long');
    parts.push(part);
  }
  return Buffer.concat(parts, length).toString('utf8');
}

const KINDS: Readonly<Record<number, OperationErrorKind>> = {
  400: 'invalid',
  401: 'unauthorized',
  404: 'not-found',
  409: 'conflict',
  503: 'unavailable',
  504: 'unknown-outcome',
};

function readAnswer<T>(
  status: number,
  text: string,
  schema: TSchema,
): { readonly document: T } | OperationError {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    document = undefined;
  }
  if (status === 200 && findSchemaFault(schema, document) === undefined) return { document: document as T };
  const refusal = (document as { error?: { code?: string; message?: string; accepted?: string } } | undefined)
    ?.error;
  if (refusal?.code === undefined || refusal.message === undefined) {
    const details = { kind: 'unavailable', code: 'bad-answer', got: `HTTP status ${status}` } as const;
    return new OperationError('the answer does not fit', details);
  }
  const { code, message, accepted } = refusal;
  const kind = KINDS[status] ?? 'unavailable';
  return new OperationError(message, { kind, code, ...(accepted === undefined ? {} : { accepted }) });
}
