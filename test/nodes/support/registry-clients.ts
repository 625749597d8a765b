import { Agent, request } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ClientDocument } from '../../../api/contract/clients.ts';
import type { RandomSource } from '../../../base/random.ts';
import { type Input, type Output, oneName } from '../../sim/cluster/clients.ts';
import { checkLinearizable, type Operation, type Verdict } from '../../sim/linearizability.ts';

/** Names under contention at any one time. */
const SLOTS = 3;
/** A name is given up after so many operations, or with so many of unknown outcome, to keep checks short. */
const MAX_OPERATIONS_PER_NAME = 60;
const MAX_LOST_PER_NAME = 4;
/** A client waits no longer than this; what became of what it asked is then unknown. */
const PATIENCE_MS = 2_500;
const LONGEST_THOUGHT_MS = 30;
const CLIENTS_PER_NODE = 2;

export interface RegistryNode {
  readonly id: string;
  readonly host: string;
  readonly port: number;
}

export interface RegistryOptions {
  readonly nodes: readonly RegistryNode[];
  readonly token: string;
  readonly caCertificate: string;
  readonly random: RandomSource;
  readonly image: string;
  /** 0 to 255; others before on the same cluster had other ones, so that every name and address begins unused. */
  readonly series: number;
  /** "local" asks each node for what it happens to know, which is not linearizable. */
  readonly reads: 'linearizable' | 'local';
}

interface Answer {
  readonly status: number;
  readonly json: unknown;
}

/** The request certainly never reached the node. */
class NotSent extends Error {}

type RegistryOperation = Operation<Input, Output>;

/**
 * Administrators who register, look up and remove machines through every node at once, by the API, and note down
 * what they asked, when, and what they were told. Each machine has a MAC address that no other ever gets.
 */
export class RegistryClients {
  readonly #options: RegistryOptions;
  readonly #agents: readonly Agent[];
  #stamp = 0;
  #machines = 0;
  #generation = 0;
  readonly #names: string[] = [];
  readonly #histories = new Map<string, { readonly operations: RegistryOperation[]; lost: number }>();
  #running: Promise<unknown> = Promise.resolve();
  #stopped = false;
  /** Answers that nobody should get, whatever is broken. */
  readonly odd: string[] = [];
  readonly counts = { changes: 0, reads: 0, refused: 0, unknown: 0 };

  constructor(options: RegistryOptions) {
    this.#options = options;
    this.#agents = options.nodes.map(() => new Agent({ keepAlive: true, ca: options.caCertificate }));
    for (let slot = 0; slot < SLOTS; slot++) this.#names.push(this.#newName());
  }

  start(): void {
    const { nodes } = this.#options;
    const lanes = nodes.flatMap((_, node) =>
      Array.from({ length: CLIENTS_PER_NODE }, (_, i) => this.#lane(node, `${nodes[node]?.id}/${i + 1}`)),
    );
    this.#running = Promise.all(lanes);
  }

  /** Every client finishes what it is doing. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
    for (const agent of this.#agents) agent.destroy();
  }

  get operations(): number {
    return [...this.#histories.values()].reduce((sum, { operations }) => sum + operations.length, 0);
  }

  /** For each name, whether all that was told about it can be explained. */
  check(): { readonly name: string; readonly verdict: Verdict<Input, Output> }[] {
    return [...this.#histories].map(([name, { operations }]) => ({
      name,
      verdict: checkLinearizable(oneName, operations),
    }));
  }

  #newName(): string {
    const name = `s${this.#options.series}-${++this.#generation}`;
    this.#histories.set(name, { operations: [], lost: 0 });
    return name;
  }

  #newMac(): string {
    const hex = (this.#options.series * 2 ** 32 + ++this.#machines).toString(16).padStart(10, '0');
    return `02:${(hex.match(/../g) as string[]).join(':')}`;
  }

  async #lane(node: number, client: string): Promise<void> {
    const { random } = this.#options;
    while (!this.#stopped) {
      const slot = random.below(SLOTS);
      const dice = random.below(100);
      if (dice < 45) await this.#operate(node, client, slot, { kind: 'read' });
      else if (dice < 75) await this.#operate(node, client, slot, { kind: 'add', value: this.#newMac() });
      else await this.#operate(node, client, slot, { kind: 'remove' });
      await sleep(random.below(LONGEST_THOUGHT_MS));
    }
  }

  async #operate(node: number, client: string, slot: number, input: Input): Promise<void> {
    const name = this.#names[slot] as string;
    const calledAt = ++this.#stamp;
    let output: Output | undefined;
    try {
      const answer = await this.#ask(node, name, input);
      if (answer.status === 503) {
        // It is certain that nothing was changed, and never will be by this.
        this.counts.refused++;
        return;
      }
      if (answer.status !== 504) {
        output = outputOf(input, answer);
        if (output === undefined) {
          this.odd.push(`${client} ${input.kind} ${name}: ${answer.status} ${JSON.stringify(answer.json)}`);
          return;
        }
      }
    } catch (error) {
      if (error instanceof NotSent) {
        this.counts.refused++;
        await sleep(LONGEST_THOUGHT_MS);
        return;
      }
    }
    if (output === undefined) this.counts.unknown++;
    else this.counts[input.kind === 'read' ? 'reads' : 'changes']++;
    // A read that was not answered says nothing.
    if (output === undefined && input.kind === 'read') return;
    const returnedAt = output === undefined ? Number.POSITIVE_INFINITY : ++this.#stamp;
    this.#record(name, slot, { client, input, output, calledAt, returnedAt });
  }

  #record(name: string, slot: number, operation: RegistryOperation): void {
    const history = this.#histories.get(name);
    if (history === undefined) return;
    history.operations.push(operation);
    if (operation.output === undefined) history.lost++;
    const isSpent = history.operations.length >= MAX_OPERATIONS_PER_NAME || history.lost >= MAX_LOST_PER_NAME;
    if (isSpent && this.#names[slot] === name) this.#names[slot] = this.#newName();
  }

  #ask(node: number, name: string, input: Input): Promise<Answer> {
    const { image, reads } = this.#options;
    switch (input.kind) {
      case 'add':
        return this.#http(node, 'POST', '/clients', { name, macs: [input.value], image });
      case 'remove':
        return this.#http(node, 'DELETE', `/clients/${name}`);
      case 'read':
        return this.#http(node, 'GET', `/clients/${name}?consistency=${reads}`);
    }
  }

  #http(node: number, method: string, path: string, body?: object): Promise<Answer> {
    const { nodes, token } = this.#options;
    const { host, port } = nodes[node] as RegistryNode;
    const agent = this.#agents[node] as Agent;
    return new Promise((resolve, reject) => {
      let connected = false;
      const fail = (error: Error): void => reject(connected ? error : new NotSent(error.message));
      const outgoing = request(
        {
          ...{ host, port, method, agent, path: `/api/v1${path}`, signal: AbortSignal.timeout(PATIENCE_MS) },
          headers: {
            authorization: `Bearer ${token}`,
            ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          },
        },
        (response) => {
          const parts: Buffer[] = [];
          response.on('data', (part: Buffer) => parts.push(part));
          response.on('error', fail);
          response.on('end', () => {
            const json = JSON.parse(Buffer.concat(parts).toString('utf8')) as unknown;
            resolve({ status: response.statusCode ?? 0, json });
          });
        },
      );
      outgoing.on('socket', (socket) => {
        // A connection kept from before may have carried it.
        if (outgoing.reusedSocket) connected = true;
        else socket.once('secureConnect', () => (connected = true));
      });
      outgoing.on('error', fail);
      outgoing.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }
}

function outputOf(input: Input, { status, json }: Answer): Output | undefined {
  const code = status < 400 ? undefined : (json as { error?: { code?: string } }).error?.code;
  switch (input.kind) {
    case 'add':
      if (status === 201) return { kind: 'added' };
      return code === 'client-exists' ? { kind: 'taken' } : undefined;
    case 'read':
    case 'remove': {
      if (status === 200) return { kind: 'was', value: (json as ClientDocument).macs[0] };
      return code === 'unknown-client' ? { kind: 'was', value: undefined } : undefined;
    }
  }
}

export function showOperation({ client, input, output, calledAt, returnedAt }: RegistryOperation): string {
  const asked = input.kind === 'add' ? `add ${input.value}` : input.kind;
  const answer =
    output === undefined ? '?' : output.kind === 'was' ? (output.value ?? 'nothing') : output.kind;
  return `${client} ${asked} -> ${answer} [${calledAt}, ${returnedAt}]`;
}
