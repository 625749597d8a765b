import type { Bereaved } from '../guardians.ts';
import type { Network } from '../network.ts';
import type { Process, World } from '../world.ts';
import type { Authority } from './authority.ts';
import type { Server } from './clients.ts';
import type { Disk } from './disk.ts';
import type { Node, SimulationOptions } from './simulation-options.ts';

/** A group moved within quickMoveMs was not waited for until the lease ran out. */
export const PACE = { leaseMs: 400, fenceAfterMs: 450, quickMoveMs: 200 };

export function slowDown(world: World, disk: Disk): void {
  disk.slowMs = world.between(5, 350);
  world.after(world.between(50, 500), () => {
    disk.slowMs = 0;
  });
}

/** What befalls a disk besides all else, where that is asked for. */
export function wearOut(
  world: World,
  disk: Disk,
  { failingDisks = false, units = false }: Pick<SimulationOptions, 'failingDisks' | 'units'>,
  primary: Server | undefined,
): void {
  if (failingDisks && world.chance(10)) disk.failsToSync = true;
  if (!units) return;
  if (world.chance(60)) slowReads(world, disk);
  // For so long that another one serves meanwhile; what has come by then is taken before it looks at the clock.
  if (world.chance(12)) primary?.process.pause(world.between(700, 1_700));
}

function slowReads(world: World, disk: Disk): void {
  disk.slowReadMs = world.between(2, 80);
  world.after(world.between(50, 500), () => {
    disk.slowReadMs = 0;
  });
}

/** The process is killed now and then in the midst of an append, most of all where nobody else has what is appended. */
export function tearAppends(
  { disk, process }: Pick<Node, 'disk' | 'process'>,
  authority: Authority,
  mayDie: () => boolean,
  kill: () => void,
): void {
  disk.tearsAppends = true;
  disk.onAppendOfSeveral = () => {
    const [only, another] = authority.group.inSync;
    const isAlone = another === undefined && only?.incarnation === process.incarnation;
    if (mayDie() && process.world.chance(isAlone ? 50 : 1)) process.world.after(0, kill);
  };
}

export function fillUp(world: World, disk: Disk): void {
  disk.isFull = true;
  world.after(world.between(50, 500), () => {
    disk.isFull = false;
  });
}

/** A node that is told of the end of another's process; whoever leads the cluster log has that one fenced. */
export function bereaved(
  { process, host }: Server,
  { world, authority }: { readonly world: World; readonly authority: Authority },
): Bereaved {
  return {
    process,
    peerEnded: (peer) => {
      host.peerEnded(peer);
      world.after(world.between(1, 40), () => authority.fence(peer.nodeId, peer.incarnation));
    },
  };
}

interface Side {
  readonly nodeId: string;
  readonly process: Process;
}

/** What may come in the way of a group on its way from one node to another, between these or at one of them. */
export function disturb(
  trouble: number,
  given: {
    readonly world: World;
    readonly authority: Authority;
    readonly network: Network;
    readonly from: Side;
    readonly to: Side;
    readonly either: Side;
  },
): void {
  const { world, authority, network, from, to, either } = given;
  const forMs = world.between(50, 800);
  switch (trouble) {
    case 2:
      return either.process.pause(forMs);
    case 3:
      return network.cut(from.nodeId, to.nodeId, forMs);
    case 4:
      return network.hold(from.nodeId, to.nodeId, forMs);
    case 5:
      return authority.cutOff(either.nodeId, forMs);
  }
}
