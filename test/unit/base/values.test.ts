import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../../base/clock.ts';
import { crc32c, crc32cPast } from '../../../base/crc32c.ts';
import {
  ipv4FromBytes,
  ipv4InSubnet,
  ipv4Netmask,
  ipv4ToBytes,
  parseIpv4,
  parseIpv4Subnet,
} from '../../../base/ipv4.ts';
import { macFromBytes, macToBytes, parseMacAddress } from '../../../base/mac-address.ts';
import { SeededRandom } from '../../../base/random.ts';
import { serialAdd, serialLess, serialLessOrEqual } from '../../../base/serial-number.ts';

describe('crc32c', () => {
  it('gives the vectors of RFC 3720 appendix B.4', () => {
    expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
    expect(crc32c(new Uint8Array(32).fill(0xff))).toBe(0x62a8ab43);
    expect(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i))).toBe(0x46dd794e);
  });

  it('is the same in one piece, in two, in JavaScript and native', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 1200 }), fc.nat(1200), (data, cut) => {
        const at = Math.min(cut, data.length);
        expect(crc32c(data.subarray(at), crc32c(data.subarray(0, at)))).toBe(crc32c(data));
      }),
    );
  });

  it('goes on past bytes known by their CRC alone', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), fc.uint8Array({ maxLength: 600 }), (before, after) => {
        const whole = crc32c(after, crc32c(before));
        expect(crc32cPast(crc32c(before), crc32c(after), after.length)).toBe(whole);
      }),
    );
  });
});

describe('serial numbers', () => {
  it('wrap (RFC 1982)', () => {
    expect(serialAdd(0xffffffff, 1)).toBe(0);
    expect(serialLess(0xffffffff, 0)).toBe(true);
    expect(serialLess(0, 0xffffffff)).toBe(false);
    expect(serialLess(5, 5)).toBe(false);
    expect(serialLessOrEqual(5, 5)).toBe(true);
    // Half way round there is no order.
    expect(serialLess(0, 0x80000000)).toBe(false);
    expect(serialLess(0x80000000, 0)).toBe(false);
  });
});

describe('addresses', () => {
  it('IPv4: one spelling only', () => {
    expect(parseIpv4('192.0.2.1')).toBe('192.0.2.1');
    for (const bad of ['', '1.2.3', '1.2.3.4.5', '256.0.0.1', '01.2.3.4', '1.2.3.4 ', 'a.b.c.d', '1..2.3']) {
      expect(() => parseIpv4(bad), bad).toThrow(/not an IPv4 address/);
    }
    expect(ipv4FromBytes(ipv4ToBytes(parseIpv4('10.0.255.7')))).toBe('10.0.255.7');
    expect(() => ipv4FromBytes(Uint8Array.of(1, 2, 3))).toThrow(/4 bytes/);
  });

  it('IPv4 subnets', () => {
    const subnet = parseIpv4Subnet('10.77.0.0/24');
    expect(ipv4InSubnet(parseIpv4('10.77.0.255'), subnet)).toBe(true);
    expect(ipv4InSubnet(parseIpv4('10.77.1.0'), subnet)).toBe(false);
    expect(ipv4Netmask(24)).toBe('255.255.255.0');
    expect(ipv4Netmask(0)).toBe('0.0.0.0');
    for (const bad of ['10.77.0.1/24', '10.77.0.0', '10.77.0.0/33', '10.77.0.0/-1']) {
      expect(() => parseIpv4Subnet(bad), bad).toThrow(/not an IPv4 subnet/);
    }
  });

  it('MAC addresses in the usual spellings', () => {
    for (const text of ['52:54:00:AB:cd:01', '52-54-00-ab-cd-01', '5254.00ab.cd01', '525400ABCD01']) {
      expect(parseMacAddress(text)).toBe('52:54:00:ab:cd:01');
    }
    for (const bad of [
      '',
      '52:54:00:ab:cd',
      '52:54:00:ab:cd:0g',
      '52:54-00:ab:cd:01',
      '52:54:00:ab:cd:01:02',
    ]) {
      expect(() => parseMacAddress(bad), bad).toThrow(/not a MAC address/);
    }
    expect(macFromBytes(macToBytes(parseMacAddress('52:54:00:ab:cd:01')))).toBe('52:54:00:ab:cd:01');
  });
});

describe('injected time and chance', () => {
  it('manual timers fire in order of time and can be cancelled', () => {
    const clock = new ManualClock();
    const fired: string[] = [];
    clock.setTimer(20, () => fired.push(`b@${clock.monotonicMs()}`));
    clock.setTimer(10, () => {
      fired.push(`a@${clock.monotonicMs()}`);
      clock.setTimer(5, () => fired.push(`nested@${clock.monotonicMs()}`));
    });
    clock.setTimer(12, () => fired.push('never'))();
    clock.advance(30);
    expect(fired).toEqual(['a@10', 'nested@15', 'b@20']);
    expect(clock.monotonicMs()).toBe(30);
  });

  it('one seed gives one sequence, spread over the whole range', () => {
    const draw = (seed: number): number[] => {
      const random = new SeededRandom(seed);
      return Array.from({ length: 1000 }, () => random.below(10));
    };
    expect(draw(7)).toEqual(draw(7));
    expect(draw(7)).not.toEqual(draw(8));
    const counts = draw(7).reduce((c, n) => c.with(n, (c[n] ?? 0) + 1), Array<number>(10).fill(0));
    expect(Math.min(...counts)).toBeGreaterThan(60);
    expect(Math.max(...counts)).toBeLessThan(150);
  });
});
