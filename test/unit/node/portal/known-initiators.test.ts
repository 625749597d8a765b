import { expect, it } from 'vitest';
import type { Timers } from '../../../../base/clock.ts';
import { parseIpv4 } from '../../../../base/ipv4.ts';
import { KnownInitiators } from '../../../../node/portal/known-initiators.ts';
import { TAKEOVER_WAIT_MS } from '../../../../node/portal/limits.ts';

const end = (port: number) => ({ address: parseIpv4('10.0.0.1'), port });

/** With timers that fire when the test says so. */
function known() {
  const waiting: { delayMs: number; fire: () => void }[] = [];
  const timers: Timers = {
    setTimer: (delayMs, fire) => {
      const timer = { delayMs, fire };
      waiting.push(timer);
      return () => void waiting.splice(waiting.indexOf(timer), 1);
    },
  };
  return { initiators: new KnownInitiators(timers), waiting };
}

it('initiators are made to notice that the last primary told of', () => {
  const { initiators } = known();
  expect(initiators.toNudge('g')).toEqual([]);
  initiators.heard('g', [end(1)]);
  initiators.heard('g', [end(2)]);
  initiators.heard('h', [end(3)]);
  expect(initiators.toNudge('g')).toEqual([end(2)]);
});

it('those that have not come yet are told of as long as the one before would not have reset them', () => {
  const { initiators, waiting } = known();
  initiators.heard('g', [end(1), end(2)]);
  expect(initiators.toTell('g', [end(9)]), 'before it has the address').toEqual([end(9)]);
  initiators.taken('g');
  expect(initiators.toTell('g', [])).toEqual([end(1), end(2)]);
  expect(initiators.toTell('g', [end(2), end(9)])).toEqual([end(2), end(9), end(1)]);
  expect(initiators.toTell('h', [])).toEqual([]);
  expect(waiting.map(({ delayMs }) => delayMs)).toEqual([TAKEOVER_WAIT_MS]);
  waiting[0]?.fire();
  expect(initiators.toTell('g', [end(9)])).toEqual([end(9)]);
});

it('the time counts anew when the address is taken again, and ends with the node', () => {
  const { initiators, waiting } = known();
  initiators.heard('g', [end(1)]);
  initiators.taken('g');
  initiators.taken('g');
  expect(waiting).toHaveLength(1);
  initiators.stop();
  expect(waiting).toHaveLength(0);
});
