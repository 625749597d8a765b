/**
 * The scenario file format: a directive line, optional input lines, `----`, then the expected text up to a
 * blank line. Where the expected text itself has blank lines it stands between two pairs of `----`. A `#`
 * begins a comment line; a backslash at the end of a directive continues it.
 */
export interface Directive {
  readonly line: number;
  readonly command: string;
  readonly args: readonly Argument[];
  readonly input: string;
  readonly expected: string;
}

/** `key`, `key=value` or `key=(value,value)`; a key alone has no values. */
export interface Argument {
  readonly key: string;
  readonly values: readonly string[];
}

const SEPARATOR = '----';

export function parseScenario(text: string): Directive[] {
  const lines = text.split('\n');
  const directives: Directive[] = [];
  let at = 0;
  while (at < lines.length) {
    const start = at;
    let directive = (lines[at++] as string).trim();
    if (directive === '' || directive.startsWith('#')) continue;
    while (directive.endsWith('\\')) directive = `${directive.slice(0, -1)} ${(lines[at++] ?? '').trim()}`;
    // A heading; what follows it stands for itself.
    if (/^subtest\b/.test(directive)) {
      if (lines[at] === SEPARATOR) at = expectedFrom(lines, at + 1).next;
      continue;
    }
    const separator = lines.indexOf(SEPARATOR, at);
    if (separator === -1) throw new Error(`line ${start + 1}: "${directive}" has no ${SEPARATOR}`);
    const input = lines.slice(at, separator).join('\n').trim();
    const expected = expectedFrom(lines, separator + 1);
    at = expected.next;
    const [command = '', ...args] = splitWords(directive);
    directives.push({
      line: start + 1,
      command,
      args: args.map(parseArgument),
      input,
      expected: expected.text,
    });
  }
  return directives;
}

function expectedFrom(lines: readonly string[], from: number): { text: string; next: number } {
  if (lines[from] !== SEPARATOR) {
    let end = from;
    while (end < lines.length && (lines[end] as string).trim() !== '') end++;
    return { text: withNewline(lines.slice(from, end).join('\n')), next: end };
  }
  let end = from + 1;
  while (end < lines.length && !(lines[end] === SEPARATOR && lines[end + 1] === SEPARATOR)) end++;
  return { text: withNewline(lines.slice(from + 1, end).join('\n')), next: end + 2 };
}

/** Words at spaces, but not at spaces within parentheses. */
function splitWords(directive: string): string[] {
  return directive.match(/(?:\([^)]*\)|[^\s(])+/g) ?? [];
}

function parseArgument(word: string): Argument {
  const equals = word.indexOf('=');
  if (equals === -1) return { key: word, values: [] };
  const value = word.slice(equals + 1);
  const list = /^\((.*)\)$/.exec(value)?.[1];
  const values = (list ?? value).split(list === undefined ? ',' : /[,\s]+/).map((item) => item.trim());
  return { key: word.slice(0, equals), values: list === '' ? [] : values };
}

export function withNewline(text: string): string {
  return text === '' || text.endsWith('\n') ? text : `${text}\n`;
}
