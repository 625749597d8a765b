/** What is remembered of reading everything through. */
export interface ScrubState {
  /** When the pass under way began; undefined between passes. Milliseconds since the Unix epoch, as all here. */
  readonly startedAtMs: number | undefined;
  /** Names of areas that it has been through. */
  readonly done: readonly string[];
  readonly area: string | undefined;
  /** How far it is in that area. */
  readonly cursor: number;
  readonly lastCompletedAtMs: number | undefined;
  /** Damaged places found and mended on this node, whoever came upon them. */
  readonly found: number;
  readonly mended: number;
}

export const NEVER_SCRUBBED: ScrubState = {
  startedAtMs: undefined,
  done: [],
  area: undefined,
  cursor: 0,
  lastCompletedAtMs: undefined,
  found: 0,
  mended: 0,
};

export function encodeScrubState(state: ScrubState): string {
  return `${JSON.stringify(state)}\n`;
}

/** Nothing depends on it but how much is read again: what cannot be understood counts as nothing. */
export function decodeScrubState(text: string | undefined): ScrubState {
  if (text === undefined) return NEVER_SCRUBBED;
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch {
    return NEVER_SCRUBBED;
  }
  if (typeof raw !== 'object' || raw === null) return NEVER_SCRUBBED;
  const given = raw as { readonly [K in keyof ScrubState]?: unknown };
  const done = Array.isArray(given.done) ? given.done.filter((name) => typeof name === 'string') : [];
  return {
    startedAtMs: numberOf(given.startedAtMs),
    done,
    area: typeof given.area === 'string' ? given.area : undefined,
    cursor: numberOf(given.cursor) ?? 0,
    lastCompletedAtMs: numberOf(given.lastCompletedAtMs),
    found: numberOf(given.found) ?? 0,
    mended: numberOf(given.mended) ?? 0,
  };
}

function numberOf(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : undefined;
}
