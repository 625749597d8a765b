import type { Clock, Timers } from '../../../../base/clock.ts';
import { CounterSet } from '../../../../base/counters.ts';
import { type Logger, silentLogger } from '../../../../base/logger.ts';
import { SeededRandom } from '../../../../base/random.ts';
import type { PortalLimits } from '../../../../node/iscsi/limits.ts';
import { IscsiPortal } from '../../../../node/iscsi/portal.ts';
import type { IscsiPortalOptions } from '../../../../node/iscsi/portal-options.ts';
import type {
  Authentication,
  LoginDecision,
  LoginGranted,
  LoginRequestInfo,
  TargetListing,
} from '../../../../node/iscsi/ports.ts';
import type { BlockDevice } from '../../../../storage/block-device.ts';
import { realTime } from '../../../support/real-time.ts';
import { MemoryDevice } from './memory-device.ts';

export const TARGET = 'iqn.2026-11.net.example:disk1';
export const INITIATOR = 'iqn.2026-11.net.example:client1';
export const IDENTITY = {
  serial: '0123456789ab',
  naa: Buffer.from('3000000000000001', 'hex'),
  vendor: 'BTFABRIC',
  product: 'disk',
  revision: '0001',
};

export interface TestTarget {
  readonly portal: IscsiPortal;
  readonly device: MemoryDevice;
  readonly counters: CounterSet;
  readonly host: string;
  readonly port: number;
  /** Answers logins instead of the grant of LUN 0. */
  decide: ((request: LoginRequestInfo) => Promise<LoginDecision>) | undefined;
  discovery: ((initiatorName: string) => Authentication | undefined) | undefined;
  listings: (initiatorName: string) => readonly TargetListing[];
  /** The target is by now elsewhere at the same address. */
  hasMoved: boolean;
}

export function grant(luns: ReadonlyMap<number, BlockDevice>, targetName = TARGET): LoginGranted {
  return { kind: 'granted', targetName, identity: IDENTITY, luns };
}

/** A portal on loopback with one disk in memory behind TARGET. */
export async function startTarget(
  options: {
    limits?: Partial<PortalLimits>;
    lengthBlocks?: number;
    clock?: Clock & Timers;
    seed?: number;
    logger?: Logger;
    keep?: IscsiPortalOptions['keep'];
    polling?: IscsiPortalOptions['polling'];
  } = {},
): Promise<TestTarget> {
  const device = new MemoryDevice(options.lengthBlocks ?? 65_536);
  const counters = new CounterSet();
  const clock = options.clock ?? realTime;
  const settings: Pick<TestTarget, 'decide' | 'discovery' | 'listings' | 'hasMoved'> = {
    decide: undefined,
    discovery: undefined,
    hasMoved: false,
    listings: () => [{ targetName: TARGET, portals: [address] }],
  };
  const portal = new IscsiPortal({
    directory: {
      list: ({ initiatorName }) => target.listings(initiatorName),
      authenticationForDiscovery: ({ initiatorName }) => target.discovery?.(initiatorName),
      hasMoved: () => target.hasMoved,
      login: async (request) => {
        if (target.decide !== undefined) return target.decide(request);
        if (request.targetName !== TARGET) return { kind: 'refused', reason: 'not-found' };
        return grant(new Map([[0, device]]));
      },
    },
    clock,
    timers: clock,
    random: new SeededRandom(options.seed ?? 1),
    logger: options.logger ?? silentLogger,
    counters,
    limits: options.limits ?? {},
    ...(options.keep === undefined ? {} : { keep: options.keep }),
    ...(options.polling === undefined ? {} : { polling: options.polling }),
  });
  const address = await portal.listen({ host: '127.0.0.1', port: 0 });
  const target: TestTarget = Object.assign(settings, {
    portal,
    device,
    counters,
    host: address.address,
    port: address.port,
  });
  return target;
}
