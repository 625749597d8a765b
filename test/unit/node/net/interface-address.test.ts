import { describe, expect, it } from 'vitest';
import { OperationError } from '../../../../base/errors.ts';
import { parseIpv4 } from '../../../../base/ipv4.ts';
import { announceAddress } from '../../../../node/net/gratuitous-arp.ts';
import {
  addInterfaceAddress,
  interfaceIpv4,
  removeInterfaceAddress,
} from '../../../../node/net/interface-address.ts';
import { openInterfaceUdp } from '../../../../node/net/interface-udp.ts';

const ADDRESS = parseIpv4('192.0.2.50');
const MISSING = 'bf-missing0';

describe('an interface that does not exist', () => {
  it('cannot get or lose an address, and the error names it', async () => {
    await expect(addInterfaceAddress(ADDRESS, MISSING)).rejects.toThrow(/adding 192.0.2.50 .* bf-missing0/);
    await expect(removeInterfaceAddress(ADDRESS, MISSING)).rejects.toBeInstanceOf(OperationError);
  });

  it('has no address of its own', () => {
    expect(() => interfaceIpv4(MISSING)).toThrow(OperationError);
  });

  it('cannot be announced on or listened to', async () => {
    expect(() => announceAddress(ADDRESS, MISSING)).toThrow(/bf-missing0/);
    const refusal = process.getuid?.() === 0 ? 'enodev' : /enodev|eperm/;
    await expect(openInterfaceUdp(MISSING, 40_067)).rejects.toMatchObject({
      code: expect.stringMatching(refusal) as string,
    });
  });
});

describe('the loopback interface', () => {
  it('has its address', () => {
    expect(interfaceIpv4('lo')).toBe('127.0.0.1');
  });
});
