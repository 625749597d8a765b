import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, Socket } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { withSharedReads } from '../../../../node/iscsi/shared-reads.ts';

const servers: Server[] = [];

afterEach(async () => {
  for (const server of servers.splice(0)) await new Promise((resolve) => server.close(resolve));
});

async function connected(onAccept: (socket: Socket) => void): Promise<Socket> {
  const server = createServer(onAccept);
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
  await once(client, 'connect');
  return client;
}

test('what is read is in the memory given, and the connection ends as any other', async () => {
  const memory = Buffer.alloc(64);
  const got: string[] = [];
  let shared: Socket | undefined;
  const client = await connected((accepted) => {
    shared = withSharedReads(accepted, memory, (bytes) => {
      expect(bytes.buffer).toBe(memory.buffer);
      got.push(Buffer.from(bytes).toString());
      shared?.write(`${got.length}`);
    });
  });
  client.write('one');
  expect((await once(client, 'data')).toString()).toBe('1');
  client.write('two');
  expect((await once(client, 'data')).toString()).toBe('2');
  expect(got).toEqual(['one', 'two']);
  const closed = once(shared as Socket, 'close');
  client.end();
  await closed;
});

test('a paused connection reads nothing until it goes on', async () => {
  const got: string[] = [];
  let shared: Socket | undefined;
  const client = await connected((accepted) => {
    shared = withSharedReads(accepted, Buffer.alloc(64), (bytes) => {
      got.push(Buffer.from(bytes).toString());
      shared?.pause();
    });
  });
  client.write('one');
  while (got.length === 0) await new Promise((resolve) => setImmediate(resolve));
  client.write('two');
  for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
  expect(got).toEqual(['one']);
  shared?.resume();
  while (got.length === 1) await new Promise((resolve) => setImmediate(resolve));
  expect(got).toEqual(['one', 'two']);
  client.destroy();
  shared?.destroy();
});

test('a socket that cannot be given memory stays as it is', () => {
  const socket = new Socket();
  expect(withSharedReads(socket, Buffer.alloc(8), () => {})).toBeUndefined();
  const other = new Socket();
  const handle = { close: () => {} };
  Object.assign(other, { _handle: handle });
  expect(withSharedReads(other, Buffer.alloc(8), () => {})).toBeUndefined();
  expect((other as unknown as { _handle: unknown })._handle).toBe(handle);
});
