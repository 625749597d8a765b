import type { TLSSocket } from 'node:tls';

/** What the runtime keeps of a socket; not part of its documented interface. */
type SocketInternals = Record<symbol, unknown> & {
  readonly _handle?: { readonly useUserBuffer?: unknown } | null;
};

const NAMES = ['kBuffer', 'kBufferCb', 'kBufferGen'] as const;

/**
 * Has what a TLS socket receives land in `buffer`, of which `onRead` has to be done with the first `lengthBytes` when it
 * returns; false from it stops the reading, which `socket.resume()` takes up again. An ordinary socket has fresh memory for each
 * TLS record, passes it through a stream, and leaves it to the garbage collector.
 *
 * TLS sockets that connect may be told of a buffer by the documented option `onread`; ones that a server has accepted
 * may not, so they are told in the same places. Where these are not as expected the socket stays as it is.
 * @returns whether it is so; else, and for what had come before, there is the event "data"
 */
export function readInto(
  socket: TLSSocket,
  buffer: Uint8Array,
  onRead: (lengthBytes: number) => boolean,
): boolean {
  const internals = socket as unknown as SocketInternals;
  const symbols = Object.getOwnPropertySymbols(internals);
  const [place, callback, next] = NAMES.map((name) => symbols.find((s) => s.description === name));
  if (place === undefined || callback === undefined || next === undefined) return false;
  const handle = internals._handle;
  const isFree = [place, callback, next].every((symbol) => internals[symbol] === null);
  // What is in the stream already must not be overtaken.
  if (typeof handle?.useUserBuffer !== 'function' || !isFree || socket.readableLength > 0) return false;
  (handle as { useUserBuffer(buffer: Uint8Array): void }).useUserBuffer(buffer);
  internals[place] = buffer;
  internals[callback] = onRead;
  return true;
}
