import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { taskFunction, taskResponse } from '../../../../node/iscsi/task-management.ts';
import {
  connectInitiator,
  Initiator,
  type InitiatorOptions,
} from '../../../../scripts/simulator/iscsi-initiator.ts';
import { login } from '../../../../scripts/simulator/iscsi-wire.ts';
import { INITIATOR, startTarget, TARGET, type TestTarget } from './target-fixture.ts';

/** What RFC 7144 adds, in sessions that agreed to level 2 of the protocol. */
const LEVEL_2 = { iSCSIProtocolLevel: '2' };
const NEW_FUNCTIONS = ['queryTask', 'queryTaskSet', 'nexusReset', 'queryAsynchronousEvent'] as const;
let target: TestTarget;
const initiators: Initiator[] = [];

beforeEach(async () => {
  target = await startTarget();
});

afterEach(async () => {
  for (const initiator of initiators.splice(0)) initiator.destroy();
  await target.portal.close();
});

function optionsOf(changes: Partial<InitiatorOptions>): InitiatorOptions {
  const { host, port } = target;
  return { host, port, initiatorName: INITIATOR, targetName: TARGET, keys: LEVEL_2, ...changes };
}

async function attach(changes: Partial<InitiatorOptions> = {}): Promise<Initiator> {
  const initiator = await connectInitiator(optionsOf(changes));
  initiators.push(initiator);
  return initiator;
}

describe('the functions of RFC 7144', () => {
  test.each(NEW_FUNCTIONS)('%s is not supported in a session of level 1', async (name) => {
    const initiator = await attach({ keys: { iSCSIProtocolLevel: '1' } });
    expect(await initiator.taskManagement(taskFunction[name])).toBe(taskResponse.notSupported);
    const silent = await attach({ keys: {}, isid: '400000000002' });
    expect(await silent.taskManagement(taskFunction[name])).toBe(taskResponse.notSupported);
  });

  test.each([
    ['1', 'da000000'],
    ['2', 'de070000'],
  ])('a session of level %s is told of the functions that it has', async (iSCSIProtocolLevel, functions) => {
    const initiator = await attach({ keys: { iSCSIProtocolLevel } });
    const cdb = Buffer.from('a30d0000000000000010', 'hex');
    const { data } = await initiator.command({ cdb, readBytes: 16 });
    expect(Buffer.from(data).toString('hex')).toBe(functions);
  });

  test.each(['queryTask', 'queryTaskSet', 'queryAsynchronousEvent'] as const)(
    '%s of a LUN that is not there says so',
    async (name) => {
      const options = optionsOf({ lun: 7 });
      const initiator = new Initiator(await login(options), options);
      initiators.push(initiator);
      expect(await initiator.taskManagement(taskFunction[name])).toBe(taskResponse.lunDoesNotExist);
    },
  );

  test('QUERY TASK and QUERY TASK SET tell whether there is such a task, and end none', async () => {
    const one = await attach();
    const other = await attach({ isid: '400000000002' });
    expect(await one.taskManagement(taskFunction.queryTaskSet)).toBe(taskResponse.complete);
    const release = target.device.holdWrites();
    const write = one.write(0, Buffer.alloc(512, 3));
    while (target.device.calls.writes === 0) await new Promise((resolve) => setImmediate(resolve));
    const found = async (): Promise<number[]> => {
      const tags: number[] = [];
      for (let tag = 1; tag <= 40; tag++) {
        const answer = await one.taskManagement(taskFunction.queryTask, tag);
        if (answer === taskResponse.succeeded) tags.push(tag);
        // One of them asks after itself, and is no task.
        else expect([taskResponse.complete, taskResponse.rejected]).toContain(answer);
      }
      return tags;
    };
    expect(await found(), 'the one that writes').toHaveLength(1);
    expect(await one.taskManagement(taskFunction.queryTaskSet)).toBe(taskResponse.succeeded);
    expect(await other.taskManagement(taskFunction.queryTaskSet), "only the asker's").toBe(
      taskResponse.complete,
    );
    release();
    await write;
    expect(target.device.bytes[0]).toBe(3);
    expect(await found()).toEqual([]);
  });

  test('QUERY ASYNCHRONOUS EVENT tells of the next unit attention, which stays', async () => {
    const options = optionsOf({});
    const fresh = new Initiator(await login(options), options);
    initiators.push(fresh);
    const query = () => fresh.taskManagementReply(taskFunction.queryAsynchronousEvent);
    const seen = async (): Promise<[number, string]> => {
      const { response, additionalInformation } = await query();
      return [response, Buffer.from(additionalInformation).toString('hex')];
    };
    // UADE DEPTH 1, UNIT ATTENTION, POWER ON.
    expect(await seen()).toEqual([taskResponse.succeeded, '162900']);
    const other = await attach({ isid: '400000000002' });
    await other.taskManagement(taskFunction.logicalUnitReset);
    expect(await seen(), 'there are two now').toEqual([taskResponse.succeeded, '262900']);
    const { sense } = await fresh.command({ cdb: new Uint8Array(6) });
    expect([sense[12], sense[13]]).toEqual([0x29, 0x00]);
    expect(await seen()).toEqual([taskResponse.succeeded, '162903']);
    await fresh.command({ cdb: new Uint8Array(6) });
    expect(await seen()).toEqual([taskResponse.complete, '000000']);
  });

  test("I_T NEXUS RESET ends the asker's tasks, reservation and session, and nobody else's", async () => {
    const one = await attach();
    const other = await attach({ isid: '400000000002' });
    expect((await one.command({ cdb: Uint8Array.of(0x16, 0, 0, 0, 0, 0) })).status).toBe(0);
    expect((await other.command({ cdb: new Uint8Array(6) })).status, 'reserved').toBe(0x18);
    const release = target.device.holdWrites();
    const write = one.write(0, Buffer.alloc(512, 3)).catch(() => 'ended');
    while (target.device.calls.writes === 0) await new Promise((resolve) => setImmediate(resolve));
    const lost = new Promise((resolve) => one.onClose(resolve));
    const reset = one.taskManagement(taskFunction.nexusReset);
    const counter = `iscsi.task-management.${taskFunction.nexusReset}`;
    while (target.counters.get(counter) === 0) await new Promise((resolve) => setImmediate(resolve));
    release();
    expect(await reset).toBe(taskResponse.complete);
    expect(await write).toBe('ended');
    expect((await other.command({ cdb: new Uint8Array(6) })).status).toBe(0);
    expect((await other.command({ cdb: new Uint8Array(6) })).status).toBe(0);
    await lost;
    while (target.portal.sessions().length > 1) await new Promise((resolve) => setImmediate(resolve));
  });

  test('QUERY TASK of a task management request is rejected', async () => {
    const one = await attach();
    const release = target.device.holdWrites();
    const write = one.write(0, Buffer.alloc(512, 3)).catch(() => 'ended');
    while (target.device.calls.writes === 0) await new Promise((resolve) => setImmediate(resolve));
    const [tag = 0] = one.taskTags();
    const reset = one.taskManagement(taskFunction.logicalUnitReset);
    expect(await one.taskManagement(taskFunction.queryTask, tag + 1)).toBe(taskResponse.rejected);
    release();
    expect(await reset).toBe(taskResponse.complete);
    one.abandon();
    expect(await write).toBe('ended');
  });

  test('INQUIRY tells the level of the session in its version descriptor', async () => {
    for (const [level, descriptor] of [
      ['2', 0x0962],
      ['1', 0x0961],
    ] as const) {
      const initiator = await attach({ keys: { iSCSIProtocolLevel: level } });
      const data = Buffer.from(await initiator.inquiry());
      const descriptors = [58, 60, 62, 64].map((at) => data.readUInt16BE(at));
      expect(descriptors.filter((found) => (found & 0xffe0) === 0x0960)).toEqual([descriptor]);
    }
  });
});
