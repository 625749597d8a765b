import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ProtocolError } from '../../../../base/errors.ts';
import { ipv4FromNumber } from '../../../../base/ipv4.ts';
import { type DhcpMessage, decodeDhcpMessage, encodeDhcpMessage } from '../../../../node/dhcp/message.ts';
import { dhcpOption, readOption } from '../../../../node/dhcp/option-registry.ts';

/** A DISCOVER by BIOS PXE firmware through a relay, written out by hand after RFC 2131 §2. */
const DISCOVER_HEX = [
  '01 01 06 01', // op, htype, hlen, hops
  'de ad be ef', // xid
  '00 04 80 00', // secs, flags: broadcast
  '00 00 00 00 00 00 00 00 00 00 00 00', // ciaddr, yiaddr, siaddr
  'c0 00 02 fe', // giaddr 192.0.2.254
  '52 54 00 12 34 56 00 00 00 00 00 00 00 00 00 00', // chaddr
  '00 '.repeat(64), // sname
  '00 '.repeat(128), // file
  '63 82 53 63', // magic cookie
  '35 01 01', // message type: discover
  '39 02 05 c0', // maximum message size 1472
  '5d 02 00 00', // architecture: BIOS
  '5e 03 01 02 01', // UNDI 2.1
  '3c 09 50 58 45 43 6c 69 65 6e 74', // PXEClient
  '52 04 01 02 61 62', // relay agent information: circuit "ab"
  'ff',
].join(' ');

const discoverBytes = Uint8Array.from(Buffer.from(DISCOVER_HEX.replaceAll(' ', ''), 'hex'));

describe('DHCP message', () => {
  it('reads a message written by hand', () => {
    const message = decodeDhcpMessage(discoverBytes);
    expect(message).toMatchObject({ op: 1, hops: 1, xid: 0xdeadbeef, secs: 4, broadcast: true, file: '' });
    expect(message.giaddr).toBe('192.0.2.254');
    expect(Buffer.from(message.chaddr).toString('hex')).toBe('525400123456');
    expect(readOption(message.options, dhcpOption.messageType)).toBe(1);
    expect(readOption(message.options, dhcpOption.maxMessageSizeBytes)).toBe(1472);
    expect(readOption(message.options, dhcpOption.vendorClass)).toBe('PXEClient');
    expect(readOption(message.options, dhcpOption.clientArchitecture)).toEqual([0]);
    expect(readOption(message.options, dhcpOption.networkInterface)).toEqual({ type: 1, major: 2, minor: 1 });
  });

  it('writes the same bytes back, padded to the least size clients accept', () => {
    const written = encodeDhcpMessage(decodeDhcpMessage(discoverBytes));
    expect(Buffer.from(written.subarray(0, discoverBytes.length)).toString('hex')).toBe(
      Buffer.from(discoverBytes).toString('hex'),
    );
    expect(written.length).toBe(300);
    expect(written.subarray(discoverBytes.length).every((b) => b === 0)).toBe(true);
  });

  it('survives truncation at every byte: refused, or read without what is cut off', () => {
    const whole = decodeDhcpMessage(discoverBytes);
    for (let length = 0; length < discoverBytes.length; length++) {
      let message: DhcpMessage;
      try {
        message = decodeDhcpMessage(discoverBytes.subarray(0, length));
      } catch (error) {
        expect(error).toBeInstanceOf(ProtocolError);
        expect((error as ProtocolError).code).toBe('truncated');
        continue;
      }
      expect(length).toBeGreaterThanOrEqual(240);
      for (const [code, value] of message.options) expect(whole.options.get(code)).toEqual(value);
    }
  });

  it('joins options over the overloaded file and sname fields, file first', () => {
    const bytes = new Uint8Array(260);
    bytes.set(discoverBytes.subarray(0, 240));
    bytes.set([52, 1, 3, 53, 1, 1, 67, 2, 0x61, 0x62, 255], 240);
    bytes.set([67, 2, 0x63, 0x64, 255], 108);
    bytes.set([67, 1, 0x65, 255], 44);
    const message = decodeDhcpMessage(bytes);
    expect(readOption(message.options, dhcpOption.bootFileName)).toBe('abcde');
    expect(message.file).toBe('');
    expect(message.sname).toBe('');
  });

  it('refuses what is no DHCP', () => {
    const noCookie = Uint8Array.from(discoverBytes);
    noCookie[236] = 0;
    expect(() => decodeDhcpMessage(noCookie)).toThrow(expect.objectContaining({ code: 'not-dhcp' }));
    const longAddress = Uint8Array.from(discoverBytes);
    longAddress[2] = 17;
    expect(() => decodeDhcpMessage(longAddress)).toThrow(
      expect.objectContaining({ code: 'bad-hardware-length' }),
    );
    expect(() => decodeDhcpMessage(new Uint8Array(5000))).toThrow(
      expect.objectContaining({ code: 'too-long' }),
    );
  });

  const address = fc.nat(0xffffffff).map(ipv4FromNumber);
  const text = (maxLength: number): fc.Arbitrary<string> =>
    fc.string({ maxLength, unit: fc.integer({ min: 1, max: 255 }).map((c) => String.fromCharCode(c)) });

  it('round-trips any message, options longer than 255 bytes included', () => {
    const messages = fc.record({
      op: fc.constantFrom(1, 2),
      htype: fc.nat(255),
      hops: fc.nat(255),
      xid: fc.nat(0xffffffff),
      secs: fc.nat(0xffff),
      broadcast: fc.boolean(),
      ciaddr: address,
      yiaddr: address,
      siaddr: address,
      giaddr: address,
      chaddr: fc.uint8Array({ maxLength: 16 }),
      sname: text(63),
      file: text(127),
      options: fc
        .uniqueArray(
          fc.tuple(
            fc.integer({ min: 1, max: 254 }).filter((code) => code !== 52),
            fc.uint8Array({ maxLength: 600 }),
          ),
          { selector: ([code]) => code, maxLength: 5 },
        )
        .map((entries) => new Map(entries)),
    });
    fc.assert(
      fc.property(messages, (message) => {
        const read = decodeDhcpMessage(encodeDhcpMessage(message));
        const plain = (m: DhcpMessage): unknown => ({
          ...m,
          chaddr: [...m.chaddr],
          options: [...m.options].map(([code, value]) => [code, [...value]]),
        });
        expect(plain(read)).toEqual(plain(message));
      }),
      { numRuns: 200 },
    );
  });

  it('only ever throws ProtocolError, whatever the bytes', () => {
    const mutated = fc.array(fc.tuple(fc.nat(discoverBytes.length - 1), fc.nat(255)), { maxLength: 12 });
    fc.assert(
      fc.property(mutated, fc.nat(discoverBytes.length), (changes, length) => {
        const bytes = Uint8Array.from(discoverBytes.subarray(0, length));
        for (const [at, value] of changes) if (at < length) bytes[at] = value;
        try {
          decodeDhcpMessage(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(ProtocolError);
        }
      }),
      { numRuns: 500 },
    );
  });
});
