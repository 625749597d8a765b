import { once } from 'node:events';
import { type AddressInfo, Socket } from 'node:net';
import { connect, createServer, type Server, TLSSocket } from 'node:tls';
import { afterEach, beforeAll, expect, test } from 'vitest';
import { readInto } from '../../../../node/peer/given-memory.ts';
import { eventually } from '../../../support/real-time.ts';
import { makeTestAuthority } from '../../../support/test-certificates.ts';

interface Credentials {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

let credentials: Credentials;
const servers: Server[] = [];

beforeAll(async () => {
  credentials = await (await makeTestAuthority()).issue('n1', 'c1');
});

afterEach(async () => {
  for (const server of servers.splice(0)) await new Promise((resolve) => server.close(resolve));
});

async function connected(onAccept: (socket: TLSSocket) => void): Promise<TLSSocket> {
  const server = createServer(credentials, onAccept);
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const client = connect({ ...credentials, port, host: '127.0.0.1', checkServerIdentity: () => undefined });
  await once(client, 'secureConnect');
  return client;
}

test('what is received is in the memory given, whatever its length, and the connection ends as any other', async () => {
  const buffer = new Uint8Array(16_384);
  const got: Buffer[] = [];
  const fromStream: Buffer[] = [];
  let accepted: TLSSocket | undefined;
  const client = await connected((socket) => {
    accepted = socket;
    expect(readInto(socket, buffer, (length) => got.push(Buffer.from(buffer.subarray(0, length))) > 0)).toBe(
      true,
    );
    socket.on('data', (chunk: Buffer) => fromStream.push(chunk));
  });
  const sent = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * 7 + (i >> 8)) & 0xff));
  client.write(sent.subarray(0, 10));
  client.write(sent.subarray(10));
  const length = (): number => got.reduce((sum, chunk) => sum + chunk.length, 0);
  await eventually('all of it has come', () => length() === sent.length);
  expect(Buffer.concat(got).equals(sent)).toBe(true);
  expect(fromStream).toEqual([]);
  accepted?.write('heard');
  expect((await once(client, 'data')).toString()).toBe('heard');
  const closed = once(accepted as TLSSocket, 'close');
  client.end();
  await closed;
});

test('nothing more is read after a call that says so, until the socket goes on', async () => {
  const buffer = new Uint8Array(64);
  let gotBytes = 0;
  let accepted: TLSSocket | undefined;
  const client = await connected((socket) => {
    accepted = socket;
    readInto(socket, buffer, (length) => {
      gotBytes += length;
      return false;
    });
    socket.resume();
  });
  client.write('one');
  await eventually('it has come', () => gotBytes === 3);
  client.write('two');
  for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
  expect(gotBytes).toBe(3);
  accepted?.resume();
  await eventually('it goes on', () => gotBytes === 6);
  client.destroy();
  accepted?.destroy();
});

test('what is in the stream already is not overtaken: the socket stays as it is', async () => {
  const got: string[] = [];
  let accepted: TLSSocket | undefined;
  const client = await connected((socket) => {
    accepted = socket;
  });
  client.write('one');
  await eventually('it waits in the stream', () => accepted?.readableLength === 3);
  const socket = accepted as TLSSocket;
  expect(readInto(socket, new Uint8Array(64), () => true)).toBe(false);
  socket.on('data', (chunk: Buffer) => got.push(chunk.toString()));
  client.write('two');
  await eventually('both have come', () => got.join('') === 'onetwo');
  client.destroy();
  socket.destroy();
});

test('a socket that cannot be given memory stays as it is', () => {
  const raw = new Socket();
  const socket = new TLSSocket(raw, { isServer: true });
  const handle = (socket as unknown as { _handle: object | null })._handle;
  Object.defineProperty(socket, '_handle', { value: { close: () => {} }, configurable: true });
  expect(readInto(socket, new Uint8Array(8), () => true)).toBe(false);
  expect(
    readInto({ readableLength: 0, _handle: handle } as unknown as TLSSocket, new Uint8Array(8), () => true),
  ).toBe(false);
});
