import type { DiscoveryGranted } from './login-events.ts';
import { negotiateInFullFeature } from './login-keys.ts';
import type { InitiatorIdentity, TargetDirectory, TargetListing } from './ports.ts';
import { encodeTextKeys, type TextKey } from './text-keys.ts';

/**
 * What the login of a discovery session is answered.
 * @param targetName the target it names, if it does
 * @param localAddress "ADDRESS:PORT" of the portal
 */
export function decideDiscovery(
  directory: TargetDirectory,
  initiator: InitiatorIdentity,
  targetName: string | undefined,
  localAddress: string,
): DiscoveryGranted {
  const authentication = directory.authenticationForDiscovery?.(initiator);
  const proof = authentication === undefined ? {} : { authentication };
  if (targetName === undefined) return { kind: 'discovery', ...proof };
  const listed = directory.list(initiator).find((listing) => listing.targetName === targetName);
  const portal = listed?.portals.find(({ address, port }) => `${address}:${port}` === localAddress);
  return { kind: 'discovery', ...proof, portalGroupTag: portal?.tag ?? 1 };
}

export interface TextAnswer {
  readonly text: Uint8Array;
  /** A newly declared MaxRecvDataSegmentLength of the initiator. */
  readonly maxRecvDataSegmentBytes?: number;
}

/**
 * Answers the keys of a Text Request (RFC 7143 appendix C). SendTargets=All lists what the initiator may see, in a
 * discovery session only; with a name, that target only; with nothing, in a normal session, the session's own.
 */
export function answerTextRequest(
  keys: readonly TextKey[],
  listings: readonly TargetListing[],
  ownTargetName: string | undefined,
): TextAnswer {
  const answers: TextKey[] = [];
  let declared: number | undefined;
  for (const offer of keys) {
    const { key, value } = offer;
    if (key === 'SendTargets') {
      const misplaced =
        (value === 'All') !== (ownTargetName === undefined) && (value === 'All' || value === '');
      if (misplaced) answers.push({ key, value: 'Reject' });
      else answers.push(...describe(listings, value === '' ? ownTargetName : value));
      continue;
    }
    const { answer, value: agreed } = negotiateInFullFeature(offer);
    if (answer !== undefined) answers.push(answer);
    if (key === 'MaxRecvDataSegmentLength' && agreed !== undefined) declared = Number(agreed);
  }
  const text = encodeTextKeys(answers);
  return declared === undefined ? { text } : { text, maxRecvDataSegmentBytes: declared };
}

function describe(listings: readonly TargetListing[], wanted: string | undefined): TextKey[] {
  return listings
    .filter((listing) => wanted === 'All' || listing.targetName === wanted)
    .flatMap(({ targetName, portals }) => [
      { key: 'TargetName', value: targetName },
      ...portals.map(({ address, port, tag = 1 }) => ({
        key: 'TargetAddress',
        value: `${address.includes(':') ? `[${address}]` : address}:${port},${tag}`,
      })),
    ]);
}
