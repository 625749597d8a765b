import { MAX_COPY_RESULTS } from './limits.ts';

export interface CopyResult {
  readonly failed: boolean;
  readonly segmentsProcessed: number;
  readonly blocksWritten: number;
}

/** How copies ended, by initiator and list identifier, the oldest forgotten first (SPC-4 §5.17.4.3). */
export class CopyResults {
  #kept: { readonly owner: object; readonly listIdentifier: number; readonly result: CopyResult }[] = [];

  keep(owner: object, listIdentifier: number, result: CopyResult): void {
    this.#kept = this.#kept.filter((k) => k.owner !== owner || k.listIdentifier !== listIdentifier);
    this.#kept.push({ owner, listIdentifier, result });
    if (this.#kept.length > MAX_COPY_RESULTS) this.#kept.shift();
  }

  find(owner: object, listIdentifier: number): CopyResult | undefined {
    return this.#kept.find((k) => k.owner === owner && k.listIdentifier === listIdentifier)?.result;
  }

  forget(owner: object): void {
    this.#kept = this.#kept.filter((k) => k.owner !== owner);
  }
}
