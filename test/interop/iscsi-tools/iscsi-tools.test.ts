import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { describeWhere, type Requirements } from '../../support/requirements.ts';
import { INITIATOR, startTarget, TARGET, type TestTarget } from '../../unit/node/iscsi/target-fixture.ts';

/** Foreign initiators against our target: libiscsi's tools and QEMU's. */

let target: TestTarget;
let url: string;

beforeAll(async () => {
  target = await startTarget({ lengthBlocks: 131_072 });
  url = `iscsi://${target.host}:${target.port}/${TARGET}/0`;
});

afterAll(() => target.portal.close());

interface Outcome {
  readonly status: number | null;
  readonly output: string;
}

function run(program: string, args: readonly string[], timeoutMs = 20_000): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { timeout: timeoutMs });
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
    child.on('error', reject);
    child.on('close', (status) => resolve({ status, output }));
  });
}

const TOOLS: Requirements = {
  commands: ['iscsi-ls', 'iscsi-inq', 'iscsi-perf', 'iscsi-readcapacity16'],
  enableWith: 'apt-get install libiscsi-bin',
};
const QEMU_TOOLS: Requirements = {
  commands: ['qemu-io', 'qemu-img'],
  enableWith: 'apt-get install qemu-utils qemu-block-extra',
};

describeWhere(TOOLS, 'libiscsi tools', () => {
  test('iscsi-ls discovers the target and its LUN', async () => {
    const { status, output } = await run('iscsi-ls', ['-s', `iscsi://${target.host}:${target.port}`]);
    expect(status).toBe(0);
    expect(output).toContain(`Target:${TARGET} Portal:${target.host}:${target.port},1`);
    // The tool counts from the last block, and rounds down.
    expect(output).toMatch(/Lun:0\s+Type:DIRECT_ACCESS \(Size:63M\)/);
  });

  test('iscsi-inq shows standard data and VPD pages', async () => {
    const standard = await run('iscsi-inq', ['-i', INITIATOR, url]);
    expect(standard.output).toContain('Vendor:BTFABRIC');
    const designators = await run('iscsi-inq', ['-i', INITIATOR, '-e', '1', '-c', '131', url]);
    expect(designators.status).toBe(0);
    expect(designators.output).toContain(`${TARGET},t,0x0001`);
  });

  test('iscsi-readcapacity16 shows size and physical block', async () => {
    const { output } = await run('iscsi-readcapacity16', [url]);
    expect(output).toContain('RETURNED LOGICAL BLOCK ADDRESS:131071');
    expect(output).toContain('LOGICAL BLOCKS PER PHYSICAL BLOCK EXPONENT:3');
  });

  test('iscsi-perf reads at depth 32 without an error', async () => {
    const before = target.device.calls.reads;
    const { status } = await run('iscsi-perf', ['-m', '32', '-b', '8', '-r', '-t', '1', url]);
    expect(status).toBe(0);
    expect(target.device.calls.reads - before).toBeGreaterThan(100);
  });
});

describeWhere(QEMU_TOOLS, 'QEMU block layer', () => {
  test('qemu-io writes, flushes and reads back', async () => {
    const commands = [
      'write -P 0xab 0 1M',
      'write -f -P 0xcd 1M 64k',
      'flush',
      'read -P 0xab 0 1M',
      'read -P 0xcd 1M 64k',
    ];
    const { status, output } = await run('qemu-io', [
      '-f',
      'raw',
      ...commands.flatMap((c) => ['-c', c]),
      url,
    ]);
    expect(output).not.toMatch(/failed|mismatch/i);
    expect(status).toBe(0);
    expect([target.device.bytes[0], target.device.bytes[1_048_576]]).toEqual([0xab, 0xcd]);
  });

  test('qemu-img copies an image in, and compares equal', { timeout: 60_000 }, async () => {
    const directory = await mkdtemp(join(tmpdir(), 'bootfabric-iscsi-'));
    try {
      const file = join(directory, 'disk.raw');
      const content = Buffer.alloc(131_072 * 512);
      for (let at = 0; at < content.length; at += 4096) content.writeUInt32BE(at, at);
      await writeFile(file, content);
      const copy = await run('qemu-img', ['convert', '-n', '-f', 'raw', '-O', 'raw', file, url], 50_000);
      expect(copy).toMatchObject({ status: 0 });
      const compare = await run('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', file, url], 50_000);
      expect(compare.output).toContain('Images are identical.');
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  });
});
