import { ProtocolError } from '../../base/errors.ts';
import { IPV4_ANY, type Ipv4 } from '../../base/ipv4.ts';
import { type MacAddress, macFromBytes } from '../../base/mac-address.ts';
import type { DhcpSettings } from '../../cluster/state/model.ts';
import { type BootFileTable, type Firmware, identifyFirmware } from './boot-decision.ts';
import { BOOT_REQUEST, type DhcpMessage, HARDWARE_ETHERNET } from './message.ts';
import { dhcpOption, MESSAGE_TYPE, readOption } from './option-registry.ts';
import type { BootClient, BootUrls, ClientDirectory } from './ports.ts';
import {
  finishReply,
  type ReplyContext,
  type ReplyDraft,
  startDraft,
  writeAddressOptions,
  writeBootInformation,
} from './reply.ts';
import { type ReplyDestination, replyDestination } from './reply-destination.ts';

/**
 * Decides the answer to one DHCP message. There is no lease table: a registered client's address is part of
 * the replicated configuration, so every node gives the same answer and none needs to remember it.
 */

export interface DhcpEnvironment {
  readonly settings: DhcpSettings;
  readonly bootFiles: BootFileTable;
  readonly directory: ClientDirectory;
  readonly urls: BootUrls;
  /** Whether that is the address of a node that is dead to the cluster: who chose it is answered in its name. */
  readonly isFenced: (server: Ipv4) => boolean;
}

export interface DhcpArrival {
  /** dhcp: port 67. boot-server: port 4011, where PXE firmware asks for the boot program alone. */
  readonly service: 'dhcp' | 'boot-server';
  /** This node's address on the network the message came from. */
  readonly localAddress: Ipv4;
}

/** Why a message gets no answer; each is counted under this name. */
export type IgnoreReason =
  | 'not-a-request'
  | 'not-ethernet'
  | 'malformed'
  | 'unknown-type'
  | 'unknown-client'
  | 'disabled'
  | 'no-address'
  | 'other-server'
  | 'renewal-of-another-address'
  | 'not-network-boot'
  | 'unsupported-architecture'
  | 'left-to-address-server'
  | 'release'
  | 'decline';

export type DhcpOutcome =
  | {
      readonly kind: 'reply';
      readonly replyType: 'offer' | 'ack' | 'nak';
      readonly message: DhcpMessage;
      readonly destination: ReplyDestination;
      readonly clientName: string;
      readonly mac: MacAddress;
      readonly firmware: Firmware['kind'];
    }
  | {
      readonly kind: 'ignored';
      readonly reason: IgnoreReason;
      readonly mac?: MacAddress;
      /** What was wrong, for a malformed message. */
      readonly detail?: string;
    };

interface Asker {
  readonly request: DhcpMessage;
  readonly mac: MacAddress;
  readonly client: BootClient;
  readonly messageType: number;
}

/** @param nowMs wall-clock time, for the lifetime of what is handed out */
export function answerDhcp(
  request: DhcpMessage,
  arrival: DhcpArrival,
  environment: DhcpEnvironment,
  nowMs: number,
): DhcpOutcome {
  try {
    return answer(request, arrival, environment, nowMs);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    return { kind: 'ignored', reason: 'malformed', detail: error.message };
  }
}

function answer(
  request: DhcpMessage,
  arrival: DhcpArrival,
  environment: DhcpEnvironment,
  nowMs: number,
): DhcpOutcome {
  if (request.op !== BOOT_REQUEST) return { kind: 'ignored', reason: 'not-a-request' };
  if (request.htype !== HARDWARE_ETHERNET || request.chaddr.length !== 6) {
    return { kind: 'ignored', reason: 'not-ethernet' };
  }
  const mac = macFromBytes(request.chaddr);
  const ignored = (reason: IgnoreReason): DhcpOutcome => ({ kind: 'ignored', reason, mac });
  const { settings } = environment;
  if (settings.mode === 'off') return ignored('disabled');
  const client = environment.directory.byMac(mac);
  // Not a word to strangers: another server may be theirs, and a NAK would take their address away.
  if (client === undefined) return ignored('unknown-client');
  const messageType = readOption(request.options, dhcpOption.messageType);
  if (messageType === undefined) return ignored('unknown-type');
  const firmware = identifyFirmware(request.options);
  const { bootFiles, urls } = environment;
  const selected = readOption(request.options, dhcpOption.serverIdentifier);
  const context: ReplyContext = {
    request,
    mac,
    client,
    firmware,
    settings,
    bootFiles,
    urls,
    localAddress: arrival.localAddress,
    serverIdentifier:
      selected !== undefined && environment.isFenced(selected) ? selected : arrival.localAddress,
    nowMs,
  };
  const asker: Asker = { request, mac, client, messageType };
  if (arrival.service === 'boot-server') return answerBootServer(asker, context);
  return settings.mode === 'full' ? answerFull(asker, context) : answerProxy(asker, context);
}

// Role full: addresses and boot information.

function answerFull(asker: Asker, context: ReplyContext): DhcpOutcome {
  const { messageType, client, mac } = asker;
  switch (messageType) {
    case MESSAGE_TYPE.discover:
      if (client.address === undefined) return { kind: 'ignored', reason: 'no-address', mac };
      return grant(context, MESSAGE_TYPE.offer, client.address);
    case MESSAGE_TYPE.request:
      return answerRequest(asker, context);
    case MESSAGE_TYPE.inform: {
      const draft = startDraft(context, MESSAGE_TYPE.ack);
      writeAddressOptions(draft, context.settings, false);
      writeBootInformation(draft, context, 'full');
      return reply(context, draft, MESSAGE_TYPE.ack, { yiaddr: IPV4_ANY, ciaddr: asker.request.ciaddr });
    }
    case MESSAGE_TYPE.release:
      return { kind: 'ignored', reason: 'release', mac };
    case MESSAGE_TYPE.decline:
      return { kind: 'ignored', reason: 'decline', mac };
    default:
      return { kind: 'ignored', reason: 'unknown-type', mac };
  }
}

/** DHCPREQUEST in each of the client's states (RFC 2131 §4.3.2 and table 4). */
function answerRequest(asker: Asker, context: ReplyContext): DhcpOutcome {
  const { request, client, mac } = asker;
  const selected = readOption(request.options, dhcpOption.serverIdentifier);
  const requested = readOption(request.options, dhcpOption.requestedAddress);
  // SELECTING: the client takes one server's offer and so declines the others'. It waits for that one's word alone, and
  // gives up without it, so where that is a node that has died since, any other gives it: it would say the same.
  if (selected !== undefined && selected !== context.serverIdentifier) {
    return { kind: 'ignored', reason: 'other-server', mac };
  }
  const isRenewal = selected === undefined && requested === undefined;
  const wanted = requested ?? request.ciaddr;
  if (client.address === undefined) return { kind: 'ignored', reason: 'no-address', mac };
  if (wanted === client.address) return grant(context, MESSAGE_TYPE.ack, client.address);
  // RENEWING or REBINDING: a running machine has its disk over this address. It keeps it until the lease
  // ends, since a refusal would take the disk away at once.
  if (isRenewal) return { kind: 'ignored', reason: 'renewal-of-another-address', mac };
  const draft = startDraft(context, MESSAGE_TYPE.nak);
  draft.options.set(
    dhcpOption.message.code,
    dhcpOption.message.format.encode(`the address of this client is ${client.address}`),
  );
  return reply(context, draft, MESSAGE_TYPE.nak, { yiaddr: IPV4_ANY, ciaddr: IPV4_ANY });
}

function grant(context: ReplyContext, messageType: number, address: Ipv4): DhcpOutcome {
  const draft = startDraft(context, messageType);
  writeAddressOptions(draft, context.settings, true);
  writeBootInformation(draft, context, 'full');
  const ciaddr = messageType === MESSAGE_TYPE.ack ? context.request.ciaddr : IPV4_ANY;
  return reply(context, draft, messageType, { yiaddr: address, ciaddr });
}

// Role proxy: boot information beside the site's own DHCP server (PXE 2.1 §2.2).

function answerProxy(asker: Asker, context: ReplyContext): DhcpOutcome {
  // What follows the offer is between the client and the server that gave it its address.
  if (asker.messageType !== MESSAGE_TYPE.discover) {
    return { kind: 'ignored', reason: 'left-to-address-server', mac: asker.mac };
  }
  return bootInformationOnly(asker, context, MESSAGE_TYPE.offer);
}

function answerBootServer(asker: Asker, context: ReplyContext): DhcpOutcome {
  const { messageType, mac } = asker;
  const asks =
    messageType === MESSAGE_TYPE.discover ||
    messageType === MESSAGE_TYPE.request ||
    messageType === MESSAGE_TYPE.inform;
  if (!asks) return { kind: 'ignored', reason: 'unknown-type', mac };
  return bootInformationOnly(asker, context, MESSAGE_TYPE.ack);
}

function bootInformationOnly(asker: Asker, context: ReplyContext, replyType: number): DhcpOutcome {
  const { mac, request } = asker;
  if (context.firmware.kind === 'none') return { kind: 'ignored', reason: 'not-network-boot', mac };
  if (context.firmware.kind === 'unsupported') {
    return { kind: 'ignored', reason: 'unsupported-architecture', mac };
  }
  const draft = startDraft(context, replyType);
  writeBootInformation(draft, context, 'proxy');
  const isAck = replyType === MESSAGE_TYPE.ack;
  const answered = reply(context, draft, replyType, {
    yiaddr: IPV4_ANY,
    ciaddr: isAck ? request.ciaddr : IPV4_ANY,
  });
  return isAck && answered.kind === 'reply' ? { ...answered, destination: { kind: 'sender' } } : answered;
}

function reply(
  context: ReplyContext,
  draft: ReplyDraft,
  messageType: number,
  addresses: { yiaddr: Ipv4; ciaddr: Ipv4 },
): DhcpOutcome {
  const { request, client, mac, firmware } = context;
  return {
    kind: 'reply',
    replyType:
      messageType === MESSAGE_TYPE.offer ? 'offer' : messageType === MESSAGE_TYPE.ack ? 'ack' : 'nak',
    message: finishReply(request, draft, addresses),
    destination: replyDestination(request, messageType),
    clientName: client.name,
    mac,
    firmware: firmware.kind,
  };
}
