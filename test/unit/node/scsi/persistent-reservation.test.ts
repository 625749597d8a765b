import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  bars,
  decideReserveOut,
  holds,
  isAllRegistrants,
  keyOf,
  NO_KEY,
  type ReserveRequest,
  reservationType,
} from '../../../../node/scsi/persistent-reservation.ts';
import { sense } from '../../../../node/scsi/sense.ts';
import { EMPTY_SERVER_STATE, type ReservationState } from '../../../../node/scsi/server-state.ts';

const [K1, K2, K3] = ['1', '2', '3'].map((digit) => digit.padStart(16, '0')) as [string, string, string];
const EMPTY = EMPTY_SERVER_STATE.reservations;
const TYPES = Object.values(reservationType);

function request(
  action: ReserveRequest['action'],
  port: string,
  rest: Partial<ReserveRequest> = {},
): ReserveRequest {
  return {
    action,
    port,
    scope: 0,
    type: 0,
    key: NO_KEY,
    actionKey: NO_KEY,
    persistsThroughPowerLoss: false,
    otherPorts: [],
    unregister: false,
    ...rest,
  };
}

/** Applies requests that must all be carried out. */
function after(state: ReservationState, ...requests: ReserveRequest[]): ReservationState {
  return requests.reduce((present, each) => {
    const decision = decideReserveOut(present, each);
    if (decision.kind !== 'changed') throw new Error(`${each.action} by ${each.port}: ${decision.kind}`);
    return decision.state;
  }, state);
}

function notices(state: ReservationState, each: ReserveRequest): [number, string[]][] {
  const decision = decideReserveOut(state, each);
  if (decision.kind !== 'changed') throw new Error(decision.kind);
  return decision.notices
    .filter(({ ports }) => ports.size > 0)
    .map(({ attention, ports }) => [attention.ascq, [...ports].sort()]);
}

/** "a" and "b" are registered, "c" is not; "a" holds a reservation of the type. */
function reserved(type: number): ReservationState {
  return after(
    EMPTY,
    request('register', 'a', { actionKey: K1 }),
    request('register', 'b', { actionKey: K2 }),
    request('reserve', 'a', { key: K1, type }),
  );
}

describe('who may do what', () => {
  // [type, holder reads, writes, registered reads, writes, unregistered reads, writes] (SPC-4 table 66).
  const table: [number, ...boolean[]][] = [
    [1, true, true, true, false, true, false],
    [3, true, true, false, false, false, false],
    [5, true, true, true, true, true, false],
    [6, true, true, true, true, false, false],
    [7, true, true, true, true, true, false],
    [8, true, true, true, true, false, false],
  ];
  it.each(table)('type %i', (type, ...allowed) => {
    const state = reserved(type);
    const found = ['a', 'b', 'c'].flatMap((port) =>
      (['read', 'write'] as const).map((access) => !bars(state, port, access)),
    );
    expect(found).toEqual(allowed);
    for (const port of ['a', 'b', 'c']) expect(bars(state, port, 'none')).toBe(false);
  });
});

describe('registration', () => {
  it('needs the present key, which is zero before the first', () => {
    const state = after(EMPTY, request('register', 'a', { actionKey: K1 }));
    expect(decideReserveOut(state, request('register', 'a', { actionKey: K2 })).kind).toBe('conflict');
    expect(decideReserveOut(state, request('register', 'b', { key: K1, actionKey: K2 })).kind).toBe(
      'conflict',
    );
    expect(keyOf(after(state, request('register', 'a', { key: K1, actionKey: K2 })), 'a')).toBe(K2);
    expect(keyOf(after(state, request('register-ignoring-key', 'a', { actionKey: K3 })), 'a')).toBe(K3);
  });

  it('counts changes', () => {
    const state = reserved(1);
    expect(state.generation).toBe(2);
    expect(after(state, request('release', 'a', { key: K1, type: 1 })).generation).toBe(2);
    expect(after(state, request('clear', 'b', { key: K2 })).generation).toBe(3);
  });

  it('given up by the holder ends the reservation, and tells the others where that concerns them', () => {
    const leave = request('register', 'a', { key: K1 });
    expect(notices(reserved(3), leave)).toEqual([]);
    expect(notices(reserved(5), leave)).toEqual([[sense.reservationsReleased.ascq, ['b']]]);
    expect(after(reserved(5), leave).reservation).toBeUndefined();
    const all = after(reserved(7), leave);
    expect(all.reservation).toBeDefined();
    expect(after(all, request('register', 'b', { key: K2 })).reservation).toBeUndefined();
  });

  it('of other ports as well, unless one of them is registered', () => {
    const both = request('register', 'a', { actionKey: K1, otherPorts: ['x', 'y'] });
    expect(after(EMPTY, both).registrations.map((r) => r.port)).toEqual(['a', 'x', 'y']);
    const state = after(EMPTY, request('register', 'x', { actionKey: K2 }));
    expect(decideReserveOut(state, both).kind).toBe('conflict');
  });

  it('is refused when there are too many', () => {
    let state = EMPTY;
    for (let i = 0; i < 128; i++) state = after(state, request('register', `p${i}`, { actionKey: K1 }));
    expect(decideReserveOut(state, request('register', 'a', { actionKey: K1 }))).toEqual({
      kind: 'refused',
      sense: sense.insufficientRegistrationResources,
    });
  });
});

describe('reserving', () => {
  it('is for the registered, and for one at a time', () => {
    const state = reserved(3);
    expect(decideReserveOut(EMPTY, request('reserve', 'a', { key: K1, type: 3 })).kind).toBe('conflict');
    expect(after(state, request('reserve', 'a', { key: K1, type: 3 }))).toBe(state);
    expect(decideReserveOut(state, request('reserve', 'a', { key: K1, type: 1 })).kind).toBe('conflict');
    expect(decideReserveOut(state, request('reserve', 'b', { key: K2, type: 3 })).kind).toBe('conflict');
    const odd = decideReserveOut(state, request('reserve', 'a', { key: K1, type: 2 }));
    expect(odd).toMatchObject({ kind: 'refused', sense: { ...sense.invalidFieldInCdb, field: { byte: 2 } } });
  });

  it('is undone by the holder, with the same type', () => {
    const state = reserved(6);
    expect(after(state, request('release', 'b', { key: K2, type: 6 }))).toBe(state);
    for (const terms of [{ type: 5 }, { type: 0 }, { type: 6, scope: 1 }]) {
      const wrong = decideReserveOut(state, request('release', 'a', { key: K1, ...terms }));
      expect(wrong).toEqual({ kind: 'refused', sense: sense.invalidRelease });
    }
    const release = request('release', 'a', { key: K1, type: 6 });
    expect(after(state, release).reservation).toBeUndefined();
    expect(notices(state, release)).toEqual([[sense.reservationsReleased.ascq, ['b']]]);
  });

  it('is cleared by any that is registered', () => {
    const clear = request('clear', 'b', { key: K2 });
    expect(after(reserved(3), clear)).toMatchObject({ registrations: [] });
    expect(after(reserved(3), clear).reservation).toBeUndefined();
    expect(notices(reserved(3), clear)).toEqual([[sense.reservationsPreempted.ascq, ['a']]]);
  });
});

describe('preempting', () => {
  it('the holder takes the reservation over', () => {
    const take = request('preempt', 'b', { key: K2, actionKey: K1, type: 1 });
    const state = after(reserved(3), take);
    expect(state.reservation).toEqual({ type: 1, holder: 'b' });
    expect(state.registrations).toEqual([{ port: 'b', key: K2 }]);
    expect(notices(reserved(3), take)).toEqual([[sense.registrationsPreempted.ascq, ['a']]]);
  });

  it('another removes its registrations only', () => {
    const state = after(reserved(3), request('preempt', 'a', { key: K1, actionKey: K2, type: 3 }));
    expect(state.reservation).toEqual({ type: 3, holder: 'a' });
    expect(keyOf(state, 'b')).toBeUndefined();
  });

  it('has to say what it wants of a reservation that it takes over, and of no other', () => {
    const removal = request('preempt', 'a', { key: K1, actionKey: K2, type: 0, scope: 1 });
    expect(after(reserved(3), removal).registrations).toEqual([{ port: 'a', key: K1 }]);
    for (const terms of [{ type: 0 }, { type: 2 }, { type: 3, scope: 1 }]) {
      const takeover = request('preempt', 'b', { key: K2, actionKey: K1, ...terms });
      const refusal = { kind: 'refused', sense: { ...sense.invalidFieldInCdb, field: { byte: 2 } } };
      expect(decideReserveOut(reserved(3), takeover)).toMatchObject(refusal);
    }
  });

  it('nobody is a conflict, and with no key a mistake', () => {
    expect(
      decideReserveOut(reserved(3), request('preempt', 'b', { key: K2, actionKey: K3, type: 3 })).kind,
    ).toBe('conflict');
    expect(decideReserveOut(reserved(3), request('preempt', 'b', { key: K2, type: 3 }))).toMatchObject({
      kind: 'refused',
      sense: sense.invalidFieldInParameterList,
    });
  });

  it('all registrants leaves the one that did it', () => {
    const state = after(reserved(8), request('preempt', 'b', { key: K2, type: 3 }));
    expect(state.registrations).toEqual([{ port: 'b', key: K2 }]);
    expect(state.reservation).toEqual({ type: 3, holder: 'b' });
  });
});

it('moves to another port, with or without the mover staying registered', () => {
  const move = request('move', 'a', { key: K1, actionKey: K3, otherPorts: ['z'], unregister: true });
  const state = after(reserved(3), move);
  expect(state.reservation).toEqual({ type: 3, holder: 'z' });
  expect(state.generation).toBe(reserved(3).generation + 1);
  expect([keyOf(state, 'a'), keyOf(state, 'z')]).toEqual([undefined, K3]);
  expect(keyOf(after(reserved(3), { ...move, unregister: false }), 'a')).toBe(K1);
  expect(
    decideReserveOut(reserved(3), request('move', 'b', { key: K2, actionKey: K3, otherPorts: ['z'] })).kind,
  ).toBe('conflict');
  expect(decideReserveOut(reserved(7), move).kind).toBe('conflict');
});

it('any sequence of requests leaves a holder that is registered, and a key for every registration', () => {
  const port = fc.constantFrom('a', 'b', 'c');
  const key = fc.constantFrom(NO_KEY, K1, K2);
  const step = fc.record({
    action: fc.constantFrom(
      'register',
      'register-ignoring-key',
      'reserve',
      'release',
      'clear',
      'preempt',
      'move',
    ),
    port,
    key,
    actionKey: key,
    type: fc.constantFrom(...TYPES, 0),
    other: port,
    unregister: fc.boolean(),
    ownKey: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      let state = EMPTY;
      for (const { other, ownKey, ...fields } of steps) {
        const present = keyOf(state, fields.port);
        const decision = decideReserveOut(
          state,
          request(fields.action, fields.port, {
            ...fields,
            key: ownKey ? (present ?? NO_KEY) : fields.key,
            otherPorts: fields.action === 'move' ? [other] : [],
          }),
        );
        if (decision.kind !== 'changed') continue;
        if (decision.state !== state)
          expect(decision.state.generation).toBeGreaterThanOrEqual(state.generation);
        state = decision.state;
        const ports = state.registrations.map((r) => r.port);
        expect(new Set(ports).size).toBe(ports.length);
        for (const r of state.registrations) expect(r.key).not.toBe(NO_KEY);
        const { reservation } = state;
        if (reservation === undefined) continue;
        if (isAllRegistrants(reservation.type)) expect(ports.length).toBeGreaterThan(0);
        else expect(ports).toContain(reservation.holder);
        expect(ports.some((each) => holds(state, each))).toBe(true);
      }
    }),
    { numRuns: 500 },
  );
});
