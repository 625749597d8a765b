import { setTimeout as sleep } from 'node:timers/promises';
import { type Ipv4, ipv4FromNumber, ipv4ToNumber } from '../../../base/ipv4.ts';
import { type MacAddress, macFromBytes, macToBytes } from '../../../base/mac-address.ts';
import { arpFrame, ETHERTYPE_ARP } from '../../../node/net/arp-packet.ts';
import { interfaceMac } from '../../../node/net/interface-address.ts';
import { loadLibc, systemCallError } from '../../../node/net/libc.ts';
import { AF_PACKET, everyoneAt, SOCK_RAW } from '../../../node/net/packet-address.ts';

/** Linux, from <sys/socket.h>. */
const MSG_DONTWAIT = 0x40;
const FRAME_MAX_BYTES = 2048;
const ASK_EVERY_MS = 20;
/** A question is told by the address it comes from, so that an answer read late still belongs to its question. */
const ASKING_FROM = { first: 200, count: 50 };

const ETHERNET = { etherType: ETHERTYPE_ARP, hardwareType: 1, protocolType: 0x0800 };
const LENGTHS = { hardwareLength: 6, protocolLength: 4 };
const REQUEST = 1;

/** Somebody said that an address is his: in answer to a question, or unasked. */
export interface Claim {
  readonly address: Ipv4;
  readonly mac: MacAddress;
  /** The question answered; undefined: unasked (gratuitous ARP, RFC 5227 section 3). */
  readonly question: number | undefined;
}

/** Asks all the time who has certain addresses (RFC 826), at an interface of this process's namespace, and keeps every answer. */
export class ArpWatch {
  readonly claims: Claim[] = [];
  readonly #addresses: readonly Ipv4[];
  readonly #fd: number;
  readonly #to: Uint8Array;
  readonly #mac: MacAddress;
  readonly #network: number;
  readonly #frame = new Uint8Array(FRAME_MAX_BYTES);
  #question = 0;
  #isStopped = false;
  #watching: Promise<void>;

  /** @param network of the addresses that questions come from: `network` + 200 to 249, which nobody else may use */
  constructor(interfaceName: string, network: Ipv4, addresses: readonly Ipv4[]) {
    const libc = loadLibc();
    this.#addresses = addresses;
    this.#mac = interfaceMac(interfaceName);
    this.#network = ipv4ToNumber(network);
    this.#to = everyoneAt(libc.interfaceIndex(interfaceName));
    const protocol = ((ETHERTYPE_ARP & 0xff) << 8) | (ETHERTYPE_ARP >> 8);
    this.#fd = libc.socket(AF_PACKET, SOCK_RAW, protocol);
    if (this.#fd < 0) throw systemCallError(libc, 'socket', interfaceName);
    if (libc.bind(this.#fd, this.#to, this.#to.length) < 0) {
      throw systemCallError(libc, 'bind', interfaceName);
    }
    this.#watching = this.#watch();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#watching;
    loadLibc().close(this.#fd);
  }

  /** Who last claimed the address. */
  holder(address: Ipv4): MacAddress | undefined {
    return this.claims.findLast((claim) => claim.address === address)?.mac;
  }

  async #watch(): Promise<void> {
    while (!this.#isStopped) {
      for (const address of this.#addresses) this.#ask(address);
      this.#question++;
      await sleep(ASK_EVERY_MS);
      this.#readAll();
    }
  }

  #ask(address: Ipv4): void {
    const libc = loadLibc();
    const source = macToBytes(this.#mac);
    const frame = arpFrame.encode({
      ...{ destination: new Uint8Array(6).fill(0xff), source, ...ETHERNET, ...LENGTHS },
      ...{ operation: REQUEST, senderMac: source, targetMac: new Uint8Array(6) },
      senderAddress: this.#network + ASKING_FROM.first + (this.#question % ASKING_FROM.count),
      targetAddress: ipv4ToNumber(address),
    });
    if (libc.sendto(this.#fd, frame, frame.length, 0, this.#to, this.#to.length) !== frame.length) {
      throw systemCallError(libc, 'sendto', address);
    }
  }

  #readAll(): void {
    const libc = loadLibc();
    for (;;) {
      const length = libc.recv(this.#fd, this.#frame, this.#frame.length, MSG_DONTWAIT);
      if (length < arpFrame.sizeBytes) return;
      const { senderAddress, senderMac, targetAddress } = arpFrame.decode(this.#frame);
      const address = ipv4FromNumber(senderAddress);
      if (!this.#addresses.includes(address)) continue;
      const asked = targetAddress - this.#network - ASKING_FROM.first;
      const isAnswer = asked >= 0 && asked < ASKING_FROM.count;
      this.claims.push({
        address,
        mac: macFromBytes(senderMac),
        question: isAnswer ? this.#latest(asked) : undefined,
      });
    }
  }

  /** The latest question that came from this address. */
  #latest(asked: number): number {
    const last = this.#question - 1;
    return last - ((((last - asked) % ASKING_FROM.count) + ASKING_FROM.count) % ASKING_FROM.count);
  }
}

/** Who held an address, in the order in which they claimed it. One who comes back stands there again. */
export function tenures(claims: readonly Claim[], address: Ipv4): MacAddress[] {
  const macs = claims.filter((claim) => claim.address === address).map(({ mac }) => mac);
  return macs.filter((mac, i) => mac !== macs[i - 1]);
}

/** Questions that two answered. */
export function contested(claims: readonly Claim[]): string[] {
  const answers = new Map<string, Set<MacAddress>>();
  for (const { address, mac, question } of claims) {
    if (question === undefined) continue;
    const key = `question ${question} for ${address}`;
    answers.set(key, (answers.get(key) ?? new Set()).add(mac));
  }
  return [...answers]
    .filter(([, macs]) => macs.size > 1)
    .map(([key, macs]) => `${key}: ${[...macs].sort().join(' and ')}`);
}
