import { createServer, type Server } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { OperationError } from '../../../base/errors.ts';
import { startFailureText } from '../../../node/start-failure.ts';

let servers: Server[] = [];

afterEach(async () => {
  for (const server of servers) await new Promise((resolve) => server.close(resolve));
  servers = [];
});

async function listening(host: string, port = 0): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port }, resolve);
  });
  servers.push(server);
  return (server.address() as { readonly port: number }).port;
}

const failureOf = (attempt: Promise<unknown>): Promise<string> =>
  attempt.then(
    () => 'it did not fail',
    (error: unknown) => startFailureText(error),
  );

describe('why a node did not start', () => {
  it('is told in words where its address is not of this host', async () => {
    // Of the block for documentation, which no host has.
    expect(await failureOf(listening('198.51.100.1', 7400))).toBe(
      'error: this host does not have the address 198.51.100.1\n' +
        '  got:      198.51.100.1:7400\n' +
        '  accepted: the node’s own directory on its own host, or another address in bootfabric.yaml\n' +
        '  code:     address-not-here\n',
    );
  });

  it('is told in words where something is there already', async () => {
    const port = await listening('127.0.0.1');
    const text = await failureOf(listening('127.0.0.1', port));
    expect(text).toMatch(
      /^error: another process of this host is at 127\.0\.0\.1:\d+, perhaps this very node\n/,
    );
    expect(text).toContain('  code:     address-in-use\n');
  });

  it('is what an administrator can mend, or else has a stack', () => {
    const wrong = new OperationError('it is wrong', {
      kind: 'invalid',
      code: 'wrong',
      accepted: 'what is right',
    });
    expect(startFailureText(wrong)).toBe(
      'error: it is wrong\n  accepted: what is right\n  code:     wrong\n',
    );
    expect(startFailureText(new Error('unforeseen'))).toMatch(/^bootfabric: Error: unforeseen\n +at /);
  });
});
