import { IPV4_ANY, type Ipv4 } from '../../base/ipv4.ts';
import { type MacAddress, macToBytes } from '../../base/mac-address.ts';
import { BOOT_REQUEST, type DhcpMessage, HARDWARE_ETHERNET } from '../../node/dhcp/message.ts';
import { dhcpOption, MESSAGE_TYPE, readOption, writeOption } from '../../node/dhcp/option-registry.ts';

/** What boot firmware says over DHCP, as pure functions. */

/** Who speaks: the same machine boots its ROM first, and that loads iPXE. */
export interface DhcpIdentity {
  readonly mac: MacAddress;
  readonly firmware: 'pxe' | 'http' | 'ipxe';
  /** RFC 4578 §2.1: 0 is BIOS, 7 is UEFI on x64, 0x10 is UEFI on x64 booting by HTTP. */
  readonly architectureType: number;
}

/** What a client learns from the exchange. */
export interface DhcpLease {
  readonly address: Ipv4;
  readonly serverIdentifier: Ipv4;
  readonly leaseSeconds: number;
  /** Where the boot file is, for TFTP. */
  readonly nextServer: Ipv4;
  /** Boot file name or URL; "" when nothing is offered. */
  readonly bootFileName: string;
  /** What iPXE shall call itself (option 203). */
  readonly initiatorName: string | undefined;
}

const REQUESTED_PARAMETERS = [1, 3, 6, 43, 51, 54, 60, 66, 67, 97, 175, 203];

/** The largest message firmware takes (RFC 2132 §9.10): an Ethernet frame of 1500 bytes. */
const MESSAGE_SIZE_MAX = 1500;

function identityOptions(identity: DhcpIdentity, messageType: number): Map<number, Uint8Array> {
  const options = new Map<number, Uint8Array>();
  const architecture = String(identity.architectureType).padStart(5, '0');
  const vendor = identity.firmware === 'http' ? 'HTTPClient' : 'PXEClient';
  writeOption(options, dhcpOption.messageType, messageType);
  writeOption(options, dhcpOption.parameterRequestList, REQUESTED_PARAMETERS);
  writeOption(options, dhcpOption.maxMessageSizeBytes, MESSAGE_SIZE_MAX);
  writeOption(options, dhcpOption.vendorClass, `${vendor}:Arch:${architecture}:UNDI:003016`);
  writeOption(options, dhcpOption.clientArchitecture, [identity.architectureType]);
  writeOption(options, dhcpOption.networkInterface, { type: 1, major: 3, minor: 16 });
  const uuid = Uint8Array.from([...new Uint8Array(10), ...macToBytes(identity.mac)]);
  writeOption(options, dhcpOption.machineIdentifier, { type: 0, identifier: uuid });
  if (identity.firmware === 'ipxe') {
    // iPXE sends its class bare, not in the form of RFC 3004.
    options.set(dhcpOption.userClass.code, Buffer.from('iPXE', 'latin1'));
    writeOption(options, dhcpOption.ipxe, new Map([[0xeb, Uint8Array.of(1, 0, 0)]]));
  }
  return options;
}

function requestMessage(
  identity: DhcpIdentity,
  xid: number,
  giaddr: Ipv4,
  options: Map<number, Uint8Array>,
): DhcpMessage {
  return {
    op: BOOT_REQUEST,
    htype: HARDWARE_ETHERNET,
    hops: giaddr === IPV4_ANY ? 0 : 1,
    xid,
    secs: 0,
    broadcast: true,
    ciaddr: IPV4_ANY,
    yiaddr: IPV4_ANY,
    siaddr: IPV4_ANY,
    giaddr,
    chaddr: macToBytes(identity.mac),
    sname: '',
    file: '',
    options,
  };
}

/** @param giaddr the relay agent that forwards the message, or IPV4_ANY */
export function discoverMessage(identity: DhcpIdentity, xid: number, giaddr: Ipv4): DhcpMessage {
  return requestMessage(identity, xid, giaddr, identityOptions(identity, MESSAGE_TYPE.discover));
}

/** Takes one server's offer, in the sight of all of them (RFC 2131 §4.3.2, SELECTING). */
export function selectingMessage(
  identity: DhcpIdentity,
  xid: number,
  giaddr: Ipv4,
  offer: { address: Ipv4; serverIdentifier: Ipv4 },
): DhcpMessage {
  const options = identityOptions(identity, MESSAGE_TYPE.request);
  writeOption(options, dhcpOption.requestedAddress, offer.address);
  writeOption(options, dhcpOption.serverIdentifier, offer.serverIdentifier);
  return requestMessage(identity, xid, giaddr, options);
}

/** What an OFFER or ACK says; undefined when it grants no address or does not name its server. */
export function leaseOf(reply: DhcpMessage): DhcpLease | undefined {
  const serverIdentifier = readOption(reply.options, dhcpOption.serverIdentifier);
  if (reply.yiaddr === IPV4_ANY || serverIdentifier === undefined) return undefined;
  return {
    address: reply.yiaddr,
    serverIdentifier,
    leaseSeconds: readOption(reply.options, dhcpOption.leaseTimeSeconds) ?? 0,
    nextServer: reply.siaddr,
    bootFileName: readOption(reply.options, dhcpOption.bootFileName) ?? reply.file,
    initiatorName: readOption(reply.options, dhcpOption.ipxeInitiatorName),
  };
}

export function messageTypeOf(message: DhcpMessage): number | undefined {
  return readOption(message.options, dhcpOption.messageType);
}
