import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { MAX_RECV_DATA_SEGMENT_BYTES } from '../../../../node/iscsi/limits.ts';
import { opcode } from '../../../../node/iscsi/opcode.ts';
import { openWire } from '../../../../scripts/simulator/iscsi-wire.ts';
import { startLogin } from './login-exchange.ts';
import { until } from './raw-initiator.ts';
import { INITIATOR, startTarget, TARGET, type TestTarget } from './target-fixture.ts';

/** Logins, request by request, seen on the wire (RFC 7143 §4.2.4, §6, §11.12, §11.13, §13). */

let target: TestTarget;

beforeEach(async () => {
  target = await startTarget({ lengthBlocks: 64 });
});
afterEach(async () => {
  await target.portal.close();
});

const NAMES = { InitiatorName: INITIATOR, TargetName: TARGET, AuthMethod: 'None' };

/** A connection that has not logged in. */
async function connected() {
  const wire = await openWire(target.host, target.port);
  return { wire, exchange: startLogin(wire) };
}

describe('a login', () => {
  test('that something else interrupts is refused; what is not a login at all is not answered', async () => {
    const { wire, exchange } = await connected();
    await exchange.ask({ currentStage: 0, nextStage: 1 }, NAMES);
    const answer = await exchange.ask({ opcode: opcode.textRequest }, {});
    expect(answer).toMatchObject({
      status: 0x020b,
      fields: { opcode: opcode.loginResponse, currentStage: 0 },
    });
    await until(() => wire.lost !== undefined);
    const other = await connected();
    await expect(other.exchange.ask({ opcode: opcode.nopOut }, {})).rejects.toThrow(/lost|closed|reset/i);
  });

  test('that is refused ends with its connection', async () => {
    const { wire, exchange } = await connected();
    const answer = await exchange.ask(
      { currentStage: 0, nextStage: 1 },
      { ...NAMES, TargetName: `${TARGET}9` },
    );
    expect(answer).toMatchObject({ status: 0x0203, transit: false });
    await until(() => wire.lost !== undefined);
  });

  test('changes its stage only where the initiator asks for it', async () => {
    const { exchange, wire } = await connected();
    // Without T the next stage is reserved.
    const first = await exchange.ask({ currentStage: 0, nextStage: 1, transit: false }, NAMES);
    expect(first).toMatchObject({ status: 0, transit: false, fields: { currentStage: 0, tsih: 0 } });
    const second = await exchange.ask({ currentStage: 0, nextStage: 3 }, {});
    expect(second).toMatchObject({ status: 0, transit: true, fields: { currentStage: 0, nextStage: 3 } });
    expect(second.fields.tsih).not.toBe(0);
    wire.destroy();
  });

  test('tells the portal group once, in the first answer to whole text', async () => {
    const { exchange, wire } = await connected();
    const part = await exchange.ask({ transit: false, continues: true }, { InitiatorName: INITIATOR });
    expect(part).toMatchObject({ status: 0, keys: {} });
    const { InitiatorName: _, ...rest } = NAMES;
    const first = await exchange.ask({ currentStage: 0, nextStage: 1 }, rest);
    expect(first.keys).toEqual({ TargetPortalGroupTag: '1', AuthMethod: 'None' });
    const last = await exchange.ask({ currentStage: 1, nextStage: 3 }, {});
    expect(last.keys).toEqual({ MaxRecvDataSegmentLength: String(MAX_RECV_DATA_SEGMENT_BYTES) });
    wire.destroy();
  });

  test('that names a key twice, in different requests, is refused', async () => {
    for (const key of ['InitialR2T', 'InitiatorName', 'X#NodeArchitecture']) {
      const { exchange } = await connected();
      const first = key === 'InitiatorName' ? NAMES : { ...NAMES, [key]: 'Yes' };
      await exchange.ask({ currentStage: 0, nextStage: 1 }, first);
      const again = await exchange.ask({ currentStage: 1, nextStage: 3 }, { [key]: 'Yes' });
      expect(again.status).toBe(0x0200);
    }
  });

  test('takes names of 223 bytes, and none longer', async () => {
    const name = (length: number): string => 'iqn.2026-11.net.example:'.padEnd(length, 'x');
    const attempt = async (length: number, key: string): Promise<number> => {
      const { exchange, wire } = await connected();
      const { status } = await exchange.ask(
        { currentStage: 0, nextStage: 1 },
        { ...NAMES, [key]: name(length) },
      );
      wire.destroy();
      return status;
    };
    const asked: string[] = [];
    target.decide = async ({ targetName }) => {
      asked.push(targetName);
      return { kind: 'refused', reason: 'forbidden' };
    };
    expect(await attempt(223, 'TargetName')).toBe(0x0202);
    expect(asked).toEqual([name(223)]);
    expect(await attempt(224, 'TargetName')).toBe(0x0203);
    target.decide = undefined;
    expect(await attempt(223, 'InitiatorName')).toBe(0);
    expect(await attempt(224, 'InitiatorName')).toBe(0x0200);
  });

  test('takes 8192 bytes of text and more, in several requests', async () => {
    const { exchange, wire } = await connected();
    await exchange.ask({ currentStage: 0, nextStage: 1 }, NAMES);
    const part = { currentStage: 1, transit: false, continues: true };
    for (const n of [1, 2, 3]) {
      expect(await exchange.ask(part, { [`X-com.example.${n}`]: 'x'.repeat(4000) })).toMatchObject({
        keys: {},
      });
    }
    const last = await exchange.ask({ currentStage: 1, nextStage: 3 }, { InitialR2T: 'Yes' });
    expect(last).toMatchObject({
      status: 0,
      keys: { 'X-com.example.3': 'NotUnderstood', InitialR2T: 'Yes' },
    });
    wire.destroy();
  });

  test('is answered a FirstBurstLength that is not above MaxBurstLength', async () => {
    const { exchange, wire } = await connected();
    await exchange.ask({ currentStage: 0, nextStage: 1 }, NAMES);
    const bursts = { FirstBurstLength: '65536', MaxBurstLength: '4096' };
    const { keys } = await exchange.ask({ currentStage: 1, nextStage: 3 }, bursts);
    expect(keys).toMatchObject({ FirstBurstLength: '4096', MaxBurstLength: '4096' });
    wire.destroy();
  });

  test('is answered every key that it offers at once, as the rows of the table say', async () => {
    const { exchange, wire } = await connected();
    await exchange.ask({ currentStage: 0, nextStage: 1 }, NAMES);
    const offered = {
      HeaderDigest: 'CRC32C,None',
      DataDigest: 'None',
      MaxConnections: '8',
      InitialR2T: 'No',
      ImmediateData: 'Yes',
      MaxBurstLength: '16776192',
      FirstBurstLength: '1024',
      DefaultTime2Wait: '7',
      DefaultTime2Retain: '20',
      MaxOutstandingR2T: '16',
      DataPDUInOrder: 'No',
      DataSequenceInOrder: 'No',
      ErrorRecoveryLevel: '2',
      TaskReporting: 'FastAbort,ResponseFence,RFC3720',
      iSCSIProtocolLevel: '2',
      IFMarker: 'Yes',
      OFMarker: 'Yes',
      IFMarkInt: '2048',
      OFMarkInt: '2048',
      TargetAlias: 'disk',
      SendTargets: 'All',
      'X-com.example.colour': 'blue',
    };
    const declared = { InitiatorAlias: 'desk', MaxRecvDataSegmentLength: '512', 'X#NodeArchitecture': 'a/1' };
    const { keys } = await exchange.ask({ currentStage: 1, nextStage: 3 }, { ...offered, ...declared });
    expect(keys).toEqual({
      ...offered,
      MaxRecvDataSegmentLength: String(MAX_RECV_DATA_SEGMENT_BYTES),
      HeaderDigest: 'CRC32C',
      MaxConnections: '1',
      MaxBurstLength: '1048576',
      DefaultTime2Retain: '0',
      MaxOutstandingR2T: '1',
      DataPDUInOrder: 'Yes',
      DataSequenceInOrder: 'Yes',
      ErrorRecoveryLevel: '0',
      TaskReporting: 'RFC3720',
      IFMarker: 'No',
      OFMarker: 'No',
      IFMarkInt: 'Reject',
      OFMarkInt: 'Reject',
      TargetAlias: 'Reject',
      SendTargets: 'Reject',
      'X-com.example.colour': 'NotUnderstood',
    });
    wire.destroy();
  });
});
