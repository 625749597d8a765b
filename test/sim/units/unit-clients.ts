import type { CounterSet } from '../../../base/counters.ts';
import type { ScsiOutcome } from '../../../node/scsi/prepared-command.ts';
import { DeviceError } from '../../../storage/block-device.ts';
import { checkLinearizable, type Model, partition } from '../linearizability.ts';
import { isServing, type Server } from '../replication/clients.ts';
import { IMAGE_VALUES, SECTORS } from '../replication/sectors.ts';
import type { Process, World } from '../world.ts';
import { Reserver } from './reserver.ts';
import { endingOf } from './unit-commands.ts';
import { type AnyOperation, type AskedStep, UnitHistory } from './unit-history.ts';
import { cellModel, reserveModel } from './unit-models.ts';
import { UnitServer } from './unit-server.ts';
import type { UnitSession } from './unit-session.ts';
import { CellUser, type Step, type UnitUser } from './unit-users.ts';

const CELL_LUN = 11;
const RESERVED_LUN = 12;
const IMAGE_VERSION = 900_000;
const INITIATORS = ['A', 'B', 'C'];
/** An initiator that has heard nothing for so long logs in again; until then it stays where it is. */
const PATIENCE_MS = [200, 900] as const;
const REST_PERCENT = 2;
/** Long enough for another node to have been served by meanwhile. */
const REST_MS = [100, 1_400] as const;
/** Of initiators that would ask a node that stands still: they have nothing to ask until it goes on. */
const WAIT_PERCENT = 50;
/** Of writes. */
const ABORT_PERCENT = 12;
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

/**
 * Initiators that share two units of the group by what SCSI has for that: one by COMPARE AND WRITE and WRITE ATOMIC, the
 * other by persistent reservations. What they are told must be what one unit would have answered, which never failed.
 */
export class UnitClients {
  readonly #options: UnitClientsOptions;
  /** By process: what its target keeps. */
  readonly #targets = new WeakMap<Process, UnitServer>();
  readonly #histories = new Map([
    [CELL_LUN, new UnitHistory()],
    [RESERVED_LUN, new UnitHistory()],
  ]);
  /** By unit, initiator and process: a command that has come to its target, and of whose end it has not heard. */
  readonly #underWay = new Map<string, AskedStep>();
  /** By unit, initiator that preempts others, and process: its commands end theirs; to be called once it is told so. */
  readonly #aborting = new Map<string, (() => void)[]>();
  /** Processes in which a unit is being made. */
  readonly #making = new Set<Process>();
  #pauseMs: readonly [number, number] = [2, 16];
  #restPercent = REST_PERCENT;
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
    this.#restPercent = 0;
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
    const { world } = this.#options;
    let isDone = false;
    const next = (then: Session | undefined): void => {
      if (isDone) return;
      isDone = true;
      world.after(this.#pause(user), () => this.#turn(lunId, name, user, then));
    };
    if (session?.process.isAlive !== true) {
      world.after(PATIENCE_MS[0], () => next(undefined));
      return this.#login(lunId, name, next);
    }
    const { process } = session;
    if (process.isPaused && world.chance(WAIT_PERCENT)) {
      user.rested();
      world.at(process.pausedUntilMs - world.between(1, 5), () => next(session));
      return;
    }
    world.after(world.between(...PATIENCE_MS), () => next(undefined));
    const step = user.next();
    const key = keyOf(lunId, name, process);
    this.#underWay.delete(key);
    this.#aborting.delete(key);
    const asked = (this.#histories.get(lunId) as UnitHistory).asked(name, step);
    const isAborted = step.ended !== undefined && world.chance(ABORT_PERCENT);
    const hear = (then: () => void): void => {
      // One who has given up hears nothing any more.
      world.after(world.between(0, 2), () => {
        if (!isDone) then();
      });
    };
    process.arriveAfter(world.between(0, 2), () => {
      const { command } = step;
      const { tag, outcome } = session.session.command(command.cdb, command.dataOut);
      if (!isDone) this.#underWay.set(key, asked);
      void outcome.then((told) =>
        hear(() => this.#answered(key, asked, step, told, () => next(session), next)),
      );
      if (isAborted)
        this.#abortSoon(session, tag, {
          asked,
          hear,
          goOn: () => {
            user.aborted(step);
            next(session);
          },
        });
    });
  }

  #answered(
    key: string,
    asked: AskedStep,
    { input }: Step<unknown, unknown>,
    outcome: ScsiOutcome | undefined,
    goOn: () => void,
    next: (then: undefined) => void,
  ): void {
    const { counters } = this.#options;
    const ending = endingOf(outcome);
    counters.add(`sim.unit-${ending.kind}`);
    if (ending.kind === 'unknown') return next(undefined);
    asked.answered(ending);
    const { kind } = input as { kind: string };
    const isAborted = kind === 'preempt' && ending.kind === 'good';
    if (isAborted) for (const isEnded of this.#aborting.get(key) ?? []) isEnded();
    counters.add(`sim.unit-${kind}`);
    goOn();
  }

  /** ABORT TASK, mostly while the command is being carried out. */
  #abortSoon(
    { process, session }: Session,
    tag: number,
    { asked, hear, goOn }: { asked: AskedStep; hear: (then: () => void) => void; goOn: () => void },
  ): void {
    const { world, counters } = this.#options;
    const afterMs = world.chance(70) ? world.between(0, 2) : world.between(3, 60);
    process.arriveAfter(afterMs, () => {
      const aborted = asked.aborting();
      void session.abort(tag).then((isEnded) => {
        if (isEnded !== true) return;
        hear(() => {
          counters.add('sim.unit-aborted');
          aborted();
          goOn();
        });
      });
    });
  }

  /** What others have under way is aborted, and has ended by the time that `by` is told so. */
  #othersAborted(process: Process, lunId: number, ports: ReadonlySet<string>, by: string): void {
    const endings = INITIATORS.flatMap((name) => {
      const isMeant = portOf(name) !== by && ports.has(portOf(name));
      const asked = isMeant ? this.#underWay.get(keyOf(lunId, name, process)) : undefined;
      return asked === undefined ? [] : [asked.aborting()];
    });
    const preempting = INITIATORS.find((name) => portOf(name) === by) ?? '';
    this.#aborting.set(keyOf(lunId, preempting, process), endings);
  }

  /** Now and then an initiator has nothing to do for a while, and then goes on where it was. */
  #pause(user: UnitUser): number {
    const { world } = this.#options;
    if (user.isInHurry) return world.between(0, 1);
    if (!world.chance(this.#restPercent)) return world.between(...this.#pauseMs);
    user.rested();
    return world.between(...REST_MS);
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
        target = new UnitServer({
          server,
          group,
          counters,
          onAbortOthers: (...what) => this.#othersAborted(process, ...what),
        });
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
    const [cells = [], reservations = []] = [CELL_LUN, RESERVED_LUN].map(
      (lunId) => this.#histories.get(lunId)?.operations() ?? [],
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

function keyOf(lunId: number, name: string, { incarnation }: Process): string {
  return `${lunId} ${name} ${incarnation}`;
}

function portOf(name: string): string {
  const isid = name.charCodeAt(0).toString(16).padStart(12, '0');
  return `iqn.2026-11.net.example:${name.toLowerCase()},i,0x${isid}`;
}
