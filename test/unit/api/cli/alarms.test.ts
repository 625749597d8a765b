import { randomUUID } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { NodeStatusDocument } from '../../../../api/contract/status.ts';
import { type ApiFixture, startApiFixture } from '../../../support/api-fixture.ts';
import { profileFor, runCommand } from '../../../support/cli-session.ts';
import { SAMPLE_STATUS } from '../../../support/fake-node-services.ts';

const ROOM = 'clients are refused space: only the reserve for compaction is left on n2';
const [GROUP] = SAMPLE_STATUS.portalGroups;

let first: ApiFixture;
let second: ApiFixture;
let profile: string;

const isWell = (nodeId: string): NodeStatusDocument => ({
  ...SAMPLE_STATUS,
  nodeId,
  nodes: SAMPLE_STATUS.nodes.filter((node) => node.nodeId !== 'n3'),
  portalGroups: SAMPLE_STATUS.portalGroups.map((group) => ({ ...group, room: null, slow: null })),
  integrity: { ...SAMPLE_STATUS.integrity, left: [], leftCount: 0 },
});

beforeEach(async () => {
  [first, second] = await Promise.all([startApiFixture('n1'), startApiFixture('n2')]);
  first.services.status = async () => isWell('n1');
  profile = join(tmpdir(), `bootfabric-${randomUUID()}.json`);
  const apiUrls = [first, second].map(({ server }) => `https://127.0.0.1:${server.port}`);
  await writeFile(profile, JSON.stringify({ ...profileFor(first.server.port), apiUrls }));
  return async () => {
    await first.server.close();
    await rm(profile);
  };
});

afterEach(async () => {
  await second.server.close();
});

it('show with the status of one node what only another one knows', async () => {
  if (GROUP === undefined) throw new Error('the sample has a group');
  second.services.status = async () => ({
    ...isWell('n2'),
    portalGroups: [{ ...GROUP, room: ROOM, slow: 'n2 is slow' }],
    integrity: { ...SAMPLE_STATUS.integrity, left: ['portal group pg1, record 77'], leftCount: 1 },
  });
  const { out } = await runCommand(['status'], profile);
  expect(out).toContain('As node n1 (leader) sees it');
  expect(out).toContain(`\nALARM, disks of portal groups, as n2 sees them:\n  pg1: ${ROOM}\n`);
  expect(out).toContain('\nALARM, slow copies of portal groups:\n  pg1: n2 is slow\n');
  expect(out).toContain(
    'ALARM, damaged on n2, and no other node has given what was there:\n  portal group pg1',
  );
  // Of one node only where that is asked for, and documents are what the API says.
  expect((await runCommand(['status', '--node', 'n1'], profile)).out).not.toContain('n2 sees them');
  expect(JSON.parse((await runCommand(['status', '--json'], profile)).out)).toEqual(isWell('n1'));
});

it('say nothing where there is nothing to see to', async () => {
  second.services.status = async () => isWell('n2');
  const { out } = await runCommand(['status'], profile);
  expect(out).toBe((await runCommand(['status', '--node', 'n1'], profile)).out);
});

it('say whose are not known', async () => {
  await second.server.close();
  const { out, code } = await runCommand(['status'], profile);
  expect(code).toBe(0);
  expect(out).toMatch(/\n\nAlarms that only n2 would know of are not known: no answer\n$/);
});
