/** What a logical unit says of itself. The same on every node, so that a disk stays the same disk after failover. */
export interface LogicalUnitIdentity {
  /** Unit serial number, ASCII. */
  readonly serial: string;
  /** NAA designator, 8 bytes; its first hexadecimal digit says the format (SPC-4 §7.8.6.6). */
  readonly naa: Uint8Array;
  /** T10 vendor identification, at most 8 ASCII characters. */
  readonly vendor: string;
  /** At most 16 ASCII characters. */
  readonly product: string;
  /** At most 4 ASCII characters. */
  readonly revision: string;
  /** iSCSI name of the target that holds the unit. */
  readonly targetName: string;
}

/** Printable ASCII, left-aligned and padded with spaces (SPC-4 §4.3.1); other characters become "?". */
export function asciiField(text: string, lengthBytes: number): Uint8Array {
  const printable = text.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, lengthBytes);
  return Buffer.from(printable.padEnd(lengthBytes, ' '), 'latin1');
}
