import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Logger } from '../../../../base/logger.ts';
import { chapAlgorithm, chapDigest, decodeBinary, encodeBinary } from '../../../../node/iscsi/chap.ts';
import type { Authentication, ChapCredentials } from '../../../../node/iscsi/ports.ts';
import {
  connectInitiator,
  type Initiator,
  type InitiatorOptions,
} from '../../../../scripts/simulator/iscsi-initiator.ts';
import { login, openWire } from '../../../../scripts/simulator/iscsi-wire.ts';
import { startLogin } from './login-exchange.ts';
import { grant, INITIATOR, startTarget, TARGET, type TestTarget } from './target-fixture.ts';

const ONE_WAY: ChapCredentials = { username: 'pc1', secret: 'forwardSecret12' };
const MUTUAL: ChapCredentials = { ...ONE_WAY, mutual: { username: 'bootfabric', secret: 'backwardSecret1' } };

let target: TestTarget;
let authentication: Authentication;
let logged: string;
const initiators: Initiator[] = [];

beforeEach(async () => {
  logged = '';
  const write = (event: string, fields?: object): void => {
    logged += `${event} ${JSON.stringify(fields)}\n`;
  };
  const logger: Logger = { debug: write, info: write, warn: write, error: write };
  target = await startTarget({ logger });
  authentication = { credentials: [MUTUAL], optional: false };
  target.decide = async () => ({ ...grant(new Map([[0, target.device]])), authentication });
  target.discovery = () => authentication;
});

afterEach(async () => {
  for (const initiator of initiators.splice(0)) initiator.destroy();
  await target.portal.close();
  // However a login went, no secret was written anywhere.
  const counters = JSON.stringify(target.counters.snapshot());
  for (const secret of [ONE_WAY.secret, MUTUAL.mutual?.secret ?? '']) {
    expect(logged + counters).not.toContain(secret);
    expect(logged + counters).not.toContain(Buffer.from(secret).toString('hex'));
  }
});

async function attach(more: Partial<InitiatorOptions>): Promise<Initiator> {
  const { host, port } = target;
  const initiator = await connectInitiator({
    host,
    port,
    initiatorName: INITIATOR,
    targetName: TARGET,
    ...more,
  });
  initiators.push(initiator);
  return initiator;
}

/** Reaches the target's challenge, and returns what it sent. */
async function challenged(algorithms = '5') {
  const exchange = startLogin(await openWire(target.host, target.port));
  const names = {
    InitiatorName: INITIATOR,
    TargetName: TARGET,
    SessionType: 'Normal',
    AuthMethod: 'CHAP,None',
  };
  const first = await exchange.ask({ currentStage: 0, nextStage: 1 }, names);
  expect(first).toMatchObject({ status: 0, transit: false, keys: { AuthMethod: 'CHAP' } });
  const second = await exchange.ask({ currentStage: 0, nextStage: 1 }, { CHAP_A: algorithms });
  return { exchange, ...second };
}

describe.each(Object.entries(chapAlgorithm))('CHAP with %s', (_name, algorithm) => {
  test('lets the initiator in, and proves the target to it', async () => {
    const initiator = await attach({ chap: { ...MUTUAL, algorithms: [algorithm] } });
    await initiator.write(0, new Uint8Array(512).fill(1));
    expect((await initiator.read(0, 1))[0]).toBe(1);
    await attach({ isid: '400000000002', chap: { ...ONE_WAY, algorithms: [algorithm] } });
  });

  test('refuses a wrong secret, a wrong name, and a response to another challenge', async () => {
    const algorithms = [algorithm];
    for (const wrong of [{ secret: 'forwardSecret13' }, { username: 'pc2' }]) {
      await expect(attach({ chap: { ...ONE_WAY, ...wrong, algorithms } })).rejects.toMatchObject({
        status: 0x0201,
      });
    }
    const { exchange, keys } = await challenged(String(algorithm));
    const stale = { identifier: Number(keys['CHAP_I']), bytes: Uint8Array.of(1, 2, 3) };
    const CHAP_R = encodeBinary(chapDigest(algorithm, ONE_WAY.secret, stale));
    const answer = await exchange.ask({ currentStage: 0, nextStage: 1 }, { CHAP_N: 'pc1', CHAP_R });
    expect(answer.status).toBe(0x0201);
    expect(logged).toContain('iscsi.login.not-authenticated');
  });
});

describe('who does not authenticate', () => {
  test.each([
    ['offers None only', {}, 0],
    ['begins beyond the security stage', {}, 1],
  ])('and %s is refused', async (_name, _keys, currentStage) => {
    const exchange = startLogin(await openWire(target.host, target.port));
    const names = { InitiatorName: INITIATOR, TargetName: TARGET, SessionType: 'Normal' };
    const security = currentStage === 0 ? { AuthMethod: 'None' } : {};
    const stages = { currentStage, nextStage: currentStage === 0 ? 1 : 3 };
    expect((await exchange.ask(stages, { ...names, ...security })).status).toBe(0x0201);
  });

  test('and skips the challenge is refused', async () => {
    const exchange = startLogin(await openWire(target.host, target.port));
    const names = { InitiatorName: INITIATOR, TargetName: TARGET, AuthMethod: 'CHAP' };
    await exchange.ask({ currentStage: 0, nextStage: 1 }, names);
    const jump = await exchange.ask({ currentStage: 1, nextStage: 3 }, { InitialR2T: 'No' });
    expect(jump.status).toBe(0x0200);
  });

  test('and sends a response of another length is refused', async () => {
    const { exchange } = await challenged();
    const response = { CHAP_N: 'pc1', CHAP_R: '0x00' };
    expect((await exchange.ask({ currentStage: 0, nextStage: 1 }, response)).status).toBe(0x0201);
  });

  test('and has no method that would do is told so', async () => {
    const exchange = startLogin(await openWire(target.host, target.port));
    const names = { InitiatorName: INITIATOR, TargetName: TARGET, AuthMethod: 'SRP,KRB5,None' };
    const answer = await exchange.ask({ currentStage: 0, nextStage: 1 }, names);
    expect(answer).toMatchObject({ status: 0x0201, transit: false, keys: { AuthMethod: 'Reject' } });
  });

  test('is not told of any target', async () => {
    const { host, port } = target;
    const discovery = { host, port, initiatorName: INITIATOR };
    await expect(login(discovery)).rejects.toMatchObject({ status: 0x0201 });
    const { wire } = await login({ ...discovery, chap: ONE_WAY });
    wire.destroy();
  });
});

describe('mutual CHAP', () => {
  test('fails where the target has another secret than the initiator expects', async () => {
    const mutual = { username: 'bootfabric', secret: 'somethingElse1' };
    await expect(attach({ chap: { ...ONE_WAY, mutual } })).rejects.toThrow('the target did not prove itself');
  });

  test('is refused where the target has no secret of its own', async () => {
    authentication = { credentials: [ONE_WAY], optional: false };
    await expect(attach({ chap: MUTUAL })).rejects.toMatchObject({ status: 0x0201 });
  });

  test("does not answer the target's own challenge sent back", async () => {
    const { exchange, keys } = await challenged();
    const identifier = Number(keys['CHAP_I']);
    const bytes = decodeBinary(keys['CHAP_C'] ?? '') as Uint8Array;
    const CHAP_R = encodeBinary(chapDigest(5, ONE_WAY.secret, { identifier, bytes }));
    const reflected = { CHAP_N: 'pc1', CHAP_R, CHAP_I: String(identifier), CHAP_C: keys['CHAP_C'] as string };
    expect((await exchange.ask({ currentStage: 0, nextStage: 1 }, reflected)).status).toBe(0x0201);
  });

  test.each([
    ['an identifier above 255', { CHAP_I: '256', CHAP_C: '0x0102' }, 0x0200],
    ['a challenge that is not binary', { CHAP_I: '1', CHAP_C: 'text' }, 0x0200],
    ['a challenge without end', { CHAP_I: '1', CHAP_C: `0x${'00'.repeat(1025)}` }, 0x0200],
    ['an identifier alone', { CHAP_I: '1' }, 0x0207],
    ['a challenge alone', { CHAP_C: '0x0102' }, 0x0207],
  ])('refuses %s', async (_name, theirs, status) => {
    const { exchange, keys } = await challenged();
    const challenge = {
      identifier: Number(keys['CHAP_I']),
      bytes: decodeBinary(keys['CHAP_C'] ?? '') as Uint8Array,
    };
    const CHAP_R = encodeBinary(chapDigest(5, ONE_WAY.secret, challenge));
    const answer = await exchange.ask(
      { currentStage: 0, nextStage: 1 },
      { CHAP_N: 'pc1', CHAP_R, ...theirs },
    );
    expect(answer.status).toBe(status);
  });

  test('fails where one secret is used both ways, since either response would do for the other', async () => {
    const { secret, username } = ONE_WAY;
    authentication = {
      credentials: [{ username, secret, mutual: { username: 'bootfabric', secret } }],
      optional: false,
    };
    await expect(attach({ chap: ONE_WAY })).rejects.toMatchObject({ status: 0x0201 });
  });
});

describe('keys that are not those of the step', () => {
  const CHAP_R = `0x${'00'.repeat(16)}`;
  const stages = { currentStage: 0, nextStage: 1 };

  test.each([
    ['a name without a response', { CHAP_N: 'pc1' }, 0x0207],
    ['a response without a name', { CHAP_R }, 0x0207],
    ['nothing at all', {}, 0x0207],
    ['a response that is not binary', { CHAP_N: 'pc1', CHAP_R: 'secret' }, 0x0200],
    ['a response without end', { CHAP_N: 'pc1', CHAP_R: `0x${'00'.repeat(1025)}` }, 0x0200],
  ])('instead of a response: %s', async (_name, keys, status) => {
    const { exchange } = await challenged();
    expect((await exchange.ask(stages, keys)).status).toBe(status);
  });

  test.each([
    ['nothing', {}, 0x0207],
    ['a response to no challenge', { CHAP_N: 'pc1', CHAP_R }, 0x0200],
    ['a response with the algorithms', { CHAP_A: '5', CHAP_N: 'pc1', CHAP_R }, 0x0200],
  ])('instead of algorithms: %s', async (_name, keys, status) => {
    const exchange = startLogin(await openWire(target.host, target.port));
    const names = { InitiatorName: INITIATOR, TargetName: TARGET, AuthMethod: 'CHAP' };
    await exchange.ask(stages, names);
    expect((await exchange.ask(stages, keys)).status).toBe(status);
  });

  test('security keys in the operational stage', async () => {
    authentication = { credentials: [], optional: true };
    const exchange = startLogin(await openWire(target.host, target.port));
    const names = { InitiatorName: INITIATOR, TargetName: TARGET, AuthMethod: 'None' };
    expect((await exchange.ask({ currentStage: 1, nextStage: 3 }, names)).status).toBe(0x0200);
  });
});

test('the first method of the list that may be used is taken', async () => {
  authentication = { credentials: [ONE_WAY], optional: true };
  for (const [AuthMethod, taken] of [
    ['None,CHAP', 'None'],
    ['SRP,CHAP,None', 'CHAP'],
  ] as const) {
    const exchange = startLogin(await openWire(target.host, target.port));
    const names = { InitiatorName: INITIATOR, TargetName: TARGET, AuthMethod };
    const { keys } = await exchange.ask({ currentStage: 0, nextStage: 1, transit: false }, names);
    expect(keys['AuthMethod']).toBe(taken);
  }
});

test('the first algorithm of the list that we know is taken; none of them ends the login', async () => {
  expect((await challenged('6,8,5')).keys['CHAP_A']).toBe('8');
  const { status } = await challenged('6,99');
  expect(status).toBe(0x0201);
});

test('challenges are as long as the digest, and none comes twice', async () => {
  const challenges = new Set<string>();
  for (const [algorithm, lengthBytes] of [
    [5, 16],
    [7, 32],
    [8, 32],
  ] as const) {
    const { keys } = await challenged(String(algorithm));
    expect(decodeBinary(keys['CHAP_C'] ?? '')).toHaveLength(lengthBytes);
    challenges.add(String(keys['CHAP_C']).slice(0, 34));
  }
  expect(challenges.size).toBe(3);
});

test('while secrets change, both old and new ones are good', async () => {
  const newer: ChapCredentials = { username: 'pc1', secret: 'anotherSecret12' };
  authentication = { credentials: [newer, ONE_WAY], optional: false };
  await attach({ chap: newer });
  await attach({ isid: '400000000002', chap: ONE_WAY });
  authentication = { credentials: [newer], optional: true };
  await attach({ isid: '400000000003', chap: newer });
  await attach({ isid: '400000000004' });
});

test('the digest is that of RFC 1994: identifier, secret, challenge', () => {
  const challenge = { identifier: 7, bytes: Uint8Array.of(1, 2, 3) };
  const input = Buffer.concat([Buffer.of(7), Buffer.from('abc'), Buffer.of(1, 2, 3)]);
  for (const [algorithm, hash] of [
    [5, 'md5'],
    [7, 'sha256'],
    [8, 'sha3-256'],
  ] as const) {
    const expected = createHash(hash).update(input).digest('hex');
    expect(Buffer.from(chapDigest(algorithm, 'abc', challenge)).toString('hex')).toBe(expected);
  }
});

test('binary values are hexadecimal or base64', () => {
  expect(decodeBinary('0x0aFF')).toEqual(Buffer.of(10, 255));
  expect(decodeBinary('0bCv8=')).toEqual(Buffer.of(10, 255));
  expect(decodeBinary('0xaff'), 'a length of (n + 1) / 2').toEqual(Buffer.of(10, 255));
  for (const wrong of ['', '0x', '0xgg', '0b', '0b*', 'Cv8=']) expect(decodeBinary(wrong)).toBeUndefined();
});
