import type { Exhibit } from './exhibit.ts';

/** Of portal-group replication. */
export const GROUP_EXHIBITS: readonly Exhibit[] = [
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
    name: 'received records whose memory is used again before they have taken effect',
    story:
      'A backup notes checksums that are of other bytes, and finds its blocks damaged once it is primary.',
    edits: [
      {
        file: 'storage/replication/received-memory.ts',
        sound: '(this.#lent[count]?.endIndex ?? 0) <= appliedIndex',
        faulty: 'appliedIndex > 0',
      },
    ],
    seeds: 60,
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
        sound: 'return this.isCertainlyServing() ? undefined : this.#pending.awaitLease();',
        faulty: 'return undefined;',
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
    name: 'a guardian that takes a process for ended whose pipe has ended',
    story: 'A node that is cut off serves on, while another one no longer waits for its lease.',
    edits: [
      {
        file: 'test/sim/guardians.ts',
        sound: 'if (process.isAlive) {',
        faulty: 'if (process.isAlive && looks < 0) {',
      },
    ],
    seeds: 60,
  },
  {
    name: 'the last word of a process that is taken for one of all processes of its node',
    story: 'An earlier process of the node, which was left behind elsewhere, still believes that it serves.',
    edits: [
      {
        file: 'storage/replication/replica-machine.ts',
        sound: 'core.grants = withoutGrant(core.grants, event.peer);',
        faulty: 'core.grants = core.grants.filter((grant) => grant.nodeId !== event.peer.nodeId);',
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
  {
    name: 'logs that are compared by their lengths alone',
    story:
      'A member with records of a primary that was replaced keeps them, where the new one has written others (as in KIP-101).',
    edits: [
      {
        file: 'storage/replication/epoch-table.ts',
        sound: 'if (epochA === epochB) return end;',
        faulty: 'if (epochA !== -1 || epochB !== -1) return end;',
      },
      {
        file: 'storage/replication/backup-machine.ts',
        sound:
          'frame.firstIndex === log.nextIndex && frame.previousEpoch === epochAt(log.epochs, frame.firstIndex - 1);',
        faulty: 'frame.firstIndex === log.nextIndex;',
      },
    ],
    seeds: 20,
  },
  {
    name: 'a read of a damaged block that is answered as it is',
    story: 'A bit turns over on the disk of the primary, and a client is given it.',
    edits: [
      {
        file: 'storage/lun/lun-reader.ts',
        sound: 'if (crc32c(block) === crcs[i]) continue;',
        faulty: 'if (crcs[i] !== undefined) continue;',
      },
    ],
    seeds: 120,
  },
  {
    name: 'mending with whatever another member sends',
    story: 'A sound checksum is put over a record that was spoilt on its way.',
    edits: [
      {
        file: 'storage/replication/record-mender.ts',
        sound: 'if (!isSound(frame, epoch)) {',
        faulty: 'if (!isSound({ ...frame, crc: crc32c(frame.payload) }, epoch)) {',
      },
      {
        file: 'storage/replication/record-mender.ts',
        sound:
          "return record.epoch === epoch && (record.kind !== 'write' || checksumOfIntact(record) !== undefined);",
        faulty: 'return record.epoch === epoch;',
      },
    ],
    seeds: 120,
  },
  {
    name: 'a damaged record that is sent to a member that catches up',
    story: 'One copy that is damaged makes another one so.',
    edits: [
      {
        file: 'storage/replication/log-readings.ts',
        sound: 'if (scanned.isDamaged === true && elided === undefined) break;',
        faulty: '',
      },
    ],
    seeds: 40,
  },
  {
    name: 'damage that is mended in memory only',
    story: 'Clients are given what another member has, and the copy stays damaged until that one is gone.',
    edits: [
      {
        file: 'storage/replication/record-mender.ts',
        sound: 'if (await log.mend(firstIndex, payloads)) {',
        faulty: 'if (payloads.length > 0) {',
      },
    ],
    seeds: 60,
  },
];
