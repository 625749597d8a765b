import { describe, expect, test } from 'vitest';
import type { LoginEffect, LoginEvent, LoginRequestFields } from '../../../../node/iscsi/login-events.ts';
import { initialLogin, type LoginState, stepLogin } from '../../../../node/iscsi/login-machine.ts';
import { loginRequest } from '../../../../node/iscsi/pdu.ts';
import { decodeTextKeys, encodeTextKeys } from '../../../../node/iscsi/text-keys.ts';
import { grant, INITIATOR, TARGET } from './target-fixture.ts';

const names = {
  InitiatorName: INITIATOR,
  TargetName: TARGET,
  SessionType: 'Normal',
  AuthMethod: 'CHAP,None',
};
const nonce = Uint8Array.from({ length: 33 }, (_, i) => i + 1);
const granted: LoginEvent = { kind: 'decided', decision: grant(new Map()), nonce };

function request(fields: Partial<LoginRequestFields>, keys: Record<string, string> | Uint8Array): LoginEvent {
  const blank = loginRequest.decode(new Uint8Array(48));
  const text =
    keys instanceof Uint8Array
      ? keys
      : encodeTextKeys(Object.entries(keys).map(([key, value]) => ({ key, value })));
  return {
    kind: 'request',
    fields: { ...blank, isid: Uint8Array.of(0x40, 0, 0, 0, 0, 1), cmdSN: 5, cid: 1, ...fields },
    text,
  };
}

/** Runs events through the machine; returns the last state and the effects of the last event. */
function run(...events: LoginEvent[]): { state: LoginState; effects: readonly LoginEffect[] } {
  let step: { state: LoginState; effects: readonly LoginEffect[] } = { state: initialLogin, effects: [] };
  for (const event of events) step = stepLogin(step.state, event);
  return step;
}

function response(effects: readonly LoginEffect[]) {
  const effect = effects.find((e) => e.kind === 'respond');
  if (effect?.kind !== 'respond') throw new Error('no response');
  const { fields } = effect;
  const status = (fields.statusClass ?? 0) * 256 + (fields.statusDetail ?? 0);
  const keys = Object.fromEntries(decodeTextKeys(effect.text).map(({ key, value }) => [key, value]));
  return { fields, status, keys };
}

const security = { transit: true, currentStage: 0, nextStage: 1 };
const operational = { transit: true, currentStage: 1, nextStage: 3 };

describe('a login that succeeds', () => {
  test('security, then operational, then full feature', () => {
    const asked = run(request(security, names));
    expect(asked.effects).toEqual([
      {
        kind: 'ask-directory',
        targetName: TARGET,
        discoveryTarget: undefined,
        initiatorName: INITIATOR,
        connection: { isid: '400000000001', tsih: 0, cid: 1 },
      },
    ]);
    const decided = stepLogin(asked.state, granted);
    expect(response(decided.effects)).toMatchObject({
      status: 0,
      keys: { TargetPortalGroupTag: '1', AuthMethod: 'None' },
      // A TSIH comes with the last response only.
      fields: { transit: true, currentStage: 0, nextStage: 1, tsih: 0, expCmdSN: 5, maxCmdSN: 132 },
    });
    const keys = { HeaderDigest: 'None', MaxBurstLength: '16776192', MaxRecvDataSegmentLength: '65536' };
    const establishing = stepLogin(decided.state, request(operational, keys));
    expect(establishing.effects).toMatchObject([
      { kind: 'establish', login: { initiatorName: INITIATOR, isid: '400000000001', firstCmdSN: 5, cid: 1 } },
    ]);
    const done = stepLogin(establishing.state, { kind: 'established', tsih: 77 });
    expect(response(done.effects)).toMatchObject({
      status: 0,
      keys: { HeaderDigest: 'None', MaxBurstLength: '1048576', MaxRecvDataSegmentLength: '262144' },
      fields: { transit: true, nextStage: 3, tsih: 77, statSN: 1 },
    });
  });

  test('straight to the operational stage', () => {
    const { AuthMethod: _, ...leading } = names;
    const { state, effects } = run(request(operational, { ...leading, InitialR2T: 'Yes' }), granted);
    expect(effects).toMatchObject([{ kind: 'establish' }]);
    const { keys } = response(stepLogin(state, { kind: 'established', tsih: 1 }).effects);
    expect(keys).toEqual({
      TargetPortalGroupTag: '1',
      MaxRecvDataSegmentLength: '262144',
      InitialR2T: 'Yes',
    });
  });

  test('text spread over several requests', () => {
    const text = encodeTextKeys(Object.entries(names).map(([key, value]) => ({ key, value })));
    const first = run(request({ continues: true }, text.subarray(0, 30)));
    expect(response(first.effects)).toMatchObject({ status: 0, keys: {}, fields: { statSN: 0 } });
    const second = stepLogin(first.state, request(security, text.subarray(30)));
    expect(second.effects).toMatchObject([{ kind: 'ask-directory', initiatorName: INITIATOR }]);
  });

  test('discovery asks for no target', () => {
    const discovery = { InitiatorName: INITIATOR, SessionType: 'Discovery', AuthMethod: 'None' };
    const asked = run(request(security, discovery));
    expect(asked.effects).toMatchObject([{ kind: 'ask-directory', targetName: undefined }]);
    const { effects } = stepLogin(asked.state, { kind: 'decided', decision: { kind: 'discovery' }, nonce });
    expect(response(effects)).toMatchObject({ status: 0, keys: { AuthMethod: 'None' } });
  });
});

describe('what the directory decides', () => {
  test.each([
    ['not-found', 0x0203],
    ['forbidden', 0x0202],
    ['unavailable', 0x0301],
  ] as const)('%s', (reason, status) => {
    const { effects } = run(request(security, names), {
      kind: 'decided',
      decision: { kind: 'refused', reason },
      nonce,
    });
    expect(response(effects).status).toBe(status);
    expect(effects.at(-1)).toEqual({ kind: 'close', status });
  });

  test('a redirect names address and port, and no portal group', () => {
    const decision = { kind: 'redirect', address: '192.0.2.7', port: 3260 } as const;
    const { effects } = run(request(security, names), { kind: 'decided', decision, nonce });
    expect(response(effects)).toMatchObject({ status: 0x0101, keys: { TargetAddress: '192.0.2.7:3260' } });
  });
});

describe('what is refused', () => {
  const one = (fields: Partial<LoginRequestFields>, keys: Record<string, string> | Uint8Array = names) =>
    run(request(fields, keys));
  const { InitiatorName, TargetName, ...rest } = names;

  test.each([
    ['a version above ours', one({ ...security, versionMin: 1 }), 0x0205],
    ['a session that is not there', run(request({ ...security, tsih: 3 }, names), granted), 0x020a],
    [
      'a session that has another connection',
      run(request({ ...security, tsih: 3 }, names), { ...granted, joined: 0x0206 }),
      0x0206,
    ],
    [
      'another session than before',
      run(request(security, names), granted, request({ ...operational, tsih: 3 }, {})),
      0x0200,
    ],
    ['stage 2', one({ transit: true, currentStage: 2, nextStage: 3 }), 0x0200],
    ['a stage that goes nowhere', one({ transit: true, currentStage: 1, nextStage: 1 }), 0x0200],
    ['transit before the text is whole', one({ ...security, continues: true }), 0x0200],
    ['no initiator name', one(security, { TargetName, ...rest }), 0x0207],
    ['no target name', one(security, { InitiatorName, ...rest }), 0x0207],
    ['an unknown session type', one(security, { ...names, SessionType: 'Odd' }), 0x0209],
    ['text that is no text', one(security, Buffer.from('garbage')), 0x0200],
    ['CHAP only', run(request(security, { ...names, AuthMethod: 'CHAP' }), granted), 0x0201],
  ])('%s', (_name, { effects, state }, status) => {
    expect(response(effects).status).toBe(status);
    expect(effects.at(-1)).toEqual({ kind: 'close', status });
    expect(state.phase).toBe('ended');
  });

  test('a key offered twice', () => {
    const twice = encodeTextKeys([
      { key: 'InitialR2T', value: 'Yes' },
      { key: 'InitialR2T', value: 'No' },
    ]);
    const { effects } = run(request(security, names), granted, request(operational, twice));
    expect(response(effects).status).toBe(0x0200);
  });

  test('text without end', () => {
    const part = request({ continues: true }, new Uint8Array(8192));
    const { effects } = run(...Array<LoginEvent>(9).fill(part));
    expect(response(effects).status).toBe(0x0200);
  });

  test('requests without end', () => {
    const idle = request({ currentStage: 0 }, new Uint8Array());
    const { effects } = run(
      request({ currentStage: 0 }, names),
      granted,
      ...Array<LoginEvent>(32).fill(idle),
    );
    expect(response(effects).status).toBe(0x0200);
  });

  test('a session that cannot be made', () => {
    const { effects } = run(request(operational, { InitiatorName, TargetName }), granted, {
      kind: 'not-established',
    });
    expect(response(effects).status).toBe(0x0302);
  });
});
