import { type DhcpOptions, dhcpOption, readOption } from './option-registry.ts';

/** Instruction set and firmware kind, from the processor architecture types of RFC 4578 §2.1 and IANA. */
export type Architecture = 'bios' | 'efi-ia32' | 'efi-x64' | 'efi-arm64';

/** The network boot program given to firmware of each kind. */
export type BootFileTable = Readonly<Record<Architecture, string>>;

/** What iPXE calls its own builds. The snponly ones drive the card through the firmware that just booted. */
export const DEFAULT_BOOT_FILES: BootFileTable = {
  bios: 'undionly.kpxe',
  'efi-ia32': 'snponly-ia32.efi',
  'efi-x64': 'snponly.efi',
  'efi-arm64': 'snponly-arm64.efi',
};

interface ArchitectureType {
  readonly architecture: Architecture;
  readonly transport: 'tftp' | 'http';
}

/** IANA "Processor Architecture Types". Some x64 firmware says 9 (EBC) and some 7, meaning the same. */
const ARCHITECTURE_TYPES: ReadonlyMap<number, ArchitectureType> = new Map([
  [0x00, { architecture: 'bios', transport: 'tftp' }],
  [0x06, { architecture: 'efi-ia32', transport: 'tftp' }],
  [0x07, { architecture: 'efi-x64', transport: 'tftp' }],
  [0x09, { architecture: 'efi-x64', transport: 'tftp' }],
  [0x0b, { architecture: 'efi-arm64', transport: 'tftp' }],
  [0x0f, { architecture: 'efi-ia32', transport: 'http' }],
  [0x10, { architecture: 'efi-x64', transport: 'http' }],
  [0x13, { architecture: 'efi-arm64', transport: 'http' }],
] as const);

/** Who is asking: the same machine asks as its firmware, then as iPXE, then as its operating system. */
export type Firmware =
  | { readonly kind: 'ipxe' }
  | { readonly kind: 'pxe'; readonly architecture: Architecture }
  | { readonly kind: 'http'; readonly architecture: Architecture }
  /** Says it boots from the network, on a machine that no boot program is for. */
  | { readonly kind: 'unsupported'; readonly architectureTypes: readonly number[] }
  /** An operating system that only wants its address. */
  | { readonly kind: 'none' };

/**
 * Tells the asker from its options: iPXE by user class or its own option 175, firmware by vendor class and
 * architecture. iPXE also says PXEClient, so it is looked for first.
 * @throws ProtocolError when one of these options is malformed
 */
export function identifyFirmware(options: DhcpOptions): Firmware {
  const userClasses = readOption(options, dhcpOption.userClass) ?? [];
  if (userClasses.includes('iPXE') || options.has(dhcpOption.ipxe.code)) return { kind: 'ipxe' };
  const vendorClass = readOption(options, dhcpOption.vendorClass) ?? '';
  const isPxe = vendorClass.startsWith('PXEClient');
  const isHttp = vendorClass.startsWith('HTTPClient');
  if (!isPxe && !isHttp) return { kind: 'none' };
  const types =
    readOption(options, dhcpOption.clientArchitecture) ?? architectureFromVendorClass(vendorClass);
  const wanted = isHttp ? 'http' : 'tftp';
  for (const type of types) {
    const known = ARCHITECTURE_TYPES.get(type);
    if (known?.transport === wanted) {
      return { kind: isHttp ? 'http' : 'pxe', architecture: known.architecture };
    }
  }
  return { kind: 'unsupported', architectureTypes: types };
}

/** "PXEClient:Arch:00007:UNDI:003016" carries the type too (PXE 2.1 §2.2.1); without either it is BIOS. */
function architectureFromVendorClass(vendorClass: string): readonly number[] {
  const digits = /^(?:PXE|HTTP)Client:Arch:(\d{5})/.exec(vendorClass)?.[1];
  return [digits === undefined ? 0 : Number(digits)];
}

export type BootDecision =
  /** Load this program by TFTP from this node. */
  | { readonly kind: 'program'; readonly fileName: string }
  /** Load this program by HTTP. */
  | { readonly kind: 'http-program'; readonly fileName: string }
  /** iPXE: run the client's script. */
  | { readonly kind: 'script' }
  | { readonly kind: 'nothing' };

/** What a registered client is told to boot. */
export function decideBoot(firmware: Firmware, files: BootFileTable): BootDecision {
  switch (firmware.kind) {
    case 'ipxe':
      return { kind: 'script' };
    case 'pxe':
      return { kind: 'program', fileName: files[firmware.architecture] };
    case 'http':
      return { kind: 'http-program', fileName: files[firmware.architecture] };
    case 'unsupported':
    case 'none':
      return { kind: 'nothing' };
  }
}
