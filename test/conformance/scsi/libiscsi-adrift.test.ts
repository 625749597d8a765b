import { afterEach, expect, it } from 'vitest';
import { DeviceError } from '../../../storage/block-device.ts';
import { runLibiscsiSuite } from '../../support/libiscsi-suite.ts';
import { describeWhere } from '../../support/requirements.ts';
import { MemoryDevice } from '../../unit/node/iscsi/memory-device.ts';
import {
  grant,
  INITIATOR,
  startTarget,
  TARGET,
  type TestTarget,
} from '../../unit/node/iscsi/target-fixture.ts';

const TOOL = { commands: ['iscsi-test-cu'], enableWith: 'apt-get install libiscsi-bin' };
const BLOCKS = 65_536;

let target: TestTarget | undefined;

afterEach(async () => {
  await target?.portal.close();
});

/** Its sessions end with the first command that is looked at once their login has been answered. */
function deviceThatDropsSessions(): MemoryDevice {
  const device = new MemoryDevice(BLOCKS);
  let isArmed = false;
  setImmediate(() => {
    isArmed = true;
  });
  // Looked at for each command.
  Object.defineProperty(device, 'serverState', {
    get: () => {
      if (isArmed) target?.portal.closeTarget(TARGET);
      isArmed = false;
    },
  });
  return device;
}

async function run(seconds: number, onRead: (reads: number) => Promise<void>): Promise<string> {
  const started = await startTarget({ lengthBlocks: BLOCKS });
  target = started;
  const { device } = started;
  let reads = 0;
  const read = device.read.bind(device);
  device.read = async (lba, blocks) => {
    await onRead(++reads);
    return read(lba, blocks);
  };
  const url = `iscsi://${started.host}:${started.port}/${TARGET}/0`;
  const args = ['-d', '-v', '-i', INITIATOR, '-I', INITIATOR, '-t', 'ALL.Reserve6.Simple', url];
  const { kind, output } = await runLibiscsiSuite(args, seconds);
  return kind === 'ended' ? `ended, ${/Test: Simple \.\.\.\s*.*(passed|FAILED)/s.exec(output)?.[1]}` : kind;
}

/** RESERVE(6) reads nothing, to see that it is served. */
function dropOn(readNumber: number): (reads: number) => Promise<void> {
  return (reads) =>
    reads === readNumber
      ? Promise.reject(new DeviceError('not-serving', 'served elsewhere'))
      : Promise.resolve();
}

describeWhere(TOOL, "libiscsi's tool and sessions that are dropped", () => {
  it('comes again when one is', async () => {
    expect(await run(30, dropOn(2))).toBe('ended, passed');
  }, 60_000);

  it('is found to be adrift where the next one is as well before it has answered anything', async () => {
    let drops = 0;
    const outcome = await run(30, async (reads) => {
      if (reads !== 2) return;
      const { device } = target as TestTarget;
      (target as TestTarget).decide = async () =>
        grant(new Map([[0, drops++ === 0 ? deviceThatDropsSessions() : device]]));
      throw new DeviceError('not-serving', 'served elsewhere');
    });
    expect([outcome, drops]).toEqual(['adrift', 1]);
  }, 60_000);

  it('is mute where it is not answered', async () => {
    const never = new Promise<void>(() => {});
    expect(await run(3, (reads) => (reads >= 2 ? never : Promise.resolve()))).toBe('mute');
    // What is held in the device holds up the end of the portal.
    target = undefined;
  }, 60_000);
});
