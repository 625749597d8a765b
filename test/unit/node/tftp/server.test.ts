import { createSocket } from 'node:dgram';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Clock, Timers } from '../../../../base/clock.ts';
import { CounterSet } from '../../../../base/counters.ts';
import { silentLogger } from '../../../../base/logger.ts';
import { SeededRandom } from '../../../../base/random.ts';
import { fromNetascii } from '../../../../node/tftp/netascii.ts';
import { decodeTftpPacket, encodeTftpPacket, type TftpPacket } from '../../../../node/tftp/packet.ts';
import { startTftpServer, type TftpServer } from '../../../../node/tftp/server.ts';
import { type TftpGetOptions, tftpGet, tftpSize } from '../../../../scripts/simulator/tftp-client.ts';

/** Real time, twenty times as fast where it waits, so that lost packets do not make the test slow. */
const realTime: Clock & Timers = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
  setTimer: (delayMs, fire) => {
    const timer = setTimeout(fire, delayMs / 20);
    return () => clearTimeout(timer);
  },
};

const random = new SeededRandom(1);
const contents: Readonly<Record<string, Uint8Array>> = {
  'undionly.kpxe': random.bytes(200_000),
  'full-blocks.bin': random.bytes(1432 * 10),
  'empty.bin': new Uint8Array(0),
  'text.txt': Buffer.from('line one\nline two\r\n'),
};

describe('TFTP server on loopback', () => {
  let server: TftpServer;
  let counters: CounterSet;
  let opened: string[];
  let closed: boolean;
  let slow: Promise<undefined>;
  let finishSlow: (nothing: undefined) => void;

  beforeEach(async () => {
    counters = new CounterSet();
    opened = [];
    closed = false;
    slow = new Promise((resolve) => {
      finishSlow = resolve;
    });
    server = await startTftpServer({
      address: '127.0.0.1',
      port: 0,
      files: {
        open: (name) => {
          opened.push(name);
          if (name === 'slow.bin') return slow;
          return name === 'broken.bin'
            ? Promise.reject(new Error('disk gone'))
            : Promise.resolve(contents[name]);
        },
      },
      clock: realTime,
      timers: realTime,
      logger: silentLogger,
      counters,
    });
  });
  afterEach(() => (closed ? undefined : server.close()));

  const get = (fileName: string, more: Partial<TftpGetOptions> = {}) =>
    tftpGet({ server: '127.0.0.1', port: server.port, fileName, ...more });

  it.each([
    ['undionly.kpxe', {}],
    ['undionly.kpxe', { withOptions: false }],
    ['undionly.kpxe', { blksize: 1468, windowsize: 16 }],
    ['full-blocks.bin', {}],
    ['empty.bin', {}],
  ])('gives out %s with %j', async (name, more) => {
    const file = await get(name, more);
    expect(Buffer.compare(file.bytes, contents[name] as Uint8Array)).toBe(0);
    if (!('withOptions' in more)) expect(file.announcedSizeBytes).toBe(contents[name]?.length);
    await expect.poll(() => counters.get('tftp.complete')).toBe(1);
  });

  it('announces the size of the text as sent, in netascii', async () => {
    const file = await get('text.txt', { mode: 'netascii' });
    expect(file.bytes.length).toBe(file.announcedSizeBytes);
    expect(Buffer.from(fromNetascii(file.bytes)).toString()).toBe('line one\nline two\r\n');
  });

  it.each([1, 4, 16])('gets every byte over a lossy network at windowsize %i', async (windowsize) => {
    const chance = new SeededRandom(windowsize);
    const lose = (): boolean => chance.below(100) < 8;
    const files = await Promise.all(
      [1, 2, 3].map(() => get('undionly.kpxe', { windowsize, lose, waitMs: 75 })),
    );
    for (const file of files) {
      expect(Buffer.compare(file.bytes, contents['undionly.kpxe'] as Uint8Array)).toBe(0);
    }
  });

  it('gives up a transfer whose client only wanted the size', async () => {
    const size = await tftpSize({ server: '127.0.0.1', port: server.port, fileName: 'undionly.kpxe' });
    expect(size).toBe(200_000);
    await expect.poll(() => counters.get('tftp.aborted')).toBe(1);
  });

  it('gives up a client that has gone', async () => {
    const loseAll = (direction: string, packet: TftpPacket): boolean =>
      direction === 'received' || packet.kind === 'ack';
    await expect(get('undionly.kpxe', { lose: loseAll, waitMs: 5 })).rejects.toThrow(/does not answer/);
    await expect.poll(() => counters.get('tftp.timed-out'), { timeout: 8_000 }).toBe(1);
  });

  it.each([
    ['autoexec.ipxe', 1],
    ['nothing.bin', 1],
    ['../../etc/passwd', 2],
    ['a/b', 2],
    ['broken.bin', 0],
  ])('refuses %s with error %i', async (name, code) => {
    await expect(get(name)).rejects.toMatchObject({ code });
    expect(opened.every((o) => !o.includes('/'))).toBe(true);
  });

  /** Sends raw datagrams from one socket and gathers what comes back for a while. */
  async function talk(
    packets: readonly { bytes: Uint8Array; port: number }[],
    waitMs = 100,
  ): Promise<{ packet: TftpPacket; port: number }[]> {
    const socket = createSocket('udp4');
    const replies: { packet: TftpPacket; port: number }[] = [];
    socket.on('message', (bytes, from) => replies.push({ packet: decodeTftpPacket(bytes), port: from.port }));
    for (const { bytes, port } of packets) {
      await new Promise((sent) => socket.send(bytes, port, '127.0.0.1', sent));
    }
    await new Promise((next) => setTimeout(next, waitMs));
    socket.close();
    return replies;
  }

  const readRequest = (fileName: string, mode = 'octet'): Uint8Array =>
    encodeTftpPacket({ kind: 'readRequest', fileName, mode, options: new Map([['tsize', '0']]) });

  it('refuses writing, and modes it does not know', async () => {
    const write = encodeTftpPacket({
      kind: 'writeRequest',
      fileName: 'x',
      mode: 'octet',
      options: new Map(),
    });
    const [refused] = await talk([{ bytes: write, port: server.port }]);
    expect(refused?.packet).toMatchObject({ kind: 'error', code: 2 });
    const [mail] = await talk([{ bytes: readRequest('undionly.kpxe', 'mail'), port: server.port }]);
    expect(mail?.packet).toMatchObject({ kind: 'error', code: 4 });
  });

  it('starts one transfer for a request that is repeated', async () => {
    const request = { bytes: readRequest('undionly.kpxe'), port: server.port };
    const replies = await talk([request, request, request], 60);
    expect(new Set(replies.map((r) => r.port)).size).toBe(1);
    expect(counters.get('tftp.requests')).toBe(3);
  });

  it('tells a stranger error 5 and goes on with the transfer', async () => {
    let transferPort = 0;
    const socket = createSocket('udp4');
    const arrived = new Promise<void>((resolve) => {
      socket.once('message', (_bytes, from) => {
        transferPort = from.port;
        resolve();
      });
    });
    socket.send(readRequest('undionly.kpxe'), server.port, '127.0.0.1');
    await arrived;
    const [told] = await talk([{ bytes: encodeTftpPacket({ kind: 'ack', block: 0 }), port: transferPort }]);
    expect(told?.packet).toMatchObject({ kind: 'error', code: 5 });
    const data = new Promise<TftpPacket>((resolve) => {
      socket.on('message', (bytes) => {
        const packet = decodeTftpPacket(bytes);
        if (packet.kind === 'data') resolve(packet);
      });
    });
    socket.send(encodeTftpPacket({ kind: 'ack', block: 0 }), transferPort, '127.0.0.1');
    expect(await data).toMatchObject({ kind: 'data', block: 1 });
    socket.close();
  });

  it('drops and counts rubbish, and still serves', async () => {
    const noise = new SeededRandom(9);
    const rubbish = Array.from({ length: 40 }, () => ({
      bytes: Uint8Array.of(0, 7 + noise.below(200), ...noise.bytes(noise.below(600))),
      port: server.port,
    }));
    const stray = { bytes: encodeTftpPacket({ kind: 'ack', block: 1 }), port: server.port };
    expect(await talk([...rubbish, stray], 20)).toEqual([]);
    await expect.poll(() => counters.get('tftp.malformed') + counters.get('tftp.stray')).toBe(41);
    expect((await get('empty.bin')).bytes.length).toBe(0);
  });

  it('can be closed while a file is being opened', async () => {
    await talk([{ bytes: readRequest('slow.bin'), port: server.port }], 20);
    expect(opened).toEqual(['slow.bin']);
    await server.close();
    closed = true;
    finishSlow(undefined);
    await new Promise((next) => setImmediate(next));
    expect(counters.get('tftp.refused')).toBe(0);
  });

  it('lets one address have only so many transfers', async () => {
    const sockets = Array.from({ length: 20 }, () => createSocket('udp4'));
    for (const socket of sockets) {
      await new Promise((sent) => socket.send(readRequest('undionly.kpxe'), server.port, '127.0.0.1', sent));
    }
    await expect.poll(() => counters.get('tftp.busy')).toBe(4);
    for (const socket of sockets) socket.close();
  });
});
