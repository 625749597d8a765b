import type { Exhibit } from './exhibit.ts';

/** Of portal-group replication. */
export const REPLICATION_EXHIBITS: readonly Exhibit[] = [
  {
    name: 'compaction that writes a block again over something newer on its way',
    story: 'What a client has just been told is written is replaced by what was there before.',
    edits: [
      {
        file: 'storage/lun/live-parts.ts',
        sound: 'lun.blocks.position(block) === at && !lun.inFlight.has(block)',
        faulty: 'lun.blocks.position(block) === at',
      },
    ],
    seeds: 300,
  },
  {
    name: 'compaction that carries blocks past a reset of their disk',
    story: 'Blocks of a disk that was begun anew come back.',
    edits: [
      {
        file: 'storage/lun/live-parts.ts',
        sound: 'if (lun === undefined || lun.endingIndex !== Number.POSITIVE_INFINITY) return [];',
        faulty: 'if (lun === undefined) return [];',
      },
    ],
    seeds: 400,
  },
  {
    name: 'a member that is sent a void for what is still in use',
    story: 'One that caught up joins, and blocks are gone once it is primary.',
    edits: [
      {
        file: 'storage/lun/superseded.ts',
        sound: 'if (newest <= at || newest >= until.position) return false;',
        faulty: 'if (newest >= until.position) return false;',
      },
    ],
    seeds: 60,
  },
  {
    name: 'a log that lets go of blocks still in use',
    story: 'Segments are removed that still hold the only copy of a block.',
    edits: [
      {
        file: 'storage/replication/log-trimmer.ts',
        sound: 'Math.min(this.#table.firstNeededIndex(), this.#view.commitIndex, keepFrom)',
        faulty: 'Math.min(this.#view.commitIndex, keepFrom)',
      },
    ],
    seeds: 60,
  },
  {
    name: 'a read that is answered without a look at the lease',
    story: 'A primary that was replaced while it stood still answers from the past.',
    edits: [
      {
        file: 'storage/replication/write-path.ts',
        sound: 'if (primary !== undefined && isServing(primary, nowMs)) return undefined;',
        faulty: 'if (primary !== undefined) return undefined;',
      },
    ],
    seeds: 300,
  },
  {
    name: 'a release that is taken for one of all other grants as well',
    story: 'One that gave way before it served hands over, while the one before it still serves.',
    edits: [
      {
        file: 'storage/replication/primary-machine.ts',
        sound: 'core.grants = withoutGrant(core.grants, member);',
        faulty: 'core.grants = [];',
      },
    ],
    seeds: 60,
  },
  {
    name: 'a release that is taken from a later process of the same node',
    story:
      'A node is started once more elsewhere while its old process, paused, still believes that it serves.',
    edits: [
      {
        file: 'storage/replication/grants.ts',
        sound: 'if (grants.every((grant) => !sameMember(grant, by))) return grants;',
        faulty: 'return grants.filter((grant) => grant.nodeId !== by.nodeId);',
      },
    ],
    seeds: 60,
  },
  {
    name: 'a release that is sent before the address is off the node',
    story: 'Two nodes answer for one address, and initiators stay with the wrong one.',
    edits: [
      {
        file: 'storage/replication/effect-runner.ts',
        sound: "letGo().then(() => step({ kind: 'letGone', reign }), onFailure);",
        faulty: "letGo().catch(onFailure); queueMicrotask(() => step({ kind: 'letGone', reign }));",
      },
    ],
    seeds: 60,
  },
];
