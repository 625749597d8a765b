import type { MacAddress } from '../../base/mac-address.ts';

/** What a client is told when it asks for its disk. */
export type BootAnswer =
  | {
      readonly kind: 'boot';
      readonly targetName: string;
      readonly initiatorName: string;
      /** A literal address: iPXE cannot hand a name on to the operating system. */
      readonly portalAddress: string;
      readonly portalPort: number;
      readonly lun: number;
      /** What it has to prove itself with (RFC 7143 §12.1.3); absent: nothing. */
      readonly chap?: ScriptCredentials;
    }
  /** The disk is not ready yet; the client asks again by itself. */
  | { readonly kind: 'wait'; readonly reason: string; readonly retryAfterSeconds: number }
  /** Someone has to do something first. The client keeps asking, slowly. */
  | { readonly kind: 'refused'; readonly reason: string };

/** Secrets: they go into the client's own script and nowhere else. */
export interface ScriptCredentials {
  readonly username: string;
  readonly secret: string;
  readonly mutual?: { readonly username: string; readonly secret: string };
}

export interface BootService {
  /**
   * A registered client is about to attach its disk: makes it ready, and drops a write cache that does not
   * persist. Called once for each script that is fetched.
   */
  beginBoot(request: { readonly mac: MacAddress; readonly remoteAddress: string }): Promise<BootAnswer>;
}

export interface BootFiles {
  /** The whole file, which the caller does not change; undefined when there is none of that name. */
  open(name: string): Promise<Uint8Array | undefined>;
}

/** Who is registered, as this node last applied it. */
export interface ClientNames {
  nameByMac(mac: MacAddress): string | undefined;
}
