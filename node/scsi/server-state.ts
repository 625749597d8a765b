import { ProtocolError } from '../../base/errors.ts';

/**
 * What the device server keeps of a logical unit beside its blocks. It lies with the device, so that whoever
 * serves the unit later goes on from there. Values are never changed in place.
 */
export interface ServerState {
  readonly reservations: ReservationState;
  readonly modes: ModeParameters;
  /** A sanitize operation that has not ended; whoever serves the unit has to carry it on. */
  readonly sanitize?: SanitizeState;
}

/** Persistent reservations (SPC-4 §5.13). */
export interface ReservationState {
  /** PRGENERATION. */
  readonly generation: number;
  readonly registrations: readonly Registration[];
  readonly reservation?: PersistentReservation;
  /** APTPL as last asked for. */
  readonly persistsThroughPowerLoss: boolean;
}

export interface Registration {
  /** The initiator port's name (RFC 7143 §4.2.7.1): iSCSI name, ",i,0x", ISID. */
  readonly port: string;
  /** 16 hexadecimal digits. */
  readonly key: string;
}

export interface PersistentReservation {
  readonly type: number;
  /** Port of the holder; with an all registrants type everyone registered holds it, and this is empty. */
  readonly holder: string;
}

/** The mode parameters that can be changed; the rest is fixed. */
export interface ModeParameters {
  readonly softwareWriteProtect: boolean;
  readonly descriptorSense: boolean;
  readonly writeCacheDisabled: boolean;
}

export interface SanitizeState {
  readonly method: 'overwrite' | 'block-erase' | 'crypto-erase';
  /** Of an overwrite: the pattern in hexadecimal, how often, and whether every other pass is inverted. */
  readonly pattern: string;
  readonly passes: number;
  readonly invert: boolean;
  /** AUSE: a failure may be left behind without another sanitize operation. */
  readonly unrestrictedExit: boolean;
  readonly failed: boolean;
}

export const EMPTY_SERVER_STATE: ServerState = {
  reservations: { generation: 0, registrations: [], persistsThroughPowerLoss: false },
  modes: { softwareWriteProtect: false, descriptorSense: false, writeCacheDisabled: false },
};

export function withoutSanitize(state: ServerState): ServerState {
  const { reservations, modes } = state;
  return { reservations, modes };
}

const VERSION = 1;

/** JSON with a version. */
export function encodeServerState(state: ServerState): Uint8Array {
  return Buffer.from(JSON.stringify({ version: VERSION, ...state }), 'utf8');
}

/** @throws ProtocolError code "bad-server-state" when it was written by another version, or by nobody */
export function decodeServerState(bytes: Uint8Array): ServerState {
  const bad = (got: unknown): ProtocolError =>
    new ProtocolError('the state that a logical unit was left in cannot be read', {
      code: 'bad-server-state',
      got,
      limit: `version ${VERSION}`,
    });
  let parsed: unknown;
  try {
    parsed = JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch {
    throw bad(Buffer.from(bytes.subarray(0, 32)).toString('latin1'));
  }
  const { version, ...state } = parsed as { version?: unknown } & ServerState;
  if (version !== VERSION) throw bad(version);
  return state;
}
