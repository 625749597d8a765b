import type { World } from '../world.ts';

/**
 * Everything that happens in a simulation, folded into one hash, so that two runs can be compared; and as
 * lines for a reader, when somebody reads.
 */
export class Trace {
  readonly #world: World;
  readonly #print: ((line: string) => void) | undefined;
  #low = 0x811c9dc5;
  #high = 0x01000193;
  events = 0;

  constructor(world: World, print?: (line: string) => void) {
    this.#world = world;
    this.#print = print;
  }

  get isRead(): boolean {
    return this.#print !== undefined;
  }

  /**
   * @param what a short name
   * @param fact a number that sums up the rest
   */
  note(where: string, what: string, fact: number, text?: () => string): void {
    this.events++;
    this.#foldText(where);
    this.#foldText(what);
    this.#fold(fact | 0);
    this.#fold(Math.round(this.#world.nowMs * 1000) | 0);
    this.#print?.(`${this.#world.nowMs.toFixed(1).padStart(9)} ${where.padEnd(5)} ${what} ${text?.() ?? ''}`);
  }

  #foldText(text: string): void {
    for (let i = 0; i < text.length; i++) this.#fold(text.charCodeAt(i));
  }

  #fold(value: number): void {
    this.#low = Math.imul(this.#low ^ value, 0x01000193) >>> 0;
    this.#high = (Math.imul(this.#high ^ (value >>> 7) ^ this.#low, 0x85ebca6b) >>> 0) + 1;
  }

  get hash(): string {
    const hex = (n: number): string => (n >>> 0).toString(16).padStart(8, '0');
    return hex(this.#high) + hex(this.#low);
  }
}
