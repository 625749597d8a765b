import { describe, expect, it } from 'vitest';
import { CounterSet } from '../../../../base/counters.ts';
import { silentLogger } from '../../../../base/logger.ts';
import type { PeerIdentity } from '../../../../base/peer-transport.ts';
import { decodeLastWord, digestOfLastWord, encodeLastWord } from '../../../../node/peer/last-word.ts';
import { LastWords } from '../../../../node/peer/last-words.ts';

const WORD = Buffer.alloc(32, 1);
const NEXT_WORD = Buffer.alloc(32, 2);

describe('a last word', () => {
  it('comes back as it went, and nothing else does', () => {
    const datagram = encodeLastWord(WORD);
    expect(decodeLastWord(datagram)).toEqual(WORD);
    expect(decodeLastWord(datagram.subarray(1))).toBeUndefined();
    expect(decodeLastWord(Buffer.concat([datagram, Buffer.of(0)]))).toBeUndefined();
    expect(decodeLastWord(Buffer.alloc(datagram.length))).toBeUndefined();
  });

  it('is heard once, of the process that announced it and no other', () => {
    const counters = new CounterSet();
    const ended: PeerIdentity[] = [];
    let announced = WORD;
    let incarnation = 'a';
    const words = new LastWords({
      listen: { host: '127.0.0.1', port: 0 },
      whose: (digest) => (digest === digestOfLastWord(announced) ? { nodeId: 'n2', incarnation } : undefined),
      onEnded: (peer) => ended.push(peer),
      logger: silentLogger,
      counters,
    });
    words.receive(encodeLastWord(NEXT_WORD));
    words.receive(Buffer.from('anything'));
    expect([ended, counters.get('peer.last-words.unknown')]).toEqual([[], 2]);
    words.receive(encodeLastWord(WORD));
    words.receive(encodeLastWord(WORD));
    expect(ended).toEqual([{ nodeId: 'n2', incarnation: 'a' }]);
    announced = NEXT_WORD;
    incarnation = 'b';
    words.receive(encodeLastWord(WORD));
    words.receive(encodeLastWord(NEXT_WORD));
    expect(ended.slice(1)).toEqual([{ nodeId: 'n2', incarnation: 'b' }]);
  });
});
