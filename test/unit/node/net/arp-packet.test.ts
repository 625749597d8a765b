import { describe, expect, it } from 'vitest';
import { ProtocolError } from '../../../../base/errors.ts';
import { parseIpv4 } from '../../../../base/ipv4.ts';
import { parseMacAddress } from '../../../../base/mac-address.ts';
import { arpFrame, gratuitousArpFrames } from '../../../../node/net/arp-packet.ts';

const frames = gratuitousArpFrames(parseIpv4('192.0.2.50'), parseMacAddress('52:54:00:12:34:56'));
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

describe('gratuitous ARP', () => {
  it('announces by request', () => {
    expect(hex(frames[0])).toBe(
      'ffffffffffff525400123456080600010800060400015254001234 56c0000232 000000000000 c0000232'.replaceAll(
        ' ',
        '',
      ),
    );
  });

  it('announces by reply', () => {
    expect(hex(frames[1])).toBe(
      'ffffffffffff525400123456080600010800060400025254001234 56c0000232 ffffffffffff c0000232'.replaceAll(
        ' ',
        '',
      ),
    );
  });

  it('round-trips, and is refused when cut short anywhere', () => {
    expect(hex(arpFrame.encode(arpFrame.decode(frames[1])))).toBe(hex(frames[1]));
    for (let length = 0; length < 42; length++) {
      expect(() => arpFrame.decode(frames[0].subarray(0, length))).toThrow(ProtocolError);
    }
  });
});
