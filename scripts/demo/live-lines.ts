import type { DemoClient } from './demo-client.ts';

const REDRAW_MS = 200;
/** Where lines cannot be drawn over, each client says something this often at most. */
const PLAIN_MS = 2_000;
const UP_AND_CLEAR = '\u001b[1A\u001b[2K';

/** One line a client with its stage and rate: redrawn in place on a terminal, repeated now and then elsewhere. */
export class LiveLines {
  readonly #clients: readonly DemoClient[];
  readonly #out: NodeJS.WriteStream;
  readonly #counts = new Map<string, { acknowledged: number; atMs: number }>();
  #drawn = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(clients: readonly DemoClient[], out: NodeJS.WriteStream) {
    this.#clients = clients;
    this.#out = out;
  }

  start(): void {
    this.#timer ??= setInterval(() => this.#draw(), this.#out.isTTY ? REDRAW_MS : PLAIN_MS);
  }

  stop(): void {
    if (this.#timer === undefined) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#draw();
    this.#drawn = 0;
  }

  /** A line that stays, above the live ones. */
  say(text: string): void {
    this.#erase();
    this.#out.write(`${text}\n`);
    if (this.#timer !== undefined && this.#out.isTTY) this.#draw();
  }

  #draw(): void {
    this.#erase();
    for (const client of this.#clients) this.#out.write(`${this.#line(client)}\n`);
    this.#drawn = this.#out.isTTY ? this.#clients.length : 0;
  }

  #erase(): void {
    this.#out.write(UP_AND_CLEAR.repeat(this.#drawn));
    this.#drawn = 0;
  }

  #line(client: DemoClient): string {
    const nowMs = performance.now();
    const before = this.#counts.get(client.options.name);
    const perSecond =
      before === undefined ? 0 : ((client.acknowledged - before.acknowledged) * 1000) / (nowMs - before.atMs);
    this.#counts.set(client.options.name, { acknowledged: client.acknowledged, atMs: nowMs });
    const rate = perSecond >= 1 ? `${perSecond.toFixed(0)} writes/s` : '';
    return [
      `  ${client.options.name.padEnd(6)}`,
      client.options.firmware.padEnd(5),
      client.portal.padEnd(20),
      client.shownStage.slice(0, 40).padEnd(40),
      `${client.acknowledged} acknowledged`.padStart(20),
      rate.padStart(14),
    ]
      .join(' ')
      .trimEnd();
  }
}
