import { Agent, request } from 'node:https';
import { type ApiServer, startApiServer } from '../../api/server.ts';
import { CounterSet } from '../../base/counters.ts';
import type { InvariantError } from '../../base/errors.ts';
import { silentLogger } from '../../base/logger.ts';
import { SeededRandom } from '../../base/random.ts';
import { type Credentials, createAuthority, createNodeCertificate } from '../../node/setup/certificates.ts';
import { CLUSTER_ID, FakeCluster, TOKEN } from './fake-cluster.ts';
import { FakeNodeServices } from './fake-node-services.ts';

const now = { nowMs: Date.now() };
const random = new SeededRandom(11);
export const authority = createAuthority(CLUSTER_ID, now, random);
export const makeNode = (nodeId: string, clusterId = CLUSTER_ID, by: Credentials = authority) => {
  const made = createNodeCertificate(by, { nodeId, clusterId, addresses: ['127.0.0.1'] }, now, random);
  return { ca: by.certificatePem, cert: made.certificatePem, key: made.privateKeyPem };
};
export const strangerAuthority = createAuthority(CLUSTER_ID, now, random);

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly text: string;
  readonly json: unknown;
}

/** One API server over real HTTPS on a free loopback port, with a cluster and a node in memory. */
export interface ApiFixture {
  readonly cluster: FakeCluster;
  readonly services: FakeNodeServices;
  readonly server: ApiServer;
  readonly counters: CounterSet;
  readonly invariantFailures: InvariantError[];
  readonly tls: { readonly ca: string; readonly cert: string; readonly key: string };
  ask(method: string, path: string, options?: AskOptions): Promise<Answer>;
}

export interface AskOptions {
  /** null: none is sent. */
  readonly token?: string | null;
  readonly json?: unknown;
  readonly body?: Uint8Array | string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly client?: { readonly cert: string; readonly key: string };
  readonly agent?: Agent;
}

export async function startApiFixture(nodeId = 'n1'): Promise<ApiFixture> {
  const cluster = new FakeCluster();
  const services = new FakeNodeServices(cluster);
  const invariantFailures: InvariantError[] = [];
  const tls = makeNode(nodeId);
  const counters = new CounterSet();
  const server = await startApiServer({
    cluster,
    services,
    random,
    logger: silentLogger,
    counters,
    tls,
    host: '127.0.0.1',
    port: 0,
    onInvariantFailure: (error) => invariantFailures.push(error),
  });
  return {
    cluster,
    services,
    server,
    counters,
    invariantFailures,
    tls,
    ask: (method, path, options = {}) => ask(server.port, method, path, options),
  };
}

function ask(port: number, method: string, path: string, options: AskOptions): Promise<Answer> {
  const body = options.json === undefined ? options.body : JSON.stringify(options.json);
  const token = options.token === undefined ? TOKEN : options.token;
  return new Promise((resolve, reject) => {
    const outgoing = request(
      {
        host: '127.0.0.1',
        port,
        method,
        path,
        agent: options.agent ?? false,
        ...options.client,
        ca: authority.certificatePem,
        headers: {
          ...(token === null ? {} : { authorization: `Bearer ${token}` }),
          ...(options.json === undefined ? {} : { 'content-type': 'application/json' }),
          ...options.headers,
        },
      },
      (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (part: string) => {
          text += part;
        });
        response.on('error', reject);
        response.on('end', () => {
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            text,
            get json() {
              return JSON.parse(text) as unknown;
            },
          });
        });
      },
    );
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}
