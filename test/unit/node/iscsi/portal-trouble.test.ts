import { connect } from 'node:net';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ManualClock } from '../../../../base/clock.ts';
import { taskFunction, taskResponse } from '../../../../node/iscsi/task-management.ts';
import { sense } from '../../../../node/scsi/sense.ts';
import { openWire } from '../../../../scripts/simulator/iscsi-wire.ts';
import { PersistentInitiator } from '../../../../scripts/simulator/persistent-initiator.ts';
import { DeviceError } from '../../../../storage/block-device.ts';
import { AttachedInitiators } from './attached-initiators.ts';
import { MemoryDevice } from './memory-device.ts';
import { until } from './raw-initiator.ts';
import { grant, INITIATOR, startTarget, TARGET, type TestTarget } from './target-fixture.ts';

let target: TestTarget;
const initiators = new AttachedInitiators(() => target);

beforeEach(async () => {
  target = await startTarget();
});

afterEach(() => initiators.end());

const OTHER_TARGET = 'iqn.2026-11.net.example:disk2';
const block = (value: number): Uint8Array => new Uint8Array(512).fill(value);
const asc = (expected: { asc: number; ascq: number }, got: Uint8Array): void =>
  expect([got[12], got[13]]).toEqual([expected.asc, expected.ascq]);

describe('task management', () => {
  test('an aborted write is answered only once the device has let go of it', async () => {
    const initiator = await initiators.attach();
    const release = target.device.holdWrites();
    const write = initiator.write(0, block(1)).catch((error: Error) => error.message);
    await until(() => target.device.calls.writes === 1);
    let answered = false;
    const [tag] = initiator.taskTags();
    const abort = initiator.taskManagement(taskFunction.abortTask, tag).then((response) => {
      answered = true;
      return response;
    });
    // What is answered in the same turn is not what comes at once: that takes another.
    await initiator.ping();
    await initiator.ping();
    expect(answered).toBe(false);
    release();
    expect(await abort).toBe(taskResponse.complete);
    initiator.abandon();
    expect(await write).toBe('aborted');
    expect((await initiator.read(0, 1))[0]).toBe(1);
  });

  test('a task that does not exist, a LUN that does not exist, a function that does not exist', async () => {
    const initiator = await initiators.attach();
    expect(await initiator.taskManagement(taskFunction.abortTask, 12_345)).toBe(
      taskResponse.taskDoesNotExist,
    );
    expect(await initiator.taskManagement(taskFunction.taskReassign)).toBe(taskResponse.reassignNotSupported);
    expect(await initiator.taskManagement(99)).toBe(taskResponse.notSupported);
    const lost = await initiators.attach({ isid: '400000000009', lun: 0 });
    expect(await lost.taskManagement(taskFunction.logicalUnitReset)).toBe(taskResponse.complete);
  });

  test('a LUN reset ends the tasks of all initiators and is told to them', async () => {
    const one = await initiators.attach();
    const two = await initiators.attach({ isid: '400000000002', initiatorName: `${INITIATOR}b` });
    const release = target.device.holdWrites();
    const writes = [one.write(0, block(1)), two.write(8, block(2))];
    const ended = Promise.allSettled(writes);
    await until(() => target.device.calls.writes === 2);
    const reset = one.taskManagement(taskFunction.logicalUnitReset);
    await until(() => target.counters.get(`iscsi.task-management.${taskFunction.logicalUnitReset}`) === 1);
    release();
    expect(await reset).toBe(taskResponse.complete);
    one.abandon();
    two.abandon();
    expect((await ended).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    for (const initiator of [one, two]) {
      const reply = await initiator.command({ cdb: new Uint8Array(6) });
      asc(sense.deviceReset, reply.sense);
    }
  });

  test('CLEAR TASK SET ends the tasks of all initiators, and is told to the others that had some', async () => {
    const one = await initiators.attach();
    const two = await initiators.attach({ isid: '400000000002', initiatorName: `${INITIATOR}b` });
    const idle = await initiators.attach({ isid: '400000000003', initiatorName: `${INITIATOR}c` });
    const release = target.device.holdWrites();
    const ended = Promise.allSettled([one.write(0, block(1)), two.write(8, block(2))]);
    await until(() => target.device.calls.writes === 2);
    const clear = one.taskManagement(taskFunction.clearTaskSet);
    await until(() => target.counters.get(`iscsi.task-management.${taskFunction.clearTaskSet}`) === 1);
    release();
    expect(await clear).toBe(taskResponse.complete);
    one.abandon();
    two.abandon();
    expect((await ended).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    asc(sense.commandsCleared, (await two.command({ cdb: new Uint8Array(6) })).sense);
    for (const initiator of [one, two, idle]) {
      expect((await initiator.command({ cdb: new Uint8Array(6) })).status).toBe(0);
    }
  });

  test('a cold reset ends every session of the target', async () => {
    const one = await initiators.attach();
    const two = await initiators.attach({ isid: '400000000002' });
    const closed = Promise.all([one, two].map((i) => new Promise<void>((done) => i.onClose(() => done()))));
    expect(await one.taskManagement(taskFunction.targetColdReset)).toBe(taskResponse.complete);
    await closed;
  });
});

describe('a node that may not serve any more', () => {
  test('says nothing: the session goes without a response', async () => {
    const initiator = await initiators.attach();
    target.device.failure = new DeviceError('not-serving', 'the lease is over');
    await expect(initiator.write(0, block(1))).rejects.toThrow(/connection lost/);
    await until(() => target.portal.sessions().length === 0);
    expect(target.counters.get('iscsi.connection.dropped.not-serving')).toBe(1);
  });

  test('of a target that has moved keeps its connections, unanswered, until told to close them', async () => {
    const initiator = await initiators.attach();
    let isOpen = true;
    initiator.onClose(() => (isOpen = false));
    target.hasMoved = true;
    target.device.failure = new DeviceError('not-serving', 'the group has moved');
    const write = initiator.write(0, block(1));
    const outcome = write.then(
      () => 'answered',
      () => 'lost',
    );
    const { writes } = target.device.calls;
    await until(() => target.device.calls.writes > writes);
    const ping = initiator.ping().catch(() => 'lost');
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(isOpen).toBe(true);
    target.portal.closeMoved(TARGET);
    expect(await outcome).toBe('lost');
    expect(await ping).toBe('lost');
    await until(() => target.portal.sessions().length === 0);
    expect(target.counters.get('iscsi.connection.dropped.moved')).toBe(1);
  });

  test('closes connections that nobody has it close after a while', async () => {
    await target.portal.close();
    target = await startTarget({ limits: { movedTimeoutMs: 1 } });
    const initiator = await initiators.attach();
    target.hasMoved = true;
    target.device.failure = new DeviceError('not-serving', 'the group has moved');
    await expect(initiator.write(0, block(1))).rejects.toThrow(/connection lost/);
  });

  test('closeTarget drops the sessions of that target; writes on their way reject', async () => {
    const initiator = await initiators.attach();
    const release = target.device.holdWrites();
    const write = initiator.write(0, block(1));
    await until(() => target.device.calls.writes === 1);
    target.portal.closeTarget('iqn.2026-11.net.example:other');
    await initiator.ping();
    target.portal.closeTarget(TARGET);
    await expect(write).rejects.toThrow(/connection lost/);
    expect(target.portal.sessions()).toHaveLength(1);
    release();
    await until(() => target.portal.sessions().length === 0);
  });

  test('closeTarget drops a session whose initiator has closed its side already', async () => {
    const initiator = await initiators.attach();
    const release = target.device.holdWrites();
    const write = initiator.write(0, block(1)).catch((error: Error) => error.message);
    await until(() => target.device.calls.writes === 1);
    initiator.loggedIn.wire.socket.end();
    const connection = until(() => target.portal.sessions().length === 0);
    await new Promise((resolve) => setTimeout(resolve, 5));
    target.portal.closeTarget(TARGET);
    release();
    await connection;
    expect(await write).toMatch(/connection lost/);
  });

  test('a persistent initiator logs in again and sends its writes once more', async () => {
    const initiator = new PersistentInitiator(initiators.options(), 5);
    await initiator.write(0, block(1));
    const writes = Array.from({ length: 50 }, (_, i) => initiator.write(i, block(i)));
    target.portal.closeTarget(TARGET);
    await Promise.all(writes);
    expect(initiator.reconnects).toBeGreaterThan(0);
    for (let i = 0; i < 50; i++) expect(target.device.bytes[i * 512]).toBe(i);
    await initiator.stop();
  });
});

describe('sense of failures', () => {
  test('a full device, a damaged block, and an error that no device declares', async () => {
    const initiator = await initiators.attach();
    target.device.failure = new DeviceError('no-space', 'full');
    await expect(initiator.write(0, block(1))).rejects.toThrow('sense 07/27/07');
    target.device.failure = new DeviceError('medium-error', 'rotten');
    await expect(initiator.read(0, 1)).rejects.toThrow('sense 03/11/00');
    target.device.failure = new RangeError('nobody thought of this');
    await expect(initiator.read(0, 1)).rejects.toThrow('sense 04/44/00');
    await expect(initiator.write(0, block(1))).rejects.toThrow('sense 04/44/00');
    target.device.failure = undefined;
    await initiator.write(0, block(1));
  });

  test('what the transport refuses is told in descriptor format as well, where that is asked for', async () => {
    const initiator = await initiators.attach();
    const descriptorSense = Buffer.from('000000000a0a041000000000ffff0000', 'hex');
    const modeSelect = { cdb: Buffer.from('151000001000', 'hex'), write: descriptorSense };
    expect((await initiator.command(modeSelect)).status).toBe(0);
    // COMPARE AND WRITE of one block with the data of one, not two; and a WRITE that is a read as well.
    const short = { cdb: Buffer.from(`8900${'00'.repeat(11)}010000`, 'hex'), write: block(1) };
    const both = { cdb: Buffer.from('2a000000000000000100', 'hex'), write: block(1), readBytes: 512 };
    for (const request of [short, both]) {
      const { sense: told } = await initiator.command(request);
      expect(Buffer.from(told.subarray(0, 4)).toString('hex')).toBe('72052400');
    }
  });

  test('a write with less data than it needs writes whole blocks and tells the overflow', async () => {
    const initiator = await initiators.attach();
    const cdb = Buffer.from('2a000000000000000200', 'hex');
    const reply = await initiator.command({ cdb, write: block(3), writeBytes: 512 });
    expect([reply.status, reply.residual]).toEqual([0, 512]);
    expect([target.device.bytes[0], target.device.bytes[512]]).toEqual([3, 0]);
  });
});

describe('signs of life', () => {
  test('only initiators that answer are asked; who does not answer is dropped', async () => {
    await target.portal.close();
    const clock = new ManualClock();
    target = await startTarget({ clock, limits: { nopIdleMs: 5000, nopTimeoutMs: 3000 } });
    const quiet = { ImmediateData: 'No', InitialR2T: 'Yes' };
    const [normal, dead, ipxe] = [
      await initiators.attach({ isid: '400000000001' }),
      await initiators.attach({ isid: '400000000003', ignoresNopIn: true }),
      await initiators.attach({ isid: '400000000002', keys: quiet, ignoresNopIn: true }),
    ];
    const lost = new Promise((resolve) => dead.onClose(resolve));
    clock.advance(6000);
    await until(() => normal.seen.pings === 1 && dead.seen.pings === 1);
    await until(() => target.portal.sessions().length === 3);
    await normal.ping();
    clock.advance(4000);
    await lost;
    expect(ipxe.seen.pings).toBe(0);
    await ipxe.read(0, 1);
    await normal.read(0, 1);
    // Having sent a NOP-Out, it is known to understand them.
    await ipxe.ping();
    clock.advance(6000);
    await until(() => ipxe.seen.pings === 1);
  });

  test('a NOP-Out is echoed', async () => {
    const initiator = await initiators.attach();
    expect(Buffer.from(await initiator.ping(Buffer.from('ping'))).toString()).toBe('ping');
  });

  test('who does not log in in time is dropped, and no more may connect than allowed', async () => {
    await target.portal.close();
    target = await startTarget({ limits: { loginTimeoutMs: 50, maxConnections: 1 } });
    const first = await openWire(target.host, target.port);
    const second = await openWire(target.host, target.port).catch(() => undefined);
    await until(() => second === undefined || second.lost !== undefined);
    await until(() => first.lost !== undefined);
    expect(target.counters.get('iscsi.connection.too-many')).toBe(1);
    expect(target.counters.get('iscsi.connection.dropped.login-timeout')).toBe(1);
  });
});

describe('an initiator that reads more than it takes', () => {
  test('is held back, and gets everything in the end', async () => {
    await target.portal.close();
    target = await startTarget({ lengthBlocks: 131_072 });
    const initiator = await initiators.attach({ queueDepth: 128 });
    initiator.loggedIn.wire.socket.pause();
    const reads = Array.from({ length: 64 }, (_, i) => initiator.read(i * 2048, 2048));
    await until(() => target.counters.get('iscsi.connection.paused') > 0);
    await new Promise((resolve) => setTimeout(resolve, 50));
    // 16 MiB and one read more, of the 64 MiB asked for.
    expect(target.device.calls.reads).toBeLessThan(20);
    initiator.loggedIn.wire.socket.resume();
    expect((await Promise.all(reads)).every((data) => data.length === 1_048_576)).toBe(true);
  });
});

describe('malformed input', () => {
  test('garbage before and after login harms nobody else', async () => {
    const bystander = await initiators.attach();
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ minLength: 1, maxLength: 300 }),
        fc.boolean(),
        async (bytes, loggedIn) => {
          const victim = loggedIn ? await initiators.attach({ isid: '400000000002' }) : undefined;
          const socket = victim?.loggedIn.wire.socket ?? connect(target.port, target.host);
          socket.on('error', () => {});
          socket.write(bytes);
          await bystander.write(0, block(bytes[0] as number));
          expect((await bystander.read(0, 1))[0]).toBe(bytes[0]);
          socket.destroy();
        },
      ),
      { numRuns: 40 },
    );
    await until(() => target.portal.sessions().length === 1);
  });

  test('well-formed headers with wild fields harm nobody else', async () => {
    // Of another target, since resets are meant to be felt by everyone who shares one.
    const other = new MemoryDevice(64);
    target.decide = async ({ targetName }) =>
      grant(new Map([[0, targetName === TARGET ? target.device : other]]), targetName);
    const bystander = await initiators.attach();
    const opcodes = fc.constantFrom(0, 1, 2, 4, 5, 6, 0x10, 0x1c, 0x20, 0x3f);
    const header = fc.uint8Array({ minLength: 48, maxLength: 48 });
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(opcodes, header), { minLength: 1, maxLength: 8 }), async (all) => {
        const victim = await initiators.attach({ targetName: OTHER_TARGET });
        const bytes = all.map(([code, random]) => {
          const pdu = Buffer.from(random);
          // Immediate, so that it is looked at; no additional header and no data.
          pdu[0] = code | 0x40;
          pdu.fill(0, 4, 8);
          return pdu;
        });
        victim.loggedIn.wire.socket.write(Buffer.concat(bytes));
        await bystander.write(0, block(7));
        expect((await bystander.read(0, 1))[0]).toBe(7);
        victim.destroy();
      }),
      { numRuns: 40 },
    );
  });
});
