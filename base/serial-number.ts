/**
 * Serial number arithmetic over 32 bits (RFC 1982), as iSCSI uses for CmdSN, StatSN and DataSN
 * (RFC 7143 §4.2.2.1). Values 2^31 apart have no order; here neither is less than the other.
 */

export function serialAdd(a: number, increment: number): number {
  return (a + increment) >>> 0;
}

/** How far `b` lies ahead of `a`, from -2^31 to 2^31 - 1. */
export function serialDistance(a: number, b: number): number {
  return (b - a) | 0;
}

export function serialLess(a: number, b: number): boolean {
  return serialDistance(a, b) > 0;
}

export function serialLessOrEqual(a: number, b: number): boolean {
  return a === b || serialLess(a, b);
}
