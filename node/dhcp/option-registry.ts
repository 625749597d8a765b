import { ProtocolError } from '../../base/errors.ts';
import {
  encapsulated,
  ipv4,
  ipv4List,
  machineIdentifier,
  networkInterface,
  type OptionFormat,
  opaque,
  text,
  u8,
  u8List,
  u16,
  u16List,
  u32,
  userClass,
} from './option-format.ts';

/** The options of a message, by code, each as the bytes of all its parts joined (RFC 3396 §5). */
export type DhcpOptions = ReadonlyMap<number, Uint8Array>;

export interface DhcpOption<T> {
  readonly code: number;
  readonly format: OptionFormat<T>;
  readonly reference: string;
}

const define = <T>(code: number, format: OptionFormat<T>, reference: string): DhcpOption<T> => ({
  code,
  format,
  reference,
});

/** Every option this server reads or writes. */
export const dhcpOption = {
  subnetMask: define(1, ipv4, 'RFC 2132 §3.3'),
  router: define(3, ipv4List, 'RFC 2132 §3.5'),
  domainNameServer: define(6, ipv4List, 'RFC 2132 §3.8'),
  hostName: define(12, text, 'RFC 2132 §3.14'),
  rootPath: define(17, text, 'RFC 2132 §3.19'),
  vendorSpecific: define(43, encapsulated, 'RFC 2132 §8.4'),
  requestedAddress: define(50, ipv4, 'RFC 2132 §9.1'),
  leaseTimeSeconds: define(51, u32, 'RFC 2132 §9.2'),
  overload: define(52, u8, 'RFC 2132 §9.3'),
  messageType: define(53, u8, 'RFC 2132 §9.6'),
  serverIdentifier: define(54, ipv4, 'RFC 2132 §9.7'),
  parameterRequestList: define(55, u8List, 'RFC 2132 §9.8'),
  message: define(56, text, 'RFC 2132 §9.9'),
  maxMessageSizeBytes: define(57, u16, 'RFC 2132 §9.10'),
  renewalTimeSeconds: define(58, u32, 'RFC 2132 §9.11'),
  rebindingTimeSeconds: define(59, u32, 'RFC 2132 §9.12'),
  vendorClass: define(60, text, 'RFC 2132 §9.13'),
  clientIdentifier: define(61, opaque, 'RFC 2132 §9.14, RFC 6842'),
  tftpServerName: define(66, text, 'RFC 2132 §9.4'),
  bootFileName: define(67, text, 'RFC 2132 §9.5'),
  userClass: define(77, userClass, 'RFC 3004 §4'),
  relayAgentInformation: define(82, opaque, 'RFC 3046 §2'),
  clientArchitecture: define(93, u16List, 'RFC 4578 §2.1'),
  networkInterface: define(94, networkInterface, 'RFC 4578 §2.2'),
  machineIdentifier: define(97, machineIdentifier, 'RFC 4578 §2.3'),
  ipxe: define(175, encapsulated, 'iPXE, "etherboot" encapsulated options'),
  ipxeInitiatorName: define(203, text, 'iPXE, setting initiator-iqn'),
} as const;

/** Within option 43 of a PXE client (PXE 2.1 table 2-1). */
export const PXE_DISCOVERY_CONTROL = 6;
/** Boot the file named in this message at once; ask nobody else (PXE 2.1, PXE_DISCOVERY_CONTROL bit 3). */
export const PXE_USE_BOOT_FILE_NAME = 0x08;
/** Which boot server item is meant; its answer repeats it (PXE 2.1, PXE_BOOT_ITEM). */
export const PXE_BOOT_ITEM = 71;

/** Within option 175 of iPXE. */
export const IPXE_NO_PROXY_DHCP = 176;

/** Message types (RFC 2132 §9.6). */
export const MESSAGE_TYPE = {
  discover: 1,
  offer: 2,
  request: 3,
  decline: 4,
  ack: 5,
  nak: 6,
  release: 7,
  inform: 8,
} as const;

/**
 * The value of an option, or undefined when the message has none.
 * @throws ProtocolError when its bytes do not fit its format
 */
export function readOption<T>(options: DhcpOptions, option: DhcpOption<T>): T | undefined {
  const bytes = options.get(option.code);
  if (bytes === undefined) return undefined;
  try {
    return option.format.decode(bytes);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    throw new ProtocolError(`option ${option.code}: ${error.message}`, {
      code: 'bad-option',
      got: bytes.length,
      limit: error.limit,
      rfc: option.reference,
    });
  }
}

/** Sets an option of a message being built; an undefined value sets nothing. */
export function writeOption<T>(
  options: Map<number, Uint8Array>,
  option: DhcpOption<T>,
  value: T | undefined,
): void {
  if (value !== undefined) options.set(option.code, option.format.encode(value));
}
