import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { listScenarios, runScenario } from './scenarios.ts';

const FOLDER =
  process.env['BOOTFABRIC_RAFT_SCENARIOS'] ??
  join(import.meta.dirname, '..', '..', '..', '..', 'shared', 'raft-conformance');

describe('the scenarios of etcd-io/raft', () => {
  const files = listScenarios(FOLDER);
  if (files === undefined) {
    it.skip(`are not at ${FOLDER}: set BOOTFABRIC_RAFT_SCENARIOS to a folder that has them`);
    return;
  }
  it('have files for each of the three parts', () => {
    for (const part of ['quorum/', 'confchange/', 'interaction/']) {
      expect(files.some(({ name }) => name.startsWith(part))).toBe(true);
    }
  });
  for (const file of files) {
    it(file.name, () => {
      const { steps, mismatch } = runScenario(file);
      expect(steps).toBeGreaterThan(0);
      if (mismatch !== undefined) {
        expect(mismatch.actual, `line ${mismatch.line}: ${mismatch.command}`).toBe(mismatch.expected);
      }
    });
  }
});
