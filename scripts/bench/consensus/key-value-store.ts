import { Level } from 'level';
import { APPLIED_WRITE_DELAY_MS } from '../../../cluster/limits.ts';
import type { LogConsumer, LogEntry, LogPosition } from '../../../cluster/log.ts';
import { asArray, asBytes, asCount, asText, pack, unpack } from '../../../cluster/msgpack.ts';
import { decodePut } from './lean-protocol.ts';

const META_KEY = 'meta';
const VALUE_PREFIX = 'v!';

type Change = { type: 'put'; key: string; value: Uint8Array } | { type: 'del'; key: string };

/**
 * A key-value store on the cluster log, kept as the product keeps its configuration: applied in memory at
 * once, and on disk a moment later in atomic, durable batches of the changes and the position they belong to.
 */
export class KeyValueStore implements LogConsumer {
  readonly #level: Level<string, Uint8Array>;
  readonly #onPersisted: (position: LogPosition) => void;
  readonly #onFailed: (error: unknown) => void;
  readonly #values = new Map<string, Uint8Array>();
  /** What differs from the disk; undefined: is no more. */
  #changed = new Map<string, Uint8Array | undefined>();
  #applied = 0;
  #persisted = 0;
  #persisting: Promise<void> | undefined;
  #delay: NodeJS.Timeout | undefined;
  #stopped = false;
  readonly #waiting: { readonly position: LogPosition; readonly reached: () => void }[] = [];

  private constructor(
    level: Level<string, Uint8Array>,
    on: { readonly persisted: (position: LogPosition) => void; readonly failed: (error: unknown) => void },
  ) {
    this.#level = level;
    this.#onPersisted = on.persisted;
    this.#onFailed = on.failed;
  }

  static async open(
    path: string,
    on: { readonly persisted: (position: LogPosition) => void; readonly failed: (error: unknown) => void },
  ): Promise<KeyValueStore> {
    const level = new Level<string, Uint8Array>(path, { keyEncoding: 'utf8', valueEncoding: 'view' });
    await level.open();
    const store = new KeyValueStore(level, on);
    const meta = await level.get(META_KEY);
    if (meta === undefined) return store;
    store.#applied = asCount(unpack(meta), 'position');
    store.#persisted = store.#applied;
    for await (const [key, value] of level.iterator()) {
      if (key.startsWith(VALUE_PREFIX)) store.#values.set(key.slice(VALUE_PREFIX.length), value);
    }
    return store;
  }

  get position(): LogPosition {
    return this.#persisted;
  }

  get appliedPosition(): LogPosition {
    return this.#applied;
  }

  get(key: string): Uint8Array | undefined {
    return this.#values.get(key);
  }

  apply(entries: readonly LogEntry[], upTo: LogPosition): void {
    for (const { bytes } of entries) {
      const { key, value } = decodePut(bytes);
      this.#values.set(key, value);
      this.#changed.set(key, value);
    }
    this.#moveTo(upTo);
  }

  snapshot(): Uint8Array {
    return pack([...this.#values]);
  }

  restore(snapshot: Uint8Array, position: LogPosition): void {
    this.#changed = new Map([...this.#values.keys()].map((key) => [key, undefined]));
    this.#values.clear();
    for (const pair of asArray(unpack(snapshot), 'snapshot')) {
      const [key, value] = asArray(pair, 'pair', 2);
      this.#values.set(asText(key, 'key'), asBytes(value, 'value'));
      this.#changed.set(asText(key, 'key'), asBytes(value, 'value'));
    }
    this.#moveTo(position);
  }

  /** Resolves at once, or when everything up to `position` has been applied. */
  whenApplied(position: LogPosition, reached: () => void): void {
    if (this.#applied >= position) reached();
    else this.#waiting.push({ position, reached });
  }

  async close(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#delay);
    await this.#persisting;
    await this.#level.close();
  }

  #moveTo(position: LogPosition): void {
    this.#applied = position;
    while (this.#waiting.length > 0 && (this.#waiting[0]?.position ?? 0) <= position) {
      this.#waiting.shift()?.reached();
    }
    this.#persistSoon();
  }

  #persistSoon(): void {
    if (this.#delay !== undefined || this.#persisting !== undefined || this.#stopped) return;
    this.#delay = setTimeout(() => {
      this.#delay = undefined;
      this.#persisting = this.#persist().finally(() => {
        this.#persisting = undefined;
        if (this.#persisted !== this.#applied) this.#persistSoon();
      });
    }, APPLIED_WRITE_DELAY_MS);
  }

  async #persist(): Promise<void> {
    const changed = this.#changed;
    const position = this.#applied;
    this.#changed = new Map();
    const changes: Change[] = [{ type: 'put', key: META_KEY, value: pack(position) }];
    for (const [key, value] of changed) {
      if (value === undefined) changes.push({ type: 'del', key: VALUE_PREFIX + key });
      else changes.push({ type: 'put', key: VALUE_PREFIX + key, value });
    }
    try {
      await this.#level.batch(changes, { sync: true });
      this.#persisted = position;
      this.#onPersisted(position);
    } catch (error) {
      this.#stopped = true;
      this.#onFailed(error);
    }
  }
}
