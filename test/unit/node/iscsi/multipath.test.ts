import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CounterSet } from '../../../../base/counters.ts';
import { silentLogger } from '../../../../base/logger.ts';
import { SeededRandom } from '../../../../base/random.ts';
import { IscsiPortal } from '../../../../node/iscsi/portal.ts';
import type { PortalAddress } from '../../../../node/iscsi/ports.ts';
import { TargetSessions } from '../../../../node/iscsi/target-sessions.ts';
import { taskFunction, taskResponse } from '../../../../node/iscsi/task-management.ts';
import { type AccessState, accessState } from '../../../../node/scsi/access-state.ts';
import { Initiator } from '../../../../scripts/simulator/iscsi-initiator.ts';
import { login, openWire } from '../../../../scripts/simulator/iscsi-wire.ts';
import { realTime } from '../../../support/real-time.ts';
import { startLogin } from './login-exchange.ts';
import { MemoryDevice } from './memory-device.ts';
import { grant, INITIATOR, TARGET } from './target-fixture.ts';

/** Two portals of one node by which the same unit is reached: tag 1, which moves, and tag 4, the node's own. */
const TAGS = [1, 4] as const;
let device: MemoryDevice;
let targets: TargetSessions;
let states: Map<number, AccessState>;
let portals: { tag: number; portal: IscsiPortal; at: PortalAddress }[];
const initiators: Initiator[] = [];

beforeEach(async () => {
  device = new MemoryDevice(4096);
  targets = new TargetSessions({ timers: realTime, logger: silentLogger });
  states = new Map(TAGS.map((tag) => [tag, accessState.activeOptimized]));
  portals = await Promise.all(TAGS.map(startPortal));
});

afterEach(async () => {
  for (const initiator of initiators.splice(0)) initiator.destroy();
  await Promise.all(portals.map(({ portal }) => portal.close()));
});

async function startPortal(tag: number) {
  const paths = {
    ownPort: tag,
    groups: () => [...states].map(([t, state]) => ({ tag: t, state, preferred: false, ports: [t] })),
    ownState: () => states.get(tag) as AccessState,
  };
  const portal = new IscsiPortal({
    directory: {
      list: () => [{ targetName: TARGET, portals: portals.map((each) => ({ ...each.at, tag: each.tag })) }],
      login: () => Promise.resolve({ ...grant(new Map([[0, device]])), paths }),
    },
    clock: realTime,
    timers: realTime,
    random: new SeededRandom(tag),
    logger: silentLogger,
    counters: new CounterSet(),
    targets,
  });
  return { tag, portal, at: await portal.listen({ host: '127.0.0.1', port: 0 }) };
}

async function attach(tag: number, isid = '400000000001'): Promise<Initiator> {
  const { address: host, port } = portals.find((each) => each.tag === tag)?.at ?? { address: '', port: 0 };
  const options = { host, port, initiatorName: INITIATOR, targetName: TARGET, isid };
  const initiator = new Initiator(await login(options), options);
  initiators.push(initiator);
  return initiator;
}

const testUnitReady = { cdb: new Uint8Array(6) };
async function told(initiator: Initiator): Promise<string> {
  const { sense } = await initiator.command(testUnitReady);
  return sense.length === 0
    ? 'good'
    : [sense[2], sense[12], sense[13]].map((byte) => byte?.toString(16)).join('/');
}

describe('a target with several portal groups', () => {
  test('is listed with the tag of each', async () => {
    const { address: host, port } = (portals[0] as (typeof portals)[0]).at;
    const options = { host, port, initiatorName: INITIATOR };
    const session = new Initiator(await login(options), { ...options, targetName: '' });
    initiators.push(session);
    expect(await session.text({ SendTargets: 'All' })).toEqual([
      { key: 'TargetName', value: TARGET },
      ...portals.map(({ at, tag }) => ({ key: 'TargetAddress', value: `${at.address}:${at.port},${tag}` })),
    ]);
  });

  test('says by which one it was reached', async () => {
    for (const { tag, at } of portals) {
      const wire = await openWire(at.address, at.port);
      const names = { InitiatorName: INITIATOR, TargetName: TARGET };
      const { keys } = await startLogin(wire).ask({ currentStage: 0, nextStage: 1 }, names);
      wire.destroy();
      expect(keys['TargetPortalGroupTag']).toBe(String(tag));
    }
  });

  test('has a session of the same initiator port by each, and reinstates within one alone', async () => {
    const [one, other] = [await attach(1), await attach(4)];
    for (const initiator of [one, other]) expect(await told(initiator)).toBe('6/29/0');
    const gone = new Promise((done) => other.onClose(done));
    await attach(4);
    await gone;
    expect(await told(one)).toBe('good');
  });

  test('is one unit: what happens to it by one is known by the other', async () => {
    const [one, other] = [await attach(1), await attach(4)];
    for (const initiator of [one, other]) await initiator.awaitReady();
    expect((await one.command({ cdb: Uint8Array.of(0x16, 0, 0, 0, 0, 0) })).status).toBe(0);
    expect((await other.command(testUnitReady)).status, 'reserved').toBe(0x18);
    expect(await other.taskManagement(taskFunction.logicalUnitReset)).toBe(taskResponse.complete);
    for (const initiator of [one, other]) {
      expect(await told(initiator)).toBe('6/29/3');
      expect(await told(initiator)).toBe('good');
    }
  });

  test('tells every initiator of a change of access states, by whatever portal it came', async () => {
    states.set(4, accessState.standby);
    const [one, other] = [await attach(1), await attach(4)];
    await one.awaitReady();
    expect(await told(other)).toBe('6/29/0');
    expect(await told(other)).toBe('2/4/b');
    states.set(4, accessState.activeOptimized);
    targets.accessChanged(TARGET);
    for (const initiator of [one, other]) {
      expect(await told(initiator)).toBe('6/2a/6');
      expect(await told(initiator)).toBe('good');
    }
  });

  test('resets nothing by a path in standby, where no tasks are', async () => {
    states.set(4, accessState.standby);
    const [one, other] = [await attach(1), await attach(4)];
    await one.awaitReady();
    for (const code of ['logicalUnitReset', 'clearTaskSet', 'targetWarmReset', 'targetColdReset'] as const) {
      expect(await other.taskManagement(taskFunction[code])).toBe(taskResponse.rejected);
    }
    expect(await other.taskManagement(taskFunction.abortTaskSet)).toBe(taskResponse.complete);
    expect(await told(one)).toBe('good');
  });
});
