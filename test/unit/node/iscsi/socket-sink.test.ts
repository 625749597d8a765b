import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { SocketSink } from '../../../../node/iscsi/socket-sink.ts';

let server: Server;
const ends: Socket[] = [];

afterEach(async () => {
  for (const socket of ends.splice(0)) socket.destroy();
  await new Promise((resolve) => server.close(resolve));
});

async function pair(): Promise<{ readonly near: Socket; readonly far: Socket }> {
  server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  const near = connect((server.address() as AddressInfo).port, '127.0.0.1');
  const [[far]] = await Promise.all([accepted, once(near, 'connect')]);
  ends.push(near, far);
  return { near, far };
}

test('a socket takes at once what it has room for, and what comes later follows it', async () => {
  const { near, far } = await pair();
  const sink = new SocketSink(near);
  far.pause();
  const piece = Buffer.alloc(65_536);
  let sent = 0;
  const next = (): Buffer => Buffer.from(piece.fill(++sent & 0xff));
  let takenBytes = piece.length;
  let rest: Buffer = Buffer.alloc(0);
  while (takenBytes === piece.length) {
    const whole = next();
    takenBytes = sink.writeNow([whole.subarray(0, 100), whole.subarray(100)]);
    rest = whole.subarray(takenBytes);
  }
  expect(sent).toBeGreaterThan(1);
  sink.write(rest);
  // The system may have found more room meanwhile, and takes that at once too.
  while (near.writableLength === 0) sink.write(next());
  // Behind what waits in the stream nothing may go at once.
  expect(sink.writeNow([piece])).toBe(0);
  const last = next();
  sink.write(last);
  const got: Buffer[] = [];
  let gotBytes = 0;
  const all = new Promise<void>((resolve) => {
    far.on('data', (chunk: Buffer) => {
      got.push(chunk);
      gotBytes += chunk.length;
      if (gotBytes === sent * piece.length) resolve();
    });
  });
  far.resume();
  await all;
  const bytes = Buffer.concat(got);
  for (let i = 0; i < sent; i++) {
    const part = bytes.subarray(i * piece.length, (i + 1) * piece.length);
    expect(part.every((byte) => byte === ((i + 1) & 0xff))).toBe(true);
  }
});

test('nothing is written to a socket that has ended or is gone', async () => {
  const { near, far } = await pair();
  const other = new SocketSink(far);
  const sink = new SocketSink(near);
  near.end();
  expect(sink.writeNow([Buffer.from('x')])).toBe(0);
  near.destroy();
  expect(sink.writeNow([Buffer.from('x')])).toBe(0);
  // One that its peer has reset says so by the ordinary way.
  far.on('error', () => {});
  while (!far.destroyed) {
    if (other.writeNow([Buffer.from('x')]) === 0) other.write(Buffer.from('x'));
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  expect(other.writeNow([Buffer.from('x')])).toBe(0);
});

test('nothing overtakes what waits in the stream, though the system has room for it', async () => {
  const { near } = await pair();
  const sink = new SocketSink(near);
  near.cork();
  near.write(Buffer.alloc(10));
  expect(sink.writeNow([Buffer.alloc(5)])).toBe(0);
  near.uncork();
  await new Promise<void>((resolve) => near.write(Buffer.alloc(1), () => resolve()));
  expect(sink.writeNow([Buffer.alloc(5)])).toBe(5);
});
