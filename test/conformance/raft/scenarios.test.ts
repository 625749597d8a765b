import { join } from 'node:path';
import { expect, it } from 'vitest';
import { describeWhere, type Requirements } from '../../support/requirements.ts';
import { listScenarios, runScenario } from './scenarios.ts';

const FOLDER =
  process.env['BOOTFABRIC_RAFT_SCENARIOS'] ??
  join(import.meta.dirname, '..', '..', '..', '..', 'shared', 'raft-conformance');

const NEEDS: Requirements = {
  files: [FOLDER],
  enableWith: 'BOOTFABRIC_RAFT_SCENARIOS=FOLDER npm test, with a folder that has them',
};

describeWhere(NEEDS, 'the scenarios of etcd-io/raft', () => {
  const files = listScenarios(FOLDER) ?? [];
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
