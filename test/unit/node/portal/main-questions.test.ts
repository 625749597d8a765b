import { expect, it } from 'vitest';
import { ManualClock } from '../../../../base/clock.ts';
import { IMAGE_MENDING_WAIT_MS } from '../../../../node/portal/limits.ts';
import { MainQuestions } from '../../../../node/portal/main-questions.ts';
import type { FromWorker } from '../../../../node/portal/worker-protocol.ts';

const IMAGE = { name: 'debian', version: 1 };

function asking() {
  const clock = new ManualClock();
  const sent: FromWorker[] = [];
  return { clock, sent, questions: new MainQuestions((question) => void sent.push(question), clock) };
}

it('each proposal gets the outcome that bears its number', async () => {
  const { questions, sent } = asking();
  const command = { type: 'handOverGroup', group: 'g', epoch: 1, primary: 'n1' } as const;
  const first = questions.propose(command);
  const second = questions.propose({ ...command, epoch: 2 });
  expect(sent).toEqual([
    { type: 'propose', id: 1, command },
    { type: 'propose', id: 2, command: { ...command, epoch: 2 } },
  ]);
  questions.proposed(2, 'refused');
  questions.proposed(1, 'applied');
  expect(await Promise.all([first, second])).toEqual(['applied', 'refused']);
});

it('a part of an image is not waited for beyond its time, nor beyond the end', async () => {
  const { questions, sent, clock } = asking();
  const part = 7;
  const mended = questions.mendImage(IMAGE, part);
  const late = questions.mendImage(IMAGE, part);
  expect(sent).toEqual([
    { type: 'mend', id: 1, image: IMAGE, part },
    { type: 'mend', id: 2, image: IMAGE, part },
  ]);
  questions.mended(1, true);
  expect(await mended).toBe(true);
  clock.advance(IMAGE_MENDING_WAIT_MS);
  expect(await late).toBe(false);
  questions.mended(2, true);
  const atTheEnd = questions.mendImage(IMAGE, part);
  questions.stop();
  expect(await atTheEnd).toBe(false);
});
