/**
 * The part of the "metadata" proposal that the certificate library's injector asks for: notes kept beside
 * classes. Importing this file installs it, unless something has already.
 */
type Notes = Map<unknown, unknown>;
const notes = new WeakMap<object, Notes>();

function own(key: unknown, target: object): unknown {
  return notes.get(target)?.get(key);
}

function inherited(key: unknown, target: object | null): unknown {
  for (let at = target; at !== null; at = Object.getPrototypeOf(at) as object | null) {
    if (notes.get(at)?.has(key) === true) return own(key, at);
  }
  return undefined;
}

function define(key: unknown, value: unknown, target: object): void {
  const kept = notes.get(target) ?? new Map<unknown, unknown>();
  kept.set(key, value);
  notes.set(target, kept);
}

if (!('getMetadata' in Reflect)) {
  Object.assign(Reflect, {
    defineMetadata: define,
    getMetadata: inherited,
    getOwnMetadata: own,
    hasOwnMetadata: (key: unknown, target: object) => notes.get(target)?.has(key) === true,
    metadata: (key: unknown, value: unknown) => (target: object) => define(key, value, target),
  });
}
