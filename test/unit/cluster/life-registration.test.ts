import { describe, expect, it } from 'vitest';
import { LifeRegistration } from '../../../cluster/life-registration.ts';

function make() {
  const steps: string[] = [];
  const failures: unknown[] = [];
  let file: string[] = ['a'];
  let made = 0;
  let broken: Error | undefined;
  /** Reads what is there, and writes it a moment later. */
  const change = async (what: string, next: (known: string[]) => string[]): Promise<string[]> => {
    const known = file;
    steps.push(`${what} begins`);
    await new Promise((resolve) => setImmediate(resolve));
    if (broken !== undefined) throw broken;
    file = next(known);
    steps.push(`${what} ends`);
    return known;
  };
  const lives = new LifeRegistration(
    {
      begin: async () => {
        const life = `life-${++made}`;
        return { life, former: await change('begin', (known) => [...known, life]) };
      },
      settle: async (_, life) => {
        await change('settle', (known) => (known.at(-1) === life ? [life] : known));
      },
    },
    (error) => failures.push(error),
  );
  const breakWith = (error: Error | undefined): void => {
    broken = error;
  };
  return { lives, steps, failures, file: () => file, breakWith };
}

describe('lives that a process begins', () => {
  it('are begun once, until another one is', async () => {
    const { lives, file } = make();
    const first = await lives.current('pg1');
    expect(await lives.current('pg1')).toBe(first);
    const second = await lives.next('pg1');
    expect(second?.former).toEqual(['a', 'life-1']);
    expect(await lives.current('pg1')).toBe(second);
    expect(file()).toEqual(['a', 'life-1', 'life-2']);
  });

  it('are not undone by the settling of an earlier one', async () => {
    const { lives, steps, file } = make();
    await lives.current('pg1');
    lives.settle('pg1', 'life-1');
    const second = lives.next('pg1');
    lives.settle('pg1', 'life-1');
    await second;
    expect(file()).toEqual(['life-1', 'life-2']);
    expect(steps.slice(2)).toEqual(['settle begins', 'settle ends', 'begin begins', 'begin ends']);
  });

  it('are lost by no failure of what came before', async () => {
    const { lives, failures, file, breakWith } = make();
    breakWith(new Error('broken'));
    await expect(lives.next('pg1')).rejects.toThrow('broken');
    lives.settle('pg1', 'a');
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(failures).toEqual([new Error('broken')]);
    breakWith(undefined);
    await lives.next('pg1');
    expect(file()).toEqual(['a', 'life-2']);
  });
});
