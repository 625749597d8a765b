import { Socket } from 'node:net';
import { READ_TURN_BYTES } from './limits.ts';

/**
 * What the runtime keeps behind a socket; not part of its documented interface. Where it is not as expected, sockets
 * are read in the ordinary way.
 */
interface SocketInternals {
  _handle?: { useUserBuffer?: unknown } | null;
  server?: unknown;
  _server?: unknown;
}

/**
 * The same connection with its reads landing in `buffer`, which all connections of the thread share: `onRead` has to
 * be done with the bytes when it returns. An ordinary read takes fresh memory for each chunk, whose page faults cost
 * more than all else that is done to a write, and a chunk of which a few bytes are used as much as a full one.
 *
 * Sockets that a server has accepted cannot be told of a buffer (`onread` is for those that are made), so a new one
 * takes over what is behind the accepted one, which is not to be used any more. Nothing has been read from it as long
 * as the turn lasts in which it was accepted.
 *
 * A socket that always has more is read no further than READ_TURN_BYTES before what was made of it can leave: the system
 * library would go on for as long as there is something, and what goes out over TLS ends only with the turn of the loop.
 * @returns undefined where that cannot be; the accepted socket is as it was
 */
export function withSharedReads(
  accepted: Socket,
  buffer: Uint8Array,
  onRead: (bytes: Uint8Array) => void,
): Socket | undefined {
  const before = accepted as unknown as SocketInternals;
  const handle = before._handle;
  if (typeof handle?.useUserBuffer !== 'function') return undefined;
  let sinceTurnBytes = 0;
  const onread = {
    buffer,
    callback: (lengthBytes: number): boolean => {
      onRead(buffer.subarray(0, lengthBytes));
      sinceTurnBytes += lengthBytes;
      if (sinceTurnBytes < READ_TURN_BYTES) return true;
      sinceTurnBytes = 0;
      setImmediate(() => {
        // One that was paused meanwhile is read again when it is resumed.
        if (!socket.destroyed && !socket.isPaused()) socket.read(0);
      });
      return false;
    },
  };
  before._handle = null;
  const socket = new Socket({ handle, onread } as ConstructorParameters<typeof Socket>[0]);
  // The server counts its connections to know when it has closed.
  const after = socket as unknown as SocketInternals;
  after.server = before.server;
  after._server = before._server;
  before._server = null;
  return socket;
}
