import { createSocket } from 'node:dgram';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { decodeLastWord } from '../../../../node/peer/last-word.ts';
import type { LastWordOrder } from '../../../../node/portal/guardian-protocol.ts';
import { LAST_WORD_AT_MS } from '../../../../node/portal/limits.ts';
import { NodeEnd } from '../../../../node/portal/node-end.ts';

const HOST = '127.0.0.1';
const NODE_PID = 4711;
const REAPER_PID = 1;
const WORD = Buffer.alloc(32, 7);

describe('the end of a node, as its guardian sees it', () => {
  let heard: Uint8Array[];
  let order: LastWordOrder;
  const socket = { close: (): void => {} };

  beforeEach(async () => {
    heard = [];
    const listener = createSocket('udp4');
    listener.on('message', (datagram) => heard.push(datagram));
    await new Promise<void>((resolve) => listener.bind(0, HOST, resolve));
    socket.close = () => listener.close();
    const to = [{ host: HOST, port: listener.address().port }];
    order = { order: 'testify', nodePid: NODE_PID, lastWord: WORD.toString('hex'), to };
  });

  afterEach(() => socket.close());

  it('is not told while the process is there, though the pipe has ended, and is told once it is not', async () => {
    let parentPid = NODE_PID;
    const end = new NodeEnd(() => parentPid);
    end.prepare(order);
    const said = end.testify(order);
    await sleep(100);
    expect(heard).toEqual([]);
    parentPid = REAPER_PID;
    await said;
    while (heard.length === 0) await sleep(1);
    expect(heard.length).toBeLessThanOrEqual(LAST_WORD_AT_MS.length);
    expect(decodeLastWord(heard[0] ?? Buffer.alloc(0))).toEqual(WORD);
  });

  it('is never told by one who was no child of that process to begin with', async () => {
    const end = new NodeEnd(() => REAPER_PID);
    end.prepare(order);
    await end.testify(order);
    await sleep(50);
    expect(heard).toEqual([]);
  });
});
