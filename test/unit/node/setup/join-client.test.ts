import { once } from 'node:events';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { JoinRequestDocument } from '../../../../api/contract/join.ts';
import { askToJoin } from '../../../../node/setup/join-client.ts';
import type { JoinToken } from '../../../../node/setup/join-token.ts';
import { JOIN_ROUNDS } from '../../../../node/setup/limits.ts';
import { makeTestAuthority } from '../../../support/test-certificates.ts';

const ELECTING = { status: 503, code: 'no-leader', message: 'the cluster has no leader at the moment' };
const REFUSED = { status: 409, code: 'taken', message: 'there is a node n1' };
const BUSY = { status: 503, code: 'busy', message: 'later' };

let server: Server;
/** What is answered, one after another; the last one from then on. */
let answers: { status: number; code: string; message: string }[];
let asked: number;

beforeEach(async () => {
  asked = 0;
  const { cert, key } = await (await makeTestAuthority()).issue('n1', 'c');
  server = createServer({ cert, key }, (_, response) => {
    const { status, ...error } = answers[Math.min(asked++, answers.length - 1)] as (typeof answers)[number];
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify({ error }));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});

afterEach(() => {
  server.close();
});

async function join(): Promise<{ failure: unknown; pauses: number }> {
  const endpoint = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const names = { clusterName: 'demo', clusterId: 'c', id: 'i', secret: 's' };
  const token: JoinToken = { ...names, apiEndpoints: [endpoint], authoritySha256: '00' };
  let pauses = 0;
  const pause = (): Promise<void> => {
    pauses++;
    return Promise.resolve();
  };
  const failure = await askToJoin(token, {} as JoinRequestDocument, pause).catch((error: unknown) => error);
  return { failure, pauses };
}

it('asks again while the cluster elects a leader, until it is answered', async () => {
  answers = [ELECTING, ELECTING, REFUSED];
  const { failure, pauses } = await join();
  expect(failure).toMatchObject({ code: 'taken', message: REFUSED.message });
  expect([asked, pauses]).toEqual([3, 2]);
});

it('gives up on a cluster that goes on without a leader', async () => {
  answers = [ELECTING];
  const { failure, pauses } = await join();
  expect(failure).toMatchObject({ code: 'unreachable', got: expect.stringContaining(ELECTING.message) });
  expect([asked, pauses]).toEqual([JOIN_ROUNDS, JOIN_ROUNDS - 1]);
});

it('asks no node again that cannot answer for another reason', async () => {
  answers = [BUSY];
  expect((await join()).failure).toMatchObject({ code: 'unreachable' });
  expect(asked).toBe(1);
});
