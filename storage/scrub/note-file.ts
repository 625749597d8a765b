import { dirname } from 'node:path';
import { readWhole } from '../image/image-directory.ts';
import type { FileSystem } from '../log/file-system.ts';
import { writeWhole } from '../log/whole-file.ts';
import type { ScrubberOptions } from './scrubber.ts';

/** A small file that is replaced as a whole. */
export function noteFile(fileSystem: FileSystem, path: string): ScrubberOptions['store'] {
  return {
    load: async () => {
      const bytes = await readWhole(fileSystem, path);
      return bytes === undefined ? undefined : Buffer.from(bytes).toString('utf8');
    },
    save: async (text) => {
      const temporary = `${path}.tmp`;
      await writeWhole(fileSystem, temporary, Buffer.from(text, 'utf8'));
      await fileSystem.rename(temporary, path);
      await fileSystem.syncDirectory(dirname(path));
    },
  };
}
