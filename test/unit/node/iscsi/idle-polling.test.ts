import { describe, expect, onTestFinished, test } from 'vitest';
import { ManualClock } from '../../../../base/clock.ts';
import { IdlePolling } from '../../../../node/iscsi/idle-polling.ts';
import {
  MAX_POLL_CREDIT_MS,
  MAX_POLL_SWITCHES,
  POLL_AFTER_REQUESTS,
  POLL_CHECK_REQUESTS,
  POLL_MIN_GAP_MS,
  POLL_MS,
  POLL_REST_MS,
  POLL_SHARED_REST_MS,
  POLL_VAIN_SHARE,
} from '../../../../node/iscsi/limits.ts';
import { connectInitiator } from '../../../../scripts/simulator/iscsi-initiator.ts';
import { INITIATOR as INITIATOR_NAME, startTarget, TARGET } from './target-fixture.ts';

/** Longer than a turn of the event loop that finds nothing takes. */
const TURN_MS = POLL_MS / 20;
const INITIATOR = {};

function setUp() {
  const clock = new ManualClock();
  const turns: (() => void)[] = [];
  const setAside = { times: 0 };
  const polling = new IdlePolling(
    { clock, nextTurn: (turn) => turns.push(turn), involuntarySwitches: () => setAside.times },
    true,
  );
  const spent = { ms: 0 };
  /** Lets time pass: in turns as long as it polls, asleep when it does not. */
  const pass = (ms: number): void => {
    const untilMs = clock.monotonicMs() + ms;
    while (turns.length > 0 && clock.monotonicMs() + TURN_MS <= untilMs) {
      clock.advance(TURN_MS);
      spent.ms += TURN_MS;
      for (const turn of turns.splice(0)) turn();
    }
    clock.advance(Math.max(0, untilMs - clock.monotonicMs()));
  };
  const request = (everyMs: number, initiator: object = INITIATOR): void => {
    polling.served(initiator, clock.monotonicMs());
    pass(everyMs);
  };
  return { clock, polling, pass, request, setAside, spent, turns };
}

test('it looks for the next request once several came soon, and as long as they do', () => {
  const { polling, request } = setUp();
  for (let i = 0; i < POLL_AFTER_REQUESTS; i++) {
    request(POLL_MS / 2);
    expect(polling.isPolling).toBe(false);
  }
  for (let i = 0; i < 10_000; i++) {
    request(POLL_MS / 2);
    expect(polling.isPolling).toBe(true);
  }
});

test('it ends soon after the last one, and begins anew only after several', () => {
  const { polling, request, pass, spent } = setUp();
  for (let i = 0; i < 2 * POLL_AFTER_REQUESTS; i++) request(POLL_MS / 2);
  const before = spent.ms;
  pass(10 * POLL_MS);
  expect(polling.isPolling).toBe(false);
  expect(spent.ms - before).toBeLessThanOrEqual(POLL_MS + TURN_MS);
  for (let i = 0; i < POLL_AFTER_REQUESTS; i++) {
    request(POLL_MS / 2);
    expect(polling.isPolling).toBe(false);
  }
});

test('what takes long to be dealt with is polled for as well, if the next one comes soon after it', () => {
  const { clock, polling, pass, turns } = setUp();
  const slow = (): void => {
    const cameMs = clock.monotonicMs();
    clock.advance(5 * POLL_MS);
    polling.served(INITIATOR, cameMs);
    pass(POLL_MS / 2);
  };
  for (let i = 0; i <= POLL_AFTER_REQUESTS; i++) slow();
  expect(polling.isPolling).toBe(true);
  for (let i = 0; i < 10_000; i++) {
    slow();
    expect(polling.isPolling).toBe(true);
  }
  expect(turns).toHaveLength(1);
});

test('several initiators are not waited for, however fast they are, and end it for one that was', () => {
  const { polling, request, pass, spent } = setUp();
  const others = [{}, {}, {}];
  for (let i = 0; i < 10_000; i++) request(POLL_MS / 2, others[i % others.length]);
  expect(spent.ms).toBe(0);
  for (let i = 0; i <= POLL_AFTER_REQUESTS; i++) request(POLL_MS / 2);
  expect(polling.isPolling).toBe(true);
  for (let i = 0; i < 3 * others.length; i++) request(POLL_MS / 2, others[i % others.length]);
  expect(polling.isPolling).toBe(false);
  const before = spent.ms;
  pass(10 * POLL_MS);
  expect(spent.ms).toBe(before);
});

test('where it is not allowed it is not done, and ends with the turn', () => {
  const { polling, request, turns } = setUp();
  for (let i = 0; i <= POLL_AFTER_REQUESTS; i++) request(POLL_MS / 2);
  expect(polling.isPolling).toBe(true);
  polling.isAllowed = false;
  for (const turn of turns.splice(0)) turn();
  expect(polling.isPolling).toBe(false);
  for (let i = 0; i < 2 * POLL_AFTER_REQUESTS; i++) request(POLL_MS / 2);
  expect(polling.isPolling).toBe(false);
  polling.isAllowed = true;
  for (let i = 0; i <= POLL_AFTER_REQUESTS; i++) request(POLL_MS / 2);
  expect(polling.isPolling).toBe(true);
});

test('requests that are further apart are never waited for', () => {
  const { spent, request } = setUp();
  for (let i = 0; i < 1000; i++) request(POLL_MS * 1.1);
  expect(spent.ms).toBe(0);
});

test('requests that come at once are not waited for, but where it looked for them already', () => {
  const { polling, request, spent } = setUp();
  for (let i = 0; i < 1000; i++) request(POLL_MIN_GAP_MS / 2);
  expect(spent.ms).toBe(0);
  for (let i = 0; i <= POLL_AFTER_REQUESTS; i++) request(POLL_MS / 2);
  for (let i = 0; i < 1000; i++) request(POLL_MIN_GAP_MS / 2);
  expect(polling.isPolling).toBe(true);
});

test('it rests where others had the processor, although the next request was there by then', () => {
  const { clock, polling, request, turns } = setUp();
  for (let i = 0; i < 2 * POLL_AFTER_REQUESTS; i++) request(POLL_MS / 2);
  expect(polling.isPolling).toBe(true);
  clock.advance(2 * POLL_MS);
  polling.served(INITIATOR, clock.monotonicMs());
  for (const turn of turns.splice(0)) turn();
  expect(polling.isPolling).toBe(false);
  const untilMs = clock.monotonicMs() + POLL_REST_MS;
  while (clock.monotonicMs() < untilMs) {
    request(POLL_MS / 2);
    expect(polling.isPolling).toBe(false);
  }
  for (let i = 0; i < POLL_AFTER_REQUESTS; i++) request(POLL_MS / 2);
  expect(polling.isPolling).toBe(true);
});

test('it rests for long where the process is often set aside meanwhile, however shortly, and not where seldom', () => {
  const { clock, polling, request, setAside } = setUp();
  for (let i = 0; i < 100 * POLL_CHECK_REQUESTS; i++) {
    request(POLL_MS / 2);
    if (i % ((2 * POLL_CHECK_REQUESTS) / MAX_POLL_SWITCHES) === 0) setAside.times++;
  }
  expect(polling.isPolling).toBe(true);
  // It is asked after so many; those before count for less.
  for (let i = 0; i < 2 * POLL_CHECK_REQUESTS && polling.isPolling; i++) {
    setAside.times++;
    request(POLL_MS / 2);
  }
  expect(polling.isPolling).toBe(false);
  const untilMs = clock.monotonicMs() + POLL_SHARED_REST_MS - POLL_MS;
  while (clock.monotonicMs() < untilMs) {
    request(POLL_MS / 2);
    expect(polling.isPolling).toBe(false);
  }
  for (let i = 0; i < 4 * POLL_CHECK_REQUESTS; i++) request(POLL_MS / 2);
  expect(polling.isPolling).toBe(true);
});

test('what is spent in vain stays below its share, whatever the requests are like', () => {
  const { clock, request, pass, polling, spent } = setUp();
  const start = clock.monotonicMs();
  let vainMs = 0;
  for (let burst = 0; burst < 2000; burst++) {
    // As many as make it poll, and then none for longer than it waits.
    for (let i = 0; i <= POLL_AFTER_REQUESTS; i++) request(POLL_MIN_GAP_MS * 1.1);
    const before = spent.ms;
    pass(2 * POLL_MS);
    expect(polling.isPolling).toBe(false);
    vainMs += spent.ms - before;
  }
  const passedMs = clock.monotonicMs() - start;
  expect(vainMs).toBeGreaterThan(MAX_POLL_CREDIT_MS);
  expect(vainMs).toBeLessThanOrEqual(MAX_POLL_CREDIT_MS + POLL_MS + passedMs * POLL_VAIN_SHARE * 1.1);
});

describe('a target', () => {
  /** One that never gets to its next turn. */
  async function attached(connections: number) {
    const clock = new ManualClock();
    const polling = new IdlePolling({ clock, nextTurn: () => {}, involuntarySwitches: () => 0 }, true);
    const { portal, host, port } = await startTarget({ polling, clock });
    onTestFinished(() => portal.close());
    const names = { initiatorName: INITIATOR_NAME, targetName: TARGET };
    const initiators = await Promise.all(
      Array.from({ length: connections }, (_, i) =>
        connectInitiator({ host, port, ...names, isid: `40000000000${i}` }),
      ),
    );
    onTestFinished(() => initiators.forEach((initiator) => initiator.destroy()));
    /** Each of them waits a little before it sends. */
    const read = async (initiator: (typeof initiators)[number] | undefined) => {
      clock.advance(POLL_MIN_GAP_MS * 2);
      await initiator?.read(0, 8);
    };
    return { clock, polling, initiators, read };
  }

  test('polls for one initiator that sends one request at a time', async () => {
    const { polling, initiators, read } = await attached(1);
    for (let i = 0; i <= POLL_AFTER_REQUESTS; i++) await read(initiators[0]);
    expect(polling.isPolling).toBe(true);
  });

  test('does not for one that sends several together', async () => {
    const { clock, polling, initiators } = await attached(1);
    for (let i = 0; i < POLL_AFTER_REQUESTS; i++) {
      clock.advance(POLL_MIN_GAP_MS * 2);
      await Promise.all(initiators.flatMap((one) => [0, 8, 16, 24].map((lba) => one.read(lba, 8))));
    }
    expect(polling.isPolling).toBe(false);
  });

  test('does not for several that take turns', async () => {
    const { polling, initiators, read } = await attached(3);
    for (let i = 0; i < POLL_AFTER_REQUESTS; i++) {
      for (const initiator of initiators) await read(initiator);
    }
    expect(polling.isPolling).toBe(false);
  });
});
