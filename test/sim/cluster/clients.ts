import { OperationError } from '../../../base/errors.ts';
import type { Command, CommandResult } from '../../../cluster/state/commands.ts';
import type { ClientRecord, ClusterState } from '../../../cluster/state/model.ts';
import { checkLinearizable, type Model, type Operation } from '../linearizability.ts';
import type { World } from '../world.ts';
import type { Host } from './host.ts';

/** Names under contention at any one time. */
const SLOTS = 3;
/** A name is given up after so many operations, or with so many of unknown outcome, to keep checks short. */
const MAX_OPERATIONS_PER_NAME = 70;
const MAX_LOST_PER_NAME = 4;
const VALUES_OF_A_LIFE = 1_000_000;
/** A client asks no longer than this. */
const PATIENCE_MS = 6_500;
export const IMAGE = 'golden';

export type Input =
  | { readonly kind: 'add'; readonly value: string }
  | { readonly kind: 'remove' }
  | { readonly kind: 'read' };
/** What was there: by a read, or by a removal; taken: an addition found something. */
export type Output =
  | { readonly kind: 'added' }
  | { readonly kind: 'taken' }
  | { readonly kind: 'was'; readonly value: string | undefined };
type Op = Operation<Input, Output>;

/** Nothing is registered under a name. */
const NOTHING = '';

/** One name of the registry of machines: nothing, or a value that is never given twice. */
export const oneName: Model<string, Input, Output> = {
  initial: NOTHING,
  step(state, input, output) {
    switch (input.kind) {
      case 'add':
        if (output !== undefined && (output.kind === 'added') !== (state === NOTHING)) return undefined;
        return state === NOTHING ? input.value : state;
      case 'remove':
        return wasThere(state, output) ? NOTHING : undefined;
      case 'read':
        return wasThere(state, output) ? state : undefined;
    }
  },
  stateKey: (state) => state,
};

function wasThere(state: string, output: Output | undefined): boolean {
  return output === undefined || (output.kind === 'was' && (output.value ?? NOTHING) === state);
}

export interface ClientsContext {
  readonly world: World;
  readonly counters: { add(name: string, by?: number): void };
  readonly hosts: () => readonly Host[];
  readonly fail: (what: string) => void;
  readonly note: (where: string, what: string, fact: number, text?: () => string) => void;
  /** Differs for those of the same cluster before it was recovered. */
  readonly life: number;
  /** The state as a backup has it, and how far the log was committed before it was taken. */
  readonly backedUp: (state: ClusterState, committedBefore: number) => void;
  /** How far the cluster's log is certainly committed. */
  readonly committedIndex: () => number;
  /** An operation has been answered with success by this host. */
  readonly onDone: (host: Host) => void;
}

interface Call {
  readonly client: string;
  readonly calledAt: number;
}

/** Machines are added and removed and looked up by several clients at once, through every node. */
export class Clients {
  readonly #context: ClientsContext;
  /** Gives up the calls that are under way. */
  readonly #open = new Set<() => void>();
  #stamp = 0;
  #values = 0;
  #generation = 0;
  readonly #names: string[] = [];
  readonly #histories = new Map<string, { readonly ops: Op[]; lost: number }>();
  /** LUN numbers are handed out in the order of the log, whatever the names. */
  readonly #numbered: { readonly calledAt: number; readonly returnedAt: number; readonly lunId: number }[] =
    [];
  thinkMs: readonly [number, number] = [2, 60];
  isOver = false;

  constructor(context: ClientsContext) {
    this.#context = context;
    this.#values = context.life * VALUES_OF_A_LIFE;
    for (let slot = 0; slot < SLOTS; slot++) this.#names.push(this.#newName());
  }

  get operations(): number {
    let sum = 0;
    for (const { ops } of this.#histories.values()) sum += ops.length;
    return sum;
  }

  #newName(): string {
    const { life } = this.#context;
    const name = `pc-${life === 0 ? '' : `${life}-`}${++this.#generation}`;
    this.#histories.set(name, { ops: [], lost: 0 });
    return name;
  }

  start(count: number): void {
    for (let i = 0; i < count; i++) this.#goOn(`c${i + 1}`);
  }

  /** A new leader is asked at once, before it can have found its feet. */
  rush(host: Host): void {
    if (this.isOver || this.operations === 0) return;
    const { world } = this.#context;
    world.after(world.between(0, 3), () => {
      if (host.isUp) this.#read(`rush-${host.nodeId}`, host, false);
    });
  }

  #goOn(client: string): void {
    const { world } = this.#context;
    world.after(world.between(...this.thinkMs), () => {
      if (!this.isOver) this.#callSome(client);
    });
  }

  #callSome(client: string): void {
    const { world } = this.#context;
    const host = this.#someHost();
    if (host === undefined) {
      this.#goOn(client);
      return;
    }
    const dice = world.random.below(100);
    const slot = world.random.below(SLOTS);
    if (dice < 40) this.#read(client, host);
    else this.#change(client, host, slot, dice < 75 ? 'add' : 'remove');
  }

  #change(client: string, host: Host, slot: number, kind: 'add' | 'remove'): void {
    const name = this.#names[slot] as string;
    const value = mac(++this.#values);
    const input: Input = kind === 'add' ? { kind, value } : { kind };
    const command: Command =
      kind === 'add'
        ? { type: 'addClient', name, macs: [value], image: IMAGE, writeCache: 'keep' }
        : { type: 'removeClient', name };
    const text = (): string => `${kind} ${name}${kind === 'add' ? ` ${value}` : ''}`;
    this.#call<CommandResult>(client, host, text, (asked) => asked.node?.propose(command), {
      asksAgain: true,
      answered: (call, result) => {
        const output = this.#outputOf(command, result);
        if (output === undefined) return;
        this.#record(name, slot, { client, input, output, ...this.#span(call) });
        if (kind === 'add' && result.ok) {
          const { lunId } = result.value as ClientRecord;
          this.#numbered.push({ ...this.#span(call), lunId });
        }
      },
      lost: ({ calledAt }) =>
        this.#record(name, slot, {
          client,
          input,
          output: undefined,
          calledAt,
          returnedAt: Number.POSITIVE_INFINITY,
        }),
    });
  }

  #outputOf(command: Command, result: CommandResult): Output | undefined {
    const { counters } = this.#context;
    if (result.ok) {
      counters.add('op.changed');
      if (command.type === 'addClient') return { kind: 'added' };
      return { kind: 'was', value: (result.value as ClientRecord).macs[0] };
    }
    counters.add('op.refused');
    if (result.error.code === 'client-exists') return { kind: 'taken' };
    if (result.error.code === 'unknown-client') return { kind: 'was', value: undefined };
    // A replica that has only just come has yet to fetch the image.
    if (result.error.code === 'image-not-held') return undefined;
    this.#context.fail(`${command.type} is refused as ${result.error.code}: ${result.error.message}`);
    return undefined;
  }

  /** One look at the whole registry counts as a read of each name in it. */
  #read(client: string, host: Host, goesOn = true): void {
    const names = [...this.#names];
    const committedBefore = this.#context.committedIndex();
    this.#call<ClusterState>(
      client,
      host,
      () => 'read',
      () => host.node?.linearizableState(),
      {
        goesOn,
        answered: (call, state) => {
          this.#context.counters.add('op.read');
          if (this.#context.world.chance(5)) this.#context.backedUp(state, committedBefore);
          const seen = host.node?.status().appliedIndex ?? committedBefore;
          if (seen < committedBefore) {
            this.#context.fail(
              `a read of ${host.nodeId} sees the log up to ${seen}; ${committedBefore} was committed before it began`,
            );
          }
          for (const [slot, name] of names.entries()) {
            const output: Output = { kind: 'was', value: state.clients[name]?.macs[0] };
            this.#record(name, slot, { client, input: { kind: 'read' }, output, ...this.#span(call) });
          }
        },
        lost: () => {},
      },
    );
  }

  #span({ calledAt }: Call): { readonly calledAt: number; readonly returnedAt: number } {
    return { calledAt, returnedAt: this.#stamp };
  }

  #someHost(): Host | undefined {
    const up = this.#context.hosts().filter((h) => h.isUp);
    return up[this.#context.world.random.below(Math.max(1, up.length))];
  }

  #call<T>(
    client: string,
    first: Host,
    text: () => string,
    run: (host: Host) => Promise<T> | undefined,
    on: {
      /** false: the client does nothing after this. */
      readonly goesOn?: boolean;
      /** Where it is certain that nothing has happened, another node may be asked: it is still one operation. */
      readonly asksAgain?: boolean;
      readonly answered: (call: Call, value: T) => void;
      readonly lost: (call: Call) => void;
    },
  ): void {
    const { world, note, counters } = this.#context;
    const call: Call = { client, calledAt: ++this.#stamp };
    note(client, 'call', this.#stamp, () => `${first.nodeId} ${text()}`);
    let isOpen = true;
    let asked = 0;
    const close = (what: string, finish: () => void): void => {
      if (!isOpen) return;
      isOpen = false;
      this.#open.delete(lost);
      this.#stamp++;
      finish();
      note(client, what, this.#stamp, () => text());
      if (on.goesOn !== false) this.#goOn(client);
    };
    const lost = (): void =>
      close('lost', () => {
        counters.add('op.lost');
        on.lost(call);
      });
    this.#open.add(lost);
    const failed = (host: Host, error: unknown): void => {
      if (!(error instanceof OperationError)) {
        this.#context.fail(`${host.nodeId} answers with ${String(error)}`);
        lost();
      } else if (error.kind !== 'unavailable') {
        lost();
      } else if (isOpen && on.asksAgain === true && world.chance(60)) {
        counters.add('op.asked-again');
        world.after(world.between(0, 120), () => ask(this.#someHost() ?? host));
      } else {
        // It is certain that nothing has happened and never will.
        close(`none (${error.code})`, () => counters.add('op.unavailable'));
      }
    };
    const ask = (host: Host): void => {
      if (!isOpen) return;
      const attempt = ++asked;
      host.process.onKill(() => {
        if (attempt === asked) lost();
      });
      host.process.enter(() => {
        run(host)?.then(
          (value) => {
            close('answer', () => on.answered(call, value));
            this.#context.onDone(host);
          },
          (error: unknown) => failed(host, error),
        );
      });
    };
    world.after(PATIENCE_MS, lost);
    ask(first);
  }

  #record(name: string, slot: number, op: Op): void {
    const history = this.#histories.get(name);
    if (history === undefined) return;
    history.ops.push(op);
    if (op.output === undefined) history.lost++;
    const isSpent = history.ops.length >= MAX_OPERATIONS_PER_NAME || history.lost >= MAX_LOST_PER_NAME;
    if (isSpent && this.#names[slot] === name) this.#names[slot] = this.#newName();
  }

  /** At the end: whether all answers can be explained. What has not been answered may have been done. */
  check(): void {
    for (const lost of Array.from(this.#open)) lost();
    for (const [name, { ops }] of this.#histories) {
      const verdict = checkLinearizable(oneName, ops);
      this.#context.counters.add(verdict.kind === 'undecided' ? 'history.undecided' : 'history.checked');
      if (verdict.kind !== 'violation') continue;
      const { stuckAt, before } = verdict;
      const story = before.map(show).join('; ');
      this.#context.fail(`linearizability: ${name}: ${show(stuckAt)} cannot be explained after ${story}`);
    }
    for (const a of this.#numbered) {
      const b = this.#numbered.find((b) => a.returnedAt < b.calledAt && b.lunId <= a.lunId);
      if (b !== undefined) {
        this.#context.fail(`linearizability: LUN ${b.lunId} was given out after LUN ${a.lunId}`);
        return;
      }
    }
  }
}

function show({ client, input, output, calledAt, returnedAt }: Op): string {
  const asked = input.kind === 'add' ? `add ${input.value}` : input.kind;
  const answer =
    output === undefined ? '?' : output.kind === 'was' ? (output.value ?? 'nothing') : output.kind;
  return `${client} ${asked} -> ${answer} [${calledAt}, ${returnedAt}]`;
}

function mac(n: number): string {
  const hex = n.toString(16).padStart(10, '0');
  return `02:${(hex.match(/../g) as string[]).join(':')}`;
}
