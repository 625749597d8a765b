import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ProtocolError } from '../../../../base/errors.ts';
import { SeededRandom } from '../../../../base/random.ts';
import { DataMemory } from '../../../../node/iscsi/data-memory.ts';
import { Framer } from '../../../../node/iscsi/framer.ts';
import { LARGEST_PIECE_BYTES, SMALLEST_PIECE_BYTES } from '../../../../node/iscsi/limits.ts';
import { Outbox } from '../../../../node/iscsi/outbox.ts';

/** One PDU as bytes: opcode NOP-Out, with data and padding. */
function pduBytes(tag: number, data: Uint8Array, ahs = new Uint8Array()): Buffer {
  const header = Buffer.alloc(48);
  header[4] = ahs.length / 4;
  header.writeUIntBE(data.length, 5, 3);
  header.writeUInt32BE(tag, 16);
  return Buffer.concat([header, ahs, data, Buffer.alloc(-data.length & 3)]);
}

function tagOf(frame: { header: Uint8Array; at: number }): number {
  return new DataView(frame.header.buffer, frame.header.byteOffset + frame.at).getUint32(16);
}

/** What lies in memory that nobody has taken is anything. */
function spoilFree(memory: DataMemory): void {
  for (let lengthBytes = SMALLEST_PIECE_BYTES; lengthBytes <= LARGEST_PIECE_BYTES; lengthBytes *= 2) {
    const pieces = [1, 2, 3].map(() => memory.take(lengthBytes).fill(0xee));
    memory.giveBack(pieces);
  }
}

/** @returns how many of many PDUs came out otherwise than they went in, in pieces of all lengths */
function throughReusedMemory(memory: DataMemory): number {
  const random = new SeededRandom(7);
  const all = Array.from({ length: 200 }, () => random.bytes(random.below(30_000)));
  const stream = Buffer.concat(all.map((data, i) => pduBytes(i, data)));
  const framer = new Framer(30_000);
  const chunk = Buffer.alloc(65_536);
  const got: Buffer[] = [];
  for (let at = 0; at < stream.length; ) {
    const lengthBytes = stream.copy(chunk, 0, at, at + 1 + random.below(chunk.length));
    framer.push(chunk.subarray(0, lengthBytes));
    at += lengthBytes;
    // Now and then the PDUs that are whole wait for the next chunk.
    const isHeldBack = random.below(3) === 0;
    for (let f = isHeldBack ? undefined : framer.next(); f !== undefined; f = framer.next()) {
      spoilFree(memory);
      got.push(Buffer.concat(f.data));
    }
    framer.keepRest(memory);
    chunk.fill(0xee);
    spoilFree(memory);
  }
  for (let f = framer.next(); f !== undefined; f = framer.next()) got.push(Buffer.concat(f.data));
  return all.filter((data, i) => got[i] === undefined || Buffer.compare(got[i], data) !== 0).length;
}

describe('framing', () => {
  test('PDUs come out whole however the bytes were cut', () => {
    const datas = fc.array(fc.uint8Array({ maxLength: 40 }), { minLength: 1, maxLength: 6 });
    const cuts = fc.array(fc.integer({ min: 1, max: 60 }), { maxLength: 30 });
    fc.assert(
      fc.property(datas, cuts, (all, sizes) => {
        const stream = Buffer.concat(all.map((data, i) => pduBytes(i, data)));
        const framer = new Framer(64);
        const got: [number, Buffer][] = [];
        let at = 0;
        for (const size of [...sizes, stream.length]) {
          // A buffer of its own for each chunk, as a socket hands them out.
          framer.push(Uint8Array.from(stream.subarray(at, at + size)));
          at = Math.min(at + size, stream.length);
          for (let f = framer.next(); f !== undefined; f = framer.next()) {
            expect(f.dataLengthBytes).toBe(f.data.reduce((sum, part) => sum + part.length, 0));
            got.push([tagOf(f), Buffer.concat(f.data)]);
          }
        }
        expect(got).toEqual(all.map((data, i) => [i, Buffer.from(data)]));
        expect(framer.bufferedBytes).toBe(0);
      }),
    );
  });

  test('PDUs come out whole from memory that is used again for each chunk', () => {
    const datas = fc.array(fc.uint8Array({ maxLength: 40 }), { minLength: 1, maxLength: 6 });
    const cuts = fc.array(fc.integer({ min: 1, max: 120 }), { maxLength: 30 });
    fc.assert(
      fc.property(datas, cuts, (all, sizes) => {
        const stream = Buffer.concat(all.map((data, i) => pduBytes(i, data)));
        const memory = Buffer.alloc(stream.length);
        const framer = new Framer(64);
        const got: [number, Buffer][] = [];
        let at = 0;
        for (const size of [...sizes, stream.length]) {
          const lengthBytes = stream.copy(memory, 0, at, Math.min(at + size, stream.length));
          framer.push(memory.subarray(0, lengthBytes));
          at += lengthBytes;
          for (let f = framer.next(); f !== undefined; f = framer.next()) {
            got.push([tagOf(f), Buffer.concat(f.data)]);
            // One held back for the moment, as while too much is on its way out.
            if (got.length % 3 === 0) break;
          }
          framer.keepRest(new DataMemory());
          memory.fill(0xee);
        }
        for (let f = framer.next(); f !== undefined; f = framer.next()) {
          got.push([tagOf(f), Buffer.concat(f.data)]);
        }
        expect(got).toEqual(all.map((data, i) => [i, Buffer.from(data)]));
      }),
    );
  });

  test('what is kept until the rest of its PDU comes lies in memory that is used again', () => {
    const memory = new DataMemory();
    expect(throughReusedMemory(memory)).toBe(0);
    expect(memory.freeBytes).toBeGreaterThan(0);
  });

  test('which would spoil it, were it given back before that', () => {
    class HastyMemory extends DataMemory {
      override copyOf(bytes: Uint8Array): Uint8Array {
        const copy = super.copyOf(bytes);
        this.giveBack([copy]);
        return copy;
      }
    }
    // What is taken for a header then may be refused.
    const spoilt = (): number => {
      try {
        return throughReusedMemory(new HastyMemory());
      } catch (error) {
        if (error instanceof ProtocolError) return 1;
        throw error;
      }
    };
    expect(spoilt()).toBeGreaterThan(0);
  });

  test('a PDU cut off at any byte stays undelivered', () => {
    const bytes = pduBytes(1, Buffer.from('hello'), Buffer.alloc(8));
    for (let length = 0; length < bytes.length; length++) {
      const framer = new Framer(64);
      framer.push(bytes.subarray(0, length));
      expect(framer.next()).toBeUndefined();
    }
    const framer = new Framer(64);
    framer.push(bytes);
    expect(Buffer.concat(framer.next()?.data ?? []).toString()).toBe('hello');
  });

  test('data is a view, not a copy', () => {
    const bytes = pduBytes(1, Buffer.from('data'));
    const framer = new Framer(64);
    framer.push(bytes);
    expect(framer.next()?.data[0]?.buffer).toBe(bytes.buffer);
  });

  test('lengths beyond what was agreed are refused before anything is buffered for them', () => {
    const framer = new Framer(512);
    framer.push(pduBytes(1, Buffer.alloc(513)).subarray(0, 48));
    expect(() => framer.next()).toThrow(expect.objectContaining({ code: 'data-segment-too-long', got: 513 }));
    const second = new Framer(512);
    second.push(pduBytes(1, Buffer.alloc(0), Buffer.alloc(260)));
    expect(() => second.next()).toThrow(expect.objectContaining({ code: 'ahs-too-long', got: 260 }));
  });
});

describe('digests', () => {
  /** RFC 7143 appendix A.4: 32 zero bytes have the digest aa 36 91 8a on the wire. */
  test('a digest goes out with its lowest byte first', () => {
    const sent = digested(new Uint8Array(32));
    expect(sent).toHaveLength(48 + 4 + 32 + 4);
    expect(sent.subarray(-4).toString('hex')).toBe('aa36918a');
  });

  function digested(data: Uint8Array): Buffer {
    const written: Uint8Array[] = [];
    const sink = {
      cork() {},
      uncork() {},
      write: (chunk: Uint8Array) => written.push(Uint8Array.from(chunk)),
    };
    const outbox = new Outbox(
      sink,
      (flush) => flush(),
      () => {},
    );
    outbox.headerDigest = true;
    outbox.dataDigest = true;
    outbox.send(pduBytes(7, data).subarray(0, 48), [data.subarray(0, 2), data.subarray(2)], data.length);
    return Buffer.concat(written);
  }

  test('what the outbox digests the framer accepts', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 600 }), (data) => {
        const framer = new Framer(1024);
        framer.headerDigest = true;
        framer.dataDigest = true;
        framer.push(digested(data));
        const frame = framer.next();
        expect(Buffer.concat(frame?.data ?? [])).toEqual(Buffer.from(data));
        expect(framer.bufferedBytes).toBe(0);
      }),
    );
  });

  test('any flipped bit is noticed', () => {
    const good = digested(Buffer.from('some data'));
    for (let at = 0; at < good.length; at++) {
      // The length fields decide where digests lie; a flip there starves or misplaces them instead.
      if (at >= 4 && at < 8) continue;
      const bad = Buffer.from(good);
      bad[at] = (bad[at] as number) ^ 0x10;
      const framer = new Framer(1024);
      framer.headerDigest = true;
      framer.dataDigest = true;
      framer.push(bad);
      const code = at < 52 ? 'header-digest' : 'data-digest';
      expect(() => framer.next()).toThrow(expect.objectContaining({ code }));
    }
  });
});

describe('outbox', () => {
  test('one turn leaves in one corked write, and headers are used again after it', () => {
    const events: string[] = [];
    const callbacks: (() => void)[] = [];
    const turns: (() => void)[] = [];
    const sink = {
      cork: () => events.push('cork'),
      uncork: () => events.push('uncork'),
      write: (chunk: Uint8Array, done?: () => void) => {
        events.push(`write ${chunk.length}`);
        if (done !== undefined) callbacks.push(done);
      },
    };
    let written = 0;
    const outbox = new Outbox(
      sink,
      (flush) => turns.push(flush),
      () => written++,
    );
    const first = outbox.header();
    outbox.send(first, [], 0);
    outbox.send(outbox.header(), [Buffer.alloc(501)], 501);
    expect(events).toEqual([]);
    expect(turns).toHaveLength(1);
    expect(outbox.queuedBytes).toBe(48 + 48 + 504);
    turns[0]?.();
    expect(events).toEqual(['cork', 'write 96', 'write 501', 'write 3', 'uncork']);
    expect(outbox.header()).not.toBe(first);
    callbacks[0]?.();
    expect([outbox.queuedBytes, written]).toEqual([0, 1]);
    expect([outbox.header(), outbox.header()]).toContain(first);
  });
});
