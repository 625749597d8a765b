import { describe, expect, test } from 'vitest';
import {
  type LoginKeyRow,
  loginKeyTable,
  negotiate,
  negotiateInFullFeature,
  parseNumber,
  sessionParameters,
} from '../../../../node/iscsi/login-keys.ts';

/** For each row of the table: what is offered, what is answered. */
const cases: Record<(typeof loginKeyTable)[number]['name'], [string, string | undefined][]> = {
  HeaderDigest: [
    ['None', 'None'],
    ['CRC32C,None', 'CRC32C'],
    ['MD5', 'Reject'],
  ],
  DataDigest: [
    ['None,CRC32C', 'None'],
    ['CRC32C', 'CRC32C'],
    ['', 'Reject'],
  ],
  MaxConnections: [
    ['8', '1'],
    ['0', 'Reject'],
    ['65536', 'Reject'],
  ],
  InitialR2T: [
    ['Yes', 'Yes'],
    ['No', 'No'],
    ['maybe', 'Reject'],
  ],
  ImmediateData: [
    ['Yes', 'Yes'],
    ['No', 'No'],
  ],
  MaxRecvDataSegmentLength: [
    ['8192', undefined],
    ['511', 'Reject'],
    ['16777216', 'Reject'],
  ],
  MaxBurstLength: [
    ['262144', '262144'],
    ['16776192', '1048576'],
    ['100', 'Reject'],
  ],
  FirstBurstLength: [
    ['65536', '65536'],
    ['0x100000', '262144'],
  ],
  // The initiator's need for time wins: the rule is the maximum, and our own need is none.
  DefaultTime2Wait: [
    ['2', '2'],
    ['0', '0'],
    ['3600', '3600'],
    ['3601', 'Reject'],
  ],
  DefaultTime2Retain: [
    ['20', '0'],
    ['0', '0'],
  ],
  MaxOutstandingR2T: [
    ['16', '1'],
    ['0', 'Reject'],
  ],
  DataPDUInOrder: [
    ['No', 'Yes'],
    ['Yes', 'Yes'],
  ],
  DataSequenceInOrder: [
    ['No', 'Yes'],
    ['Yes', 'Yes'],
  ],
  ErrorRecoveryLevel: [
    ['2', '0'],
    ['0', '0'],
    ['3', 'Reject'],
  ],
  TaskReporting: [
    ['FastAbort,RFC3720', 'RFC3720'],
    ['FastAbort', 'Reject'],
  ],
  iSCSIProtocolLevel: [
    ['2', '2'],
    ['31', '2'],
    ['1', '1'],
    ['0', '0'],
    ['32', 'Reject'],
  ],
  // Told, and taken without an answer; where that is for the target to tell, refused.
  TargetName: [['iqn.2026-11.net.example:disk', undefined]],
  InitiatorName: [['iqn.2026-11.net.example:client', undefined]],
  InitiatorAlias: [['desk 7', undefined]],
  SessionType: [['Discovery', undefined]],
  'X#NodeArchitecture': [['example', undefined]],
  TargetAlias: [['disk', 'Reject']],
  TargetAddress: [['192.0.2.1:3260,1', 'Reject']],
  TargetPortalGroupTag: [['1', 'Reject']],
  SendTargets: [['All', 'Reject']],
  IFMarker: [
    ['Yes', 'No'],
    ['No', 'No'],
  ],
  OFMarker: [
    ['Yes', 'No'],
    ['No', 'No'],
  ],
  IFMarkInt: [['2048', 'Reject']],
  OFMarkInt: [['2048~8192', 'Reject']],
};

/** In the order of the standard; §13.22 is about the keys that it does not define. */
const SECTION_13 = [
  [
    'HeaderDigest',
    'DataDigest',
    'MaxConnections',
    'SendTargets',
    'TargetName',
    'InitiatorName',
    'TargetAlias',
  ],
  ['InitiatorAlias', 'TargetAddress', 'TargetPortalGroupTag', 'InitialR2T', 'ImmediateData'],
  [
    'MaxRecvDataSegmentLength',
    'MaxBurstLength',
    'FirstBurstLength',
    'DefaultTime2Wait',
    'DefaultTime2Retain',
  ],
  ['MaxOutstandingR2T', 'DataPDUInOrder', 'DataSequenceInOrder', 'ErrorRecoveryLevel', 'SessionType'],
  [
    'TaskReporting',
    'iSCSIProtocolLevel',
    'IFMarker',
    'OFMarker',
    'IFMarkInt',
    'OFMarkInt',
    'X#NodeArchitecture',
  ],
].flat();

test('every key of the standard has a row, and each row its cases', () => {
  expect(loginKeyTable.map((row) => row.name)).toEqual(SECTION_13);
  for (const name of SECTION_13) {
    expect(Object.entries(cases).find(([key]) => key === name)?.[1].length, name).toBeGreaterThan(0);
  }
});

test('no key of the standard is ever NotUnderstood', () => {
  for (const key of SECTION_13) {
    for (const value of ['', '1', 'Yes', 'None', 'x,y', '1~2']) {
      for (const result of [negotiate({ key, value }), negotiate({ key, value }, false)]) {
        expect(result.answer?.value).not.toBe('NotUnderstood');
      }
      expect(negotiateInFullFeature({ key, value }).answer?.value).not.toBe('NotUnderstood');
    }
  }
});

describe.each(loginKeyTable.map((row) => row.name))('%s', (name) => {
  test.each(cases[name])('offered %j is answered %j', (offered, answered) => {
    const result = negotiate({ key: name, value: offered });
    expect(result.answer?.value).toBe(answered);
    const row: LoginKeyRow | undefined = loginKeyTable.find((r) => r.name === name);
    expect(result.value === undefined).toBe(answered === 'Reject' || row?.rule === 'state');
  });
});

test('a key nobody knows is NotUnderstood', () => {
  expect(negotiate({ key: 'X-com.example.colour', value: 'blue' })).toEqual({
    answer: { key: 'X-com.example.colour', value: 'NotUnderstood' },
  });
});

test.each(loginKeyTable.map((row): LoginKeyRow => row))('$name in full feature phase', (row) => {
  const offered = String(row.default ?? 'text');
  const { answer, value } = negotiateInFullFeature({ key: row.name, value: offered });
  const taken = row.use === 'ALL' && row.sender !== 'target';
  expect(answer).toEqual(taken ? undefined : { key: row.name, value: 'Reject' });
  expect(value).toBe(taken && row.rule === 'declare' ? row.default : undefined);
});

test('numbers are decimal or hexadecimal constants', () => {
  expect(['10', '0x1F', '0', '007'].map(parseNumber)).toEqual([10, 31, 0, 7]);
  expect(parseNumber(`0x${'0'.repeat(40)}1000`)).toBe(4096);
  for (const wrong of ['', '-1', '1.5', '0x', '1e3', ' 1', `0x1${'0'.repeat(16)}`])
    expect(parseNumber(wrong)).toBeUndefined();
});

test('what was never mentioned has its default', () => {
  expect(sessionParameters(new Map(), 1_048_576)).toEqual({
    headerDigest: false,
    dataDigest: false,
    initialR2T: true,
    immediateData: true,
    maxSendDataSegmentBytes: 8192,
    maxBurstBytes: 262_144,
    firstBurstBytes: 65_536,
    offeredImmediateData: false,
    protocolLevel: 1,
  });
});

test('the first burst is never longer than a burst, and what we send never longer than we wish', () => {
  const values = new Map([
    ['MaxBurstLength', 4096],
    ['FirstBurstLength', 65_536],
    ['MaxRecvDataSegmentLength', 16_000_000],
  ]);
  const parameters = sessionParameters(values, 1_048_576);
  expect(parameters).toMatchObject({ firstBurstBytes: 4096, maxSendDataSegmentBytes: 1_048_576 });
});
