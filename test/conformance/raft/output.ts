import { LEVELS, type Level } from './render-trace.ts';

/** What a scenario prints: the harness's own words always, log lines from the chosen level on. */
export class Output {
  level: Level = 'DEBUG';
  #text = '';

  get quiet(): boolean {
    return this.level === 'NONE';
  }

  print(text: string): void {
    if (!this.quiet) this.#text += text;
  }

  log(level: Level, text: string): void {
    if (LEVELS.indexOf(level) >= LEVELS.indexOf(this.level)) this.print(`${level} ${text}\n`);
  }

  take(): string {
    const text = this.#text;
    this.#text = '';
    return text;
  }

  /** What `run` prints is set in by two spaces. */
  indented(run: () => void): void {
    const before = this.take();
    run();
    const inner = this.take().replace(/\n$/, '');
    this.#text = before + (inner === '' ? '' : `${inner.replaceAll(/^/gm, '  ')}\n`);
  }
}
