import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export const ROOT = join(import.meta.dirname, '../../..');
const FOLDERS = ['base', 'cluster', 'storage', 'node', 'api', 'scripts', 'test'];

/** Paths below the root, of all that is written here. */
export function filesEnding(ending: string, folders: readonly string[] = FOLDERS): string[] {
  return folders.flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
      .filter((path) => path.endsWith(ending))
      .map((path) => join(folder, path)),
  );
}

export function sourceFiles(): { path: string; text: string }[] {
  return filesEnding('.ts').map((path) => ({ path, text: readFileSync(join(ROOT, path), 'utf8') }));
}
