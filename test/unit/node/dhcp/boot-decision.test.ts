import { describe, expect, it } from 'vitest';
import { IPV4_ANY, parseIpv4 } from '../../../../base/ipv4.ts';
import { DEFAULT_BOOT_FILES, decideBoot, identifyFirmware } from '../../../../node/dhcp/boot-decision.ts';
import { replyDestination } from '../../../../node/dhcp/reply-destination.ts';

interface Row {
  readonly says: string;
  readonly vendorClass?: string;
  readonly types?: readonly number[];
  readonly userClass?: string;
  readonly has175?: boolean;
  readonly boots: unknown;
}

const rows: readonly Row[] = [
  { says: 'BIOS', vendorClass: 'PXEClient:Arch:00000:UNDI:002001', types: [0], boots: 'undionly.kpxe' },
  { says: 'BIOS without option 93', vendorClass: 'PXEClient', boots: 'undionly.kpxe' },
  { says: 'IA32 UEFI', vendorClass: 'PXEClient', types: [6], boots: 'snponly-ia32.efi' },
  { says: 'x64 UEFI', vendorClass: 'PXEClient', types: [7], boots: 'snponly.efi' },
  { says: 'x64 UEFI as type 9', vendorClass: 'PXEClient', types: [9], boots: 'snponly.efi' },
  { says: 'x64 UEFI by class only', vendorClass: 'PXEClient:Arch:00007:UNDI:003016', boots: 'snponly.efi' },
  { says: 'arm64 UEFI', vendorClass: 'PXEClient', types: [0x0b], boots: 'snponly-arm64.efi' },
  { says: 'a second type that is known', vendorClass: 'PXEClient', types: [77, 7], boots: 'snponly.efi' },
  { says: 'x64 HTTP boot', vendorClass: 'HTTPClient:Arch:00016', types: [0x10], boots: 'http snponly.efi' },
  { says: 'arm64 HTTP boot', vendorClass: 'HTTPClient', types: [0x13], boots: 'http snponly-arm64.efi' },
  { says: 'an HTTP type with the PXE class', vendorClass: 'PXEClient', types: [0x10], boots: 'nothing' },
  { says: 'an unknown machine', vendorClass: 'PXEClient', types: [0x15], boots: 'nothing' },
  { says: 'iPXE, bare class', vendorClass: 'PXEClient', types: [0], userClass: 'iPXE', boots: 'script' },
  { says: 'iPXE, RFC 3004', vendorClass: 'PXEClient', types: [7], userClass: '\x04iPXE', boots: 'script' },
  { says: 'iPXE, option 175', vendorClass: 'PXEClient', types: [7], has175: true, boots: 'script' },
  { says: 'Windows', vendorClass: 'MSFT 5.0', boots: 'nothing' },
  { says: 'no class at all', boots: 'nothing' },
];

function optionsOf(row: Row): Map<number, Uint8Array> {
  const options = new Map<number, Uint8Array>();
  if (row.vendorClass !== undefined) options.set(60, Buffer.from(row.vendorClass));
  if (row.types !== undefined) options.set(93, Uint8Array.from(row.types.flatMap((t) => [t >> 8, t & 255])));
  if (row.userClass !== undefined) options.set(77, Buffer.from(row.userClass, 'latin1'));
  if (row.has175 === true) options.set(175, Uint8Array.of(0xb0, 1, 1));
  return options;
}

describe('what firmware is given to boot', () => {
  it.each(rows)('$says: $boots', (row) => {
    const decision = decideBoot(identifyFirmware(optionsOf(row)), DEFAULT_BOOT_FILES);
    const told = {
      program: () => ('fileName' in decision ? decision.fileName : ''),
      'http-program': () => ('fileName' in decision ? `http ${decision.fileName}` : ''),
      script: () => 'script',
      nothing: () => 'nothing',
    }[decision.kind]();
    expect(told).toBe(row.boots);
  });
});

describe('where replies go (RFC 2131 §4.1)', () => {
  const relay = parseIpv4('192.0.2.254');
  const client = parseIpv4('192.0.2.7');
  it.each([
    { giaddr: relay, ciaddr: IPV4_ANY, type: 2, to: { kind: 'relay', address: relay } },
    { giaddr: relay, ciaddr: client, type: 5, to: { kind: 'relay', address: relay } },
    { giaddr: relay, ciaddr: IPV4_ANY, type: 6, to: { kind: 'relay', address: relay } },
    { giaddr: IPV4_ANY, ciaddr: client, type: 5, to: { kind: 'client', address: client } },
    { giaddr: IPV4_ANY, ciaddr: client, type: 6, to: { kind: 'broadcast' } },
    { giaddr: IPV4_ANY, ciaddr: IPV4_ANY, type: 2, to: { kind: 'broadcast' } },
  ])('giaddr $giaddr, ciaddr $ciaddr, type $type', ({ giaddr, ciaddr, type, to }) => {
    expect(replyDestination({ giaddr, ciaddr }, type)).toEqual(to);
  });
});
