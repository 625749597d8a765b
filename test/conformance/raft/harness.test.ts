import { describe, expect, it } from 'vitest';
import { ConfChangeScenario, runQuorum } from './arithmetic-scenarios.ts';
import { type Directive, parseScenario } from './datadriven.ts';
import { quoted } from './describe.ts';
import { Interaction } from './interaction.ts';
import { runInteraction } from './interaction-commands.ts';

/** What the scenarios that we have do not show, as their harness would answer it. */
const answers = (text: string, run: (directive: Directive) => string): string[] =>
  parseScenario(text).map((directive) => run(directive).trim());

const interact = (...commands: string[]): string[] => {
  const env = new Interaction();
  const text = commands.map((command) => `${command}\n----\n`).join('\n');
  return answers(text, (directive) => runInteraction(env, directive));
};

describe('the harness of the Raft scenarios', () => {
  it('answers commands that make no sense as theirs does', () => {
    expect(
      interact(
        'frobnicate 1',
        '_breakpoint',
        'log-level loud',
        'add-nodes 1 voters=(1)',
        'add-nodes 1 voters=(1) index=2 read-only=fast',
        'add-nodes 1 voters=(1) index=2 read-only=lease-based',
        'log-level error',
        'add-nodes 2 voters=(1 2) index=2',
        'report-unreachable 1',
        'stabilize log-level=loud',
        'compact 1 2',
        'propose-conf-change 1 transition=sudden',
        'propose-conf-change 1\nx1',
        'propose-conf-change 1\nv',
        'propose-conf-change 1\nvx',
      ),
    ).toEqual([
      'unknown command',
      'ok',
      'log levels must be either of [DEBUG INFO WARN ERROR FATAL NONE]',
      'index must be specified as > 1 due to bootstrap',
      'invalid read-only option "fast"',
      'CheckQuorum must be enabled when ReadOnlyOption is ReadOnlyLeaseBased',
      'ok',
      'ok',
      'must specify exactly two node indexes: node on which to report, and reported node',
      'log levels must be either of [DEBUG INFO WARN ERROR FATAL NONE]',
      'requested index is unavailable due to compaction',
      'unknown transition sudden',
      'unknown input: x1',
      'unknown token v',
      'strconv.ParseUint: parsing "x": invalid syntax',
    ]);
  });

  it('answers arithmetic that makes no sense as theirs does', () => {
    expect(answers('committed cfg=(1,2) idx=(_)\n----\n', runQuorum)).toEqual([
      'error: mismatched input (explicit or _) for voters map[1:{} 2:{}]: [0]',
    ]);
    const scenario = new ConfChangeScenario();
    expect(answers('leave-joint\nv1\n----\n\nhop\n----\n', (directive) => scenario.run(directive))).toEqual([
      'this command takes no input',
      'unknown command',
    ]);
  });

  it('passes headings over', () => {
    expect(parseScenario('subtest a\n\nx 1\n----\nok\n\nsubtest end\n').map((d) => d.command)).toEqual(['x']);
  });

  it.each([
    ['foo', '"foo"'],
    ['a"b\\c', '"a\\"b\\\\c"'],
    ['\n\t\u0007\u0001\u007f', '"\\n\\t\\a\\x01\\x7f"'],
    ['grün ∞', '"grün ∞"'],
    ['\u2028', '"\\u2028"'],
  ])('quotes %j', (text, expected) => {
    expect(quoted(Buffer.from(text))).toBe(expected);
  });

  it('quotes bytes that are no text', () => {
    expect(quoted(Uint8Array.of(0xff, 0x61, 0xc3))).toBe('"\\xffa\\xc3"');
  });
});
