import { once } from 'node:events';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { parseIpv4 } from '../../../../base/ipv4.ts';
import { loadLibc } from '../../../../node/net/libc.ts';
import { descriptorOf, passSocket, receiveSocket } from '../../../../node/net/socket-passing.ts';
import { abortConnection, closeSilently, closeWithReset } from '../../../../node/net/tcp-ending.ts';
import { sendSegments, TCP_RST } from '../../../../node/net/tcp-segment.ts';
import { describeWhere } from '../../../support/requirements.ts';

/** Loopback delivers within the call that sends; this is for the event loop to say so. */
const QUIET_MS = 100;
const HOST = '127.0.0.1';
const NEEDS = { root: true, enableWith: 'root on Linux (for TCP_REPAIR and raw sockets)' };

describeWhere(NEEDS, 'a connection whose socket two hold', () => {
  const servers: Server[] = [];
  let channel: [Socket, Socket];
  let initiator: Socket;
  let accepted: Socket;
  let ended: string[];
  /** What the second holder has. */
  let duplicate: number;

  async function pair(at: { path: string } | { host: string; port: number }): Promise<[Socket, Socket]> {
    const server = createServer();
    servers.push(server);
    server.listen(at);
    await once(server, 'listening');
    const address = server.address();
    const to = typeof address === 'object' && address !== null ? { ...at, port: address.port } : at;
    const arrived = once(server, 'connection') as Promise<[Socket]>;
    const made = createConnection(to as { path: string });
    await once(made, 'connect');
    return [made, (await arrived)[0]];
  }

  beforeEach(async () => {
    ended = [];
    channel = await pair({ path: `\0bootfabric-test-${process.pid}-${Math.round(performance.now() * 1e3)}` });
    // Whoever reads as usual would lose what is passed.
    for (const end of channel) (end as unknown as { _handle: { readStop(): void } })._handle.readStop();
    [initiator, accepted] = await pair({ host: HOST, port: 0 });
    initiator.on('error', (error: NodeJS.ErrnoException) => ended.push(error.code ?? '?'));
    initiator.on('end', () => ended.push('end'));
    initiator.resume();
    accepted.on('error', () => {});
    expect(passSocket(fdOf(channel[0]), 7, fdOf(accepted))).toBe(true);
    const passed = receiveSocket(fdOf(channel[1]));
    expect(passed?.label).toBe(7);
    duplicate = passed?.fd as number;
  });

  afterEach(() => {
    for (const socket of [...channel, initiator, accepted]) socket.destroy();
    for (const server of servers.splice(0)) server.close();
  });

  /** Unlike once(), whatever error comes before. */
  const closed = (socket: Socket): Promise<void> => new Promise((done) => socket.once('close', () => done()));
  const fdOf = (socket: Socket): number => descriptorOf(socket) as number;

  it('has nothing more to receive once all that was passed has been', () => {
    expect(receiveSocket(fdOf(channel[1]))).toBeUndefined();
    closeWithReset(duplicate);
  });

  it('takes no more than the channel holds, and says so', () => {
    let passed = 0;
    while (passed < 100_000 && passSocket(fdOf(channel[0]), passed, fdOf(accepted))) passed++;
    expect(passed).toBeGreaterThan(0);
    expect(passed).toBeLessThan(100_000);
    for (let next = receiveSocket(fdOf(channel[1])); next !== undefined; ) {
      loadLibc().close(next.fd as number);
      next = receiveSocket(fdOf(channel[1]));
    }
    closeWithReset(duplicate);
  });

  it('goes on when one of them has closed it, and is reset by the last', async () => {
    accepted.resetAndDestroy();
    await closed(accepted);
    await sleep(QUIET_MS);
    expect(ended).toEqual([]);
    closeWithReset(duplicate);
    await closed(initiator);
    expect(ended).toEqual(['ECONNRESET']);
  });

  it('is reset at once by one who says so, while the other still holds it', async () => {
    abortConnection(fdOf(accepted));
    accepted.resetAndDestroy();
    await closed(initiator);
    expect(ended).toEqual(['ECONNRESET']);
    closeWithReset(duplicate);
  });

  it('sees the end of one side at once, while the other still holds it', async () => {
    accepted.end('last');
    await once(initiator, 'end');
    loadLibc().close(duplicate);
  });

  it('is ended without a word, and can be reset later by its numbers', async () => {
    const from = { address: parseIpv4(HOST), port: accepted.localPort as number };
    const to = { address: parseIpv4(HOST), port: initiator.localPort as number };
    const received = once(initiator, 'data');
    accepted.write('some bytes');
    await received;
    accepted.destroy();
    await closed(accepted);
    const sequences = closeSilently(duplicate) ?? [];
    await sleep(QUIET_MS);
    expect(ended).toEqual([]);
    expect(sequences).toHaveLength(1);
    const reset = { from, to, flags: TCP_RST };
    sendSegments([{ ...reset, sequence: ((sequences[0] as number) + 0x4000_0000) >>> 0 }]);
    await sleep(QUIET_MS);
    expect(ended).toEqual([]);
    sendSegments(sequences.map((sequence) => ({ ...reset, sequence })));
    await closed(initiator);
    expect(ended).toEqual(['ECONNRESET']);
  });

  it('knows two numbers while something is under way', async () => {
    initiator.pause();
    // More than fits into what the initiator takes and the kernel keeps.
    accepted.write(Buffer.alloc(32 * 1024 * 1024));
    await sleep(QUIET_MS);
    accepted.destroy();
    await closed(accepted);
    const sequences = closeSilently(duplicate) ?? [];
    expect(sequences.length).toBeGreaterThan(0);
    expect(new Set(sequences).size).toBe(sequences.length);
    expect(ended).toEqual([]);
  });
});
