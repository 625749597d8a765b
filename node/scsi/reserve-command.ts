import { ByteWriter } from '../../base/byte-writer.ts';
import { bit, bytes, layout, u16, u32 } from '../../base/layout.ts';
import { targetPorts } from './access-state.ts';
import { persistentReserveInCdb, persistentReserveOutCdb, serviceAction } from './cdb.ts';
import type { CommandContext } from './command-context.ts';
import { confirmServing } from './confirmation.ts';
import { MAX_PARAMETER_LIST_BYTES } from './limits.ts';
import { nexusName, partsOfNexus } from './nexus-name.ts';
import {
  decideRegistrations,
  decideReserveOut,
  holds,
  NO_KEY,
  type ReserveDecision,
  type ReserveRequest,
} from './persistent-reservation.ts';
import {
  checkCondition,
  conflict,
  goodWith,
  goodWithoutData,
  type PreparedCommand,
  refuse,
  type ScsiOutcome,
} from './prepared-command.ts';
import { invalidListField, type Sense, sense } from './sense.ts';
import type { ReservationState } from './server-state.ts';
import { decodeTransportIds, encodeTransportId } from './transport-id.ts';

/** PERSISTENT RESERVE OUT basic parameter list (SPC-4 table 236). */
export const reserveOutList = layout('PERSISTENT RESERVE OUT list', 24, {
  key: bytes(0, 8),
  actionKey: bytes(8, 8),
  specifiesPorts: bit(20, 3),
  allTargetPorts: bit(20, 2),
  persistsThroughPowerLoss: bit(20, 0),
});

/** Parameter list of REGISTER AND MOVE, without its TransportID (SPC-4 table 240). */
export const registerAndMoveList = layout('REGISTER AND MOVE list', 24, {
  key: bytes(0, 8),
  actionKey: bytes(8, 8),
  unregister: bit(17, 1),
  persistsThroughPowerLoss: bit(17, 0),
  relativeTargetPort: u16(18),
  transportIdLength: u32(20),
});

/** REPORT CAPABILITIES parameter data (SPC-4 table 216). */
export const capabilities = layout('REPORT CAPABILITIES data', 8, {
  length: u16(0),
  specifiesPortsCapable: bit(2, 3),
  allTargetPortsCapable: bit(2, 2),
  powerLossCapable: bit(2, 0),
  typeMaskValid: bit(3, 7),
  powerLossActivated: bit(3, 0),
  typeMask: u16(4),
});

/** All six types there are: WR_EX_AR, EX_AC_RO, WR_EX_RO, EX_AC, WR_EX, and EX_AC_AR in the second byte. */
const TYPE_MASK = 0xea01;

export function prepareReserveIn(cdb: Uint8Array, at: number, unit: CommandContext): PreparedCommand {
  const { serviceAction: action, allocationLength } = persistentReserveInCdb.decode(cdb, at);
  return {
    kind: 'operation',
    name: 'persistent-reserve-in',
    dataOutBytes: 0,
    carryOut: async () => {
      await confirmServing(unit.device);
      return goodWith(encodeReserveIn(action, unit.state.server.reservations), allocationLength);
    },
  };
}

function encodeReserveIn(action: number, state: ReservationState): Uint8Array {
  const out = new ByteWriter(256);
  if (action === serviceAction.reportCapabilities) {
    return capabilities.encode({
      length: capabilities.sizeBytes,
      specifiesPortsCapable: true,
      allTargetPortsCapable: true,
      powerLossCapable: true,
      typeMaskValid: true,
      powerLossActivated: state.persistsThroughPowerLoss,
      typeMask: TYPE_MASK,
    });
  }
  if (action === serviceAction.readKeys) {
    for (const { key } of state.registrations) out.bytes(Buffer.from(key, 'hex'));
  } else if (action === serviceAction.readReservation) {
    encodeReservation(out, state);
  } else {
    encodeFullStatus(out, state);
  }
  const body = out.finish();
  return Buffer.concat([new ByteWriter(8).u32(state.generation).u32(body.length).finish(), body]);
}

function encodeReservation(out: ByteWriter, { reservation, registrations }: ReservationState): void {
  if (reservation === undefined) return;
  const held = registrations.find((r) => r.port === reservation.holder);
  out
    .bytes(Buffer.from(held?.key ?? NO_KEY, 'hex'))
    .zeros(5)
    .u8(reservation.type)
    .zeros(2);
}

function encodeFullStatus(out: ByteWriter, state: ReservationState): void {
  for (const { port, key } of state.registrations) {
    const isHolder = holds(state, port);
    const { initiatorPort, targetPort } = partsOfNexus(port);
    const transportId = encodeTransportId(initiatorPort);
    out.bytes(Buffer.from(key, 'hex')).zeros(4);
    out.u8(isHolder ? 1 : 0).u8(isHolder ? (state.reservation?.type ?? 0) : 0);
    out.zeros(4).u16(targetPort).u32(transportId.length).bytes(transportId);
  }
}

const ACTIONS: ReadonlyMap<number, ReserveRequest['action']> = new Map([
  [serviceAction.register, 'register'],
  [serviceAction.registerAndIgnoreExistingKey, 'register-ignoring-key'],
  [serviceAction.reserve, 'reserve'],
  [serviceAction.release, 'release'],
  [serviceAction.clear, 'clear'],
  [serviceAction.preempt, 'preempt'],
  [serviceAction.preemptAndAbort, 'preempt'],
  [serviceAction.registerAndMove, 'move'],
]);

export function prepareReserveOut(cdb: Uint8Array, at: number, unit: CommandContext): PreparedCommand {
  const fields = persistentReserveOutCdb.decode(cdb, at);
  const { parameterListLength, serviceAction: action } = fields;
  if (parameterListLength < reserveOutList.sizeBytes || parameterListLength > MAX_PARAMETER_LIST_BYTES) {
    return refuse(sense.parameterListLengthError);
  }
  return {
    kind: 'operation',
    name: 'persistent-reserve-out',
    dataOutBytes: parameterListLength,
    carryOut: (list) => {
      const requests = decodeReserveOut(ACTIONS.get(action) ?? 'register', fields, list, unit);
      if ('asc' in requests) return checkCondition(requests);
      return carryOutReserve(requests, action === serviceAction.preemptAndAbort, unit);
    },
  };
}

async function carryOutReserve(
  requests: Requests,
  abort: boolean,
  { state, nexus }: CommandContext,
): Promise<ScsiOutcome> {
  let decision: ReserveDecision = { kind: 'conflict' };
  await state.change((present) => {
    const { reservations } = present;
    const [only, ...others] = requests;
    decision =
      others.length === 0
        ? decideReserveOut(reservations, only)
        : decideRegistrations(reservations, requests);
    if (decision.kind !== 'changed' || decision.state === present.reservations) return undefined;
    return { ...present, reservations: decision.state };
  });
  // The compiler does not see that the function above has been called.
  const made = decision as ReserveDecision;
  if (made.kind === 'conflict') return conflict;
  if (made.kind === 'refused') return checkCondition(made.sense);
  for (const { attention, ports } of made.notices) state.tell(attention, { ports, but: nexus });
  if (abort && made.preempted.size > 0) {
    await state.abortTasksOf(made.preempted, nexus);
    state.tell(sense.commandsCleared, { ports: made.preempted, but: nexus });
  }
  return goodWithoutData;
}

type ReserveOutFields = ReturnType<typeof persistentReserveOutCdb.decode>;
/** One, but for a registration by several target ports. */
type Requests = readonly [ReserveRequest, ...ReserveRequest[]];

/** @returns what is wrong with it, if anything is */
function decodeReserveOut(
  action: ReserveRequest['action'],
  { scope, type }: ReserveOutFields,
  list: Uint8Array,
  { nexus, paths, state }: CommandContext,
): Requests | Sense {
  const { port } = nexus;
  if (action === 'move') {
    const fields = registerAndMoveList.decode(list);
    const initiatorPorts = decodeTransportIds(list.subarray(24, 24 + fields.transportIdLength), noPorts);
    if (list.length < 24 + fields.transportIdLength) return sense.parameterListLengthError;
    if (initiatorPorts?.length !== 1) return invalidListField(24);
    if (!targetPorts(paths).includes(fields.relativeTargetPort)) return invalidListField(18);
    const to = nexusName(initiatorPorts[0] as string, fields.relativeTargetPort);
    return [{ action, port, scope, type, ...keysOf(fields), otherPorts: [to] }];
  }
  const fields = reserveOutList.decode(list);
  const keys = keysOf({ ...fields, unregister: false });
  const specified = specifiedPorts(action, fields.specifiesPorts, list, (name) => state.portsOf(name));
  if ('asc' in specified) return specified;
  const requestBy = (targetPort: number): ReserveRequest => ({
    action,
    port: nexusName(partsOfNexus(port).initiatorPort, targetPort),
    scope,
    type,
    ...keys,
    otherPorts: specified.map((initiatorPort) => nexusName(initiatorPort, targetPort)),
  });
  const registers = action === 'register' || action === 'register-ignoring-key';
  const others =
    registers && fields.allTargetPorts ? targetPorts(paths).filter((p) => p !== paths.ownPort) : [];
  return [requestBy(paths.ownPort), ...others.map(requestBy)];
}

/** REGISTER AND MOVE takes the name of a port only (SPC-4 §7.6.4.6). */
const noPorts = (): readonly string[] => [];

/** SPEC_I_PT: initiator ports that are to be registered as well, by the same target port. */
function specifiedPorts(
  action: ReserveRequest['action'],
  areSpecified: boolean,
  list: Uint8Array,
  portsOf: (initiatorName: string) => readonly string[],
): readonly string[] | Sense {
  if (!areSpecified) return list.length === reserveOutList.sizeBytes ? [] : sense.parameterListLengthError;
  if (action !== 'register') return invalidListField(20, 3);
  if (list.length < 28) return sense.parameterListLengthError;
  const lengthBytes = Buffer.from(list.subarray(24, 28)).readUInt32BE(0);
  if (list.length < 28 + lengthBytes) return sense.parameterListLengthError;
  return decodeTransportIds(list.subarray(28, 28 + lengthBytes), portsOf) ?? invalidListField(28);
}

function keysOf(fields: {
  key: Uint8Array;
  actionKey: Uint8Array;
  persistsThroughPowerLoss: boolean;
  unregister: boolean;
}): Pick<ReserveRequest, 'key' | 'actionKey' | 'persistsThroughPowerLoss' | 'unregister'> {
  return {
    key: Buffer.from(fields.key).toString('hex'),
    actionKey: Buffer.from(fields.actionKey).toString('hex'),
    persistsThroughPowerLoss: fields.persistsThroughPowerLoss,
    unregister: fields.unregister,
  };
}
