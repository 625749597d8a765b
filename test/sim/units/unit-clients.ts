import type { CounterSet } from '../../../base/counters.ts';
import { DeviceError } from '../../../storage/block-device.ts';
import { checkLinearizable, type Model, type Operation, partition } from '../linearizability.ts';
import { isServing, type Server } from '../replication/clients.ts';
import { IMAGE_VALUES, SECTORS } from '../replication/sectors.ts';
import type { Process, World } from '../world.ts';
import { Reserver } from './reserver.ts';
import { endingOf } from './unit-commands.ts';
import { cellModel, reserveModel } from './unit-models.ts';
import { UnitServer, type UnitSession } from './unit-server.ts';
import { CellUser, type UnitUser } from './unit-users.ts';

const CELL_LUN = 11;
const RESERVED_LUN = 12;
const IMAGE_VERSION = 900_000;
const INITIATORS = ['A', 'B', 'C'];
/** An initiator that has heard nothing for so long logs in again; until then it stays where it is. */
const PATIENCE_MS = 1_500;
/** Placements to try in a history before it is given up as undecided. */
const MAX_STEPS = 40_000;

export interface UnitClientsOptions {
  readonly group: string;
  readonly world: World;
  readonly counters: CounterSet;
  readonly servers: () => readonly Server[];
  readonly fail: (what: string) => void;
}

interface Session {
  readonly process: Process;
  readonly session: UnitSession;
}

type AnyOperation = Operation<unknown, unknown>;

/**
 * Initiators that share two units of the group by what SCSI has for that: one by COMPARE AND WRITE and WRITE ATOMIC, the
 * other by persistent reservations. What they are told must be what one unit would have answered, which never failed.
 */
export class UnitClients {
  readonly #options: UnitClientsOptions;
  /** By process: what its target keeps. */
  readonly #targets = new WeakMap<Process, UnitServer>();
  readonly #histories = new Map<number, AnyOperation[]>([
    [CELL_LUN, []],
    [RESERVED_LUN, []],
  ]);
  /** Processes in which a unit is being made. */
  readonly #making = new Set<Process>();
  #stamp = 0;
  #pauseMs: readonly [number, number] = [2, 16];
  #isOver = false;

  constructor(options: UnitClientsOptions) {
    this.#options = options;
  }

  start(): void {
    const { world } = this.#options;
    const { random } = world;
    for (const [i, name] of INITIATORS.entries()) {
      const cells = new CellUser(random, name, IMAGE_VALUES + IMAGE_VERSION);
      const others = INITIATORS.filter((other) => other !== name);
      const reserver = new Reserver(random, name, others);
      world.after(100 + i, () => this.#turn(CELL_LUN, name, cells, undefined));
      world.after(100 + i, () => this.#turn(RESERVED_LUN, name, reserver, undefined));
    }
  }

  /** Trouble is over. */
  slowDown(): void {
    this.#pauseMs = [20, 100];
  }

  stop(): void {
    this.#isOver = true;
  }

  /** The group is no longer served by that process. */
  ceased(process: Process): void {
    this.#targets.get(process)?.close();
  }

  /** One command of an initiator with that session, and then the next one. */
  #turn(lunId: number, name: string, user: UnitUser, session: Session | undefined): void {
    if (this.#isOver) return;
    const { world, counters } = this.#options;
    let isDone = false;
    const next = (then: Session | undefined): void => {
      if (isDone) return;
      isDone = true;
      world.after(world.between(...this.#pauseMs), () => this.#turn(lunId, name, user, then));
    };
    world.after(PATIENCE_MS, () => next(undefined));
    if (session?.process.isAlive !== true) return this.#login(lunId, name, next);
    const { input, effect, command, understand } = user.next();
    const calledAt = ++this.#stamp;
    const history = this.#histories.get(lunId) as AnyOperation[];
    const asked = { client: name, input, output: undefined, calledAt, returnedAt: Number.POSITIVE_INFINITY };
    const index = history.push(asked) - 1;
    if (effect !== undefined) history.push({ ...asked, input: effect, calledAt: ++this.#stamp });
    session.process.enterAfter(world.between(0, 2), () => {
      void session.session.command(command.cdb, command.dataOut).then((outcome) => {
        world.after(world.between(0, 2), () => {
          const ending = endingOf(outcome);
          counters.add(`sim.unit-${ending.kind}`);
          // One who has given up hears nothing any more.
          if (isDone || ending.kind === 'unknown') return next(undefined);
          const output = ending.kind === 'not-done' ? undefined : understand(ending);
          const known = { ...asked, output, returnedAt: ++this.#stamp };
          history[index] = ending.kind === 'not-done' ? nothing(known) : known;
          const later = history[index + 1];
          if (effect !== undefined && later !== undefined) {
            const isGood = ending.kind === 'good';
            history[index + 1] = isGood ? { ...later, output, returnedAt: ++this.#stamp } : nothing(later);
          }
          counters.add(`sim.unit-${(input as { kind: string }).kind}`);
          next(session);
        });
      });
    });
  }

  #login(lunId: number, name: string, next: (then: Session | undefined) => void): void {
    const { world, group, counters } = this.#options;
    const server = this.#serverToAsk();
    if (server === undefined) return next(undefined);
    const { process } = server;
    process.enterAfter(world.between(0, 2), () => {
      const isThere =
        server.host
          .group(group)
          ?.luns()
          .some((lun) => lun.lunId === lunId) === true;
      if (!isThere) this.#make(server, lunId);
      let target = this.#targets.get(process);
      if (target === undefined) {
        target = new UnitServer(server, group, counters);
        this.#targets.set(process, target);
      }
      void target.login(lunId, portOf(name)).then((session) => {
        world.after(world.between(0, 2), () =>
          next(session === undefined ? undefined : { process, session }),
        );
      });
    });
  }

  /** Made once: whoever serves the group without it knows for certain that nobody has made it, but for what is under way. */
  #make(server: Server, lunId: number): void {
    const { process, host } = server;
    const group = host.group(this.#options.group);
    if (group === undefined || !isServing(server, this.#options.group) || this.#making.has(process)) return;
    this.#making.add(process);
    const base = { name: 'image', version: IMAGE_VERSION };
    group.resetLun({ lunId, base, lengthBlocks: SECTORS }).then(
      () => this.#making.delete(process),
      (error: unknown) => {
        this.#making.delete(process);
        if (!(error instanceof DeviceError)) this.#options.fail(`a unit is not made: ${String(error)}`);
      },
    );
  }

  #serverToAsk(): Server | undefined {
    const { servers, group, world } = this.#options;
    const all = servers();
    const serving = all.find((s) => isServing(s, group));
    if (serving !== undefined && world.chance(90)) return serving;
    return all[world.random.below(Math.max(1, all.length))];
  }

  check(): void {
    const first = IMAGE_VALUES + IMAGE_VERSION;
    const [cells = [], reservations = []] = [CELL_LUN, RESERVED_LUN].map((lunId) =>
      (this.#histories.get(lunId) ?? []).filter(({ input }) => input !== undefined),
    );
    for (const [at, part] of partition(cells, (input) => (input as { at: string }).at))
      this.#checkPart(`${at} of unit ${CELL_LUN}`, cellModel(first), part);
    const reserved = reserveModel(first);
    this.#checkPart(`unit ${RESERVED_LUN}`, reserved, reservations);
  }

  #checkPart(what: string, model: Model<unknown, unknown, unknown>, history: readonly AnyOperation[]): void {
    const { fail, counters } = this.#options;
    const verdict = checkLinearizable(model, history, MAX_STEPS);
    counters.add(`sim.unit-histories-${verdict.kind}`);
    if (verdict.kind !== 'violation') return;
    const { stuckAt, before, placed } = verdict;
    const show = (o: AnyOperation): string =>
      `${o.client} ${JSON.stringify(o.input)} = ${String(o.output)} (${o.calledAt}-${o.returnedAt})`;
    fail(`${what}: no order explains ${show(stuckAt)}, after ${placed}: ${before.map(show).join('; ')}`);
  }
}

function nothing(operation: AnyOperation): AnyOperation {
  return { ...operation, input: undefined };
}

function portOf(name: string): string {
  const isid = name.charCodeAt(0).toString(16).padStart(12, '0');
  return `iqn.2026-11.net.example:${name.toLowerCase()},i,0x${isid}`;
}
