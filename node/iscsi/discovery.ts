import type { TargetListing } from './ports.ts';
import { encodeTextKeys, type TextKey } from './text-keys.ts';

/**
 * Answers the keys of a Text Request (RFC 7143 appendix C). SendTargets=All lists what the initiator may see;
 * with a name, that target only; with nothing, in a normal session, the session's own target.
 */
export function answerTextRequest(
  keys: readonly TextKey[],
  listings: readonly TargetListing[],
  ownTargetName: string | undefined,
): Uint8Array {
  const answers: TextKey[] = [];
  for (const { key, value } of keys) {
    if (key !== 'SendTargets') answers.push({ key, value: 'NotUnderstood' });
    else if (value === 'All' && ownTargetName !== undefined) answers.push({ key, value: 'Reject' });
    else answers.push(...describe(listings, value === '' ? ownTargetName : value));
  }
  return encodeTextKeys(answers);
}

function describe(listings: readonly TargetListing[], wanted: string | undefined): TextKey[] {
  return listings
    .filter((listing) => wanted === 'All' || listing.targetName === wanted)
    .flatMap(({ targetName, portals }) => [
      { key: 'TargetName', value: targetName },
      ...portals.map(({ address, port }) => ({
        key: 'TargetAddress',
        value: `${address.includes(':') ? `[${address}]` : address}:${port},1`,
      })),
    ]);
}
