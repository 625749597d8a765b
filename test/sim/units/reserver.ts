import type { SeededRandom } from '../../../base/random.ts';
import {
  type Ending,
  fullStatus,
  read,
  reserveOut,
  statusOf,
  type UnitCommand,
  write,
} from './unit-commands.ts';
import { EXCLUSIVE_ACCESS, type ReserveInput, type ReserveOutput, WRITE_EXCLUSIVE } from './unit-models.ts';
import { blocksOf, type Step, type UnitUser, valueOf, WHOLE_BLOCKS } from './unit-users.ts';

const GUARDED_LBA = WHOLE_BLOCKS;

/** Registers, reserves, gives back and preempts, and reads and writes a block whether it may or not. */
export class Reserver implements UnitUser {
  readonly #random: SeededRandom;
  readonly #name: string;
  readonly #others: readonly string[];
  /** What it does next whatever else it might. */
  #isNext: (() => Step<ReserveInput, ReserveOutput>)[] = [];
  #count = 0;

  constructor(random: SeededRandom, name: string, others: readonly string[]) {
    this.#random = random;
    this.#name = name;
    this.#others = others;
  }

  get isInHurry(): boolean {
    return this.#isNext.length > 0;
  }

  rested(): void {
    const looks = [
      () => this.#status(),
      () => this.#reserve(WRITE_EXCLUSIVE),
      () => this.#write(1),
      () => this.#read(),
    ];
    this.#isNext = [looks[this.#random.below(looks.length)] as () => Step<ReserveInput, ReserveOutput>];
  }

  /** It writes the same block at once, and looks what has become of it. */
  aborted(): void {
    this.#isNext = [() => this.#write(WHOLE_BLOCKS), () => this.#read()];
  }

  next(): Step<ReserveInput, ReserveOutput> {
    const isNext = this.#isNext.shift();
    if (isNext !== undefined) return isNext();
    const by = this.#name;
    const key = keyOf(by);
    const kind = this.#random.below(100);
    // In half of all cases the whole block in which it is kept: that can be begun at once.
    if (kind < 30) return this.#write(this.#random.below(2) === 0 ? WHOLE_BLOCKS : 1);
    if (kind < 45) return this.#read();
    if (kind < 53) return this.#status();
    if (kind < 65)
      return step({ kind: 'register', by }, reserveOut('registerIgnoring', { key: 0, actionKey: key }));
    if (kind < 68) return step({ kind: 'unregister', by }, reserveOut('registerIgnoring', { key: 0 }));
    if (kind < 70) return step({ kind: 'clear', by }, reserveOut('clear', { key }));
    const type = this.#random.below(3) === 0 ? EXCLUSIVE_ACCESS : WRITE_EXCLUSIVE;
    if (kind < 80) return this.#reserve(type);
    if (kind < 88) return step({ kind: 'release', by, type }, reserveOut('release', { key, type }));
    const victim = this.#others[this.#random.below(this.#others.length)] as string;
    const command = reserveOut('preemptAndAbort', { key, actionKey: keyOf(victim), type });
    return { ...step({ kind: 'preempt', by, victim, type }, command), effect: { kind: 'abort', by } };
  }

  #status(): Step<ReserveInput, ReserveOutput> {
    return step({ kind: 'status', by: this.#name }, fullStatus, ({ data }) => statusOf(data, NAMES));
  }

  #reserve(type: number): Step<ReserveInput, ReserveOutput> {
    const by = this.#name;
    return step({ kind: 'reserve', by, type }, reserveOut('reserve', { key: keyOf(by), type }));
  }

  #read(): Step<ReserveInput, ReserveOutput> {
    return step({ kind: 'read', by: this.#name }, read(GUARDED_LBA, 1), ({ data }) => valueOf(data));
  }

  #write(count: number): Step<ReserveInput, ReserveOutput> {
    const value = keyOf(this.#name) * 1_000_000 + ++this.#count;
    const by = this.#name;
    const effect = { kind: 'effect', by, value } as const;
    const ended = { kind: 'ended', by, value } as const;
    const command = write(GUARDED_LBA, count, blocksOf(value, count));
    return { ...step({ kind: 'write', by, value }, command), effect, ended };
  }
}

function step(
  input: ReserveInput,
  command: UnitCommand,
  found: (ending: Extract<Ending, { kind: 'good' }>) => ReserveOutput = () => 'good',
): Step<ReserveInput, ReserveOutput> {
  return { input, command, understand: (ending) => (ending.kind === 'good' ? found(ending) : ending.kind) };
}

function keyOf(name: string): number {
  return name.charCodeAt(0);
}

const NAMES: ReadonlyMap<number, string> = new Map(['A', 'B', 'C'].map((name) => [keyOf(name), name]));
