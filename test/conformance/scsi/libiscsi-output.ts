/** What libiscsi's test tool says of itself, taken out of its text. The tool counts a skipped test as passed. */

export interface TestResult {
  /** "Suite.Test". */
  readonly name: string;
  readonly outcome: 'passed' | 'failed' | 'skipped';
  /** What it said while the test ran. */
  readonly remarks: readonly string[];
}

export interface Summary {
  readonly total: number;
  readonly ran: number;
  readonly passed: number;
  readonly failed: number;
}

/** Names under "ALL" in the output of `iscsi-test-cu --list`, as "Suite.Test". */
export function parseTestList(output: string): readonly string[] {
  return output.split('\n').flatMap((line) => /^ALL\.(\w+\.\S+)$/.exec(line)?.slice(1) ?? []);
}

/** Results by test, from a run in the tool's verbose mode. */
export function parseResults(output: string): readonly TestResult[] {
  const results: TestResult[] = [];
  let suite = '';
  let test: { name: string; remarks: string[] } | undefined;
  for (const line of output.split('\n')) {
    const nextSuite = /^Suite: (\S+)/.exec(line)?.[1];
    if (nextSuite !== undefined) suite = nextSuite;
    const begins = /^ {2}Test: (\S+) \.\.\.(.*)$/.exec(line);
    if (begins !== null) test = { name: `${suite}.${begins[1]}`, remarks: [] };
    if (test === undefined) continue;
    const text = begins === null ? line : (begins[2] as string);
    // The verdict stands at the start of a line, or right behind the name; remarks are indented.
    const verdict = /^(passed|FAILED)/.exec(text)?.[1];
    if (verdict === undefined) {
      test.remarks.push(text.trim());
      continue;
    }
    results.push({ ...test, outcome: outcomeOf(verdict, test.remarks) });
    test = undefined;
  }
  return results;
}

function outcomeOf(verdict: string, remarks: readonly string[]): TestResult['outcome'] {
  if (verdict === 'FAILED') return 'failed';
  return remarks.some((remark) => /\[SKIPP/.test(remark)) ? 'skipped' : 'passed';
}

/** The line of the summary that counts tests; undefined when the tool did not get as far as that. */
export function parseSummary(output: string): Summary | undefined {
  const line = /^\s+tests\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+)/m.exec(output);
  if (line === null) return undefined;
  const [total, ran, passed, failed] = line.slice(1).map(Number) as [number, number, number, number];
  return { total, ran, passed, failed };
}
