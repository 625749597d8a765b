import { createHash } from 'node:crypto';
import { Agent, request } from 'node:https';
import { checkServerIdentity, type PeerCertificate } from 'node:tls';
import { type CopyReadingDocument, copyReadingSchema } from '../../api/contract/group-start.ts';
import {
  type BeginBootDocument,
  beginBootAnswerSchema,
  fillPath,
  type ImageUseDocument,
  imageUseSchema,
  peerRoutes,
} from '../../api/contract/peer-content.ts';
import { describeError, OperationError } from '../../base/errors.ts';
import { findSchemaFault } from '../../base/schema-check.ts';
import type { NodeId } from '../../cluster/state/model.ts';
import type { ImageVersionRef } from '../../storage/image/image-source.ts';
import {
  BEGIN_BOOT_TIMEOUT_MS,
  BOOT_CONNECTIONS_PER_NODE,
  CONTENT_CONNECTIONS_PER_NODE,
  CONTENT_IDLE_TIMEOUT_MS,
  CONTENT_KEEP_ALIVE_MS,
  CONTENT_REQUEST_TIMEOUT_MS,
  MAX_BOOT_FILE_BYTES,
  MAX_CHUNK_BYTES,
  MAX_COPY_REPORT_BYTES,
  MAX_DOCUMENT_BYTES,
  MAX_IMAGE_USE_BYTES,
  MAX_MANIFEST_BYTES,
} from './content-limits.ts';

export interface ContentClientOptions {
  /** PEM: the cluster's authority, and this node's certificate and key. */
  readonly tls: { readonly ca: string; readonly cert: string; readonly key: string };
  readonly clusterId: string;
  /** "HOST:PORT" of a node's API, undefined when there is no such node. */
  readonly apiEndpoint: (nodeId: NodeId) => string | undefined;
}

interface AskedOfNode {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly limitBytes: number;
  readonly timeoutMs: number;
  readonly agent: Agent;
}

/**
 * Asks other nodes over mutual TLS: fetches images and boot files, and has a client's disk made ready. Time
 * and size are bounded; connections are kept for the next request. What arrives is not trusted further than
 * that: whoever asked checks its hash (boot files are checked here, since the request names theirs).
 */
export class ContentClient {
  readonly #options: ContentClientOptions;
  readonly #agent = new Agent({
    keepAlive: true,
    keepAliveMsecs: CONTENT_KEEP_ALIVE_MS,
    maxSockets: CONTENT_CONNECTIONS_PER_NODE,
  });
  /** Of its own, so that no machine's boot waits behind the chunks of an image. */
  readonly #bootAgent = new Agent({
    keepAlive: true,
    keepAliveMsecs: CONTENT_KEEP_ALIVE_MS,
    maxSockets: BOOT_CONNECTIONS_PER_NODE,
  });

  constructor(options: ContentClientOptions) {
    this.#options = options;
  }

  /** @throws OperationError kind "unavailable" (not reached, broke off) or "not-found" (not held there) */
  manifest(from: NodeId, image: { readonly name: string; readonly version: number }): Promise<Uint8Array> {
    return this.#fetch(from, fillPath(peerRoutes.imageManifest.path, { ...image }), MAX_MANIFEST_BYTES);
  }

  /** @throws as manifest */
  chunk(
    from: NodeId,
    image: { readonly name: string; readonly version: number },
    index: number,
  ): Promise<Uint8Array> {
    return this.#fetch(from, fillPath(peerRoutes.imageChunk.path, { ...image, index }), MAX_CHUNK_BYTES);
  }

  /** @throws as manifest; also "unavailable" when the bytes do not have that SHA-256 */
  async bootFile(from: NodeId, name: string, sha256: string): Promise<Uint8Array> {
    const path = fillPath(peerRoutes.bootFile.path, { name, sha256 });
    const bytes = await this.#fetch(from, path, MAX_BOOT_FILE_BYTES);
    const got = createHash('sha256').update(bytes).digest('hex');
    if (got === sha256) return bytes;
    throw unavailable(`node ${from} sent a damaged copy of ${name}`, got, `SHA-256 ${sha256}`);
  }

  /**
   * Has the disk of a client that is about to boot made ready by the node that serves it.
   * @throws OperationError kind "unavailable" when no answer came; it may still have been done
   */
  async beginBoot(to: NodeId, client: string): Promise<BeginBootDocument> {
    const bytes = await this.#ask(to, {
      method: 'POST',
      path: fillPath(peerRoutes.beginBoot.path, { name: client }),
      limitBytes: MAX_DOCUMENT_BYTES,
      timeoutMs: BEGIN_BOOT_TIMEOUT_MS,
      agent: this.#bootAgent,
    });
    const document = parseJson(Buffer.from(bytes).toString('utf8'));
    if (findSchemaFault(beginBootAnswerSchema, document) === undefined) return document as BeginBootDocument;
    throw unavailable(
      `node ${to} gave an answer that does not fit`,
      document,
      'ready, not-serving or refused',
    );
  }

  /** What a node's copy of a portal group lacks, as far as it knows by now. @throws OperationError kind "unavailable" */
  async readCopy(of: NodeId, group: string): Promise<CopyReadingDocument> {
    const path = fillPath(peerRoutes.copy.path, { id: group });
    const bytes = await this.#fetch(of, path, MAX_COPY_REPORT_BYTES);
    const document = parseJson(Buffer.from(bytes).toString('utf8'));
    if (findSchemaFault(copyReadingSchema, document) === undefined) return document as CopyReadingDocument;
    throw unavailable(`node ${of} gave an answer that does not fit`, document, 'what its copy lacks');
  }

  /** Which disks that a node serves are over a version of an image. @throws OperationError kind "unavailable" */
  async imageUse(of: NodeId, image: ImageVersionRef): Promise<ImageUseDocument> {
    const path = fillPath(peerRoutes.imageUse.path, { ...image });
    const bytes = await this.#fetch(of, path, MAX_IMAGE_USE_BYTES);
    const document = parseJson(Buffer.from(bytes).toString('utf8'));
    if (findSchemaFault(imageUseSchema, document) === undefined) return document as ImageUseDocument;
    throw unavailable(`node ${of} gave an answer that does not fit`, document, 'who uses an image version');
  }

  /** Ends all connections; requests under way fail. */
  close(): void {
    this.#agent.destroy();
    this.#bootAgent.destroy();
  }

  #fetch(from: NodeId, path: string, limitBytes: number): Promise<Uint8Array> {
    const timeoutMs = CONTENT_REQUEST_TIMEOUT_MS;
    return this.#ask(from, { method: 'GET', path, limitBytes, timeoutMs, agent: this.#agent });
  }

  #ask(from: NodeId, asked: AskedOfNode): Promise<Uint8Array> {
    const endpoint = this.#options.apiEndpoint(from);
    if (endpoint === undefined) {
      return Promise.reject(unavailable(`node ${from} is not known here`, from, 'a node of this cluster'));
    }
    const colon = endpoint.lastIndexOf(':');
    return new Promise((resolve, reject) => {
      const fail = (error: unknown): void => {
        reject(
          error instanceof OperationError
            ? error
            : unavailable(
                `asking node ${from} failed: ${describeError(error)}`,
                endpoint,
                'a node that answers',
              ),
        );
      };
      const outgoing = request(
        {
          host: endpoint.slice(0, colon),
          port: Number(endpoint.slice(colon + 1)),
          method: asked.method,
          path: asked.path,
          agent: asked.agent,
          ...this.#options.tls,
          minVersion: 'TLSv1.3',
          timeout: CONTENT_IDLE_TIMEOUT_MS,
          signal: AbortSignal.timeout(asked.timeoutMs),
          checkServerIdentity: (host, certificate) => this.#checkServer(from, host, certificate),
        },
        (response) => {
          collect(response, from, asked.limitBytes).then(resolve, (error: unknown) => {
            outgoing.destroy();
            fail(error);
          });
        },
      );
      outgoing.on('timeout', () =>
        outgoing.destroy(new Error(`nothing came for ${CONTENT_IDLE_TIMEOUT_MS} ms`)),
      );
      outgoing.on('error', fail);
      outgoing.end();
    });
  }

  /** The certificate must name the very node that is meant, not only its address. */
  #checkServer(nodeId: NodeId, host: string, certificate: PeerCertificate): Error | undefined {
    const { CN, O } = certificate.subject;
    if (CN !== nodeId || O !== this.#options.clusterId) {
      return new Error(`the certificate at ${host} is of node ${String(CN)} in cluster ${String(O)}`);
    }
    return checkServerIdentity(host, certificate);
  }
}

async function collect(
  response: AsyncIterable<Uint8Array> & { readonly statusCode?: number | undefined },
  from: NodeId,
  limitBytes: number,
): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of response) {
    length += part.length;
    if (length > limitBytes) {
      throw unavailable(
        `node ${from} sent too much`,
        `more than ${limitBytes}`,
        `at most ${limitBytes} bytes`,
      );
    }
    parts.push(part);
  }
  const status = response.statusCode ?? 0;
  if (status === 200) return Buffer.concat(parts, length);
  if (status === 404) {
    throw new OperationError(`node ${from} does not hold it`, {
      kind: 'not-found',
      code: 'not-held',
      got: from,
    });
  }
  throw unavailable(`node ${from} answered with HTTP status ${status}`, status, '200');
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

function unavailable(message: string, got: unknown, accepted: string): OperationError {
  return new OperationError(message, { kind: 'unavailable', code: 'content-not-fetched', got, accepted });
}
