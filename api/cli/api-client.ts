import { OperationError, type OperationErrorKind } from '../../base/errors.ts';
import { checkSchema, findSchemaFault } from '../../base/schema-check.ts';
import { errorSchema, HTTP_STATUS } from '../contract/errors.ts';
import {
  type Route,
  type RouteBody,
  type RouteParams,
  type RouteQuery,
  type RouteResponse,
  routePath,
} from '../contract/routes.ts';
import { type BytesBody, type Exchange, exchange } from './exchange.ts';
import { UnreachableError } from './failures.ts';
import type { Profile } from './profile.ts';

/** What a route is called with: only the parts it has. */
export type CallInput<R extends Route> = Part<'params', RouteParams<R>> &
  Part<'query', RouteQuery<R>> &
  (R['body'] extends 'bytes' ? { readonly bytes: BytesBody } : Part<'body', RouteBody<R>>);
type Part<K extends string, T> = T extends undefined ? unknown : { readonly [key in K]: T };

type Learned = (nodeUrls: readonly string[], deadUrls: readonly string[]) => Promise<void>;

interface LooseInput {
  readonly params?: Readonly<Record<string, unknown>>;
  readonly query?: Readonly<Record<string, unknown>>;
  readonly body?: unknown;
  readonly bytes?: BytesBody;
}

/**
 * Asks the cluster: one node after the other until one answers. A node that answers that it cannot just now
 * (503) has changed nothing, so the next is asked.
 */
export class ApiClient {
  readonly #profile: Profile;
  readonly #nodeId: string | undefined;
  readonly #learned: Learned;

  /**
   * @param nodeId ask only this node
   * @param learned is told where the cluster's nodes are whenever an answer says so, and where nobody answered
   */
  constructor(profile: Profile, nodeId: string | undefined, learned: Learned = () => Promise.resolve()) {
    this.#profile = profile;
    this.#nodeId = nodeId;
    this.#learned = learned;
  }

  /** Whether whoever asks wants to hear one node only. */
  get isForOneNode(): boolean {
    return this.#nodeId !== undefined;
  }

  /** Asks that node only, where the profile knows of it. */
  ofNode(nodeId: string): ApiClient {
    return new ApiClient(this.#profile, nodeId);
  }

  /**
   * @throws OperationError as the cluster refused, or kind "unknown-outcome" when a change was sent and no
   *   answer came; UnreachableError when nobody could be asked
   */
  async call<R extends Route>(route: R, input: CallInput<R>): Promise<RouteResponse<R>> {
    const loose = input as LooseInput;
    checkInput(route, loose);
    const path = routePath(route, loose.params, loose.query);
    const failures: string[] = [];
    const others: string[] = [];
    const dead: string[] = [];
    let refusal: OperationError | undefined;
    for (const url of this.#profile.apiUrls) {
      const outcome = await exchange(this.#profile, {
        url,
        method: route.method,
        path,
        nodeId: this.#nodeId,
        ...(loose.body === undefined ? {} : { json: loose.body }),
        ...(loose.bytes === undefined ? {} : { bytes: loose.bytes }),
      });
      if (outcome.kind === 'answer') {
        const result = readAnswer(route, outcome);
        if (!(result instanceof OperationError)) {
          const urls = nodeUrls(result.document);
          if (urls.length > 0) await this.#learned(urls, dead);
          return result.document as RouteResponse<R>;
        }
        if (result.kind !== 'unavailable') throw result;
        refusal = result;
      } else if (outcome.kind === 'other-node') {
        others.push(outcome.nodeId);
      } else {
        if (outcome.kind === 'broke-off' && route.method !== 'GET') throw unknownOutcome(url, outcome.reason);
        failures.push(`${url}: ${outcome.reason}`);
        dead.push(url);
      }
    }
    throw refusal ?? this.#unreachable(failures, others);
  }

  #unreachable(failures: readonly string[], others: string[]): UnreachableError {
    if (this.#nodeId === undefined) {
      return new UnreachableError(`no node of cluster ${this.#profile.clusterName} can be reached`, {
        got: failures.join('; '),
        accepted: 'at least one node that answers',
      });
    }
    const answering = others.length === 0 ? '' : `: ${others.sort().join(', ')}`;
    return failures.length === 0
      ? new UnreachableError(`no node that the profile knows of is ${this.#nodeId}`, {
          got: this.#nodeId,
          accepted: `a node that answers${answering}; or no --node`,
        })
      : new UnreachableError(`node ${this.#nodeId} cannot be reached`, {
          got: failures.join('; '),
          accepted: `a node that answers${answering}; or no --node`,
        });
  }
}

/** Where all nodes are, if the document lists them. */
function nodeUrls(document: unknown): string[] {
  const { nodes } = (document ?? {}) as { nodes?: unknown };
  if (!Array.isArray(nodes)) return [];
  const addresses = nodes.map((node) => (node as { address?: unknown } | null)?.address);
  return addresses.every((address) => typeof address === 'string')
    ? addresses.map((address) => `https://${address}`)
    : [];
}

function checkInput(route: Route, input: LooseInput): void {
  if (route.params !== undefined) checkSchema(route.params, input.params, 'the request');
  if (route.query !== undefined) checkSchema(route.query, input.query, 'the request');
  if (route.body !== undefined && route.body !== 'bytes') checkSchema(route.body, input.body, 'the request');
}

function unknownOutcome(url: string, reason: string): OperationError {
  return new OperationError(`${url} took the request but gave no answer: ${reason}`, {
    kind: 'unknown-outcome',
    code: 'unknown-outcome',
    accepted: 'look whether it happened before trying again',
  });
}

function readAnswer(
  route: Route,
  { status, text }: Extract<Exchange, { kind: 'answer' }>,
): { readonly document: unknown } | OperationError {
  let document: unknown;
  try {
    document = JSON.parse(text) as unknown;
  } catch {
    return badAnswer(status, 'is not JSON');
  }
  if (status === route.status) {
    const fault = findSchemaFault(route.response, document);
    return fault === undefined ? { document } : badAnswer(status, `does not fit: ${fault.message}`);
  }
  if (findSchemaFault(errorSchema, document) !== undefined) return badAnswer(status, 'is not of this API');
  const { error } = document as {
    error: { code: string; message: string; got?: unknown; accepted?: string };
  };
  const { message, ...details } = error;
  return new OperationError(message, { kind: kindOf(status), ...details });
}

function badAnswer(status: number, what: string): OperationError {
  return new OperationError(`the node’s answer ${what}`, {
    kind: 'invalid',
    code: 'bad-answer',
    got: `HTTP status ${status}`,
    accepted: 'a node of the same version as this command',
  });
}

function kindOf(status: number): OperationErrorKind {
  const kinds = Object.entries(HTTP_STATUS) as [OperationErrorKind, number][];
  return kinds.find(([, s]) => s === status)?.[0] ?? 'invalid';
}
