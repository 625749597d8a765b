import { describe, expect, it } from 'vitest';
import { CounterSet } from '../../../../base/counters.ts';
import { silentLogger } from '../../../../base/logger.ts';
import type { PeerIdentity } from '../../../../base/peer-transport.ts';
import { decodeLastWord, digestOfLastWord, encodeLastWord } from '../../../../node/peer/last-word.ts';
import { LastWords } from '../../../../node/peer/last-words.ts';
import { MAX_EARLY_LAST_WORDS } from '../../../../node/peer/limits.ts';

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
      logger: silentLogger,
      counters,
    });
    words.onEnded((peer) => ended.push(peer));
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

  function ofStrangers(): { words: LastWords; ended: PeerIdentity[] } {
    const ended: PeerIdentity[] = [];
    const words = new LastWords({
      listen: { host: '127.0.0.1', port: 0 },
      whose: () => undefined,
      logger: silentLogger,
      counters: new CounterSet(),
    });
    words.onEnded((peer) => ended.push(peer));
    return { words, ended };
  }
  const hello = { nodeId: 'n2', incarnation: 'a', lastWordDigest: digestOfLastWord(WORD) };

  it('that was read before the hello of its process is of that process', () => {
    const { words, ended } = ofStrangers();
    words.receive(encodeLastWord(WORD));
    words.greeted({ nodeId: 'n3', incarnation: 'a' });
    words.greeted({ ...hello, lastWordDigest: digestOfLastWord(NEXT_WORD) });
    expect(ended).toEqual([]);
    words.greeted(hello);
    words.greeted(hello);
    expect(ended).toEqual([{ nodeId: 'n2', incarnation: 'a' }]);
  });

  it('that came before anybody listened to it is told to whoever does later', () => {
    const { words } = ofStrangers();
    words.receive(encodeLastWord(WORD));
    words.greeted(hello);
    const later: PeerIdentity[] = [];
    words.onEnded((peer) => later.push(peer));
    expect(later).toEqual([{ nodeId: 'n2', incarnation: 'a' }]);
  });

  it('of a stranger is not remembered for ever', () => {
    const { words, ended } = ofStrangers();
    words.receive(encodeLastWord(WORD));
    for (let i = 0; i < MAX_EARLY_LAST_WORDS; i++) words.receive(encodeLastWord(Buffer.alloc(32, i + 2)));
    words.greeted(hello);
    expect(ended).toEqual([]);
  });
});
