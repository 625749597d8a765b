import { MessageChannel } from 'node:worker_threads';
import { afterEach, describe, expect, it } from 'vitest';
import { GuardianRelay, type RelayedWorker, relayGuardian } from '../../../../node/portal/guardian-relay.ts';
import { eventually } from '../../../support/real-time.ts';

let channel: MessageChannel;

afterEach(() => {
  channel.port1.close();
});

/** The first worker's guardian, which refuses 192.0.2.9. */
function connect(): { asked: string[]; lost: string[]; relay: GuardianRelay; serve: () => RelayedWorker } {
  channel = new MessageChannel();
  const { port1, port2 } = channel;
  const asked: string[] = [];
  const lost: string[] = [];
  const guardian = {
    hold: async (address: string, holder: number) => {
      asked.push(`hold ${address} ${holder}`);
      if (address === '192.0.2.9') throw new Error('no such interface');
    },
    drop: async (address: string) => void asked.push(`drop ${address}`),
    renew: (holder: number) => void asked.push(`renew ${holder}`),
  };
  const relay = new GuardianRelay(port2, (addresses) => lost.push(...addresses));
  return { asked, lost, relay, serve: () => relayGuardian(port1, 3, guardian) };
}

describe("the guardian of a node's first worker", () => {
  it('does what another worker asks, in its name, and only once it may', async () => {
    const { asked, relay, serve } = connect();
    const held = relay.hold('192.0.2.1');
    relay.renew();
    await new Promise((resolve) => setImmediate(resolve));
    expect(asked).toEqual([]);
    serve();
    await held;
    await relay.drop('192.0.2.1');
    expect(asked).toEqual(['hold 192.0.2.1 3', 'renew 3', 'drop 192.0.2.1']);
  });

  it('says what it cannot do, and which addresses it has given up', async () => {
    const { lost, relay, serve } = connect();
    const relayed = serve();
    await expect(relay.hold('192.0.2.9')).rejects.toThrow('no such interface');
    relayed.expired(['192.0.2.1']);
    await eventually('it is told', () => lost.length > 0);
    expect(lost).toEqual(['192.0.2.1']);
  });
});
