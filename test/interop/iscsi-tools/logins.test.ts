import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Authentication } from '../../../node/iscsi/ports.ts';
import { describeWhere, type Requirements } from '../../support/requirements.ts';
import {
  grant,
  INITIATOR,
  startTarget,
  TARGET,
  type TestTarget,
} from '../../unit/node/iscsi/target-fixture.ts';
import { expectGolden, LoginTap, loginTranscript } from '../support/login-transcript.ts';

/**
 * How real initiators log in, kept as text beside this file: what a version of theirs says, and what we answer, is
 * seen here when either changes.
 */
const GOLDENS = join(import.meta.dirname, 'logins');
const CHAP = { username: 'pc1', secret: 'forwardSecret12' };
const MUTUAL = { username: 'bootfabric', secret: 'backwardSecret1' };

let target: TestTarget;
let tap: LoginTap;
let authentication: Authentication | undefined;

beforeAll(async () => {
  target = await startTarget({ lengthBlocks: 8192 });
  target.decide = async () => ({
    ...grant(new Map([[0, target.device]])),
    ...(authentication === undefined ? {} : { authentication }),
  });
  target.discovery = () => authentication;
  tap = new LoginTap(target);
  await tap.listen();
});
beforeEach(() => {
  authentication = undefined;
  tap.connections.length = 0;
});
afterAll(async () => {
  await target.portal.close();
  await tap.close();
});

function run(program: string, args: readonly string[]): Promise<{ status: number | null; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { timeout: 30_000 });
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
    child.on('error', reject);
    child.on('close', (status) => resolve({ status, output }));
  });
}

function golden(name: string, connection = 0): void {
  expectGolden(join(GOLDENS, `${name}.txt`), loginTranscript(tap.connections[connection] ?? []));
}

const required = (mutual: boolean): Authentication => ({
  credentials: [mutual ? { ...CHAP, mutual: MUTUAL } : CHAP],
  optional: false,
});

const LIBISCSI: Requirements = {
  commands: ['iscsi-ls', 'iscsi-inq', 'iscsi-readcapacity16'],
  enableWith: 'apt-get install libiscsi-bin',
};
const QEMU: Requirements = {
  commands: ['qemu-io'],
  enableWith: 'apt-get install qemu-utils qemu-block-extra',
};

describeWhere(LIBISCSI, 'logins of libiscsi', () => {
  const url = (user = '', options = ''): string =>
    `iscsi://${user}127.0.0.1:${tap.port}/${TARGET}/0${options}`;
  const readCapacity = (at: string) => run('iscsi-readcapacity16', ['-i', INITIATOR, at]);

  test('without anything', async () => {
    expect(await readCapacity(url())).toMatchObject({ status: 0 });
    golden('libiscsi-plain');
  });

  test('discovery', async () => {
    const { status, output } = await run('iscsi-ls', ['-i', INITIATOR, `iscsi://127.0.0.1:${tap.port}`]);
    expect(output).toContain(TARGET);
    expect(status).toBe(0);
    golden('libiscsi-discovery');
  });

  test('with CHAP', async () => {
    authentication = required(false);
    expect(await readCapacity(url(`${CHAP.username}%${CHAP.secret}@`))).toMatchObject({ status: 0 });
    golden('libiscsi-chap');
  });

  test('with mutual CHAP', async () => {
    authentication = required(true);
    const options = `?target_user=${MUTUAL.username}&target_password=${MUTUAL.secret}`;
    expect(await readCapacity(url(`${CHAP.username}%${CHAP.secret}@`, options))).toMatchObject({ status: 0 });
    golden('libiscsi-mutual-chap');
  });

  test('with a wrong secret, and with none, it is refused', async () => {
    authentication = required(false);
    const wrong = await readCapacity(url(`${CHAP.username}%wrongSecret123@`));
    expect(wrong.status).not.toBe(0);
    golden('libiscsi-wrong-secret');
    const none = await readCapacity(url());
    expect(none.status).not.toBe(0);
    golden('libiscsi-no-secret', 1);
  });
});

describeWhere(QEMU, "logins of QEMU's initiator", () => {
  function qemuIo(options: Readonly<Record<string, string>>, secret?: string) {
    const image = {
      driver: 'iscsi',
      transport: 'tcp',
      portal: `127.0.0.1:${tap.port}`,
      target: TARGET,
      lun: '0',
      'initiator-name': INITIATOR,
      ...options,
    };
    const pairs = Object.entries(image).map(([name, value]) => `${name}=${value}`);
    const object = secret === undefined ? [] : ['--object', `secret,id=chap,data=${secret}`];
    const commands = ['-c', 'write -P 0xa5 0 64k', '-c', 'read -P 0xa5 0 64k'];
    return run('qemu-io', [...object, '--image-opts', pairs.join(','), ...commands]);
  }

  test.each([
    ['plain', {}],
    ['header-digest', { 'header-digest': 'crc32c' }],
  ])('%s', async (name, options) => {
    const { status, output } = await qemuIo(options);
    expect(output).not.toMatch(/failed|mismatch/i);
    expect(status).toBe(0);
    golden(`qemu-${name}`);
  });

  test('with CHAP and a header digest', async () => {
    authentication = required(false);
    const options = { user: CHAP.username, 'password-secret': 'chap', 'header-digest': 'crc32c' };
    const { status, output } = await qemuIo(options, CHAP.secret);
    expect(output).not.toMatch(/failed|mismatch/i);
    expect(status).toBe(0);
    golden('qemu-chap');
    const refused = await qemuIo(options, 'wrongSecret123');
    expect(refused.output).toMatch(/[Aa]uthentication|login/);
  });
});
