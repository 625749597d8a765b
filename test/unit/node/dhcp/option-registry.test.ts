import { describe, expect, it } from 'vitest';
import { ProtocolError } from '../../../../base/errors.ts';
import type { Ipv4 } from '../../../../base/ipv4.ts';
import {
  type DhcpOption,
  dhcpOption,
  readOption,
  writeOption,
} from '../../../../node/dhcp/option-registry.ts';

const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'));

/** One vector for each row of the table. */
const vectors: Readonly<Record<keyof typeof dhcpOption, { bytes: string; value: unknown; wrong?: string }>> =
  {
    subnetMask: { bytes: 'ffffff00', value: '255.255.255.0', wrong: 'ffffff' },
    router: { bytes: 'c0000201', value: ['192.0.2.1'], wrong: 'c00002' },
    domainNameServer: { bytes: 'c0000202 c0000203', value: ['192.0.2.2', '192.0.2.3'], wrong: '' },
    hostName: { bytes: '6162', value: 'ab' },
    rootPath: { bytes: '6162', value: 'ab' },
    vendorSpecific: { bytes: '06 01 08 ff', value: new Map([[6, hex('08')]]), wrong: '06 02 08' },
    requestedAddress: { bytes: 'c0000201', value: '192.0.2.1', wrong: 'c0000201 00' },
    leaseTimeSeconds: { bytes: '00000e10', value: 3600, wrong: '0e10' },
    overload: { bytes: '03', value: 3, wrong: '0303' },
    messageType: { bytes: '05', value: 5, wrong: '' },
    serverIdentifier: { bytes: 'c0000201', value: '192.0.2.1', wrong: '' },
    parameterRequestList: { bytes: '01 43', value: [1, 0x43] },
    message: { bytes: '6e6f', value: 'no' },
    maxMessageSizeBytes: { bytes: '05c0', value: 1472, wrong: '05' },
    renewalTimeSeconds: { bytes: '00000001', value: 1, wrong: '01' },
    rebindingTimeSeconds: { bytes: '00000002', value: 2, wrong: '02' },
    vendorClass: { bytes: '505845436c69656e74', value: 'PXEClient' },
    clientIdentifier: { bytes: '01 525400123456', value: hex('01525400123456') },
    tftpServerName: { bytes: '3139322e302e322e31', value: '192.0.2.1' },
    bootFileName: { bytes: '612e6b707865', value: 'a.kpxe' },
    userClass: { bytes: '04 69505845', value: ['iPXE'] },
    relayAgentInformation: { bytes: '0102 6162', value: hex('01026162') },
    clientArchitecture: { bytes: '0007 0009', value: [7, 9], wrong: '000700' },
    networkInterface: { bytes: '010310', value: { type: 1, major: 3, minor: 16 }, wrong: '0103' },
    machineIdentifier: { bytes: '00 0102', value: { type: 0, identifier: hex('0102') }, wrong: '' },
    ipxe: { bytes: 'b0 01 01 ff', value: new Map([[176, hex('01')]]), wrong: 'b0 05 01' },
    ipxeInitiatorName: { bytes: '69716e', value: 'iqn' },
  };

describe('DHCP option table', () => {
  const rows = Object.entries(dhcpOption) as [keyof typeof dhcpOption, DhcpOption<unknown>][];

  it('names every code once', () => {
    expect(new Set(rows.map(([, option]) => option.code)).size).toBe(rows.length);
  });

  it.each(rows)('%s reads and writes its vector', (name, option) => {
    const { bytes, value } = vectors[name];
    expect(readOption(new Map([[option.code, hex(bytes)]]), option)).toEqual(value);
    const options = new Map<number, Uint8Array>();
    writeOption(options, option, value);
    expect(Buffer.from(options.get(option.code) ?? []).toString('hex')).toBe(bytes.replaceAll(' ', ''));
  });

  it.each(rows.filter(([name]) => vectors[name].wrong !== undefined))(
    '%s refuses a wrong length',
    (name, option) => {
      const bytes = hex(vectors[name].wrong ?? '');
      expect(() => readOption(new Map([[option.code, bytes]]), option)).toThrow(ProtocolError);
    },
  );

  it('takes a bare user class as one text, and several classes with their lengths', () => {
    const read = (bytes: Uint8Array): unknown => readOption(new Map([[77, bytes]]), dhcpOption.userClass);
    expect(read(Buffer.from('iPXE'))).toEqual(['iPXE']);
    expect(read(Buffer.from('\x04iPXE\x02ab', 'latin1'))).toEqual(['iPXE', 'ab']);
    expect(read(Buffer.from('\x04iPX', 'latin1'))).toEqual(['\x04iPX']);
  });

  it('trims the NUL that some firmware ends text with', () => {
    const options = new Map([[60, Buffer.from('PXEClient\0')]]);
    expect(readOption(options, dhcpOption.vendorClass)).toBe('PXEClient');
  });

  it('writes nothing for an absent value', () => {
    const options = new Map<number, Uint8Array>();
    writeOption(options, dhcpOption.serverIdentifier, undefined as Ipv4 | undefined);
    expect(options.size).toBe(0);
  });
});
