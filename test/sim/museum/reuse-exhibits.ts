import type { Exhibit } from './exhibit.ts';

/** Of segments that are written over former ones. */
export const REUSE_EXHIBITS: readonly Exhibit[] = [
  {
    name: 'a former life of a segment taken for its continuation',
    story:
      'Nothing in a record says of which life it is: behind the last one, those of the former life go on.',
    edits: [
      {
        file: 'storage/log/segment-codec.ts',
        sound: 'named.writeBigUInt64BE(BigInt(basePosition));',
        faulty: 'named.writeBigUInt64BE(BigInt(basePosition) * 0n);',
      },
      { file: 'storage/log/segment-codec.ts', sound: 'named.set(salt, 8);', faulty: '' },
      {
        file: 'storage/log/segment-codec.ts',
        sound: 'lengthMask: readU32(salt, 0),',
        faulty: 'lengthMask: 0,',
      },
      {
        file: 'storage/log/segment-codec.ts',
        sound: 'durableEndMask: readU32(salt, 4),',
        faulty: 'durableEndMask: 0,',
      },
      {
        file: 'storage/log/segment-codec.ts',
        sound: 'indexMask: readU32(salt, 8),',
        faulty: 'indexMask: 0,',
      },
    ],
    seeds: 20,
  },
  {
    name: 'a torn tail that is left behind the end',
    story:
      'A whole record behind a torn one stays in the file, and is taken for the next once the torn one is overwritten.',
    edits: [
      {
        file: 'storage/log/recovery.ts',
        sound: 'await file.truncate(end.offset);',
        faulty: 'if (!isOwn) await file.truncate(end.offset);',
      },
    ],
    seeds: 100,
  },
  {
    name: 'a file that is written over while it may still come back',
    story:
      'The new name of a segment let go of is not durable: power fails, and what counts is another life.',
    edits: [
      {
        file: 'storage/log/segment-set.ts',
        sound: 'await syncOrFail(this.#fileSystem, this.#directory);\n    if (sizeBytes === 0) return;',
        faulty: 'if (sizeBytes === 0) return this.#fileSystem.syncDirectory(this.#directory);',
      },
    ],
    seeds: 100,
  },
  {
    name: 'a name before what it names',
    story:
      'A segment has its name before its header is durable, and there is that of a former life, or half of each.',
    edits: [
      {
        file: 'storage/log/segment.ts',
        sound: 'SEGMENT_HEADER_BYTES), 0);\n    await file.syncData();',
        faulty: 'SEGMENT_HEADER_BYTES), 0);',
      },
    ],
    seeds: 100,
  },
  {
    name: 'a file that somebody still reads',
    story: 'A segment that is let go of is written over while a scan goes through it.',
    edits: [
      {
        file: 'storage/log/segment-set.ts',
        sound: 'if (segment.users > 0 && !this.#closing) {',
        faulty: 'if (segment.users > 1_000 && !this.#closing) {',
      },
    ],
    seeds: 100,
  },
  {
    name: 'damage in what is written over taken for a former life',
    story: 'A record that was durable and does not match its checksum is cut off in silence.',
    edits: [
      {
        file: 'storage/log/recovery.ts',
        sound: 'const damage = durableDamage(segment, end, behind, options.durablePosition);',
        faulty:
          'const damage = segment.salt === undefined ? durableDamage(segment, end, behind, options.durablePosition) : undefined;',
      },
    ],
    seeds: 100,
  },
];
