import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { ConfChangeScenario, runQuorum } from './arithmetic-scenarios.ts';
import { type Directive, parseScenario, withNewline } from './datadriven.ts';
import { Interaction } from './interaction.ts';
import { runInteraction } from './interaction-commands.ts';

/** The scenarios of etcd-io/raft, run against our core. The files are not ours and not part of the project. */

export interface ScenarioFile {
  /** As "interaction/campaign.txt". */
  readonly name: string;
  readonly path: string;
}

export interface Mismatch {
  readonly line: number;
  readonly command: string;
  readonly expected: string;
  readonly actual: string;
}

export interface ScenarioResult {
  readonly name: string;
  readonly steps: number;
  /** The first difference; what follows it would only be its consequences. */
  readonly mismatch: Mismatch | undefined;
}

const RUNNERS: Record<string, () => (directive: Directive) => string> = {
  quorum: () => runQuorum,
  confchange: () => {
    const scenario = new ConfChangeScenario();
    return (directive) => scenario.run(directive);
  },
  interaction: () => {
    const env = new Interaction();
    return (directive) => runInteraction(env, directive);
  },
};

/**
 * Those of each part that is there; of a folder that is such a part itself, its own.
 * @returns undefined when there is no part at all
 */
export function listScenarios(folder: string): readonly ScenarioFile[] | undefined {
  const parts = Object.keys(RUNNERS);
  const places = parts.map((part) => ({ part, path: join(folder, part) }));
  places.push({ part: basename(resolve(folder)), path: folder });
  const there = places.filter(({ part, path }) => parts.includes(part) && existsSync(path));
  if (there.length === 0) return undefined;
  return there.flatMap(({ part, path }) =>
    readdirSync(path)
      .filter((file) => file.endsWith('.txt'))
      .sort()
      .map((file) => ({ name: `${part}/${file}`, path: join(path, file) })),
  );
}

export function runScenario(file: ScenarioFile): ScenarioResult {
  const start = RUNNERS[file.name.split('/')[0] ?? ''];
  if (start === undefined) throw new Error(`nothing runs ${file.name}`);
  const run = start();
  const directives = parseScenario(readFileSync(file.path, 'utf8'));
  for (const directive of directives) {
    const actual = withNewline(attempt(run, directive));
    if (actual !== directive.expected) {
      const { line, command, expected } = directive;
      const mismatch = { line, command, expected, actual };
      return { name: file.name, steps: directives.length, mismatch };
    }
  }
  return { name: file.name, steps: directives.length, mismatch: undefined };
}

function attempt(run: (directive: Directive) => string, directive: Directive): string {
  try {
    return run(directive);
  } catch (error) {
    return `threw ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
  }
}
