import type { BlockDevice } from '../../storage/block-device.ts';

/** What the iSCSI target asks of the node: which targets there are, for whom, and what is behind them. */
export interface TargetDirectory {
  /** Targets this initiator may know of, with the portals to log in at. */
  list(initiatorName: string): readonly TargetListing[];
  login(request: LoginRequestInfo): Promise<LoginDecision>;
}

export interface TargetListing {
  readonly targetName: string;
  readonly portals: readonly PortalAddress[];
}

export interface PortalAddress {
  readonly address: string;
  readonly port: number;
}

export interface LoginRequestInfo {
  readonly targetName: string;
  readonly initiatorName: string;
}

export type LoginDecision = LoginGranted | LoginRedirected | LoginRefused;

export interface LoginGranted {
  readonly kind: 'granted';
  readonly targetName: string;
  /** The same on every node. */
  readonly identity: TargetIdentity;
  readonly luns: ReadonlyMap<number, BlockDevice>;
}

export interface TargetIdentity {
  readonly serial: string;
  /** 8 bytes (SPC-4 §7.8.6.6). */
  readonly naa: Uint8Array;
  readonly vendor: string;
  readonly product: string;
  readonly revision: string;
}

/** Log in there instead. Only ever a movable portal, since iPXE hands the address on to the OS. */
export interface LoginRedirected {
  readonly kind: 'redirect';
  readonly address: string;
  readonly port: number;
}

export interface LoginRefused {
  readonly kind: 'refused';
  readonly reason: 'not-found' | 'forbidden' | 'unavailable';
}
