import type { PortalGroupRecord } from '../../../cluster/state/model.ts';
import type { Network } from '../network.ts';
import { BitRot, type CopyHolder } from '../replication/bit-rot.ts';
import type { Server } from '../replication/clients.ts';
import { DamageJudge } from '../replication/damage-judge.ts';
import type { World } from '../world.ts';
import type { FabricNode } from './fabric-node.ts';
import { ImageShelf } from './image-shelf.ts';

/** How often what nobody could mend any more is taken back. */
const SPARE_MS = 50;
const SPOIL_PERCENT = 10;

export interface RotOptions {
  readonly world: World;
  readonly network: Network;
  readonly counters: { add(name: string, by?: number): void };
  readonly groups: readonly string[];
  readonly nodes: readonly FabricNode[];
  /** As of the newest state that any node knows. */
  readonly group: (id: string) => PortalGroupRecord | undefined;
  readonly fail: (what: string) => void;
  /** The last copy of a group may turn out to be damaged, until trouble is over. */
  readonly damagesLast: boolean;
}

/** Bits that turn over on the disks of whole nodes: in the logs of their portal groups, and in images. */
export class Rot {
  readonly #options: RotOptions;
  readonly images: ImageShelf;
  readonly #rots = new Map<string, BitRot>();
  readonly #judges = new Map<string, DamageJudge>();
  /** The last that was known, while no node is there to tell. */
  readonly #records = new Map<string, PortalGroupRecord>();
  #isOver = false;

  constructor(options: RotOptions) {
    this.#options = options;
    const { network, groups, nodes } = options;
    this.images = new ImageShelf({ ...options, processes: () => nodes.map((node) => node.host.process) });
    for (const group of groups) {
      const rot = new BitRot({
        ...options,
        group,
        inSync: () => this.#record(group)?.inSync ?? [],
        disks: () => nodes.flatMap((node) => node.copies.everyDisk(group)),
        nodes: () => this.#holders(group),
        isInTrouble: () => !this.#isOver,
        spoilPercent: SPOIL_PERCENT,
        sparesLast: () => this.#isOver || !options.damagesLast,
      });
      const holders = (): CopyHolder[] => this.#holders(group);
      this.#rots.set(group, rot);
      this.#judges.set(group, new DamageJudge({ ...options, holders, spoilt: () => this.#spoilt() }));
    }
    network.onMessage = (what, _from, _to, message) => {
      // Of whichever group it is.
      if (what === 'sent') this.#rots.get(groups[0] ?? '')?.spoil(message);
    };
  }

  #spoilt(): number {
    return this.#rots.get(this.#options.groups[0] ?? '')?.spoilt ?? 0;
  }

  #record(group: string): PortalGroupRecord | undefined {
    const record = this.#options.group(group) ?? this.#records.get(group);
    if (record !== undefined) this.#records.set(group, record);
    return record;
  }

  #holders(group: string): CopyHolder[] {
    const replicas = this.#record(group)?.replicas ?? [];
    return this.#options.nodes.flatMap((node) => {
      const disk = replicas.includes(node.nodeId) ? node.copies.find(group) : undefined;
      if (disk === undefined) return [];
      const { server } = node;
      return [{ nodeId: node.nodeId, disk, process: node.host.process, host: server?.host }];
    });
  }

  /** From now on, every so often. */
  watch(): void {
    this.spare();
    this.#options.world.after(SPARE_MS, () => this.watch());
  }

  /** Nothing more is spoilt. */
  end(): void {
    this.#isOver = true;
  }

  spare(): void {
    for (const rot of this.#rots.values()) rot.spare();
  }

  /** Before a process of the node looks at what is there. */
  starts(node: FabricNode): void {
    for (const [group, rot] of this.#rots) {
      const disk = node.copies.find(group);
      if (disk !== undefined) rot.spare({ nodeId: node.nodeId, disk });
    }
  }

  /** Its copies are read through for as long as the process lives. */
  scrub({ nodeId, copies, server, host }: FabricNode): void {
    for (const [group, rot] of this.#rots) {
      host.process.enterAfter(this.#options.world.between(1, 30), () =>
        rot.scrub({ nodeId, disk: copies.disk(group), process: host.process, host: server?.host }),
      );
    }
  }

  flip(node: FabricNode, group: string): void {
    const disk = node.copies.find(group);
    if (disk !== undefined) this.#rots.get(group)?.flip({ nodeId: node.nodeId, disk });
  }

  /** Its next start finds the copy damaged. */
  breakCopy(node: FabricNode, group: string): void {
    const disk = node.copies.find(group);
    if (disk !== undefined) this.#rots.get(group)?.breakRecord({ nodeId: node.nodeId, disk });
  }

  flipImage(node: FabricNode): void {
    this.images.flip(node.nodeId);
  }

  /** See ClientsOptions. */
  readBegins(group: string, { process }: Server): () => boolean {
    const ofLog = this.#judges.get(group)?.readBegins(process);
    const ofImage = this.images.readBegins(process);
    return () => ofImage() || ofLog?.() === true;
  }

  /** @returns what is still damaged though it could be mended; undefined: nothing */
  leftDamaged(group: string): string | undefined {
    return this.#rots.get(group)?.leftDamaged();
  }
}
