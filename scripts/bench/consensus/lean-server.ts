import { createServer, type Socket } from 'node:net';
import { describeError } from '../../../base/errors.ts';
import { pack } from '../../../cluster/msgpack.ts';
import { type Frame, FrameReader, FrameWriter, KIND } from './lean-protocol.ts';

export interface LeanService {
  put(command: Uint8Array): Promise<void>;
  get(key: string): Promise<Uint8Array | undefined>;
  status(): unknown;
}

const NO_BODY = new Uint8Array(0);

/** The server's end of the bench's own protocol. */
export async function listenLean(host: string, port: number, service: LeanService): Promise<void> {
  const server = createServer((socket) => serve(socket, service));
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, resolve);
  });
}

function serve(socket: Socket, service: LeanService): void {
  const reader = new FrameReader();
  const writer = new FrameWriter((bytes) => {
    if (socket.writable) socket.write(bytes);
  });
  socket.setNoDelay(true);
  socket.on('error', () => {});
  socket.on('data', (chunk: Buffer) => {
    for (const frame of reader.push(chunk)) {
      answer(frame, service).then(
        (body) => writer.add(frame.id, KIND.done, body),
        (error: unknown) => writer.add(frame.id, KIND.failed, pack(describeError(error))),
      );
    }
  });
}

async function answer({ kind, body }: Frame, service: LeanService): Promise<Uint8Array> {
  switch (kind) {
    case KIND.put:
      await service.put(body);
      return NO_BODY;
    case KIND.get:
      return (await service.get(Buffer.from(body).toString())) ?? NO_BODY;
    case KIND.status:
      return pack(service.status());
    default:
      throw new Error(`a request of kind ${kind}`);
  }
}
