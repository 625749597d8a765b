import { IPV4_ANY, type Ipv4, ipv4Netmask, parseIpv4, parseIpv4Subnet } from '../../base/ipv4.ts';
import type { MacAddress } from '../../base/mac-address.ts';
import type { DhcpSettings } from '../../cluster/state/model.ts';
import { type BootFileTable, decideBoot, type Firmware } from './boot-decision.ts';
import { FILE_FIELD_CHARACTERS_MAX } from './limits.ts';
import { BOOT_REPLY, type DhcpMessage } from './message.ts';
import {
  dhcpOption,
  IPXE_NO_PROXY_DHCP,
  MESSAGE_TYPE,
  PXE_BOOT_ITEM,
  PXE_DISCOVERY_CONTROL,
  PXE_USE_BOOT_FILE_NAME,
  readOption,
  writeOption,
} from './option-registry.ts';
import type { BootClient, BootUrls } from './ports.ts';

/** What a reply is made from. */
export interface ReplyContext {
  readonly request: DhcpMessage;
  readonly mac: MacAddress;
  readonly client: BootClient;
  readonly firmware: Firmware;
  readonly settings: DhcpSettings;
  readonly bootFiles: BootFileTable;
  readonly urls: BootUrls;
  /** This node on the client's network: next server. */
  readonly localAddress: Ipv4;
  /** The same, or that of a dead node in whose name is answered. */
  readonly serverIdentifier: Ipv4;
  readonly nowMs: number;
}

/** Fields of a reply that are being gathered. */
export interface ReplyDraft {
  readonly options: Map<number, Uint8Array>;
  siaddr: Ipv4;
  file: string;
}

export function startDraft(context: ReplyContext, messageType: number): ReplyDraft {
  const options = new Map<number, Uint8Array>();
  writeOption(options, dhcpOption.messageType, messageType);
  writeOption(options, dhcpOption.serverIdentifier, context.serverIdentifier);
  return { options, siaddr: IPV4_ANY, file: '' };
}

/** Address parameters of role full (RFC 2131 §4.3.1). T1 and T2 are the RFC's defaults, said openly. */
export function writeAddressOptions(draft: ReplyDraft, settings: DhcpSettings, withLease: boolean): void {
  const { options } = draft;
  if (withLease) {
    const seconds = settings.leaseSeconds;
    writeOption(options, dhcpOption.leaseTimeSeconds, seconds);
    writeOption(options, dhcpOption.renewalTimeSeconds, Math.floor(seconds / 2));
    writeOption(options, dhcpOption.rebindingTimeSeconds, Math.floor((seconds * 7) / 8));
  }
  if (settings.subnet !== undefined) {
    const { prefixLength } = parseIpv4Subnet(settings.subnet);
    writeOption(options, dhcpOption.subnetMask, ipv4Netmask(prefixLength));
  }
  if (settings.router !== undefined) {
    writeOption(options, dhcpOption.router, [parseIpv4(settings.router)]);
  }
  if (settings.dnsServers !== undefined && settings.dnsServers.length > 0) {
    writeOption(options, dhcpOption.domainNameServer, settings.dnsServers.map(parseIpv4));
  }
}

/**
 * Adds what the client shall boot.
 *
 * As `proxy`, a message to firmware repeats its vendor class and, in option 43, tells it to load the named
 * file at once: without that PXE firmware asks again on port 4011. As `full` it is the plain form that every
 * boot ROM knows: next server and file name.
 */
export function writeBootInformation(draft: ReplyDraft, context: ReplyContext, role: 'full' | 'proxy'): void {
  const { firmware, urls, localAddress, client, mac } = context;
  const decision = decideBoot(firmware, context.bootFiles);
  if (decision.kind === 'nothing') return;
  draft.siaddr = localAddress;
  switch (decision.kind) {
    case 'program':
      writeFileName(draft, context, decision.fileName);
      writeWhenAsked(draft, context.request);
      break;
    case 'http-program':
      // Firmware takes an offer for HTTP boot only with this class and a whole URL.
      writeOption(draft.options, dhcpOption.vendorClass, 'HTTPClient');
      writeFileName(draft, context, urls.file(decision.fileName, localAddress));
      break;
    case 'script':
      writeFileName(draft, context, urls.script(mac, client, localAddress, context.nowMs));
      writeOption(draft.options, dhcpOption.ipxeInitiatorName, client.initiatorName);
      if (role === 'full') {
        writeOption(draft.options, dhcpOption.ipxe, new Map([[IPXE_NO_PROXY_DHCP, Uint8Array.of(1)]]));
      }
      break;
  }
  if (role === 'proxy' && decision.kind !== 'http-program') writePxeClass(draft, context.request);
}

/** In the `file` field where it fits, which every firmware reads; in option 67 where asked for or too long. */
function writeFileName(draft: ReplyDraft, context: ReplyContext, name: string): void {
  const fits = name.length <= FILE_FIELD_CHARACTERS_MAX;
  if (fits) draft.file = name;
  if (!fits || asksFor(context.request, dhcpOption.bootFileName.code)) {
    writeOption(draft.options, dhcpOption.bootFileName, name);
  }
}

function writeWhenAsked(draft: ReplyDraft, request: DhcpMessage): void {
  if (asksFor(request, dhcpOption.tftpServerName.code)) {
    writeOption(draft.options, dhcpOption.tftpServerName, draft.siaddr);
  }
}

function asksFor(request: DhcpMessage, code: number): boolean {
  return readOption(request.options, dhcpOption.parameterRequestList)?.includes(code) ?? false;
}

function writePxeClass(draft: ReplyDraft, request: DhcpMessage): void {
  writeOption(draft.options, dhcpOption.vendorClass, 'PXEClient');
  const pxe = new Map<number, Uint8Array>([[PXE_DISCOVERY_CONTROL, Uint8Array.of(PXE_USE_BOOT_FILE_NAME)]]);
  const isPxe = (readOption(request.options, dhcpOption.vendorClass) ?? '').startsWith('PXEClient');
  const item = isPxe ? readOption(request.options, dhcpOption.vendorSpecific)?.get(PXE_BOOT_ITEM) : undefined;
  if (item !== undefined) pxe.set(PXE_BOOT_ITEM, item);
  writeOption(draft.options, dhcpOption.vendorSpecific, pxe);
}

/** Closes a draft: repeats what the request wants repeated, and the header fields of RFC 2131 table 3. */
export function finishReply(
  request: DhcpMessage,
  draft: ReplyDraft,
  addresses: { yiaddr: Ipv4; ciaddr: Ipv4 },
): DhcpMessage {
  const { options } = draft;
  const repeat = (code: number): void => {
    const value = request.options.get(code);
    if (value !== undefined) options.set(code, value);
  };
  repeat(dhcpOption.clientIdentifier.code);
  repeat(dhcpOption.machineIdentifier.code);
  // RFC 3046 §2.2: the relay's information is repeated as it came, as the last option.
  repeat(dhcpOption.relayAgentInformation.code);
  const isNak = readOption(options, dhcpOption.messageType) === MESSAGE_TYPE.nak;
  const relayed = request.giaddr !== IPV4_ANY;
  return {
    op: BOOT_REPLY,
    htype: request.htype,
    hops: 0,
    xid: request.xid,
    secs: 0,
    // RFC 2131 §4.3.2: so that the relay agent broadcasts the refusal to a client with a wrong address.
    broadcast: request.broadcast || (isNak && relayed),
    ciaddr: addresses.ciaddr,
    yiaddr: addresses.yiaddr,
    siaddr: draft.siaddr,
    giaddr: request.giaddr,
    chaddr: request.chaddr,
    sname: '',
    file: draft.file,
    options,
  };
}
