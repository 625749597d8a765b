import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../../../base/clock.ts';
import { silentLogger } from '../../../../base/logger.ts';
import { BIND_RETRY_MS } from '../../../../node/portal/limits.ts';
import { PortalAddress } from '../../../../node/portal/portal-address.ts';

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function makeWorld(options: { bindFailures?: number } = {}) {
  const clock = new ManualClock();
  const calls: string[] = [];
  const held = new Set<string>();
  let bindFailures = options.bindFailures ?? 0;
  let releaseHold: (() => void) | undefined;
  const gate = { closed: false };
  const serving = { now: true };
  const failing = { drops: 0 };
  const address = new PortalAddress({
    address: '127.9.9.1',
    port: 3260,
    timers: clock,
    logger: silentLogger,
    ports: {
      hold: async (a) => {
        calls.push('hold');
        if (gate.closed) await new Promise<void>((resolve) => (releaseHold = resolve));
        held.add(a);
      },
      drop: async (a) => {
        calls.push('drop');
        if (failing.drops-- > 0) throw new Error('ip failed');
        held.delete(a);
      },
      listen: async () => {
        if (bindFailures-- > 0) throw new Error('EADDRINUSE');
        calls.push('listen');
        return async () => {
          calls.push('close');
        };
      },
      announce: () => calls.push('announce'),
      taken: () => calls.push('taken'),
      isServing: () => serving.now,
    },
  });
  return { address, calls, held, clock, gate, serving, failing, release: () => releaseHold?.() };
}

describe('a portal address', () => {
  it('is held, listened on and announced while wanted, then dropped before its sessions are closed', async () => {
    const world = makeWorld();
    world.address.setWanted(true);
    await settle();
    expect(world.address.listening).toBe(true);
    world.clock.advance(0);
    expect(world.calls).toEqual(['hold', 'listen', 'taken', 'announce']);
    world.address.setWanted(false);
    await settle();
    expect(world.calls).toEqual(['hold', 'listen', 'taken', 'announce', 'drop', 'close']);
    world.clock.advance(10_000);
    expect(world.calls.filter((c) => c === 'announce')).toHaveLength(1);
  });

  it('is not kept on the interface while nobody listens, and is tried again', async () => {
    const world = makeWorld({ bindFailures: 1 });
    world.address.setWanted(true);
    await settle();
    expect(world.held.size).toBe(0);
    expect(world.address.listening).toBe(false);
    world.clock.advance(BIND_RETRY_MS);
    await settle();
    expect(world.address.listening).toBe(true);
  });

  it('given up while it is being taken ends up dropped', async () => {
    const world = makeWorld();
    world.gate.closed = true;
    world.address.setWanted(true);
    world.address.setWanted(false);
    world.release();
    await settle();
    expect(world.held.size).toBe(0);
    expect(world.calls).toEqual(['hold', 'drop']);
  });

  it('lost to the guardian is asked for again while the group is served here', async () => {
    const world = makeWorld();
    world.address.setWanted(true);
    await settle();
    world.address.lost();
    await settle();
    expect(world.calls).toEqual(['hold', 'listen', 'taken', 'hold', 'taken']);
    expect(world.address.listening).toBe(true);
  });

  it('that could not be dropped has no listener any more and is dropped until that works', async () => {
    const world = makeWorld();
    world.address.setWanted(true);
    await settle();
    world.failing.drops = 2;
    world.address.setWanted(false);
    for (let i = 0; i < 3; i++) {
      await settle();
      expect(world.address.listening).toBe(false);
      world.clock.advance(BIND_RETRY_MS);
    }
    await settle();
    expect(world.held.size).toBe(0);
    expect(world.calls.filter((c) => c === 'drop')).toHaveLength(3);
  });

  it('is not announced by a process that does not serve the group at that moment', async () => {
    const world = makeWorld();
    world.address.setWanted(true);
    await settle();
    world.serving.now = false;
    world.clock.advance(10_000);
    expect(world.calls).not.toContain('announce');
  });

  it('says when it is off this node, at once where it never was', async () => {
    const world = makeWorld();
    await world.address.whenReleased();
    world.address.setWanted(true);
    await settle();
    world.failing.drops = 1;
    world.address.setWanted(false);
    let isReleased = false;
    void world.address.whenReleased().then(() => (isReleased = true));
    await settle();
    expect(isReleased).toBe(false);
    world.clock.advance(BIND_RETRY_MS);
    await settle();
    expect(isReleased).toBe(true);
    expect(world.held.size).toBe(0);
  });

  it('given up while it is being taken is said to be off only once it is', async () => {
    const world = makeWorld();
    world.gate.closed = true;
    world.address.setWanted(true);
    world.address.setWanted(false);
    const released = world.address.whenReleased().then(() => world.calls.push('released'));
    world.release();
    await released;
    expect(world.calls).toEqual(['hold', 'drop', 'released']);
  });
});
