import { Client, credentials, type ServiceError } from '@grpc/grpc-js';
import {
  decodeRangeResponse,
  decodeStatusResponse,
  type EtcdStatus,
  encodePutRequest,
  encodeRangeRequest,
} from './etcd-wire.ts';
import type { KeyValueConnection } from './system-under-test.ts';

const DEADLINE_MS = 5000;

/** One gRPC channel of its own (one TCP connection) to one etcd process. */
export class EtcdConnection implements KeyValueConnection {
  readonly #client: Client;
  readonly #deadlineMs: number;

  constructor(endpoint: string, deadlineMs = DEADLINE_MS) {
    this.#deadlineMs = deadlineMs;
    this.#client = new Client(endpoint, credentials.createInsecure(), {
      // Channels to one endpoint would share a connection otherwise.
      'grpc.use_local_subchannel_pool': 1,
      'grpc.initial_reconnect_backoff_ms': 20,
      'grpc.max_reconnect_backoff_ms': 100,
      'grpc.enable_retries': 0,
    });
  }

  async put(key: string, value: Uint8Array): Promise<void> {
    await this.#call('/etcdserverpb.KV/Put', encodePutRequest({ key: Buffer.from(key), value }), ignore);
  }

  get(key: string): Promise<Uint8Array | undefined> {
    return this.#call('/etcdserverpb.KV/Range', encodeRangeRequest(Buffer.from(key)), decodeRangeResponse);
  }

  status(): Promise<EtcdStatus> {
    return this.#call('/etcdserverpb.Maintenance/Status', Buffer.alloc(0), decodeStatusResponse);
  }

  close(): void {
    this.#client.close();
  }

  #call<T>(path: string, request: Buffer, decode: (bytes: Buffer) => T): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(
        path,
        asIs,
        decode,
        request,
        { deadline: Date.now() + this.#deadlineMs },
        (error: ServiceError | null, answer?: T) => {
          if (error === null) resolve(answer as T);
          else reject(error);
        },
      );
    });
  }
}

function asIs(bytes: Buffer): Buffer {
  return bytes;
}

function ignore(): void {}
