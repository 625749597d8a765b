import { describe, expect, test } from 'vitest';
import { type ByteSink, Outbox } from '../../../../node/iscsi/outbox.ts';

/** Takes what is written at once, and keeps the pieces of each gathering write. */
class RecordingSink implements ByteSink {
  readonly writes: Buffer[][] = [];
  #pieces: Buffer[] = [];

  cork(): void {}

  write(chunk: Uint8Array, done?: () => void): void {
    this.#pieces.push(Buffer.from(chunk));
    done?.();
  }

  uncork(): void {
    this.writes.push(this.#pieces);
    this.#pieces = [];
  }

  get bytes(): Buffer {
    return Buffer.concat(this.writes.flat());
  }
}

function setUp() {
  const sink = new RecordingSink();
  const deferred: (() => void)[] = [];
  const outbox = new Outbox(
    sink,
    (flush) => deferred.push(flush),
    () => {},
  );
  const sent: Buffer[] = [];
  const send = (stamp: number, data: readonly Uint8Array[] = []): void => {
    const header = outbox.header().fill(stamp);
    const lengthBytes = data.reduce((sum, part) => sum + part.length, 0);
    sent.push(Buffer.from(header), ...data.map((part) => Buffer.from(part)));
    sent.push(Buffer.alloc(-lengthBytes & 3));
    outbox.send(header, data, lengthBytes);
  };
  const endTurn = (): void => {
    for (const flush of deferred.splice(0)) flush();
  };
  return { sink, outbox, send, endTurn, deferred, sent: () => Buffer.concat(sent) };
}

describe('answers on their way out', () => {
  test('leave in one write at the end of the turn, in order', () => {
    const { sink, send, endTurn, sent, outbox } = setUp();
    send(1);
    send(2, [Buffer.alloc(4096, 3), Buffer.alloc(5, 4)]);
    send(5);
    expect(sink.writes).toEqual([]);
    endTurn();
    expect(sink.writes.length).toBe(1);
    expect(sink.bytes.equals(sent())).toBe(true);
    expect(outbox.queuedBytes).toBe(0);
  });

  test('are one piece as long as they are short', () => {
    const { sink, send, endTurn, sent } = setUp();
    for (let i = 0; i < 20; i++) send(i);
    send(20, [Buffer.alloc(4096, 9)]);
    send(21);
    send(22);
    endTurn();
    expect(sink.writes[0]?.map((piece) => piece.length)).toEqual([21 * 48, 4096, 2 * 48]);
    expect(sink.bytes.equals(sent())).toBe(true);
  });

  test('wait for release while they are held, and for nothing else', () => {
    const { sink, outbox, send, deferred, endTurn, sent } = setUp();
    outbox.hold();
    send(1);
    send(2);
    expect([deferred.length, sink.writes.length]).toEqual([0, 0]);
    outbox.release();
    expect(sink.writes.length).toBe(1);
    send(3);
    endTurn();
    expect(sink.writes.length).toBe(2);
    expect(sink.bytes.equals(sent())).toBe(true);
  });

  test('tell when their data was taken, each once, and never where that failed', () => {
    const calls: string[] = [];
    const ends: ((error?: Error) => void)[] = [];
    const sink: ByteSink = {
      cork: () => {},
      uncork: () => {},
      write: (_, done) => done !== undefined && ends.push(done),
    };
    const outbox = new Outbox(
      sink,
      () => {},
      () => calls.push('written'),
    );
    const send = (name: string) =>
      outbox.send(outbox.header(), [Buffer.alloc(512)], 512, () => calls.push(name));
    send('a');
    send('b');
    outbox.flush();
    outbox.send(outbox.header(), [], 0);
    outbox.flush();
    send('c');
    outbox.flush();
    expect(calls).toEqual([]);
    ends[0]?.();
    expect(calls).toEqual(['a', 'b', 'written']);
    ends[1]?.();
    ends[2]?.(new Error('gone'));
    expect(calls).toEqual(['a', 'b', 'written', 'written', 'written']);
  });

  test('have headers of their own, though those are used again', () => {
    const { sink, send, endTurn, sent } = setUp();
    for (let turn = 0; turn < 5; turn++) {
      for (let i = 0; i < 3 + turn; i++) send(10 * turn + i, i % 2 === 0 ? [] : [Buffer.alloc(300, i)]);
      endTurn();
    }
    expect(sink.bytes.equals(sent())).toBe(true);
  });
});

describe('what can be written at once', () => {
  /** Takes so many bytes at once of each write, and the rest later. */
  function narrow(atOnceBytes: number) {
    const all: Buffer[] = [];
    const ends: (() => void)[] = [];
    const events: string[] = [];
    const sink: ByteSink = {
      writeNow: (pieces) => {
        const taken = Buffer.concat(pieces).subarray(0, ends.length > 0 ? 0 : atOnceBytes);
        all.push(Buffer.from(taken));
        return taken.length;
      },
      cork: () => {},
      uncork: () => {},
      write: (chunk, done) => {
        all.push(Buffer.from(chunk));
        if (done !== undefined) ends.push(done);
      },
    };
    const outbox = new Outbox(
      sink,
      () => {},
      () => events.push('written'),
    );
    return { outbox, ends, events, bytes: () => Buffer.concat(all) };
  }

  test.each([0, 1, 47, 48, 49, 700, 1199, 1200, 5000])('is followed by the rest: %i bytes', (atOnceBytes) => {
    const { outbox, ends, events, bytes } = narrow(atOnceBytes);
    const wanted: Buffer[] = [];
    for (let i = 0; i < 5; i++) {
      const header = outbox.header().fill(i);
      const data = [Buffer.alloc(600, 10 + i), Buffer.alloc(552, 20 + i)];
      wanted.push(Buffer.from(header), ...data);
      outbox.send(header, data, 1152, () => events.push(`taken ${i}`));
      outbox.flush();
    }
    expect(bytes().equals(Buffer.concat(wanted))).toBe(true);
    const isWhole = atOnceBytes >= 1200;
    expect(ends.length).toBe(isWhole ? 0 : 5);
    expect(outbox.queuedBytes).toBe(isWhole ? 0 : 5 * 1200);
    for (const end of ends) end();
    expect(outbox.queuedBytes).toBe(0);
    expect(events).toEqual([0, 1, 2, 3, 4].flatMap((i) => [`taken ${i}`, 'written']));
  });
});
