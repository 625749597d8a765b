import { accessSync, appendFileSync, constants, existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { describe } from 'vitest';

/**
 * What a suite needs beyond the npm packages. Where something is missing the suite is reported as skipped,
 * with the command that would enable it; where nothing may be skipped (BOOTFABRIC_SKIP_NOTHING=1, as the
 * continuous integration sets it) the same is a failure.
 */
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

/** Like vitest's describe, for a suite with needs. */
export function describeWhere(needs: Requirements, name: string, body: () => void): void {
  const missing = missingRequirements(needs);
  if (missing.length === 0) {
    describe(name, body);
    return;
  }
  const line = `${name}: needs ${missing.join(', ')}; enable it with: ${needs.enableWith}`;
  if (process.env['BOOTFABRIC_SKIP_NOTHING'] === '1') {
    throw new Error(`nothing may be skipped here, but ${line}`);
  }
  const report = process.env['BOOTFABRIC_SKIP_REPORT'];
  if (report !== undefined) appendFileSync(report, `${line}\n`);
  describe.skip(`${name} (needs ${missing.join(', ')}; ${needs.enableWith})`, body);
}

const SYSTEM_FOLDERS = ['/usr/sbin', '/sbin', '/usr/local/sbin'];

export function commandExists(command: string): boolean {
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
