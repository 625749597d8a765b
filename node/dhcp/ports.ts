import type { Ipv4 } from '../../base/ipv4.ts';
import type { MacAddress } from '../../base/mac-address.ts';

/** What the DHCP server needs to know of one registered client. */
export interface BootClient {
  readonly name: string;
  /** The address reserved for it, which every node knows alike; undefined when it has none. */
  readonly address?: Ipv4;
  readonly initiatorName: string;
}

/** The registered clients, as this node last applied them. */
export interface ClientDirectory {
  byMac(mac: MacAddress): BootClient | undefined;
}

/** Where this node's boot programs and scripts are fetched by HTTP. */
export interface BootUrls {
  /**
   * The script of a client, with a token that lets it be fetched for a while.
   * @param localAddress this node's address on the client's network
   * @param nowMs wall-clock time
   */
  script(mac: MacAddress, client: BootClient, localAddress: Ipv4, nowMs: number): string;
  /** A boot program. */
  file(name: string, localAddress: Ipv4): string;
}
