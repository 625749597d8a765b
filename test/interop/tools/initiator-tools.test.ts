import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { ClientDocument } from '../../../api/contract/clients.ts';
import { TestCluster } from '../../../scripts/lab/cluster.ts';
import { finishAsync } from '../../../scripts/lab/process-run.ts';
import { describeWhere } from '../../support/requirements.ts';

const NODES = ['n1', 'n2', 'n3'].map((id, index) => ({ id, address: `127.77.0.${11 + index}` }));
const PORTAL = '127.77.0.101';
const ISCSI_PORT = 13260;
const PORTS = `peer=17400,replication=17401,api=17443,http=17480,tftp=16969,dhcp=16767,pxe=14011,iscsi=${ISCSI_PORT}`;
const IMAGE_SIZE_BYTES = 24 * 1024 * 1024;
const START_TIMEOUT_MS = 120_000;
const TEST_TIMEOUT_MS = 60_000;
const NEEDS = {
  commands: ['iscsi-ls', 'iscsi-inq', 'iscsi-perf', 'qemu-img', 'qemu-io'],
  files: ['/usr/lib/x86_64-linux-gnu/qemu/block-iscsi.so'],
  enableWith: 'apt-get install --no-install-recommends libiscsi-bin qemu-utils qemu-block-extra',
};

describeWhere(NEEDS, 'initiators other than operating systems', () => {
  let folder: string;
  let cluster: TestCluster;
  let client: ClientDocument;
  let stranger: ClientDocument;
  let imageFile: string;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'bootfabric-tools-'));
    imageFile = join(folder, 'image.raw');
    // Half of it random, half of it zeros, so that content and its absence are both read back.
    writeFileSync(
      imageFile,
      Buffer.concat([randomBytes(IMAGE_SIZE_BYTES / 2), Buffer.alloc(IMAGE_SIZE_BYTES / 2)]),
    );
    cluster = new TestCluster({ folder, nodes: NODES, portals: [PORTAL], initArguments: ['--ports', PORTS] });
    await cluster.start();
    await cluster.waitUntilWhole(TEST_TIMEOUT_MS);
    await cluster.importImage('tools', imageFile);
    client = await cluster.addClient('tools', '52:54:00:77:01:01', 'tools');
    stranger = await cluster.addClient('stranger', '52:54:00:77:01:02', 'tools');
  }, START_TIMEOUT_MS);

  afterAll(async () => {
    await cluster?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  const portalUrl = `iscsi://${PORTAL}:${ISCSI_PORT}`;
  const lunUrl = (): string => `${portalUrl}/${client.targetName}/0`;
  /** A QEMU block driver's options, of which the initiator's name cannot be put into a URL. */
  const drive = (): string =>
    `driver=raw,file.driver=iscsi,file.transport=tcp,file.portal=${PORTAL}:${ISCSI_PORT},` +
    `file.target=${client.targetName},file.lun=0,file.initiator-name=${client.initiatorName}`;

  async function tool(command: string, ...args: string[]): Promise<string> {
    const { status, stdout, stderr } = await finishAsync(command, args, TEST_TIMEOUT_MS);
    const text = `${stdout}${stderr}`;
    if (status !== 0)
      throw new Error(`${command} ${args.join(' ')} ended with ${status}: ${text}\n${cluster.allLogTails()}`);
    return text;
  }

  it('iscsi-ls finds an initiator its own target and no other', { timeout: TEST_TIMEOUT_MS }, async () => {
    const listed = await tool('iscsi-ls', '-i', client.initiatorName, '-s', portalUrl);
    expect(listed).toContain(`Target:${client.targetName} Portal:${PORTAL}:${ISCSI_PORT},1`);
    expect(listed).toMatch(/Lun:0 +Type:DIRECT_ACCESS \(Size:2[34]M\)/);
    expect(listed).not.toContain(stranger.targetName);
  });

  it('iscsi-ls finds the same at every node', { timeout: TEST_TIMEOUT_MS }, async () => {
    for (const node of NODES) {
      const listed = await tool(
        'iscsi-ls',
        '-i',
        client.initiatorName,
        `iscsi://${node.address}:${ISCSI_PORT}`,
      );
      expect(listed, node.id).toContain(`Target:${client.targetName} Portal:${PORTAL}:${ISCSI_PORT},1`);
    }
  });

  it('iscsi-inq reads what the disk says of itself', { timeout: TEST_TIMEOUT_MS }, async () => {
    const standard = await tool('iscsi-inq', '-i', client.initiatorName, lunUrl());
    expect(standard).toContain('Peripheral Device Type:DIRECT_ACCESS');
    const pages = await tool('iscsi-inq', '-i', client.initiatorName, '-e', '1', '-c', '0', lunUrl());
    for (const page of ['UNIT_SERIAL_NUMBER', 'DEVICE_IDENTIFICATION', 'BLOCK_LIMITS'])
      expect(pages).toContain(page);
    const serial = await tool('iscsi-inq', '-i', client.initiatorName, '-e', '1', '-c', '128', lunUrl());
    expect(serial).toMatch(/Unit Serial Number:\[ *\S+ *\]/);
  });

  it('iscsi-inq is turned away from the disk of another', { timeout: TEST_TIMEOUT_MS }, async () => {
    const { status } = await finishAsync(
      'iscsi-inq',
      ['-i', stranger.initiatorName, lunUrl()],
      TEST_TIMEOUT_MS,
    );
    expect(status).not.toBe(0);
  });

  it('qemu-img sees the image', { timeout: TEST_TIMEOUT_MS }, async () => {
    const info = JSON.parse(
      await tool('qemu-img', 'info', '--output=json', '--image-opts', drive()),
    ) as object;
    expect(info).toMatchObject({ 'virtual-size': IMAGE_SIZE_BYTES, format: 'raw' });
    const compared = await tool(
      'qemu-img',
      'compare',
      '--image-opts',
      drive(),
      `driver=raw,file.driver=file,file.filename=${imageFile}`,
    );
    expect(compared).toContain('Images are identical.');
  });

  it('qemu-io writes, flushes, zeroes, discards and reads back', { timeout: TEST_TIMEOUT_MS }, async () => {
    const commands = [
      'write -P 0x5a 1M 300k',
      'write -P 0xa5 3145728 512',
      'flush',
      'read -P 0x5a 1M 300k',
      'read -P 0xa5 3145728 512',
      'write -f -P 0x3c 5M 4k',
      'read -P 0x3c 5M 4k',
      'write -z 1M 64k',
      'read -P 0 1M 64k',
      'read -P 0x5a 1114112 200k',
      'discard 8M 1M',
      'read 8M 1M',
      'aio_write -P 0x11 16M 1M',
      'aio_write -P 0x22 17M 1M',
      'aio_flush',
      'read -P 0x11 16M 1M',
      'read -P 0x22 17M 1M',
    ];
    const args = commands.flatMap((command) => ['-c', command]);
    const said = await tool('qemu-io', ...args, '--image-opts', drive());
    expect(said).not.toMatch(/Pattern verification failed|error|failed/i);
    expect(said.match(/^(?:wrote|read|discard) \d+\/\d+ bytes/gm)).toHaveLength(15);
    const compared = await finishAsync(
      'qemu-img',
      ['compare', '--image-opts', drive(), `driver=raw,file.driver=file,file.filename=${imageFile}`],
      TEST_TIMEOUT_MS,
    );
    expect(compared.stdout, 'the writes are in the disk').toMatch(/Content mismatch at offset/);
  });

  it('iscsi-perf keeps sixteen reads in flight without an error', { timeout: TEST_TIMEOUT_MS }, async () => {
    const said = await tool(
      'iscsi-perf',
      '-i',
      client.initiatorName,
      '-m',
      '16',
      '-b',
      '8',
      '-r',
      '-t',
      '3',
      lunUrl(),
    );
    const rates = [...said.matchAll(/iops average (\d+)/g)].map((match) => Number(match[1]));
    expect(Math.max(...rates), said).toBeGreaterThan(0);
    expect(said).not.toMatch(/fail|error/i);
    console.log(`FIGURES ${JSON.stringify({ case: 'iscsi-perf-random-4k-read', iops: rates.at(-1) })}`);
  });
});
