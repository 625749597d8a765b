import { describe, expect, it } from 'vitest';
import { MAX_FREE_STAGES, STAGE_BYTES } from '../../../../node/peer/limits.ts';
import { SendStage } from '../../../../node/peer/send-stage.ts';

/** A socket that takes what it is given when the test says so, and looks at it only then. */
class LateSocket {
  readonly waiting: { bytes: Uint8Array; written: (error?: Error | null) => void }[] = [];
  taken = Buffer.alloc(0);

  get writableLength(): number {
    return this.waiting.reduce((sum, { bytes }) => sum + bytes.length, 0);
  }

  write(bytes: Uint8Array, written: (error?: Error | null) => void): void {
    this.waiting.push({ bytes, written });
  }

  takeAll(): void {
    for (const { bytes, written } of this.waiting.splice(0)) {
      this.taken = Buffer.concat([this.taken, bytes]);
      written(null);
    }
  }
}

function setup() {
  const socket = new LateSocket();
  let moved = 0;
  const stage = new SendStage(socket, () => moved++);
  return { socket, stage, moved: () => moved };
}

describe('what one step sends', () => {
  it('leaves as one write, from memory that is used again once the system has it', () => {
    const { socket, stage, moved } = setup();
    stage.add(Buffer.from('one '));
    stage.add(Buffer.from('two'));
    expect(socket.waiting).toHaveLength(0);
    expect(stage.queuedBytes).toBe(7);
    stage.flush();
    stage.flush();
    expect(socket.waiting).toHaveLength(1);
    const first = socket.waiting[0]?.bytes.buffer;
    socket.takeAll();
    expect(socket.taken.toString()).toBe('one two');
    expect(stage.queuedBytes).toBe(0);
    expect(moved()).toBe(1);
    stage.add(Buffer.from('three'));
    stage.flush();
    expect(socket.waiting[0]?.bytes.buffer).toBe(first);
  });

  it('arrives as it was, whatever is sent while it waits and whatever becomes of the memory it was in', () => {
    const { socket, stage } = setup();
    const sent: Buffer[] = [];
    const send = (lengthBytes: number, fill: number): void => {
      const bytes = Buffer.alloc(lengthBytes, fill);
      sent.push(Buffer.from(bytes));
      stage.add(bytes);
      bytes.fill(0);
    };
    for (let i = 1; i <= 60; i++) {
      send(i % 7 === 0 ? STAGE_BYTES + i : i * 997, i);
      if (i % 3 === 0) stage.flush();
      if (i % 10 === 0) socket.takeAll();
    }
    stage.flush();
    socket.takeAll();
    expect(socket.taken.equals(Buffer.concat(sent))).toBe(true);
  });

  it('holds no whole piece for a few bytes that wait', () => {
    const { socket, stage } = setup();
    for (let i = 0; i < 20; i++) {
      stage.add(Buffer.alloc(100, i));
      stage.flush();
    }
    const pieces = new Set(
      socket.waiting.map(({ bytes }) => bytes.buffer).filter((b) => b.byteLength >= STAGE_BYTES),
    );
    expect(pieces.size).toBeLessThanOrEqual(MAX_FREE_STAGES);
    socket.takeAll();
    expect(socket.taken).toHaveLength(2_000);
  });
});
