import type { ImageVersionRef } from '../image/image-source.ts';
import type { IndexSnapshot } from './block-index.ts';
import type { Extent } from './given-up.ts';

/** What is known of a LUN apart from its blocks. */
export interface LunDescription {
  readonly lunId: number;
  /** The number of the record that made it what it is. */
  readonly generation: number;
  readonly base: ImageVersionRef;
  /** In logical blocks of 512 bytes. */
  readonly lengthBlocks: number;
  /** What the device server keeps of it (BlockDevice.serverState), in Base64. */
  readonly serverState?: string;
}

/** The number of an applied record and where its payload lies. */
export interface PositionSample {
  readonly index: number;
  readonly position: number;
}

/** What a table held at one moment, unchanged by what is applied later. */
export interface TableSnapshot {
  /** Every record below had taken effect. */
  readonly index: number;
  /** Of the payload of the last of them; 0 when none is known. */
  readonly lastPosition: number;
  readonly luns: readonly { readonly description: LunDescription; readonly blocks: IndexSnapshot }[];
  readonly samples: readonly PositionSample[];
  /** To be called once it is not needed any more. */
  readonly release: () => void;
}

/** A table of LUNs, ready to be taken over. */
export interface RestoredTable {
  readonly index: number;
  readonly lastPosition: number;
  readonly luns: readonly RestoredLun[];
  readonly samples: readonly PositionSample[];
}

export interface RestoredLun {
  readonly description: LunDescription;
  readonly leaves: readonly Uint16Array[];
  readonly newestHigh: number;
  readonly givenUp: readonly Extent[];
}
