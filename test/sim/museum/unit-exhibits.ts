import type { Exhibit } from './exhibit.ts';

/** Of units that initiators share, and what SCSI has for that. */
export const UNIT_EXHIBITS: readonly Exhibit[] = [
  {
    name: 'two commands that compare and write, side by side',
    story: 'Both find what they expect, and each takes the lock that the other one has.',
    edits: [
      {
        file: 'node/scsi/write-command.ts',
        sound: `state.gate.alone(async () => {
        if (length === 0) return goodWithoutData;`,
        faulty: `state.gate.beside(async () => {
        if (length === 0) return goodWithoutData;`,
      },
    ],
    seeds: 20,
  },
  {
    name: 'a write that is begun at once beside a command that compares and writes',
    story: 'It lies between what was compared and what is written, and is gone.',
    edits: [
      {
        file: 'node/scsi/logical-unit.ts',
        sound: 'if (!state.gate.enterNow()) return false;',
        faulty: 'state.gate.enterNow();',
      },
    ],
    seeds: 20,
  },
  {
    name: 'reservations that lie in the log alone',
    story: 'Once its head has been let go of, whoever was kept out may write.',
    edits: [
      {
        file: 'storage/lun/lun-table.ts',
        sound: 'if (this.serverState === undefined) return this.description;',
        faulty: 'if (this.serverState === undefined || this.description.lunId > 0) return this.description;',
      },
    ],
    seeds: 20,
  },
  {
    name: 'a reservation that counts before it is safe',
    story: 'It is reported, and then nobody has ever heard of it.',
    edits: [
      {
        file: 'node/scsi/unit-state.ts',
        sound: 'if (next !== undefined && next !== this.server) {',
        faulty: 'if (next !== undefined && next !== this.server) {\n        this.#server = next;',
      },
    ],
    seeds: 20,
    fromSeed: 50,
  },
  {
    name: 'changes of reservations that do not wait for each other',
    story: 'Two are made of the same state, and one of them is undone.',
    edits: [
      {
        file: 'node/scsi/unit-state.ts',
        sound: 'const turn = this.#changing.then(async () => {',
        faulty: 'const turn = Promise.resolve().then(async () => {',
      },
    ],
    seeds: 20,
  },
  {
    name: 'an abort that is not waited for',
    story:
      'ABORT TASK has been answered, the same blocks have been written again, and then what was aborted is.',
    edits: [
      {
        file: 'node/iscsi/task-set.ts',
        sound: `this.#beginWaiting();
    await Promise.all(settled);`,
        faulty: `this.#beginWaiting();
    void Promise.all(settled);`,
      },
    ],
    seeds: 20,
  },
];
