import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SeededRandom } from '../../../../base/random.ts';
import { taskFunction, taskResponse } from '../../../../node/iscsi/task-management.ts';
import { hasToWait, taskAttribute } from '../../../../node/iscsi/task-order.ts';
import { connectInitiator, type Initiator } from '../../../../scripts/simulator/iscsi-initiator.ts';
import { readRequest, type ScsiRequest, writeRequest } from '../../../../scripts/simulator/scsi-exchange.ts';
import { until } from './raw-initiator.ts';
import { INITIATOR, startTarget, TARGET, type TestTarget } from './target-fixture.ts';

const { simple, ordered, headOfQueue, untagged } = taskAttribute;
let target: TestTarget;
let initiator: Initiator;
/** What the device was asked to write, and what it has written, by the first block: "+8" and then "-8". */
let seen: string[];

beforeEach(async () => {
  target = await startTarget({ lengthBlocks: 65_536 });
  seen = [];
  const write = target.device.write.bind(target.device);
  target.device.write = async (lba, parts, options) => {
    seen.push(`+${lba}`);
    await write(lba, parts, options);
    seen.push(`-${lba}`);
  };
});

afterEach(async () => {
  initiator.destroy();
  await target.portal.close();
});

async function attach(keys: Readonly<Record<string, string>> = {}): Promise<void> {
  const { host, port } = target;
  initiator = await connectInitiator({ host, port, initiatorName: INITIATOR, targetName: TARGET, keys });
}

function write(lba: number, attribute: number, lengthBytes = 512): ScsiRequest {
  return { ...writeRequest(lba, new Uint8Array(lengthBytes).fill(1), false), attribute };
}

test('an ordered task waits for what came before it, and what comes after waits for it', async () => {
  await attach();
  const release = target.device.holdWrites();
  const replies = [0, 8, 16, 24].map((lba) =>
    initiator.command(write(lba, lba === 16 ? ordered : lba === 24 ? untagged : simple)),
  );
  // One for the head of the queue passes them all.
  expect((await initiator.command({ ...readRequest(0, 512), attribute: headOfQueue })).status).toBe(0);
  expect(seen).toEqual(['+0', '+8']);
  release();
  expect((await Promise.all(replies)).map(({ status }) => status)).toEqual([0, 0, 0, 0]);
  expect(seen).toEqual(['+0', '+8', '-0', '-8', '+16', '-16', '+24', '-24']);
});

test('a task that waited for one that is aborted goes on', async () => {
  await attach();
  const release = target.device.holdWrites();
  const first = initiator.command(write(0, simple)).catch((error: Error) => error.message);
  await until(() => seen.length === 1);
  const [tag] = initiator.taskTags();
  const second = initiator.command(write(8, ordered));
  const third = initiator.command(write(16, simple));
  const abort = initiator.taskManagement(taskFunction.abortTask, tag);
  await until(() => target.counters.get(`iscsi.task-management.${taskFunction.abortTask}`) === 1);
  release();
  expect(await abort).toBe(taskResponse.complete);
  expect((await Promise.all([second, third])).map(({ status }) => status)).toEqual([0, 0]);
  expect(seen.filter((each) => each !== '-0')).toEqual(['+0', '+8', '-8', '+16', '-16']);
  initiator.abandon();
  expect(await first).toBe('aborted');
});

const WAYS: readonly Readonly<Record<string, string>>[] = [
  {},
  { InitialR2T: 'No' },
  { InitialR2T: 'Yes', ImmediateData: 'No' },
];
test.each(WAYS)('whatever the order and the way the data takes, all are carried out: %j', async (keys) => {
  await attach(keys);
  const random = new SeededRandom(7);
  const inner = target.device.write.bind(target.device);
  target.device.write = async (lba, parts, options) => {
    const turns = random.below(4);
    for (let i = 0; i < turns; i++) await new Promise((resolve) => setImmediate(resolve));
    await inner(lba, parts, options);
  };
  const attributes = Array.from({ length: 120 }, () =>
    random.below(100) < 20 ? ordered : random.below(100) < 10 ? headOfQueue : simple,
  );
  // Large ones ask for more memory together than one initiator is given at once.
  const sizes = attributes.map(() => [512, 8192, 1_048_576, 4_194_304][random.below(4)] as number);
  const replies = attributes.map((attribute, i) => initiator.command(write(i * 8, attribute, sizes[i])));
  expect((await Promise.all(replies)).every(({ status }) => status === 0)).toBe(true);
  const place = (what: string): number => seen.indexOf(what);
  for (const [i, attribute] of attributes.entries()) {
    if (attribute !== ordered) continue;
    for (const [j, other] of attributes.entries()) {
      if (j < i) expect(place(`-${j * 8}`), `${j} before ${i}`).toBeLessThan(place(`+${i * 8}`));
      if (j > i && other !== headOfQueue)
        expect(place(`-${i * 8}`), `${i} before ${j}`).toBeLessThan(place(`+${j * 8}`));
    }
  }
});

describe('hasToWait', () => {
  const task = (attribute: number, lun = 0) => ({ attribute, lun });

  test('looks at older tasks on the same logical unit alone', () => {
    const [first, last] = [task(simple), task(simple)];
    expect(hasToWait(first, [first, task(ordered), last])).toBe(false);
    expect(hasToWait(last, [first, task(ordered), last])).toBe(true);
    expect(hasToWait(last, [task(ordered, 1), last])).toBe(false);
    const barrier = task(ordered);
    expect(hasToWait(barrier, [barrier, first])).toBe(false);
    expect(hasToWait(barrier, [task(headOfQueue), barrier])).toBe(true);
    expect(hasToWait(barrier, [task(simple, 1), barrier])).toBe(false);
  });
});
