import { describe, expect, it } from 'vitest';
import type { Timers } from '../../../base/clock.ts';
import { silentLogger } from '../../../base/logger.ts';
import { makeGenesis } from '../../../cluster/state/genesis.ts';
import type { ClusterState } from '../../../cluster/state/model.ts';
import { LifeRenewal } from '../../../node/life-renewal.ts';
import { LAST_RENEWAL_MS, LIFE_RENEWAL_MS } from '../../../node/limits.ts';
import { applyAll, fence, genesisInput, register } from '../cluster/state/fixtures.ts';

function make(state: ClusterState = makeGenesis(genesisInput(2, 2))) {
  const waiting = new Map<() => void, number>();
  const timers: Timers = {
    setTimer: (delayMs, fire) => {
      waiting.set(fire, delayMs);
      return () => waiting.delete(fire);
    },
  };
  const ends = new Map([
    ['pg1', 5],
    ['pg2', 7],
  ]);
  const renewed: string[] = [];
  let answer: () => Promise<void> = () => Promise.resolve();
  const renewal = new LifeRenewal({
    nodeId: 'n1',
    state: () => state,
    groups: () => Promise.resolve(Array.from(ends, ([id, nextIndex]) => ({ id, nextIndex }))),
    renewLives: (groups) => {
      renewed.push(groups.join());
      return answer();
    },
    timers,
    logger: silentLogger,
  });
  const fire = async (delayMs: number): Promise<void> => {
    for (const [due, ms] of [...waiting]) {
      if (ms !== delayMs) continue;
      waiting.delete(due);
      due();
    }
    for (let i = 0; i < 10; i++) await Promise.resolve();
  };
  const answerBy = (by: () => Promise<void>): void => {
    answer = by;
  };
  return { renewal, ends, renewed, waiting, fire, answerBy };
}

describe('lives of directories that are written to', () => {
  it('are renewed every so often, where something was written', async () => {
    const { renewal, ends, renewed, fire } = make();
    renewal.start();
    await fire(LIFE_RENEWAL_MS);
    await fire(LIFE_RENEWAL_MS);
    ends.set('pg2', 8);
    await fire(LIFE_RENEWAL_MS);
    expect(renewed).toEqual(['pg1,pg2', 'pg2']);
  });

  it('are renewed at the next time where it failed', async () => {
    const { renewal, ends, renewed, fire, answerBy } = make();
    renewal.start();
    answerBy(() => Promise.reject(new Error('nobody leads')));
    await fire(LIFE_RENEWAL_MS);
    ends.set('pg1', 6);
    answerBy(() => Promise.resolve());
    await fire(LIFE_RENEWAL_MS);
    expect(renewed).toEqual(['pg1,pg2', 'pg1']);
  });

  it('are renewed at a stop where the copy is the last, which waits for it only for a while', async () => {
    const genesis = makeGenesis(genesisInput(2, 2));
    const alone = applyAll(genesis, register(1, 'a'), register(2, 'a'), fence(2, 'a'));
    const { renewal, renewed, waiting, fire, answerBy } = make(alone);
    renewal.start();
    await renewal.stop();
    expect(renewed).toEqual(['pg1,pg2']);
    expect(waiting.size).toBe(0);

    const shared = make(applyAll(genesis, register(1, 'a'), register(2, 'a')));
    await shared.renewal.stop();
    expect(shared.renewed).toEqual([]);

    const stuck = make(alone);
    stuck.answerBy(() => new Promise(() => {}));
    let isOver = false;
    const stopped = stuck.renewal.stop().then(() => {
      isOver = true;
    });
    await stuck.fire(LIFE_RENEWAL_MS);
    expect(isOver).toBe(false);
    await stuck.fire(LAST_RENEWAL_MS);
    await stopped;
    answerBy(() => Promise.resolve());
    await fire(LIFE_RENEWAL_MS);
    expect(renewed).toEqual(['pg1,pg2']);
  });
});
