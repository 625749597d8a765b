import { describe, expect, test } from 'vitest';
import { crc32c } from '../../../../base/crc32c.ts';
import { silentLogger } from '../../../../base/logger.ts';
import { chapAlgorithm, chapDigest, encodeBinary, stepAuth } from '../../../../node/iscsi/chap.ts';
import { CommandQueue } from '../../../../node/iscsi/command-queue.ts';
import { CommandWindow } from '../../../../node/iscsi/command-window.ts';
import { WriteTransfer } from '../../../../node/iscsi/data-out.ts';
import { Framer, type PduFrame } from '../../../../node/iscsi/framer.ts';
import { sessionParameters } from '../../../../node/iscsi/login-keys.ts';
import { MemoryBudget } from '../../../../node/iscsi/memory-budget.ts';
import { opcode, RESERVED_TAG } from '../../../../node/iscsi/opcode.ts';
import * as pdu from '../../../../node/iscsi/pdu.ts';
import { Responder } from '../../../../node/iscsi/responder.ts';
import type { Session } from '../../../../node/iscsi/session.ts';
import { TargetSessions } from '../../../../node/iscsi/target-sessions.ts';
import { fitToExpected } from '../../../../node/iscsi/task-rules.ts';
import { checkCondition } from '../../../../node/scsi/prepared-command.ts';
import { sense } from '../../../../node/scsi/sense.ts';
import { realTime } from '../../../support/real-time.ts';
import { MemoryDevice } from './memory-device.ts';
import { TARGET } from './target-fixture.ts';

/** Rules of parts that are small enough to be asked by themselves. */

describe('commands ahead of a gap', () => {
  function makeQueue() {
    const delivered: number[] = [];
    const queue = new CommandQueue(new CommandWindow(1, 16), ({ header, at }) =>
      delivered.push(pdu.scsiCommand.decode(header, at).cmdSN),
    );
    const receive = (cmdSN: number): void => {
      const header = pdu.scsiCommand.encode({ opcode: opcode.scsiCommand, cmdSN });
      const frame: PduFrame = { header, at: 0, data: [new Uint8Array(100)], dataLengthBytes: 100 };
      queue.receive(frame);
      header.fill(0);
    };
    return { queue, delivered, receive };
  }

  test('count with their data until they are delivered, and no longer', () => {
    const { queue, delivered, receive } = makeQueue();
    for (const cmdSN of [3, 2, 5]) receive(cmdSN);
    expect(queue.heldBytes).toBe(300);
    receive(1);
    expect([queue.heldBytes, delivered]).toEqual([100, [1, 2, 3]]);
    expect(queue.skip(5)).toBe(true);
    expect(queue.heldBytes).toBe(0);
  });

  test('are delivered once what was missing before them is never to come', () => {
    const { queue, delivered, receive } = makeQueue();
    for (const cmdSN of [2, 3]) receive(cmdSN);
    expect(queue.skip(1)).toBe(true);
    expect(delivered).toEqual([2, 3]);
  });
});

describe('a command and the data that its initiator announces', () => {
  const announcing = (expectedDataTransferLength: number) => ({
    read: false,
    write: true,
    expectedDataTransferLength,
  });
  const write = { kind: 'write', lba: 0, lengthBlocks: 3, forceUnitAccess: false } as const;

  test('is cut to the whole blocks that come', () => {
    const blocksOf = (expectedBytes: number): unknown => {
      const command = fitToExpected(write, announcing(expectedBytes));
      return command.kind === 'write' ? command.lengthBlocks : command.kind;
    };
    expect([2000, 1536, 1535, 1024, 700, 512, 511, 0].map(blocksOf)).toEqual([
      3,
      3,
      2,
      2,
      1,
      1,
      'done',
      'done',
    ]);
  });

  test('is refused where it has to be just so much and is not', () => {
    const operation = {
      kind: 'operation',
      name: 'o',
      dataOutBytes: 512,
      carryOut: () => checkCondition(sense.none),
    } as const;
    const fits = (exact: boolean, expectedBytes: number): boolean =>
      fitToExpected(exact ? { ...operation, exactData: true } : operation, announcing(expectedBytes)).kind ===
      'operation';
    expect([511, 512, 1024].map((bytes) => fits(true, bytes))).toEqual([false, true, false]);
    expect([511, 512, 1024].map((bytes) => fits(false, bytes))).toEqual([false, true, true]);
  });
});

describe('answers', () => {
  function makeResponder() {
    const sent: { readonly header: Buffer; readonly taken: (() => void) | undefined }[] = [];
    const sink = {
      header: () => Buffer.alloc(48),
      send: (header: Buffer, _data: unknown, _bytes: number, taken?: () => void) => {
        sent.push({ header, taken });
      },
    };
    const parameters = sessionParameters(new Map([['MaxRecvDataSegmentLength', 1024]]), 1 << 20);
    return { sent, responder: new Responder(sink, new CommandWindow(1, 8), parameters, 50) };
  }

  const task = {
    initiatorTaskTag: 9,
    lunHigh: 0,
    lunLow: 0,
    expectedBytes: 4096,
    isRead: true,
    commandBytes: 4096,
  };

  test('number each status, and nothing that carries none', () => {
    const { sent, responder } = makeResponder();
    const taken = (): void => {};
    responder.scsi(task, { kind: 'good', dataIn: [new Uint8Array(4096)], lengthBytes: 4096 }, taken);
    responder.logout(1, 0);
    const fields = sent.slice(0, 4).map(({ header }) => pdu.dataIn.decode(header));
    expect(fields.map(({ hasStatus, final }) => [hasStatus, final])).toEqual([
      [false, false],
      [false, false],
      [false, false],
      [true, true],
    ]);
    expect(fields[3]?.statSN).toBe(50);
    expect(pdu.logoutResponse.decode(sent[4]?.header as Buffer).statSN).toBe(51);
    // What the data lies in is free once all of it has left, and not before.
    expect(sent.slice(0, 4).map((each) => each.taken)).toEqual([undefined, undefined, undefined, taken]);
  });

  test('to a write that has failed say that its data was taken', () => {
    const { sent, responder } = makeResponder();
    const writing = { ...task, isRead: false };
    responder.scsi(writing, { kind: 'check-condition', sense: sense.writeError });
    responder.scsi(task, { kind: 'check-condition', sense: sense.unrecoveredReadError });
    const residuals = sent.map(({ header }) => {
      const { overflow, underflow, residualCount } = pdu.scsiResponse.decode(header);
      return [overflow, underflow, residualCount];
    });
    expect(residuals).toEqual([
      [false, false, 0],
      [false, true, 4096],
    ]);
  });
});

describe('what the sessions of a target share', () => {
  const makeTargets = () => new TargetSessions({ timers: realTime, logger: silentLogger });

  test('stays while anybody works on it, though another has left', async () => {
    const targets = makeTargets();
    const device = new MemoryDevice(64);
    let end: () => void = () => {};
    const long = targets.visit(TARGET, 0, device, async (unit) => {
      await new Promise<void>((resolve) => {
        end = resolve;
      });
      return unit;
    });
    const short = await targets.visit(TARGET, 0, device, (unit) => Promise.resolve(unit));
    const now = targets.unit(TARGET, 0, device);
    end();
    expect(now).toBe(short);
    expect(await long).toBe(now);
    expect(targets.unit(TARGET, 0, device), 'nobody is left').not.toBe(now);
  });

  test('stays while a sanitize operation is under way, though no session is left', async () => {
    const targets = makeTargets();
    const device = new MemoryDevice(64);
    const session = {} as Session;
    const unit = targets.unit(TARGET, 0, device);
    targets.join(TARGET, session);
    const letGo = device.holdWrites();
    const terms = { pattern: '', passes: 1, invert: false, unrestrictedExit: false, failed: false };
    const started = await unit.startSanitize({ method: 'block-erase', ...terms });
    targets.leave(TARGET, session);
    expect(targets.unit(TARGET, 0, device)).toBe(unit);
    letGo();
    await started?.ended;
  });
});

describe('CHAP', () => {
  const credentials = [{ username: 'me', secret: 'mine', mutual: { username: 'you', secret: 'yours' } }];
  const nonce = Uint8Array.from({ length: 33 }, (_, i) => i);
  const challenge = { identifier: 0, bytes: nonce.subarray(1, 17) };
  const algorithm = chapAlgorithm.md5;
  const before = { step: 'response', algorithm, challenge } as const;
  const answer = (theirs: string, identifier = '7') => {
    const response = encodeBinary(chapDigest(algorithm, 'mine', challenge));
    const keys = { CHAP_N: 'me', CHAP_R: response, CHAP_I: identifier, CHAP_C: theirs };
    const list = Object.entries(keys).map(([key, value]) => ({ key, value }));
    return stepAuth(before, list, { credentials, optional: false }, nonce);
  };

  test('takes no challenge of no bytes', () => {
    expect(answer('0xff')).toMatchObject({ state: { step: 'done' } });
    expect(answer('0bA')).toBe('wrong-key');
    expect(answer('0xff', '256')).toBe('wrong-key');
  });

  test('is chosen once: what has been begun is not left for no proof at all', () => {
    const terms = { credentials, optional: true };
    const again = [{ key: 'AuthMethod', value: 'None' }];
    for (const state of [{ step: 'algorithm' } as const, before])
      expect(stepAuth(state, again, terms, nonce)).toBe('wrong-key');
  });
});

test('a header digest covers additional header segments as well', () => {
  const header = Buffer.alloc(48);
  header[4] = 2;
  const ahs = Buffer.from('0123456789abcdef', 'hex');
  const digest = Buffer.alloc(4);
  digest.writeUInt32LE(crc32c(Buffer.concat([header, ahs])));
  const framer = new Framer(8192);
  framer.headerDigest = true;
  framer.push(Buffer.concat([header, ahs, digest]));
  expect(framer.next()).toMatchObject({ dataLengthBytes: 0 });
  expect(framer.bufferedBytes).toBe(0);
  ahs[3] = 0;
  framer.push(Buffer.concat([header, ahs, digest]));
  expect(() => framer.next()).toThrow('header-digest');
});

test('data of a write never lies where some has come already', () => {
  const terms = { maxBurstBytes: 4096, firstBurstBytes: 2048, initialR2T: false, immediateData: true };
  const transfer = new WriteTransfer(2048, 2048, false, terms);
  transfer.acceptImmediate([new Uint8Array(1024)], 1024);
  const lun = { lunHigh: 0, lunLow: 0 };
  const fields = { final: true, targetTransferTag: RESERVED_TAG, dataSN: 0, bufferOffset: 512, ...lun };
  transfer.accept(fields, [new Uint8Array(1024)], 1024, lun);
  expect(transfer.failure?.code).toBe('bad-buffer-offset');
});

test('a connection that goes leaves its place above the limit of memory to another', () => {
  const budget = new MemoryBudget({
    limitBytes: 1000,
    floorBytes: 10,
    floorsTogetherBytes: 100,
    maxOverdrawn: 1,
  });
  let woken = 0;
  const [heavy, one, other] = [budget.join(() => {}), budget.join(() => {}), budget.join(() => woken++)];
  heavy.update(2000);
  expect(one.mayTake(50, () => true)).toBe(true);
  expect(other.mayTake(50, () => true)).toBe(false);
  one.leave();
  expect(woken).toBe(1);
  expect(other.mayTake(50, () => true)).toBe(true);
});
