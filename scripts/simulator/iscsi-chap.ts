import { timingSafeEqual } from 'node:crypto';
import { chapDigest, decodeBinary, encodeBinary } from '../../node/iscsi/chap.ts';
import { parseNumber } from '../../node/iscsi/login-keys.ts';
import type { ChapCredentials } from '../../node/iscsi/ports.ts';
import type { TextKey } from '../../node/iscsi/text-keys.ts';

/** What an initiator proves itself with, and expects of the target where `mutual` is given. */
export interface InitiatorChap extends ChapCredentials {
  /** Offered in CHAP_A, in order of preference; MD5 when left out. */
  readonly algorithms?: readonly number[];
  /** Challenge for the target, in mutual CHAP. */
  readonly challenge?: Uint8Array;
}

/** The target did not do its part of CHAP. */
class TargetNotAuthenticError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'TargetNotAuthenticError';
  }
}

const MUTUAL_IDENTIFIER = 42;
const DEFAULT_CHALLENGE = Uint8Array.from({ length: 16 }, (_, i) => i * 7);

/** The initiator's side of CHAP (RFC 7143 §12.1.3). @param ask sends keys, and resolves with the keys answered */
export async function authenticate(
  chap: InitiatorChap,
  ask: (keys: readonly TextKey[]) => Promise<readonly TextKey[]>,
): Promise<void> {
  const offered = (chap.algorithms ?? [5]).join(',');
  const challenged = valuesOf(await ask([{ key: 'CHAP_A', value: offered }]));
  const algorithm = parseNumber(challenged.get('CHAP_A') ?? '');
  const identifier = parseNumber(challenged.get('CHAP_I') ?? '');
  const bytes = decodeBinary(challenged.get('CHAP_C') ?? '');
  if (algorithm === undefined || identifier === undefined || bytes === undefined) {
    throw new TargetNotAuthenticError('the target did not send a challenge');
  }
  const digest = chapDigest(algorithm, chap.secret, { identifier, bytes });
  const keys: TextKey[] = [
    { key: 'CHAP_N', value: chap.username },
    { key: 'CHAP_R', value: encodeBinary(digest) },
  ];
  if (chap.mutual === undefined) {
    await ask(keys);
    return;
  }
  const ours = { identifier: MUTUAL_IDENTIFIER, bytes: chap.challenge ?? DEFAULT_CHALLENGE };
  keys.push(
    { key: 'CHAP_I', value: String(ours.identifier) },
    { key: 'CHAP_C', value: encodeBinary(ours.bytes) },
  );
  const answered = valuesOf(await ask(keys));
  const response = decodeBinary(answered.get('CHAP_R') ?? '');
  const expected = chapDigest(algorithm, chap.mutual.secret, ours);
  const isRight = response?.length === expected.length && timingSafeEqual(response, expected);
  if (!isRight || answered.get('CHAP_N') !== chap.mutual.username) {
    throw new TargetNotAuthenticError('the target did not prove itself');
  }
}

function valuesOf(keys: readonly TextKey[]): ReadonlyMap<string, string> {
  return new Map(keys.map(({ key, value }) => [key, value]));
}
