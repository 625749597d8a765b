import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ProtocolError } from '../../../../base/errors.ts';
import { plainFileName } from '../../../../node/tftp/file-name.ts';
import { fromNetascii, toNetascii } from '../../../../node/tftp/netascii.ts';
import { decodeTftpPacket, encodeTftpPacket, type TftpPacket } from '../../../../node/tftp/packet.ts';

const latin = (text: string): string => Buffer.from(text, 'latin1').toString('hex');
const vectors: readonly { hex: string; packet: TftpPacket }[] = [
  {
    hex: `0001${latin('a.efi\0octet\0blksize\x001432\0tsize\x000\0')}`,
    packet: {
      kind: 'readRequest',
      fileName: 'a.efi',
      mode: 'octet',
      options: new Map([
        ['blksize', '1432'],
        ['tsize', '0'],
      ]),
    },
  },
  {
    hex: `0002${latin('x\0netascii\0')}`,
    packet: { kind: 'writeRequest', fileName: 'x', mode: 'netascii', options: new Map() },
  },
  { hex: '0003ffff0102', packet: { kind: 'data', block: 65535, data: Uint8Array.of(1, 2) } },
  { hex: '00030001', packet: { kind: 'data', block: 1, data: new Uint8Array(0) } },
  { hex: '00040102', packet: { kind: 'ack', block: 258 } },
  { hex: `00050001${latin('no\0')}`, packet: { kind: 'error', code: 1, message: 'no' } },
  {
    hex: `0006${latin('tsize\x0042\0')}`,
    packet: { kind: 'optionAck', options: new Map([['tsize', '42']]) },
  },
];

const plain = (packet: TftpPacket): unknown => ({
  ...packet,
  ...('data' in packet ? { data: [...packet.data] } : {}),
  ...('options' in packet ? { options: [...packet.options] } : {}),
});

describe('TFTP packets', () => {
  it.each(vectors)('$packet.kind $hex', ({ hex, packet }) => {
    expect(plain(decodeTftpPacket(Buffer.from(hex, 'hex')))).toEqual(plain(packet));
    expect(Buffer.from(encodeTftpPacket(packet)).toString('hex')).toBe(hex);
  });

  it('survive truncation at every byte: refused, or shorter by whole options or data', () => {
    for (const { hex, packet } of vectors) {
      const bytes = Buffer.from(hex, 'hex');
      for (let length = 0; length < bytes.length; length++) {
        let cut: TftpPacket;
        try {
          cut = decodeTftpPacket(bytes.subarray(0, length));
        } catch (error) {
          expect(error).toBeInstanceOf(ProtocolError);
          continue;
        }
        expect(cut.kind).toBe(packet.kind);
        if ('options' in cut && 'options' in packet)
          expect(cut.options.size).toBeLessThan(packet.options.size);
        else expect(cut.kind).toBe('data');
      }
    }
  });

  it('reads mode and option names in any case, and the first of two like options', () => {
    const bytes = Buffer.from('\0\x01a\0OCTET\0BlkSize\x00100\0blksize\x00200\0', 'latin1');
    expect(decodeTftpPacket(bytes)).toMatchObject({ mode: 'octet', options: new Map([['blksize', '100']]) });
  });

  it('refuses unknown opcodes', () => {
    for (const opcode of [0, 7, 255]) {
      expect(() => decodeTftpPacket(Uint8Array.of(0, opcode, 0, 0))).toThrow(
        expect.objectContaining({ code: 'bad-opcode' }),
      );
    }
  });

  it('round-trip', () => {
    const text = fc.string({
      maxLength: 20,
      unit: fc.integer({ min: 97, max: 122 }).map((c) => String.fromCharCode(c)),
    });
    const options = fc.array(fc.tuple(text, text), { maxLength: 4 }).map((entries) => new Map(entries));
    const packets: fc.Arbitrary<TftpPacket> = fc.oneof(
      fc.record({
        kind: fc.constantFrom('readRequest' as const, 'writeRequest' as const),
        fileName: text,
        mode: text,
        options,
      }),
      fc.record({
        kind: fc.constant('data' as const),
        block: fc.nat(65535),
        data: fc.uint8Array({ maxLength: 1468 }),
      }),
      fc.record({ kind: fc.constant('ack' as const), block: fc.nat(65535) }),
      fc.record({ kind: fc.constant('error' as const), code: fc.nat(8), message: text }),
      fc.record({ kind: fc.constant('optionAck' as const), options }),
    );
    fc.assert(
      fc.property(packets, (packet) => {
        expect(plain(decodeTftpPacket(encodeTftpPacket(packet)))).toEqual(plain(packet));
      }),
      { numRuns: 200 },
    );
  });

  it('only ever throw ProtocolError, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.nat(6), fc.uint8Array({ maxLength: 60 }), (opcode, rest) => {
        try {
          decodeTftpPacket(Uint8Array.of(0, opcode, ...rest));
        } catch (error) {
          expect(error).toBeInstanceOf(ProtocolError);
        }
      }),
    );
  });
});

describe('netascii', () => {
  it('ends lines with CR LF and marks a bare CR', () => {
    expect(Buffer.from(toNetascii(Buffer.from('a\nb\rc'))).toString('latin1')).toBe('a\r\nb\r\0c');
    expect(Buffer.from(fromNetascii(Buffer.from('a\r\nb\r\0c\rd'))).toString('latin1')).toBe('a\nb\rc\rd');
  });

  it('is undone exactly', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(0, 10, 13, 65)), (bytes) => {
        expect([...fromNetascii(toNetascii(Uint8Array.from(bytes)))]).toEqual(bytes);
      }),
    );
  });
});

describe('file names', () => {
  it.each([
    ['undionly.kpxe', 'undionly.kpxe'],
    ['/snponly.efi', 'snponly.efi'],
    ['//snponly.efi', undefined],
    ['../etc/passwd', undefined],
    ['..', undefined],
    ['.hidden', undefined],
    ['a/b', undefined],
    ['a\\b', undefined],
    ['', undefined],
    ['/', undefined],
    ['a\nb', undefined],
    ['x'.repeat(129), undefined],
  ])('%j is served as %j', (requested, served) => {
    expect(plainFileName(requested)).toBe(served);
  });
});
