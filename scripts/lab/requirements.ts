import { accessSync, constants, existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** What something needs of its host beyond the npm packages. */
export interface Requirements {
  readonly root?: boolean;
  /** Programs looked for on the PATH and in the system folders. */
  readonly commands?: readonly string[];
  /** Files or folders that must exist. */
  readonly files?: readonly string[];
  /** The command that would bring what is missing. */
  readonly enableWith: string;
}

export function missingRequirements(needs: Requirements): string[] {
  const missing: string[] = [];
  if (needs.root === true && process.getuid?.() !== 0) missing.push('root');
  for (const command of needs.commands ?? []) if (!commandExists(command)) missing.push(command);
  for (const file of needs.files ?? []) if (!existsSync(file)) missing.push(file);
  return missing;
}

const SYSTEM_FOLDERS = ['/usr/sbin', '/sbin', '/usr/local/sbin'];

function commandExists(command: string): boolean {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), ...SYSTEM_FOLDERS];
  return folders.some((folder) => {
    try {
      accessSync(join(folder, command), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
