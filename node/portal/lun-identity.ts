import { createHash } from 'node:crypto';

/** What an initiator sees of a LUN, the same on every node and for ever. */
export interface LunIdentity {
  /** VPD page 0x80. */
  readonly serial: string;
  /** VPD page 0x83, an NAA "locally assigned" designator: 8 bytes beginning with 3h (SPC-4 §7.8.6.6.4). */
  readonly naa: Uint8Array;
  readonly vendor: string;
  readonly product: string;
  readonly revision: string;
}

export function lunIdentity(clusterId: string, lunId: number): LunIdentity {
  const digest = createHash('sha256').update(`${clusterId}/${lunId}`).digest();
  const naa = Uint8Array.from(digest.subarray(0, 8));
  naa[0] = 0x30 | ((naa[0] as number) & 0x0f);
  return {
    serial: digest.subarray(8, 16).toString('hex'),
    naa,
    vendor: 'BOOTFAB',
    product: 'bootfabric LUN',
    revision: '0001',
  };
}
