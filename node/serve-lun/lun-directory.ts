import type { BlockDevice } from '../../storage/block-device.ts';
import type {
  LoginDecision,
  LoginRequestInfo,
  PortalAddress,
  TargetDirectory,
  TargetListing,
} from '../iscsi/ports.ts';
import type { ServedFile } from './worker-protocol.ts';

const ONLY_LUN = 0;

/** Every file is a target, for every initiator. Those of other workers are redirected to their portals. */
export class LunDirectory implements TargetDirectory {
  readonly #worker: number;
  readonly #files: ReadonlyMap<string, ServedFile>;
  readonly #device: (file: ServedFile) => BlockDevice | undefined;
  #portals: readonly (readonly PortalAddress[])[] = [];

  /** @param device the disk of a file of this worker; undefined until it is served */
  constructor(
    worker: number,
    files: readonly ServedFile[],
    device: (file: ServedFile) => BlockDevice | undefined,
  ) {
    this.#worker = worker;
    this.#files = new Map(files.map((file) => [file.targetName, file]));
    this.#device = device;
  }

  /** @param portals where each worker listens, by its index */
  setPortals(portals: readonly (readonly PortalAddress[])[]): void {
    this.#portals = portals;
  }

  list(): readonly TargetListing[] {
    return [...this.#files.values()].map(({ targetName, worker }) => ({
      targetName,
      portals: this.#portals[worker] ?? [],
    }));
  }

  login({ targetName }: LoginRequestInfo): Promise<LoginDecision> {
    return Promise.resolve(this.#decide(targetName));
  }

  #decide(targetName: string): LoginDecision {
    const file = this.#files.get(targetName);
    if (file === undefined) return { kind: 'refused', reason: 'not-found' };
    if (file.worker !== this.#worker) {
      const portal = this.#portals[file.worker]?.[0];
      return portal === undefined
        ? { kind: 'refused', reason: 'unavailable' }
        : { kind: 'redirect', ...portal };
    }
    const device = this.#device(file);
    if (device === undefined) return { kind: 'refused', reason: 'unavailable' };
    return { kind: 'granted', targetName, identity: file.identity, luns: new Map([[ONLY_LUN, device]]) };
  }
}
