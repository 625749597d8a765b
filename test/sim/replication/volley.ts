import type { World } from '../world.ts';
import { BUSY_SECTORS, SECTOR_BYTES, SECTORS } from './sectors.ts';

/** As data is kept (STORED_BLOCK_BYTES): a write of whole ones needs nothing of what is there. */
const SECTORS_PER_BLOCK = 4096 / SECTOR_BYTES;
const BLOCKS = SECTORS / SECTORS_PER_BLOCK;
const BUSY_BLOCKS = BUSY_SECTORS / SECTORS_PER_BLOCK;
const MAX_COMMANDS = 24;

/** Sectors of a unit. */
export interface Range {
  readonly first: number;
  readonly length: number;
}

export interface Command extends Range {
  readonly kind: 'read' | 'write';
  readonly lunId: number;
}

export function someSectors(world: World, atMost: number): Range {
  const end = world.chance(90) ? BUSY_SECTORS : SECTORS;
  const first = world.random.below(end);
  return { first, length: Math.min(end - first, 1 + world.random.below(atMost)) };
}

/** @param block where it begins */
function blocksFrom(world: World, block: number, atMost: number): Range {
  const count = 1 + world.random.below(Math.min(atMost, BLOCKS - block));
  return { first: block * SECTORS_PER_BLOCK, length: count * SECTORS_PER_BLOCK };
}

export function someBlocks(world: World): Range {
  const block = world.random.below(world.chance(90) ? BUSY_BLOCKS : BLOCKS);
  return blocksFrom(world, block, BUSY_BLOCKS);
}

/**
 * Commands of an initiator's queue that come in together, and are begun in one turn of the node's loop: mostly writes of
 * whole blocks, of one unit, and in half of all volleys each where the one before it ended.
 */
export function volleyOf(world: World, lunIds: readonly number[]): readonly Command[] {
  const pickLun = (): number => lunIds[world.random.below(lunIds.length)] as number;
  const mostly = pickLun();
  const isInOrder = world.chance(50);
  let nextBlock = world.random.below(BUSY_BLOCKS);
  return Array.from({ length: world.between(2, MAX_COMMANDS) }, (): Command => {
    const lunId = world.chance(90) ? mostly : pickLun();
    if (world.chance(10)) {
      return { kind: world.chance(50) ? 'read' : 'write', lunId, ...someSectors(world, SECTORS_PER_BLOCK) };
    }
    if (!isInOrder) return { kind: 'write', lunId, ...someBlocks(world) };
    const range = blocksFrom(world, nextBlock, 2);
    nextBlock = ((range.first + range.length) / SECTORS_PER_BLOCK) % BLOCKS;
    return { kind: 'write', lunId, ...range };
  });
}
