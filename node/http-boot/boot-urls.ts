import type { MacAddress } from '../../base/mac-address.ts';
import { mintBootToken } from './boot-token.ts';

/** @param endpoint "HOST:PORT" of a node; the host is a literal address */
export function bootScriptUrl(endpoint: string, mac: MacAddress, token: string): string {
  return `http://${endpoint}/boot/${mac.replaceAll(':', '-')}?token=${token}`;
}

/** Where iPXE is told where to ask for its script. @param endpoint as above */
function firstScriptUrl(endpoint: string, mac: MacAddress, token: string): string {
  return `http://${endpoint}/first/${mac.replaceAll(':', '-')}?token=${token}`;
}

function bootFileUrl(endpoint: string, name: string): string {
  return `http://${endpoint}/files/${name}`;
}

/**
 * The URLs that DHCP hands out, at this node's address on the client's own network.
 * @param secret gives the cluster's secret, asked for every URL
 */
export function bootUrls(port: number, secret: () => Uint8Array) {
  return {
    script(mac: MacAddress, client: { readonly name: string }, localAddress: string, nowMs: number): string {
      return firstScriptUrl(`${localAddress}:${port}`, mac, mintBootToken(secret(), client.name, nowMs));
    },
    file(name: string, localAddress: string): string {
      return bootFileUrl(`${localAddress}:${port}`, name);
    },
  };
}
