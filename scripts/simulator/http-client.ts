import { request } from 'node:http';

const DEFAULT_TIMEOUT_MS = 30_000;
const BODY_BYTES_MAX = 64 * 1024 * 1024;

export interface HttpReply {
  readonly status: number;
  readonly headers: NodeJS.Dict<string | string[]>;
  readonly body: Uint8Array;
}

export interface HttpRequestOptions {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** The client's own address; any when absent. */
  readonly localAddress?: string;
  readonly timeoutMs?: number;
}

/** One request on a connection of its own, as boot firmware makes it. @throws when the server is not reached */
export function httpRequest(url: string, options: HttpRequestOptions = {}): Promise<HttpReply> {
  return new Promise((resolve, reject) => {
    const { method = 'GET', headers = {}, localAddress, timeoutMs = DEFAULT_TIMEOUT_MS } = options;
    const outgoing = request(
      url,
      {
        method,
        headers,
        agent: false,
        signal: AbortSignal.timeout(timeoutMs),
        ...(localAddress === undefined ? {} : { localAddress }),
      },
      (incoming) => {
        const parts: Uint8Array[] = [];
        let received = 0;
        incoming.on('data', (part: Uint8Array) => {
          received += part.length;
          if (received > BODY_BYTES_MAX) outgoing.destroy(new Error('the answer is too long'));
          else parts.push(part);
        });
        incoming.on('error', reject);
        incoming.on('end', () => {
          const { statusCode: status = 0, headers } = incoming;
          resolve({ status, headers, body: Buffer.concat(parts) });
        });
      },
    );
    outgoing.on('error', reject);
    outgoing.end();
  });
}
