import type { ClientRequest, IncomingMessage } from 'node:http';
import { Agent, request } from 'node:https';
import { checkServerIdentity, type PeerCertificate } from 'node:tls';
import { describeError } from '../../base/errors.ts';
import {
  ANSWER_TIMEOUT_MS,
  CONNECT_TIMEOUT_MS,
  IMPORT_ANSWER_TIMEOUT_MS,
  MAX_ANSWER_BYTES,
} from './limits.ts';
import type { Profile } from './profile.ts';

/** A body of known length that is read while it is sent. */
export interface BytesBody {
  readonly sizeBytes: number;
  readonly open: () => AsyncIterable<Uint8Array>;
  readonly onProgress?: (sentBytes: number) => void;
}

export interface ExchangeRequest {
  readonly url: string;
  readonly method: string;
  readonly path: string;
  readonly json?: unknown;
  readonly bytes?: BytesBody;
  /** Ask only if the certificate there names this node. */
  readonly nodeId?: string | undefined;
}

export type Exchange =
  | { readonly kind: 'answer'; readonly status: number; readonly text: string }
  /** Nothing was sent. */
  | { readonly kind: 'not-reached'; readonly reason: string }
  /** Nothing was sent: another node than the wanted one lives there. */
  | { readonly kind: 'other-node'; readonly nodeId: string }
  /** Something was sent, and no whole answer came. */
  | { readonly kind: 'broke-off'; readonly reason: string };

class OtherNode extends Error {
  readonly nodeId: string;

  constructor(nodeId: string) {
    super(`it is node ${nodeId}`);
    this.nodeId = nodeId;
  }
}

/** One request to one node over one connection of its own. Never throws. */
export function exchange(profile: Profile, asked: ExchangeRequest): Promise<Exchange> {
  return new Promise((resolve) => {
    let reached = false;
    // Kept alive until the answer is read: a node that refuses an upload goes on taking it, so that its answer
    // is not lost with a connection closed under what is still being sent.
    const agent = new Agent({ keepAlive: true });
    const target = new URL(asked.url);
    const outgoing = request({
      host: target.hostname,
      port: target.port === '' ? 443 : Number(target.port),
      method: asked.method,
      path: asked.path,
      agent,
      ca: profile.caCertificate,
      minVersion: 'TLSv1.3',
      headers: headersOf(profile, asked),
      checkServerIdentity: (host, certificate) => checkNode(profile, asked.nodeId, host, certificate),
    });
    const connecting = setTimeout(
      () => outgoing.destroy(new Error(`no connection within ${CONNECT_TIMEOUT_MS} ms`)),
      CONNECT_TIMEOUT_MS,
    );
    const finish = (outcome: Exchange): void => {
      clearTimeout(connecting);
      outgoing.destroy();
      agent.destroy();
      resolve(outcome);
    };
    let answering = false;
    outgoing.on('error', (error) => {
      // Once an answer comes in, its end or its breaking off decides, not that sending was cut short.
      if (!answering) finish(failure(error, reached));
    });
    outgoing.on('response', (response) => {
      answering = true;
      collect(response).then(
        (text) => finish({ kind: 'answer', status: response.statusCode ?? 0, text }),
        (error: unknown) => finish({ kind: 'broke-off', reason: describeError(error) }),
      );
    });
    outgoing.on('socket', (socket) => {
      socket.once('secureConnect', () => {
        // Only now, with the certificate found to be the right one, does anything go out.
        reached = true;
        clearTimeout(connecting);
        outgoing.setTimeout(ANSWER_TIMEOUT_MS, () => outgoing.destroy(new Error('no answer came in time')));
        sendBody(outgoing, asked).catch((error: unknown) => {
          finish({ kind: 'broke-off', reason: describeError(error) });
        });
      });
    });
  });
}

function headersOf(profile: Profile, asked: ExchangeRequest): Record<string, string | number> {
  const authorization = `Bearer ${profile.token}`;
  if (asked.bytes !== undefined) {
    return {
      authorization,
      'content-type': 'application/octet-stream',
      'content-length': asked.bytes.sizeBytes,
    };
  }
  if (asked.json === undefined) return { authorization };
  const length = Buffer.byteLength(JSON.stringify(asked.json));
  return { authorization, 'content-type': 'application/json', 'content-length': length };
}

/** The certificate must be of this cluster, of the wanted node if one is wanted, and of that address. */
function checkNode(
  profile: Profile,
  nodeId: string | undefined,
  host: string,
  certificate: PeerCertificate,
): Error | undefined {
  const { CN, O } = certificate.subject;
  if (O !== profile.clusterId) return new Error(`its certificate is of another cluster (${String(O)})`);
  if (nodeId !== undefined && CN !== nodeId) return new OtherNode(String(CN));
  return checkServerIdentity(host, certificate);
}

function failure(error: Error, reached: boolean): Exchange {
  if (error instanceof OtherNode) return { kind: 'other-node', nodeId: error.nodeId };
  return { kind: reached ? 'broke-off' : 'not-reached', reason: describeError(error) };
}

async function sendBody(outgoing: ClientRequest, asked: ExchangeRequest): Promise<void> {
  if (asked.bytes === undefined) {
    outgoing.end(asked.json === undefined ? undefined : JSON.stringify(asked.json));
    return;
  }
  let sentBytes = 0;
  // An answer that comes before the end is a refusal: sending the rest would be in vain.
  let answered = false;
  outgoing.once('response', () => {
    answered = true;
  });
  for await (const part of asked.bytes.open()) {
    if (answered || outgoing.destroyed) return;
    if (!outgoing.write(part)) await drained(outgoing);
    sentBytes += part.length;
    asked.bytes.onProgress?.(sentBytes);
  }
  outgoing.setTimeout(IMPORT_ANSWER_TIMEOUT_MS);
  outgoing.end();
}

function drained(outgoing: ClientRequest): Promise<void> {
  return new Promise((resolve) => {
    const events = ['drain', 'close', 'response'] as const;
    const done = (): void => {
      for (const event of events) outgoing.off(event, done);
      resolve();
    };
    for (const event of events) outgoing.on(event, done);
  });
}

async function collect(response: IncomingMessage): Promise<string> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of response as AsyncIterable<Uint8Array>) {
    length += part.length;
    if (length > MAX_ANSWER_BYTES) throw new Error(`the answer has more than ${MAX_ANSWER_BYTES} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts, length).toString('utf8');
}
