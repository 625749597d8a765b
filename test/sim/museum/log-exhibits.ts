import type { Exhibit } from './exhibit.ts';

/** Of the log, its disk and reads of it. */
export const LOG_EXHIBITS: readonly Exhibit[] = [
  {
    name: 'a vote that is answered before it is durable',
    story: 'Power fails after the answer; back again, the node votes for another in the same term.',
    edits: [
      {
        file: 'cluster/raft/raft-core.ts',
        sound: 'if (isPromise(message.type)) {',
        faulty:
          "if (isPromise(message.type) && (message.type !== 'MsgVoteResp' || message.to === this.id)) {",
      },
    ],
    seeds: 20,
  },
  {
    name: 'a term that is not made durable',
    story: 'A node answers in a term that it forgets with the next loss of power, vote included.',
    edits: [
      {
        file: 'cluster/raft-store.ts',
        sound: 'if (isPromise(recorded, hardState) ||',
        faulty: 'if (',
      },
    ],
    seeds: 20,
  },
  {
    name: 'an acknowledgement before the fsync',
    story: 'A follower answers for entries that are only in the page cache; the leader counts on them.',
    edits: [
      {
        file: 'cluster/raft-store.ts',
        sound: 'if (durable && this.#hasUnsynced) {',
        faulty: 'if (durable && this.#hasUnsynced && writes.length > 3) {',
      },
    ],
    seeds: 20,
  },
  {
    name: 'a leader that counts itself before its fsync',
    story: 'With one follower it takes for committed what is durable on that one alone.',
    edits: [
      {
        file: 'cluster/raft/raft-core.ts',
        sound: "this.send({ type: 'MsgAppResp', to: this.id, index: this.log.lastIndex });",
        faulty: 'this.tracker.progress.get(this.id)?.acknowledge(this.log.lastIndex);',
      },
    ],
    seeds: 20,
  },
  {
    name: 'an entry of an earlier term committed by counting',
    story:
      'What a majority has of an earlier term may still be overruled by a leader without it (Raft §5.4.2).',
    edits: [
      {
        file: 'cluster/raft/log.ts',
        sound: 'if (index <= this.#committed || !this.matches({ index, term })) return false;',
        faulty: 'if (index <= this.#committed || term === 0) return false;',
      },
    ],
    seeds: 60,
  },
  {
    name: 'a log that is not cut where it contradicts the leader',
    story: 'A follower keeps entries of a deposed leader and takes only those beyond its own end.',
    edits: [
      {
        file: 'cluster/raft/log.ts',
        sound: 'const found = entries.find((entry) => !this.matches(entry));',
        faulty: 'const found = entries.find((entry) => entry.index > this.lastIndex);',
      },
    ],
    seeds: 60,
  },
  {
    name: 'a commit beyond what is known to match',
    story: 'A heartbeat tells a follower to commit what it may not have, or has something else in place of.',
    edits: [
      {
        file: 'cluster/raft/replication.ts',
        sound: 'const commit = Math.min(peer.match, core.log.committed);',
        faulty: 'const commit = core.log.committed;',
      },
    ],
    seeds: 20,
  },
  {
    name: 'a read that no majority confirms',
    story: 'A leader that was deposed while it stood still, or was cut off, answers from the past.',
    edits: [
      {
        file: 'cluster/raft/reads.ts',
        sound: "if (core.config.readOnlyOption === 'leaseBased') {",
        faulty: 'if (request !== undefined) {',
      },
    ],
    seeds: 80,
  },
  {
    name: 'a read before the first commit of the term',
    story: 'A new leader does not know yet what its predecessor has committed.',
    edits: [
      {
        file: 'cluster/raft/reads.ts',
        sound: 'if (!core.hasCommittedInTerm()) {',
        faulty: 'if (core.term === 0) {',
      },
    ],
    seeds: 60,
  },
  {
    name: 'a read that shares the answer to an older question',
    story:
      'Readers that come while a question is under way take its answer, which may be older than they are.',
    edits: [
      {
        file: 'cluster/reads.ts',
        sound: 'this.#next.add({ resolve, reject, deadlineMs });',
        faulty: '(this.#asking.size > 0 ? this.#asking : this.#next).add({ resolve, reject, deadlineMs });',
      },
    ],
    seeds: 60,
  },
  {
    name: 'an applied index out of step with what is applied',
    story: 'Position and state go to disk one after the other; a crash between them loses changes for good.',
    edits: [
      {
        file: 'cluster/applied-store.ts',
        sound: 'await unlessFull(() => this.#database.batch(changes, { sync: true }));',
        faulty:
          'await this.#database.batch(changes.slice(0, 1), { sync: true });\n    await this.#database.batch(changes.slice(1), { sync: true });',
      },
    ],
    seeds: 60,
  },
  {
    name: 'a snapshot restored at the wrong place',
    story: 'What the snapshot holds already is applied once more.',
    edits: [
      {
        file: 'cluster/state-machine.ts',
        sound: 'this.#moveTo({ state, position });\n      this.#announce();',
        faulty: 'this.#moveTo({ state, position: position - 1 });\n      this.#announce();',
      },
    ],
    seeds: 60,
  },
  {
    name: 'a change given up that may still come about',
    story:
      'A proposal is reported as certainly lost with the first entry of its own term, and is applied later.',
    edits: [
      {
        file: 'cluster/proposals.ts',
        sound: 'if (pending.term >= term) continue;',
        faulty: 'if (pending.term > term) continue;',
      },
    ],
    seeds: 60,
  },
  {
    name: 'members forgotten by a restart',
    story: 'A node starts with the configuration of its last snapshot, without the changes in the log since.',
    edits: [
      {
        file: 'cluster/raft-store.ts',
        sound: 'return confStateAfter(this.#baseConfState, changes);',
        faulty: 'return confStateAfter(this.#baseConfState, changes.slice(0, 0));',
      },
    ],
    seeds: 60,
  },
  {
    name: 'half of the voters taken for a majority',
    story: 'With four voters two are enough, on either side of a partition.',
    edits: [
      {
        file: 'cluster/raft/quorum.ts',
        sound: 'return Math.floor(count / 2) + 1;',
        faulty: 'return Math.ceil(count / 2);',
      },
    ],
    seeds: 60,
  },
  {
    name: 'compaction beside a write',
    story:
      'The record that begins the log anew repeats a term and vote that a write under way has just changed.',
    edits: [
      {
        file: 'cluster/raft-store.ts',
        sound: 'return this.#inTurn(() => this.#compact(applied, keepAfter));',
        faulty: 'return this.#compact(applied, keepAfter);',
      },
    ],
    seeds: 400,
  },
  {
    name: 'a torn record taken for a whole one',
    story: 'Without its checksum, half-written bytes at the end of the log come back as an entry.',
    edits: [
      {
        file: 'storage/log/segment-codec.ts',
        sound:
          'if (crc32c(payload, checksumBeforePayload(input, at, key.seed)) !== readU32(input, at + 4)) {',
        faulty: 'if (crc32c(payload, checksumBeforePayload(input, at, key.seed)) === -1) {',
      },
    ],
    seeds: 60,
  },
  {
    name: 'damage taken for a torn tail',
    story: 'A bit that turned over in durable records makes opening cut them off, without a word.',
    edits: [
      {
        file: 'storage/log/recovery.ts',
        sound: 'if (durableEnd > end.offset) return',
        faulty: 'if (end.offset < 0) return',
      },
      {
        file: 'storage/log/recovery.ts',
        sound: 'if (!proven && (behind.records === 0 || durablePosition !== undefined)) return undefined;',
        faulty: 'if (!proven || end.offset > 0) return undefined;',
      },
    ],
    seeds: 60,
  },
  {
    name: 'a new segment whose directory is not synced',
    story: 'Power fails, and the file with everything written since has no name any more.',
    edits: [
      {
        file: 'storage/log/segment.ts',
        sound: 'await fileSystem.syncDirectory(directory);',
        faulty: 'await Promise.resolve();',
      },
    ],
    seeds: 80,
  },
  {
    name: 'a node that lost its log and votes at once',
    story: 'It has forgotten what it voted and acknowledged, and takes part as if it were new.',
    edits: [
      {
        file: 'cluster/raft-log.ts',
        sound: 'if (store.lost === undefined) {',
        faulty: "if (store.lost !== 'nothing') {",
      },
    ],
    seeds: 60,
  },
];
