import type { LoginStatus } from './login-status.ts';
import type { loginRequest, loginResponse } from './pdu.ts';
import type { Authentication, LoginDecision, LoginGranted } from './ports.ts';

/** What happens to a login, and what it asks to be done. */

export type LoginRequestFields = ReturnType<typeof loginRequest.decode>;
export type LoginResponseFields = Partial<ReturnType<typeof loginResponse.decode>>;

export type LoginEvent =
  | { readonly kind: 'request'; readonly fields: LoginRequestFields; readonly text: Uint8Array }
  /** Something else than a Login Request, after the first of these. */
  | { readonly kind: 'other-request' }
  | {
      readonly kind: 'decided';
      readonly decision: LoginDecision | DiscoveryGranted;
      /** CHAP_NONCE_BYTES fresh random bytes. */
      readonly nonce: Uint8Array;
      /** Of the session that the login names by its TSIH: its numbering, or why it cannot be joined. */
      readonly joined?: CommandNumbers | LoginStatus;
    }
  /** The session now exists and any session, or connection, that it replaces is gone. */
  | { readonly kind: 'established'; readonly tsih: number }
  | { readonly kind: 'not-established'; readonly status?: LoginStatus };

/** What a response tells of a session's commands. */
export interface CommandNumbers {
  readonly expCmdSN: number;
  readonly maxCmdSN: number;
}

/** The connection of a session that a login is for (RFC 7143 §6.3.1). */
export interface ConnectionName {
  /** Hexadecimal. */
  readonly isid: string;
  /** 0: a new session. */
  readonly tsih: number;
  readonly cid: number;
}

/** A connection of a session, as a login names it. */
export interface NamedConnection extends ConnectionName {
  readonly initiatorName: string;
  readonly targetName: string | undefined;
}

/** A discovery session; with what it takes to be told of targets. */
export interface DiscoveryGranted {
  readonly kind: 'discovery';
  readonly authentication?: Authentication;
  /** Of the target that the login names, if it names one (§13.9). */
  readonly portalGroupTag?: number;
}

export type LoginEffect =
  | { readonly kind: 'respond'; readonly fields: LoginResponseFields; readonly text: Uint8Array }
  /** targetName undefined: a discovery session. */
  | {
      readonly kind: 'ask-directory';
      readonly targetName: string | undefined;
      /** What a discovery session is to be about, where it names a target. */
      readonly discoveryTarget: string | undefined;
      readonly initiatorName: string;
      readonly connection: ConnectionName;
    }
  | { readonly kind: 'establish'; readonly login: CompletedLogin }
  /** The last response was a refusal. */
  | { readonly kind: 'close'; readonly status: LoginStatus };

export interface CompletedLogin extends ConnectionName {
  readonly initiatorName: string;
  /** undefined in a discovery session. */
  readonly granted: LoginGranted | undefined;
  /** The target that the login of a discovery session names, if it does. */
  readonly discoveryTarget: string | undefined;
  readonly values: ReadonlyMap<string, number | string>;
  /** CmdSN of the first command to come. */
  readonly firstCmdSN: number;
  /** StatSN of the first response after the login. */
  readonly nextStatSN: number;
}
