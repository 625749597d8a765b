import type { BlockDevice } from '../../storage/block-device.ts';
import type { TargetPaths } from '../scsi/access-state.ts';
import type { ScsiOutcome } from '../scsi/prepared-command.ts';

/** What the iSCSI target asks of the node: which targets there are, for whom, and what is behind them. */
export interface TargetDirectory {
  /** Targets this initiator may know of, with the portals to log in at. */
  list(initiator: InitiatorIdentity): readonly TargetListing[];
  /** What an initiator has to prove before it is told of its targets; absent or undefined: nothing. */
  authenticationForDiscovery?(initiator: InitiatorIdentity): Authentication | undefined;
  login(request: LoginRequestInfo): Promise<LoginDecision>;
  /**
   * Whether a target that is not served here is served elsewhere, at the same address. Its connections then stay, without
   * an answer, until closeTarget: initiators that a reset sends there too soon find nobody. Absent: never.
   */
  hasMoved?(targetName: string): boolean;
}

export interface TargetListing {
  readonly targetName: string;
  readonly portals: readonly ListedPortal[];
}

export interface PortalAddress {
  readonly address: string;
  readonly port: number;
}

export interface ListedPortal extends PortalAddress {
  /** Target portal group tag; absent: 1, which initiators that start from an iBFT take for granted. */
  readonly tag?: number;
}

/** Who says to be there, before anything is proven. */
export interface InitiatorIdentity {
  readonly initiatorName: string;
  /** The IP address that its connection comes from. */
  readonly sourceAddress: string;
}

export interface LoginRequestInfo extends InitiatorIdentity {
  readonly targetName: string;
}

/** One name and secret of an initiator, and the target's own for mutual CHAP (RFC 7143 §12.1.3). Never logged. */
export interface ChapCredentials {
  readonly username: string;
  readonly secret: string;
  readonly mutual?: { readonly username: string; readonly secret: string };
}

export interface Authentication {
  /** Any of them will do. */
  readonly credentials: readonly ChapCredentials[];
  /** Whether AuthMethod None will do as well. */
  readonly optional: boolean;
}

export type LoginDecision = LoginGranted | LoginRedirected | LoginRefused;

export interface LoginGranted {
  readonly kind: 'granted';
  readonly targetName: string;
  /** The same on every node. */
  readonly identity: TargetIdentity;
  readonly luns: ReadonlyMap<number, BlockDevice>;
  /** What the initiator has to prove first; absent: nothing. */
  readonly authentication?: Authentication;
  /** Where the target has several portal groups; absent: this portal, with tag 1, is all there is. */
  readonly paths?: TargetPaths;
  /** Carries out elsewhere what a path in standby takes and cannot do itself; absent: it does not take it. */
  readonly forward?: (command: ForwardedCommand) => Promise<ScsiOutcome>;
}

/** A command of LUN 0 as its initiator sent it. */
export interface ForwardedCommand {
  /** Name of the initiator port: iSCSI name, ",i,0x", ISID in hexadecimal. */
  readonly initiatorPort: string;
  /** 16 bytes. */
  readonly cdb: Uint8Array;
  readonly dataOut: Uint8Array;
}

export interface TargetIdentity {
  readonly serial: string;
  /** 8 bytes (SPC-4 §7.8.6.6). */
  readonly naa: Uint8Array;
  readonly vendor: string;
  readonly product: string;
  readonly revision: string;
}

/**
 * Log in there instead. A movable portal, since iPXE hands the address on to the OS; only an initiator with several
 * paths, which has a movable one as well, is sent from one fixed portal of a node to another of the same node.
 */
export interface LoginRedirected {
  readonly kind: 'redirect';
  readonly address: string;
  readonly port: number;
}

export interface LoginRefused {
  readonly kind: 'refused';
  readonly reason: 'not-found' | 'forbidden' | 'unavailable';
}

/** A socket that another process holds as well, so that its connection does not end with this one. */
export interface KeptSocket {
  /** Resets the connection now; to be followed by closing the socket, which does not do it any more. */
  abort(): void;
  /** The socket has been closed here, and need not be held any more. To be called once. */
  release(): void;
}
