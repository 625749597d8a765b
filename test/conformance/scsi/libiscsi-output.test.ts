import { expect, test } from 'vitest';
import { parseResults, parseSummary, parseTestList } from './libiscsi-output.ts';

const OUTPUT = `
Suite: PreventAllow
  Test: Simple ...    [SKIPPED] Logical unit is not removable. Skipping test.
passed
  Test: 2ITNexuses ...passed
Suite: ModeSense6
  Test: Control-SWP ...passed    [FAILED] PRIN command: failed with sense. UNIT_ATTENTION
  Test: Residuals ...    [FAILED] MODESENSE6 failed
    [FAILED] and again
FAILED
    1. test_modesense6_residuals.c:65  - CU_ASSERT_EQUAL(ret,0)
  Test: Tolerated ...    [FAILED] as it should
passed

Run Summary:    Type  Total    Ran Passed Failed Inactive
              suites      2      2    n/a      0        0
               tests      5      5      4      1        0
             asserts     36     36     36      0      n/a
`;

test('results, skips among what the tool calls passed', () => {
  expect(parseResults(OUTPUT).map(({ name, outcome }) => [name, outcome])).toEqual([
    ['PreventAllow.Simple', 'skipped'],
    ['PreventAllow.2ITNexuses', 'passed'],
    ['ModeSense6.Control-SWP', 'passed'],
    ['ModeSense6.Residuals', 'failed'],
    ['ModeSense6.Tolerated', 'passed'],
  ]);
  expect(parseSummary(OUTPUT)).toEqual({ total: 5, ran: 5, passed: 4, failed: 1 });
  expect(parseSummary('connect failed')).toBeUndefined();
});

test('the list of tests', () => {
  expect(
    parseTestList('ALL\nALL.Read6\nALL.Read6.Simple\nSCSI.Read6.Simple\nALL.Reserve6.2Initiators\n'),
  ).toEqual(['Read6.Simple', 'Reserve6.2Initiators']);
});
