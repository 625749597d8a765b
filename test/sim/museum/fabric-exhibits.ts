import type { Exhibit } from './exhibit.ts';

/** Of whole nodes: what only shows itself with images, power and the cluster log together. */
export const FABRIC_EXHIBITS: readonly Exhibit[] = [
  {
    name: 'a page of an image that is given out as it lies there',
    story: 'A bit turns over in an image, and every machine that boots from this node is given it.',
    edits: [
      {
        file: 'storage/image/verified-image.ts',
        sound: 'return this.#checksums.knows(chunk) && this.#checksums.matches(page, content);',
        faulty: 'return content.length > 0 && page >= 0;',
      },
    ],
    seeds: 20,
  },
  {
    name: 'damage in the log of a portal group that is never mended from others',
    story: 'What could have been had from another member is reported as lost.',
    edits: [
      {
        file: 'storage/replication/record-mender.ts',
        sound: 'if (!isSound(frame, epoch)) {',
        faulty: 'if (frame.index >= 0) {',
      },
    ],
    seeds: 10,
  },
];

/** Of groups that lose all their members together, one with a damaged copy. */
export const DOUBLE_FAILURE_EXHIBITS: readonly Exhibit[] = [
  {
    name: 'a damaged last copy that is not asked how far it had been in use',
    story:
      'The last member served alone before it died. Its copy is damaged, and a sound one without these writes leads.',
    edits: [
      {
        file: 'cluster/state/succession.ts',
        sound: 'under === retired.disk && epoch > retired.epoch',
        faulty: 'under === retired.disk && epoch >= 0 * retired.epoch',
      },
    ],
    seeds: 5,
    fromSeed: 330_029,
  },
];
