import { describe, expect, it } from 'vitest';
import { IPV4_ANY, parseIpv4 } from '../../../../base/ipv4.ts';
import { macToBytes } from '../../../../base/mac-address.ts';
import type { DhcpSettings } from '../../../../cluster/state/model.ts';
import { answerDhcp, type DhcpOutcome } from '../../../../node/dhcp/machine.ts';
import type { DhcpMessage } from '../../../../node/dhcp/message.ts';
import { decodeDhcpMessage, encodeDhcpMessage } from '../../../../node/dhcp/message.ts';
import { dhcpOption, MESSAGE_TYPE, readOption } from '../../../../node/dhcp/option-registry.ts';
import {
  CLIENT_ADDRESS,
  environment,
  FENCED_NODE,
  fullSettings,
  having,
  NODE,
  type OptionSetting,
  OTHER_NODE,
  RELAY,
  request,
  STRANGE_MAC,
} from './dhcp-fixtures.ts';

const NOW_MS = 1_000;
const proxySettings: DhcpSettings = { mode: 'proxy', leaseSeconds: 3600 };
const wrongAddress = parseIpv4('192.0.2.200');

function answer(
  message: DhcpMessage,
  settings = fullSettings,
  service: 'dhcp' | 'boot-server' = 'dhcp',
): DhcpOutcome {
  return answerDhcp(message, { service, localAddress: NODE }, environment(settings), NOW_MS);
}

function replyTo(
  message: DhcpMessage,
  settings = fullSettings,
  service: 'dhcp' | 'boot-server' = 'dhcp',
): Extract<DhcpOutcome, { kind: 'reply' }> {
  const outcome = answer(message, settings, service);
  if (outcome.kind !== 'reply') throw new Error(`ignored: ${outcome.reason}`);
  // What is sent must be readable again.
  expect(decodeDhcpMessage(encodeDhcpMessage(outcome.message)).xid).toBe(message.xid);
  return outcome;
}

const pxeBios = [
  having(dhcpOption.vendorClass, 'PXEClient:Arch:00000:UNDI:002001'),
  having(dhcpOption.clientArchitecture, [0]),
];
const httpX64 = [
  having(dhcpOption.vendorClass, 'HTTPClient:Arch:00016'),
  having(dhcpOption.clientArchitecture, [0x10]),
];
const ipxe = [...pxeBios, having(dhcpOption.userClass, ['iPXE'])];

describe('role full', () => {
  it('offers the reserved address with the network parameters', () => {
    const { message, destination, replyType } = replyTo(request(MESSAGE_TYPE.discover));
    expect(replyType).toBe('offer');
    expect(destination).toEqual({ kind: 'broadcast' });
    expect(message).toMatchObject({
      op: 2,
      xid: 0x1234,
      secs: 0,
      yiaddr: CLIENT_ADDRESS,
      siaddr: IPV4_ANY,
      file: '',
    });
    const { options } = message;
    expect(readOption(options, dhcpOption.serverIdentifier)).toBe(NODE);
    expect(readOption(options, dhcpOption.subnetMask)).toBe('255.255.255.0');
    expect(readOption(options, dhcpOption.router)).toEqual(['192.0.2.1']);
    expect(readOption(options, dhcpOption.domainNameServer)).toEqual(['192.0.2.2']);
    expect(readOption(options, dhcpOption.leaseTimeSeconds)).toBe(3600);
    expect(readOption(options, dhcpOption.renewalTimeSeconds)).toBe(1800);
    expect(readOption(options, dhcpOption.rebindingTimeSeconds)).toBe(3150);
    expect(options.has(dhcpOption.vendorClass.code)).toBe(false);
  });

  it('gives PXE firmware the plain next server and file', () => {
    const { message } = replyTo(request(MESSAGE_TYPE.discover, pxeBios));
    expect(message).toMatchObject({ siaddr: NODE, file: 'undionly.kpxe' });
    expect(message.options.has(60)).toBe(false);
    expect(message.options.has(67)).toBe(false);
    const asked = replyTo(
      request(MESSAGE_TYPE.discover, [...pxeBios, having(dhcpOption.parameterRequestList, [66, 67])]),
    );
    expect(readOption(asked.message.options, dhcpOption.tftpServerName)).toBe(NODE);
    expect(readOption(asked.message.options, dhcpOption.bootFileName)).toBe('undionly.kpxe');
  });

  it('gives iPXE its script, its name, and the word that no proxy will come', () => {
    const { message } = replyTo(request(MESSAGE_TYPE.discover, ipxe));
    expect(message.file).toBe('http://192.0.2.11:8080/boot/52:54:00:12:34:56?token=pc-1.1000');
    expect(readOption(message.options, dhcpOption.ipxe)).toEqual(new Map([[176, Uint8Array.of(1)]]));
    expect(readOption(message.options, dhcpOption.ipxeInitiatorName)).toBe('iqn.2026-11.test:pc-1');
  });

  it('puts a name too long for the file field into option 67', () => {
    const base = environment(fullSettings);
    const url = `http://192.0.2.11/${'x'.repeat(200)}`;
    const outcome = answerDhcp(
      request(MESSAGE_TYPE.discover, ipxe),
      { service: 'dhcp', localAddress: NODE },
      { ...base, urls: { ...base.urls, script: () => url } },
      NOW_MS,
    );
    if (outcome.kind !== 'reply') throw new Error('no reply');
    expect(outcome.message.file).toBe('');
    expect(readOption(outcome.message.options, dhcpOption.bootFileName)).toBe(url);
  });

  it('gives HTTP boot firmware its class and a URL', () => {
    const { message } = replyTo(request(MESSAGE_TYPE.discover, httpX64));
    expect(readOption(message.options, dhcpOption.vendorClass)).toBe('HTTPClient');
    expect(message.file).toBe('http://192.0.2.11:8080/files/snponly.efi');
    expect(message.yiaddr).toBe(CLIENT_ADDRESS);
  });

  it('repeats client identifier, machine identifier, and the relay information last', () => {
    const relayInformation = Uint8Array.of(1, 2, 0x61, 0x62);
    const identifier = Uint8Array.of(0, 1, 2, 3);
    const message = request(
      MESSAGE_TYPE.discover,
      [
        having(dhcpOption.relayAgentInformation, relayInformation),
        having(dhcpOption.clientIdentifier, identifier),
        having(dhcpOption.machineIdentifier, { type: 0, identifier: new Uint8Array(16) }),
      ],
      { giaddr: RELAY, hops: 1 },
    );
    const { message: reply, destination } = replyTo(message);
    expect(destination).toEqual({ kind: 'relay', address: RELAY });
    expect(reply.giaddr).toBe(RELAY);
    expect(reply.options.get(61)).toEqual(identifier);
    expect(reply.options.has(97)).toBe(true);
    expect([...reply.options.keys()].at(-1)).toBe(82);
    expect(reply.options.get(82)).toEqual(relayInformation);
  });

  const selecting = (server: string, address: string, more: readonly OptionSetting[] = []): DhcpMessage =>
    request(MESSAGE_TYPE.request, [
      ...more,
      having(dhcpOption.serverIdentifier, parseIpv4(server)),
      having(dhcpOption.requestedAddress, parseIpv4(address)),
    ]);
  const rebooting = (address: string): DhcpMessage =>
    request(MESSAGE_TYPE.request, [having(dhcpOption.requestedAddress, parseIpv4(address))]);
  const renewing = (address: string): DhcpMessage =>
    request(MESSAGE_TYPE.request, [], { ciaddr: parseIpv4(address) });

  it.each([
    { state: 'SELECTING us, right', message: selecting(NODE, CLIENT_ADDRESS), want: 'ack' },
    { state: 'SELECTING us, wrong', message: selecting(NODE, wrongAddress), want: 'nak' },
    { state: 'SELECTING another', message: selecting(OTHER_NODE, CLIENT_ADDRESS), want: 'other-server' },
    { state: 'SELECTING another, wrong', message: selecting(OTHER_NODE, wrongAddress), want: 'other-server' },
    { state: 'SELECTING a dead node', message: selecting(FENCED_NODE, CLIENT_ADDRESS), want: 'ack' },
    { state: 'SELECTING a dead node, wrong', message: selecting(FENCED_NODE, wrongAddress), want: 'nak' },
    { state: 'INIT-REBOOT, right', message: rebooting(CLIENT_ADDRESS), want: 'ack' },
    { state: 'INIT-REBOOT, wrong', message: rebooting(wrongAddress), want: 'nak' },
    { state: 'RENEWING, right', message: renewing(CLIENT_ADDRESS), want: 'ack' },
    { state: 'RENEWING, wrong', message: renewing(wrongAddress), want: 'renewal-of-another-address' },
    { state: 'RELEASE', message: request(MESSAGE_TYPE.release), want: 'release' },
    { state: 'DECLINE', message: request(MESSAGE_TYPE.decline), want: 'decline' },
    { state: 'an unknown type', message: request(13), want: 'unknown-type' },
  ])('$state: $want', ({ message, want }) => {
    const outcome = answer(message);
    expect(outcome.kind === 'reply' ? outcome.replyType : outcome.reason).toBe(want);
  });

  it('answers in the name of a dead node, with what it serves itself', () => {
    const { message } = replyTo(selecting(FENCED_NODE, CLIENT_ADDRESS, pxeBios));
    // A client takes nothing from a server that it did not choose.
    expect(readOption(message.options, dhcpOption.serverIdentifier)).toBe(FENCED_NODE);
    expect(message).toMatchObject({ yiaddr: CLIENT_ADDRESS, siaddr: NODE, file: 'undionly.kpxe' });
  });

  it('acknowledges a renewal straight to the client', () => {
    const { message, destination } = replyTo(renewing(CLIENT_ADDRESS));
    expect(destination).toEqual({ kind: 'client', address: CLIENT_ADDRESS });
    expect(message.ciaddr).toBe(CLIENT_ADDRESS);
  });

  it('refuses by broadcast, telling a relay to broadcast too, with neither address nor boot file', () => {
    const { message, destination } = replyTo(rebooting(wrongAddress));
    expect(destination).toEqual({ kind: 'broadcast' });
    expect(message).toMatchObject({ yiaddr: IPV4_ANY, siaddr: IPV4_ANY, file: '', broadcast: false });
    expect(readOption(message.options, dhcpOption.message)).toContain(CLIENT_ADDRESS);
    const relayed = replyTo({ ...rebooting(wrongAddress), giaddr: RELAY });
    expect(relayed.message.broadcast).toBe(true);
  });

  it('answers INFORM without an address or a lease', () => {
    const { message, destination } = replyTo(request(MESSAGE_TYPE.inform, [], { ciaddr: CLIENT_ADDRESS }));
    expect(destination).toEqual({ kind: 'client', address: CLIENT_ADDRESS });
    expect(message.yiaddr).toBe(IPV4_ANY);
    expect(message.options.has(51)).toBe(false);
    expect(message.options.has(1)).toBe(true);
  });

  it('has nothing to offer a client without a reserved address', () => {
    const outcome = answerDhcp(
      request(MESSAGE_TYPE.discover),
      { service: 'dhcp', localAddress: NODE },
      environment(fullSettings, null),
      NOW_MS,
    );
    expect(outcome).toMatchObject({ kind: 'ignored', reason: 'no-address' });
  });

  it('gives the same address on every node', () => {
    const here = replyTo(request(MESSAGE_TYPE.discover)).message;
    const there = answerDhcp(
      request(MESSAGE_TYPE.discover),
      { service: 'dhcp', localAddress: OTHER_NODE },
      environment(fullSettings),
      NOW_MS,
    );
    expect(there.kind === 'reply' && there.message.yiaddr).toBe(here.yiaddr);
  });
});

describe('whoever is not ours', () => {
  it.each(['full', 'proxy'] as const)('a stranger hears nothing, role %s', (mode) => {
    const { discover, request: ask, inform } = MESSAGE_TYPE;
    for (const type of [discover, ask, inform]) {
      const outcome = answer(request(type, pxeBios, { chaddr: macToBytes(STRANGE_MAC) }), {
        ...fullSettings,
        mode,
      });
      expect(outcome).toMatchObject({ kind: 'ignored', reason: 'unknown-client', mac: STRANGE_MAC });
    }
  });

  it.each([
    ['not-a-request', request(1, [], { op: 2 })],
    ['not-ethernet', request(1, [], { htype: 6 })],
    ['not-ethernet', request(1, [], { chaddr: new Uint8Array(8) })],
    ['unknown-type', request(1, [(options) => options.delete(53)])],
    ['malformed', request(1, [(options) => options.set(53, new Uint8Array(2))])],
    ['malformed', request(1, [(options) => options.set(93, new Uint8Array(3)), ...pxeBios.slice(0, 1)])],
    ['malformed', request(3, [(options) => options.set(50, new Uint8Array(3))])],
  ])('%s', (reason, message) => {
    expect(answer(message)).toMatchObject({ kind: 'ignored', reason });
  });

  it('says nothing when switched off', () => {
    expect(answer(request(1), { ...fullSettings, mode: 'off' })).toMatchObject({ reason: 'disabled' });
  });
});

describe('role proxy', () => {
  it('offers firmware its file without an address, to be loaded at once', () => {
    const { message, destination } = replyTo(request(MESSAGE_TYPE.discover, pxeBios), proxySettings);
    expect(destination).toEqual({ kind: 'broadcast' });
    expect(message).toMatchObject({ yiaddr: IPV4_ANY, siaddr: NODE, file: 'undionly.kpxe' });
    expect(readOption(message.options, dhcpOption.vendorClass)).toBe('PXEClient');
    expect(readOption(message.options, dhcpOption.vendorSpecific)).toEqual(new Map([[6, Uint8Array.of(8)]]));
    for (const code of [1, 3, 6, 51, 58, 59]) expect(message.options.has(code)).toBe(false);
  });

  it('offers HTTP boot firmware a URL under its own class', () => {
    const { message } = replyTo(request(MESSAGE_TYPE.discover, httpX64), proxySettings);
    expect(readOption(message.options, dhcpOption.vendorClass)).toBe('HTTPClient');
    expect(message.options.has(43)).toBe(false);
    expect(message.file).toMatch(/^http:/);
  });

  it('offers iPXE its script', () => {
    const { message } = replyTo(request(MESSAGE_TYPE.discover, ipxe), proxySettings);
    expect(message.file).toMatch(/\/boot\//);
    expect(readOption(message.options, dhcpOption.vendorClass)).toBe('PXEClient');
    expect(message.options.has(175)).toBe(false);
  });

  it.each([
    ['not-network-boot', request(MESSAGE_TYPE.discover)],
    [
      'unsupported-architecture',
      request(MESSAGE_TYPE.discover, [pxeBios[0] as never, having(dhcpOption.clientArchitecture, [0x21])]),
    ],
    ['left-to-address-server', request(MESSAGE_TYPE.request, pxeBios)],
    ['left-to-address-server', request(MESSAGE_TYPE.inform, pxeBios)],
  ])('leaves alone: %s', (reason, message) => {
    expect(answer(message, proxySettings)).toMatchObject({ kind: 'ignored', reason });
  });

  it.each([MESSAGE_TYPE.request, MESSAGE_TYPE.discover, MESSAGE_TYPE.inform])(
    'answers type %i on the boot server port to where it came from',
    (type) => {
      const asked = request(
        type,
        [...pxeBios, having(dhcpOption.vendorSpecific, new Map([[71, Uint8Array.of(0, 0, 0, 0)]]))],
        {
          ciaddr: CLIENT_ADDRESS,
        },
      );
      const { message, destination, replyType } = replyTo(asked, proxySettings, 'boot-server');
      expect(replyType).toBe('ack');
      expect(destination).toEqual({ kind: 'sender' });
      expect(message).toMatchObject({ file: 'undionly.kpxe', siaddr: NODE, yiaddr: IPV4_ANY });
      expect(readOption(message.options, dhcpOption.vendorSpecific)?.get(71)).toEqual(new Uint8Array(4));
    },
  );
});
