import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { opcode, RESERVED_TAG, rejectReason } from '../../../../node/iscsi/opcode.ts';
import * as pdu from '../../../../node/iscsi/pdu.ts';
import {
  type LoggedIn,
  type LoginOptions,
  login,
  openWire,
} from '../../../../scripts/simulator/iscsi-wire.ts';
import { startLogin } from './login-exchange.ts';
import { attachRaw, discoverRaw, type RawInitiator, until } from './raw-initiator.ts';
import { INITIATOR, startTarget, TARGET, type TestTarget } from './target-fixture.ts';

/** Text Requests in full feature phase, and what a discovery session takes (RFC 7143 §4.3, §6.4, §7.4, §11.10, §11.11, C). */

let target: TestTarget;
let initiator: RawInitiator | undefined;
const more: { destroy(): void }[] = [];

beforeEach(async () => {
  target = await startTarget({ lengthBlocks: 64 });
});
afterEach(async () => {
  initiator?.destroy();
  initiator = undefined;
  for (const each of more.splice(0)) each.destroy();
  await target.portal.close();
});

/** The response to the request sent last: its fields, and its text with NULs as "|". */
async function answer(session: RawInitiator) {
  const bytes = await session.next(opcode.textResponse);
  session.received.length = 0;
  const text = bytes.subarray(pdu.HEADER_BYTES).toString('latin1').replaceAll('\0', '|');
  return { ...pdu.textResponse.decode(bytes), text };
}

async function expectRejection(session: RawInitiator, reason: number): Promise<void> {
  expect((await session.rejection()).reason).toBe(reason);
  session.received.length = 0;
}

const END = { final: true, continues: false, targetTransferTag: RESERVED_TAG };

describe('a negotiation', () => {
  test('in one request ends with it', async () => {
    initiator = await attachRaw(target);
    initiator.text(9, 'X-com.example=1\0');
    expect(await answer(initiator)).toMatchObject({
      ...END,
      initiatorTaskTag: 9,
      text: 'X-com.example=NotUnderstood|',
    });
  });

  test('of text that goes on is answered by an empty response that invites more', async () => {
    initiator = await attachRaw(target);
    initiator.text(9, 'SendTar', { final: false, continues: true });
    const first = await answer(initiator);
    expect(first).toMatchObject({
      final: false,
      continues: false,
      dataSegmentLength: 0,
      initiatorTaskTag: 9,
    });
    const { targetTransferTag } = first;
    expect(targetTransferTag).not.toBe(RESERVED_TAG);
    initiator.text(9, 'gets=\0', { targetTransferTag });
    const last = await answer(initiator);
    expect(last).toMatchObject(END);
    expect(last.text).toContain(`TargetName=${TARGET}|`);
  });

  test('goes on as long as the initiator does not end it', async () => {
    initiator = await attachRaw(target);
    initiator.text(9, 'X-com.example.a=1\0', { final: false });
    const { targetTransferTag, ...first } = await answer(initiator);
    expect(first).toMatchObject({ final: false, continues: false, text: 'X-com.example.a=NotUnderstood|' });
    expect(targetTransferTag).not.toBe(RESERVED_TAG);
    initiator.text(9, 'X-com.example.b=1\0', { targetTransferTag });
    expect(await answer(initiator)).toMatchObject({ ...END, text: 'X-com.example.b=NotUnderstood|' });
    // It has ended: its tag is nobody's.
    initiator.text(9, '', { targetTransferTag });
    await expectRejection(initiator, rejectReason.invalidPduField);
  });

  test('changes nothing before it has ended', async () => {
    initiator = await attachRaw(target);
    const read = async (tag: number): Promise<number> => {
      initiator?.command(tag, '28000000000000000200', { read: true, expectedDataTransferLength: 1024 });
      await initiator?.next(opcode.dataIn, tag);
      await initiator?.settle();
      return initiator?.received.splice(0).length ?? 0;
    };
    initiator.text(9, 'MaxRecvDataSegmentLength=512\0', { final: false });
    const { targetTransferTag } = await answer(initiator);
    expect(await read(21)).toBe(1);
    initiator.text(9, '', { targetTransferTag });
    await answer(initiator);
    expect(await read(22)).toBe(2);
  });

  test('that names a key twice is rejected, and has changed nothing', async () => {
    initiator = await attachRaw(target);
    initiator.text(9, 'MaxRecvDataSegmentLength=512\0MaxRecvDataSegmentLength=1024\0');
    await expectRejection(initiator, rejectReason.protocolError);
    initiator.text(10, 'MaxRecvDataSegmentLength=512\0', { final: false });
    const { targetTransferTag } = await answer(initiator);
    initiator.text(10, 'MaxRecvDataSegmentLength=1024\0', { targetTransferTag });
    await expectRejection(initiator, rejectReason.protocolError);
    initiator.command(21, '28000000000000000300', { read: true, expectedDataTransferLength: 1536 });
    expect(pdu.dataIn.decode(await initiator.next(opcode.dataIn)).dataSegmentLength).toBe(1536);
  });

  test('begins anew with a request that has no transfer tag', async () => {
    initiator = await attachRaw(target);
    initiator.text(9, 'X-com.example=', { final: false, continues: true });
    const { targetTransferTag } = await answer(initiator);
    initiator.text(9, 'X-com.example.b=1\0');
    expect((await answer(initiator)).text).toBe('X-com.example.b=NotUnderstood|');
    initiator.text(9, '1\0', { targetTransferTag });
    await expectRejection(initiator, rejectReason.invalidPduField);
  });

  test('is that of one task only', async () => {
    initiator = await attachRaw(target);
    initiator.text(9, 'X-com.example.a=1\0', { final: false });
    const { targetTransferTag } = await answer(initiator);
    initiator.text(10, '', { targetTransferTag });
    await expectRejection(initiator, rejectReason.invalidPduField);
  });

  test('whose text goes on and ends at once is rejected', async () => {
    initiator = await attachRaw(target);
    initiator.text(9, 'X-com.example=1\0', { final: true, continues: true });
    await expectRejection(initiator, rejectReason.protocolError);
  });

  test('takes 8192 bytes and more', async () => {
    initiator = await attachRaw(target);
    initiator.text(9, `X-com.example.a=${'a'.repeat(8000)}\0X-com.example.b=${'b'.repeat(8000)}\0`);
    expect((await answer(initiator)).text).toBe(
      'X-com.example.a=NotUnderstood|X-com.example.b=NotUnderstood|',
    );
  });
});

describe('SendTargets', () => {
  const listing = (name: string) => ({
    targetName: name,
    portals: [{ address: '192.0.2.1', port: 3260, tag: 7 }],
  });
  const record = (name: string): string => `TargetName=${name}|TargetAddress=192.0.2.1:3260,7|`;
  const OTHER = `${TARGET}2`;

  beforeEach(() => {
    target.listings = () => [listing(TARGET), listing(OTHER)];
  });

  test.each([
    ['All', record(TARGET) + record(OTHER)],
    [OTHER, record(OTHER)],
    ['iqn.2026-11.net.example:none', ''],
    ['', 'SendTargets=Reject|'],
  ])('%s in a discovery session', async (value, text) => {
    initiator = await discoverRaw(target);
    initiator.text(9, `SendTargets=${value}\0`);
    expect(await answer(initiator)).toMatchObject({ ...END, text });
  });

  test.each([
    ['All', 'SendTargets=Reject|'],
    ['', record(TARGET)],
  ])('%s in a normal session', async (value, text) => {
    initiator = await attachRaw(target);
    initiator.text(9, `SendTargets=${value}\0`);
    expect(await answer(initiator)).toMatchObject({ ...END, text });
  });

  test('beside other keys is rejected', async () => {
    initiator = await attachRaw(target);
    initiator.text(9, 'SendTargets=\0X-com.example=1\0');
    await expectRejection(initiator, rejectReason.protocolError);
  });

  test('of an initiator that may see none has no target in it', async () => {
    target.listings = () => [];
    initiator = await discoverRaw(target);
    initiator.text(9, 'SendTargets=All\0');
    expect((await answer(initiator)).text).toBe('');
  });

  test('that takes several responses has C set and F clear in all but the last', async () => {
    initiator = await discoverRaw(target, { keys: { MaxRecvDataSegmentLength: '512' } });
    target.listings = () => Array.from({ length: 20 }, (_, n) => listing(`${TARGET}${n}`));
    let targetTransferTag = RESERVED_TAG;
    let text = '';
    for (let n = 0, ended = false; !ended; n++) {
      initiator.text(9, n === 0 ? 'SendTargets=All\0' : '', { targetTransferTag });
      const part = await answer(initiator);
      expect(part.dataSegmentLength).toBeLessThanOrEqual(512);
      expect(part.continues).toBe(!part.final);
      expect(part.targetTransferTag === RESERVED_TAG).toBe(part.final);
      text += part.text;
      ended = part.final;
      ({ targetTransferTag } = part);
    }
    expect(text).toBe(Array.from({ length: 20 }, (_, n) => record(`${TARGET}${n}`)).join(''));
  });
});

describe('a discovery session', () => {
  test.each([
    ['a NOP-Out', (session: RawInitiator) => session.nopOut(9)],
    ['text without SendTargets', (session: RawInitiator) => session.text(9, 'X-com.example=1\0')],
    ['a logout of its connection', (session: RawInitiator) => session.logout(9, 1)],
  ])('rejects %s', async (_name, send) => {
    initiator = await discoverRaw(target);
    send(initiator);
    await expectRejection(initiator, rejectReason.protocolError);
    initiator.logout(10, 0);
    await initiator.next(opcode.logoutResponse);
  });

  async function discover(options: Partial<LoginOptions> = {}): Promise<LoggedIn> {
    const { host, port } = target;
    const loggedIn = await login({ host, port, initiatorName: INITIATOR, ...options });
    more.push(loggedIn.wire);
    return loggedIn;
  }

  test('takes the place of one with the same name and ISID at the same portal', async () => {
    const old = await discover();
    const other = await discover({ isid: '400000000002' });
    await discover();
    await until(() => old.wire.lost !== undefined);
    expect(other.wire.lost).toBeUndefined();
    await until(() => target.portal.sessions().length === 2);
  });

  test('leaves those at other portals, and sessions that are not for discovery', async () => {
    const elsewhere = await target.portal.listen({ host: '127.0.0.1', port: 0 });
    const there = await discover({ port: elsewhere.port });
    const { host, port } = target;
    const normal = await login({ host, port, initiatorName: INITIATOR, targetName: TARGET });
    more.push(normal.wire);
    await discover();
    await until(() => target.portal.sessions().length === 3);
    expect([there.wire.lost, normal.wire.lost]).toEqual([undefined, undefined]);
  });

  test('is told the portal group where its login names a target, and is another then', async () => {
    const { host, port } = target;
    target.listings = () => [{ targetName: TARGET, portals: [{ address: host, port, tag: 4 }] }];
    const old = await discover();
    const wire = await openWire(host, port);
    more.push(wire);
    const names = { InitiatorName: INITIATOR, SessionType: 'Discovery', TargetName: TARGET };
    const named = await startLogin(wire).ask({ currentStage: 1, nextStage: 3 }, names);
    expect(named).toMatchObject({ status: 0, transit: true, keys: { TargetPortalGroupTag: '4' } });
    expect(old.wire.lost).toBeUndefined();
    const unnamed = await openWire(host, port);
    more.push(unnamed);
    const asked = await startLogin(unnamed).ask(
      { currentStage: 1, nextStage: 3 },
      { InitiatorName: INITIATOR, SessionType: 'Discovery' },
    );
    expect(asked.keys).not.toHaveProperty('TargetPortalGroupTag');
  });
});
