import { MAX_REGISTRATIONS } from './limits.ts';
import { invalidCdbField, invalidListField, type Sense, sense } from './sense.ts';
import type { PersistentReservation, Registration, ReservationState } from './server-state.ts';

/** Persistent reservations as a pure machine (SPC-4 §5.13): what a request makes of the present state. */

export const reservationType = {
  writeExclusive: 1,
  exclusiveAccess: 3,
  writeExclusiveRegistrantsOnly: 5,
  exclusiveAccessRegistrantsOnly: 6,
  writeExclusiveAllRegistrants: 7,
  exclusiveAccessAllRegistrants: 8,
} as const;

const TYPES: ReadonlySet<number> = new Set(Object.values(reservationType));
export const NO_KEY = '0000000000000000';

/** What a command does with the medium, as far as a reservation of another nexus is concerned (SPC-4 table 66). */
export type MediumAccess = 'none' | 'read' | 'write';

export interface ReserveRequest {
  readonly action:
    | 'register'
    | 'register-ignoring-key'
    | 'reserve'
    | 'release'
    | 'clear'
    | 'preempt'
    | 'move';
  /** The nexus that asks (nexus-name.ts), as are all ports here. */
  readonly port: string;
  readonly scope: number;
  readonly type: number;
  /** RESERVATION KEY and SERVICE ACTION RESERVATION KEY. */
  readonly key: string;
  readonly actionKey: string;
  readonly persistsThroughPowerLoss: boolean;
  /** Ports to register as well (SPEC_I_PT), or the one to move the reservation to. */
  readonly otherPorts: readonly string[];
  /** REGISTER AND MOVE: the mover gives up its registration. */
  readonly unregister: boolean;
}

/** Who is told what came of a change. */
export interface Notice {
  readonly attention: Sense;
  readonly ports: ReadonlySet<string>;
}

export type ReserveDecision =
  | { readonly kind: 'refused'; readonly sense: Sense }
  | { readonly kind: 'conflict' }
  | {
      readonly kind: 'changed';
      readonly state: ReservationState;
      readonly notices: readonly Notice[];
      /** Ports whose registrations were taken away; PREEMPT AND ABORT ends their tasks. */
      readonly preempted: ReadonlySet<string>;
    };

const NOBODY: ReadonlySet<string> = new Set();
const conflict: ReserveDecision = { kind: 'conflict' };
const refused = (why: Sense): ReserveDecision => ({ kind: 'refused', sense: why });
const changed = (
  state: ReservationState,
  notices: readonly Notice[] = [],
  preempted = NOBODY,
): ReserveDecision => ({ kind: 'changed', state, notices, preempted });

export function isAllRegistrants(type: number): boolean {
  return (
    type === reservationType.writeExclusiveAllRegistrants ||
    type === reservationType.exclusiveAccessAllRegistrants
  );
}

/** Whether losing it is of interest to the other registrants (SPC-4 §5.13.11.2.2). */
function isForRegistrants(type: number): boolean {
  return type >= reservationType.writeExclusiveRegistrantsOnly;
}

function isExclusiveAccess(type: number): boolean {
  return (
    type === reservationType.exclusiveAccess ||
    type === reservationType.exclusiveAccessRegistrantsOnly ||
    type === reservationType.exclusiveAccessAllRegistrants
  );
}

export function keyOf(state: ReservationState, port: string): string | undefined {
  return state.registrations.find((r) => r.port === port)?.key;
}

export function holds(state: ReservationState, port: string): boolean {
  const { reservation } = state;
  if (reservation === undefined) return false;
  return isAllRegistrants(reservation.type) ? keyOf(state, port) !== undefined : reservation.holder === port;
}

/** Whether the reservation keeps the nexus from such access. */
export function bars(state: ReservationState, port: string, access: MediumAccess): boolean {
  const { reservation } = state;
  if (reservation === undefined || access === 'none' || holds(state, port)) return false;
  if (isForRegistrants(reservation.type) && keyOf(state, port) !== undefined) return false;
  return access === 'write' || isExclusiveAccess(reservation.type);
}

export function decideReserveOut(state: ReservationState, request: ReserveRequest): ReserveDecision {
  const { action } = request;
  if (action === 'register' || action === 'register-ignoring-key') return register(state, request);
  if (keyOf(state, request.port) !== request.key) return conflict;
  if (action === 'clear') return clear(state, request);
  if (action === 'move') return move(state, request);
  switch (action) {
    case 'reserve':
      return badTerms(request) ?? reserve(state, request);
    case 'release':
      return release(state, request);
    case 'preempt':
      return preempt(state, request);
  }
}

/** What is wrong with the scope and type of a reservation that is asked for, if anything is. */
function badTerms({ scope, type }: ReserveRequest): ReserveDecision | undefined {
  if (scope !== 0) return refused(invalidCdbField(2, 7));
  return TYPES.has(type) ? undefined : refused(invalidCdbField(2, 3));
}

/**
 * The same registration by every target port (ALL_TG_PT): as if each nexus had asked, but all of them or none
 * (SPC-4 §6.14.3).
 * @param requests at least one
 */
export function decideRegistrations(
  state: ReservationState,
  requests: readonly ReserveRequest[],
): ReserveDecision {
  const notices: Notice[] = [];
  let present = state;
  for (const request of requests) {
    const decision = decideReserveOut(present, request);
    if (decision.kind !== 'changed') return decision;
    notices.push(...decision.notices);
    present = decision.state;
  }
  if (present === state) return changed(state);
  return changed({ ...present, generation: nextGeneration(state) }, notices);
}

function register(state: ReservationState, request: ReserveRequest): ReserveDecision {
  const { port, actionKey, persistsThroughPowerLoss } = request;
  const present = keyOf(state, port);
  if (request.action === 'register' && (present ?? NO_KEY) !== request.key) return conflict;
  if (present === undefined && actionKey === NO_KEY) return changed(state);
  if (present !== undefined && request.otherPorts.length > 0) return refused(sense.invalidFieldInCdb);
  const next = { ...state, generation: nextGeneration(state), persistsThroughPowerLoss };
  if (actionKey === NO_KEY) return withdraw(next, port);
  // Each once, however often it is named.
  const ports = [...new Set([port, ...request.otherPorts])];
  // One of them registered already: none is registered now (SPC-4 §5.13.7).
  if (request.otherPorts.some((other) => keyOf(state, other) !== undefined)) return conflict;
  const registrations = [
    ...state.registrations.filter((r) => !ports.includes(r.port)),
    ...ports.map((each) => ({ port: each, key: actionKey })),
  ];
  if (registrations.length > MAX_REGISTRATIONS) return refused(sense.insufficientRegistrationResources);
  return changed({ ...next, registrations });
}

/** Takes one registration away, and the reservation with it if nobody else holds it. */
function withdraw(state: ReservationState, port: string): ReserveDecision {
  const registrations = state.registrations.filter((r) => r.port !== port);
  const { reservation, ...rest } = state;
  if (reservation === undefined) return changed({ ...state, registrations });
  const isLost = isAllRegistrants(reservation.type)
    ? registrations.length === 0
    : reservation.holder === port;
  if (!isLost) return changed({ ...state, registrations });
  return changed({ ...rest, registrations }, releaseNotices(reservation, registrations, port));
}

function reserve(state: ReservationState, { port, type }: ReserveRequest): ReserveDecision {
  const { reservation } = state;
  if (reservation !== undefined) {
    return holds(state, port) && reservation.type === type ? changed(state) : conflict;
  }
  return changed({ ...state, reservation: { type, holder: isAllRegistrants(type) ? '' : port } });
}

function release(state: ReservationState, { port, scope, type }: ReserveRequest): ReserveDecision {
  const { reservation, ...rest } = state;
  if (reservation === undefined || !holds(state, port)) return changed(state);
  if (scope !== 0 || reservation.type !== type) return refused(sense.invalidRelease);
  return changed(rest, releaseNotices(reservation, state.registrations, port));
}

function clear(state: ReservationState, { port }: ReserveRequest): ReserveDecision {
  const { reservation: _, ...rest } = state;
  const others = portsOf(state.registrations.filter((r) => r.port !== port));
  const notice = { attention: sense.reservationsPreempted, ports: others };
  return changed({ ...rest, generation: nextGeneration(state), registrations: [] }, [notice]);
}

function preempt(state: ReservationState, request: ReserveRequest): ReserveDecision {
  const { port, type, actionKey } = request;
  const { reservation } = state;
  const generation = nextGeneration(state);
  const byAll = reservation !== undefined && isAllRegistrants(reservation.type);
  const takesAll = byAll && actionKey === NO_KEY;
  if (!takesAll && actionKey === NO_KEY) return refused(invalidListField(8));
  const meant = (r: Registration): boolean => takesAll || r.key === actionKey;
  if (!state.registrations.some(meant)) return conflict;
  const registrations = state.registrations.filter((r) => r.port === port || !meant(r));
  const preempted = portsOf(state.registrations.filter((r) => !registrations.includes(r)));
  const notices: Notice[] = [{ attention: sense.registrationsPreempted, ports: preempted }];
  const takesOver =
    takesAll || (reservation !== undefined && !byAll && keyOf(state, reservation.holder) === actionKey);
  // Scope and type are of no interest where there is no reservation to take over (SPC-4 §5.13.11.2.4).
  if (!takesOver) return changed({ ...state, generation, registrations }, notices, preempted);
  const bad = badTerms(request);
  if (bad !== undefined) return bad;
  if (reservation !== undefined && reservation.type !== type) {
    const left = portsOf(registrations.filter((r) => r.port !== port));
    notices.push({ attention: sense.reservationsReleased, ports: left });
  }
  const mine: PersistentReservation = { type, holder: isAllRegistrants(type) ? '' : port };
  return changed({ ...state, generation, registrations, reservation: mine }, notices, preempted);
}

function move(state: ReservationState, request: ReserveRequest): ReserveDecision {
  const { port, actionKey, otherPorts, unregister, persistsThroughPowerLoss } = request;
  const { reservation } = state;
  const to = otherPorts[0];
  if (reservation === undefined || !holds(state, port)) return conflict;
  if (isAllRegistrants(reservation.type)) return conflict;
  if (actionKey === NO_KEY) return refused(invalidListField(8));
  if (to === undefined || to === port) return refused(invalidListField(24));
  const registrations = [
    ...state.registrations.filter((r) => r.port !== to && !(unregister && r.port === port)),
    { port: to, key: actionKey },
  ];
  if (registrations.length > MAX_REGISTRATIONS) return refused(sense.insufficientRegistrationResources);
  return changed({
    generation: nextGeneration(state),
    registrations,
    reservation: { type: reservation.type, holder: to },
    persistsThroughPowerLoss,
  });
}

function releaseNotices(
  reservation: PersistentReservation,
  registrations: readonly Registration[],
  port: string,
): readonly Notice[] {
  if (!isForRegistrants(reservation.type)) return [];
  const ports = portsOf(registrations.filter((r) => r.port !== port));
  return [{ attention: sense.reservationsReleased, ports }];
}

function portsOf(registrations: readonly Registration[]): ReadonlySet<string> {
  return new Set(registrations.map((r) => r.port));
}

function nextGeneration(state: ReservationState): number {
  return (state.generation + 1) >>> 0;
}
