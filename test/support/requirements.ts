import { appendFileSync } from 'node:fs';
import { describe } from 'vitest';
import { missingRequirements, type Requirements } from '../../scripts/lab/requirements.ts';

export type { Requirements } from '../../scripts/lab/requirements.ts';

/**
 * Like vitest's describe, for a suite with needs. Where something is missing the suite is reported as skipped,
 * with the command that would enable it; where nothing may be skipped (BOOTFABRIC_SKIP_NOTHING=1, as the
 * continuous integration sets it) the same is a failure.
 */
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
