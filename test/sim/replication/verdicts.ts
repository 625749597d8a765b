import type { MemberIdentity } from '../../../storage/replication/index.ts';
import type { Change } from './authority.ts';
import { GROUP } from './clients.ts';
import { differenceBetween, lackingOf } from './disk-content.ts';
import type { Node } from './simulation-options.ts';

/** One that joins has all that counts, however it came by it. @returns what it lacks */
export function whatLacksWhoJoins(
  change: Change,
  nodes: ReadonlyMap<string, Node>,
  counters: { add(name: string): void },
): string | undefined {
  if (change.kind !== 'expand') return undefined;
  const [joined, primary] = [nodes.get(change.add), nodes.get(change.primary)];
  const isThere = joined?.process.isAlive === true && joined.process.incarnation === change.incarnation;
  if (joined === undefined || primary?.process.isAlive !== true || !isThere) return undefined;
  counters.add('sim.joined-compared');
  const lacking = lackingOf(joined.disk, primary.disk, GROUP);
  return lacking === undefined ? undefined : `${change.incarnation} joins and lacks ${lacking}`;
}

/** In the end all are in sync, and have the same. */
export function whatIsNotTheSame(
  inSync: readonly MemberIdentity[],
  nodes: readonly Node[],
): string | undefined {
  if (inSync.length !== nodes.length) {
    const status = nodes.map((node) => node.host.group(GROUP)?.status());
    return `${inSync.length} members are in sync in the end: ${JSON.stringify(status)}`;
  }
  const disks = nodes.map(({ disk }) => disk);
  return differenceBetween(disks, GROUP);
}
