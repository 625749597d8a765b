import type { WantedImage } from './image-fetch.ts';
import type { ImageVersionRef } from './image-source.ts';
import { MAX_FETCHES, RETRY_FIRST_MS, RETRY_LAST_MS } from './limits.ts';

/** What the cluster keeps on every node, and which nodes have it. */
export interface WantedContent {
  readonly images: readonly WantedImage[];
  readonly bootFiles: readonly WantedBootFile[];
  /** Whether the cluster has removed that version: nothing of it need be kept. Absent: none is. */
  readonly isRemoved?: (ref: ImageVersionRef) => boolean;
}

export interface WantedBootFile {
  readonly name: string;
  readonly sha256: string;
  readonly holders: readonly string[];
}

export type ContentItem =
  | ({ readonly kind: 'image' } & WantedImage)
  | ({ readonly kind: 'boot-file' } & WantedBootFile);

/** What this node has done about one item. */
export interface ItemState {
  /** held: it is here, and the cluster has been told. */
  readonly phase: 'working' | 'failed' | 'held';
  /** Failures in a row. */
  readonly failures: number;
  /** failed: when to try again, on the monotonic clock. */
  readonly notBeforeMs: number;
  /** Nodes that had it at the last try; another one is a reason not to wait. */
  readonly triedHolders: readonly string[];
}

/** Names an item's content: another content under an old name is another item. */
export function itemKey(item: ContentItem): string {
  return item.kind === 'image'
    ? `image/${item.name}/${item.version}/${item.manifestSha256}`
    : `boot-file/${item.name}/${item.sha256}`;
}

/** Boot files first: they are small, and without them nothing boots. */
export function itemsOf(wanted: WantedContent): ContentItem[] {
  return [
    ...wanted.bootFiles.map((file) => ({ kind: 'boot-file' as const, ...file })),
    ...wanted.images.map((image) => ({ kind: 'image' as const, ...image })),
  ];
}

export interface Decision {
  /** To be worked on from now. */
  readonly start: readonly ContentItem[];
  /** When to decide again if nothing else happens before. */
  readonly wakeAtMs: number | undefined;
}

/** Which items to work on now. Pure: the caller carries it out and keeps the states. */
export function decideReplication(
  wanted: WantedContent,
  states: ReadonlyMap<string, ItemState>,
  nowMs: number,
): Decision {
  let free = MAX_FETCHES - [...states.values()].filter((state) => state.phase === 'working').length;
  const start: ContentItem[] = [];
  let wakeAtMs: number | undefined;
  for (const item of itemsOf(wanted)) {
    const state = states.get(itemKey(item));
    if (state?.phase === 'working' || state?.phase === 'held') continue;
    const dueAtMs = state === undefined || hasNewHolder(item, state) ? nowMs : state.notBeforeMs;
    if (dueAtMs > nowMs) {
      wakeAtMs = Math.min(wakeAtMs ?? dueAtMs, dueAtMs);
    } else if (free > 0) {
      free--;
      start.push(item);
    }
  }
  return { start, wakeAtMs };
}

function hasNewHolder(item: ContentItem, state: ItemState): boolean {
  return item.holders.some((holder) => !state.triedHolders.includes(holder));
}

export function working(item: ContentItem, before: ItemState | undefined): ItemState {
  return {
    phase: 'working',
    failures: before?.failures ?? 0,
    notBeforeMs: 0,
    triedHolders: item.holders,
  };
}

export function failed(before: ItemState, nowMs: number): ItemState {
  const waitMs = Math.min(RETRY_LAST_MS, RETRY_FIRST_MS * 2 ** Math.min(before.failures, 16));
  return { ...before, phase: 'failed', failures: before.failures + 1, notBeforeMs: nowMs + waitMs };
}

export function held(before: ItemState): ItemState {
  return { ...before, phase: 'held', failures: 0, notBeforeMs: 0 };
}
