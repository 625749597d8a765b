import { ProtocolError, unreachable } from '../../base/errors.ts';
import { serialAdd } from '../../base/serial-number.ts';
import { type AuthFailure, type AuthState, type AuthStep, SECURITY_KEYS, stepAuth } from './chap.ts';
import { DEFAULT_QUEUE_DEPTH, MAX_LOGIN_REQUESTS, MAX_TEXT_BYTES } from './limits.ts';
import type {
  CommandNumbers,
  CompletedLogin,
  ConnectionName,
  LoginEffect,
  LoginEvent,
  LoginRequestFields,
  LoginResponseFields,
} from './login-events.ts';
import { limitFirstBurst, loginKeyTable, negotiate } from './login-keys.ts';
import { type LoginStatus, loginStatus } from './login-status.ts';
import type { Authentication, LoginGranted } from './ports.ts';
import { decodeTextKeys, encodeTextKeys, type TextKey } from './text-keys.ts';

/**
 * The target's side of login (RFC 7143 §6.3, §11.12, §11.13), pure. Stages: security (0), operational
 * negotiation (1), full feature (3).
 *
 *     start --request--> asking --decided--> negotiating --request, T and NSG=3--> establishing
 *       |                   |                   |  ^____request____|                    |
 *       +-------------------+----- a refusal ---+---------> ended <----established------+
 */

export interface LoginState {
  readonly phase: 'start' | 'asking' | 'negotiating' | 'establishing' | 'ended';
  /** Of the session that it is to make. */
  readonly queueDepth: number;
  readonly requestCount: number;
  readonly stage: number;
  readonly statSN: number;
  /** Text of a request that came in several PDUs. */
  readonly text: Uint8Array;
  readonly seenKeys: ReadonlySet<string>;
  readonly values: ReadonlyMap<string, number | string>;
  readonly initiatorName: string;
  /** As the first request has it; no later one may differ. */
  readonly connection: ConnectionName;
  readonly joined: CommandNumbers | undefined;
  /** The login of a discovery session; with the target it names, if it does. */
  readonly discovery: { readonly target: string | undefined } | undefined;
  /** What is to be told; undefined where it is not the login of a target. */
  readonly portalGroupTag: number | undefined;
  readonly granted: LoginGranted | undefined;
  readonly authentication: Authentication;
  readonly auth: AuthState;
  readonly nonce: Uint8Array;
  readonly saidPortalGroup: boolean;
  readonly saidDataSegmentLength: boolean;
  /** The request being answered, and its keys. */
  readonly pending: { readonly fields: LoginRequestFields; readonly keys: readonly TextKey[] } | undefined;
}

export interface LoginStep {
  readonly state: LoginState;
  readonly effects: readonly LoginEffect[];
}

export const initialLogin: LoginState = {
  phase: 'start',
  queueDepth: DEFAULT_QUEUE_DEPTH,
  requestCount: 0,
  stage: 0,
  statSN: 0,
  text: new Uint8Array(),
  seenKeys: new Set(),
  values: new Map(),
  initiatorName: '',
  connection: { isid: '', tsih: 0, cid: 0 },
  joined: undefined,
  discovery: undefined,
  portalGroupTag: undefined,
  granted: undefined,
  authentication: { credentials: [], optional: true },
  auth: { step: 'method' },
  nonce: new Uint8Array(),
  saidPortalGroup: false,
  saidDataSegmentLength: false,
  pending: undefined,
};

const stage = { security: 0, operational: 1, fullFeature: 3 } as const;
const MAX_NAME_LENGTH = 223;
const NO_TEXT = new Uint8Array();

/** @throws nothing: what is wrong with a request becomes a refusal */
export function stepLogin(state: LoginState, event: LoginEvent): LoginStep {
  switch (event.kind) {
    case 'request':
      return onRequest(state, event.fields, event.text);
    case 'other-request':
      return refuse(state, loginStatus.invalidDuringLogin);
    case 'decided':
      return onDecision(state, event);
    case 'established':
      return onEstablished(state, event.tsih);
    case 'not-established':
      return refuse(state, event.status ?? loginStatus.outOfResources);
    default:
      return unreachable(event);
  }
}

function onRequest(before: LoginState, fields: LoginRequestFields, text: Uint8Array): LoginStep {
  const first = before.phase === 'start' && before.requestCount === 0;
  const state: LoginState = {
    ...before,
    requestCount: before.requestCount + 1,
    // The first response's StatSN is ours to choose; the initiator's expectation saves it a surprise.
    statSN: first ? fields.expStatSN : before.statSN,
    stage: first ? fields.currentStage : before.stage,
    connection: first ? connectionOf(fields) : before.connection,
    pending: { fields, keys: [] },
  };
  const wrong = checkRequest(state, fields);
  if (wrong !== undefined) return refuse(state, wrong);
  if (state.text.length + text.length > MAX_TEXT_BYTES) return refuse(state, loginStatus.initiatorError);
  const gathered = Buffer.concat([state.text, text]);
  if (fields.continues) return respond({ ...state, text: gathered }, {}, NO_TEXT);
  let keys: TextKey[];
  try {
    keys = decodeTextKeys(gathered);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    return refuse(state, loginStatus.initiatorError);
  }
  const ready: LoginState = { ...state, text: NO_TEXT, pending: { fields, keys } };
  return ready.phase === 'start' ? onLeadingKeys(ready, keys) : answerKeys(ready);
}

function checkRequest(state: LoginState, fields: LoginRequestFields): LoginStatus | undefined {
  if (state.phase !== 'start' && state.phase !== 'negotiating') return loginStatus.initiatorError;
  if (state.requestCount > MAX_LOGIN_REQUESTS) return loginStatus.initiatorError;
  if (fields.versionMin > 0) return loginStatus.unsupportedVersion;
  const { isid, tsih, cid } = connectionOf(fields);
  const { connection } = state;
  if (isid !== connection.isid || tsih !== connection.tsih || cid !== connection.cid)
    return loginStatus.initiatorError;
  const { currentStage, nextStage, transit, continues } = fields;
  if (currentStage !== state.stage || currentStage > stage.operational) return loginStatus.initiatorError;
  if (transit && (continues || nextStage === 2 || nextStage <= currentStage))
    return loginStatus.initiatorError;
  return undefined;
}

function connectionOf({ isid, tsih, cid }: LoginRequestFields): ConnectionName {
  return { isid: Buffer.from(isid).toString('hex'), tsih, cid };
}

/** InitiatorName, SessionType and TargetName come with the first request (RFC 7143 §6.3.1). */
function onLeadingKeys(state: LoginState, keys: readonly TextKey[]): LoginStep {
  const valueOf = (key: string): string | undefined => keys.find((k) => k.key === key)?.value;
  const initiatorName = valueOf('InitiatorName');
  const targetName = valueOf('TargetName');
  const sessionType = valueOf('SessionType') ?? 'Normal';
  if (initiatorName === undefined || initiatorName === '') return refuse(state, loginStatus.missingParameter);
  if (initiatorName.length > MAX_NAME_LENGTH) return refuse(state, loginStatus.initiatorError);
  const named = { ...state, initiatorName };
  const { connection } = state;
  const ask = { kind: 'ask-directory', initiatorName, connection } as const;
  if (sessionType === 'Discovery') {
    const asking: LoginState = { ...named, phase: 'asking', discovery: { target: targetName } };
    return { state: asking, effects: [{ ...ask, targetName: undefined, discoveryTarget: targetName }] };
  }
  if (sessionType !== 'Normal') return refuse(named, loginStatus.sessionTypeNotSupported);
  if (targetName === undefined || targetName === '') return refuse(named, loginStatus.missingParameter);
  if (targetName.length > MAX_NAME_LENGTH) return refuse(named, loginStatus.notFound);
  return {
    state: { ...named, phase: 'asking' },
    effects: [{ ...ask, targetName, discoveryTarget: undefined }],
  };
}

function onDecision(
  state: LoginState,
  { decision, nonce, joined }: Extract<LoginEvent, { kind: 'decided' }>,
): LoginStep {
  if (state.phase !== 'asking') return { state, effects: [] };
  switch (decision.kind) {
    case 'granted':
    case 'discovery': {
      const { authentication = state.authentication } = decision;
      const granted = decision.kind === 'granted' ? decision : undefined;
      const portalGroupTag =
        decision.kind === 'granted' ? (decision.paths?.ownPort ?? 1) : decision.portalGroupTag;
      const decided: LoginState = {
        ...state,
        phase: 'negotiating',
        granted,
        authentication,
        nonce,
        portalGroupTag,
      };
      if (state.connection.tsih === 0) return answerKeys(decided);
      if (typeof joined !== 'object') return refuse(decided, joined ?? loginStatus.sessionDoesNotExist);
      return answerKeys({ ...decided, joined });
    }
    case 'redirect': {
      const host = decision.address.includes(':') ? `[${decision.address}]` : decision.address;
      // The portal group tag must not be given (§13.8); the port is, though it could be left out.
      const text = encodeTextKeys([{ key: 'TargetAddress', value: `${host}:${decision.port}` }]);
      return refuse(state, loginStatus.targetMovedTemporarily, text);
    }
    case 'refused':
      return refuse(state, REFUSALS[decision.reason]);
    default:
      return unreachable(decision);
  }
}

const REFUSALS = {
  'not-found': loginStatus.notFound,
  forbidden: loginStatus.forbidden,
  unavailable: loginStatus.serviceUnavailable,
} as const;

function answerKeys(state: LoginState): LoginStep {
  const { fields, keys } = state.pending as NonNullable<LoginState['pending']>;
  const seenKeys = new Set(state.seenKeys);
  const values = new Map(state.values);
  const answers: TextKey[] = [];
  for (const offer of keys) {
    // A key may be negotiated once in a login (RFC 7143 §6.3).
    if (seenKeys.has(offer.key)) return refuse(state, loginStatus.initiatorError);
    seenKeys.add(offer.key);
    if (SECURITY_KEYS.has(offer.key)) continue;
    const { answer, value } = negotiate(offer, state.joined === undefined);
    if (answer !== undefined) answers.push(answer);
    if (value !== undefined) values.set(offer.key, value);
  }
  limitFirstBurst(values, answers);
  const security = answerSecurityKeys(state, keys);
  if (typeof security === 'string') return refuseAuth(state, security);
  const { announced, next } = announce({ ...state, seenKeys, values, auth: security.state });
  const text = encodeTextKeys([...announced, ...security.answers, ...answers]);
  // The stage is not left before the initiator has proven itself.
  const leaves = fields.transit && isAuthenticated(next);
  if (leaves && fields.nextStage === stage.fullFeature) return establish(next, text);
  const answered: LoginState = { ...next, stage: leaves ? fields.nextStage : next.stage };
  return respond(answered, leaves ? transition(fields) : {}, text);
}

function answerSecurityKeys(state: LoginState, keys: readonly TextKey[]): AuthStep {
  const offered = keys.filter(({ key }) => SECURITY_KEYS.has(key));
  const inSecurity = state.stage === stage.security;
  if (offered.length > 0 && !inSecurity) return 'wrong-key';
  const step = stepAuth(state.auth, offered, state.authentication, state.nonce);
  if (typeof step === 'string' || isAuthenticated({ ...state, auth: step.state })) return step;
  // It wants to go on, or began beyond this stage, without having offered a method that would do.
  const { fields } = state.pending as NonNullable<LoginState['pending']>;
  const doesNotTry = step.state.step === 'method' && (fields.transit || !inSecurity);
  return doesNotTry ? 'not-authentic' : step;
}

/** Where no method will do, the key is answered as well (§6.3.2). */
function refuseAuth(state: LoginState, failure: AuthFailure): LoginStep {
  const text = failure === 'no-method' ? encodeTextKeys([{ key: 'AuthMethod', value: 'Reject' }]) : NO_TEXT;
  return refuse(state, AUTH_FAILURES[failure], text);
}

const AUTH_FAILURES = {
  'no-method': loginStatus.authenticationFailure,
  'not-authentic': loginStatus.authenticationFailure,
  'missing-key': loginStatus.missingParameter,
  'wrong-key': loginStatus.initiatorError,
} as const;

function isAuthenticated({ auth, authentication }: LoginState): boolean {
  return auth.step === 'done' || (auth.step === 'method' && authentication.optional);
}

/** What we say unasked: the portal group once, our own data segment limit when operational keys are due. */
function announce(state: LoginState): { announced: TextKey[]; next: LoginState } {
  const announced: TextKey[] = [];
  const tag = state.portalGroupTag;
  const sayPortalGroup = !state.saidPortalGroup && tag !== undefined;
  if (sayPortalGroup) announced.push({ key: 'TargetPortalGroupTag', value: String(tag) });
  const sayLength = !state.saidDataSegmentLength && state.stage === stage.operational;
  if (sayLength) announced.push({ key: RECEIVE_LIMIT.name, value: String(RECEIVE_LIMIT.ours) });
  const next = {
    ...state,
    saidPortalGroup: state.saidPortalGroup || sayPortalGroup,
    saidDataSegmentLength: state.saidDataSegmentLength || sayLength,
  };
  return { announced, next };
}

const RECEIVE_LIMIT = loginKeyTable.find((row) => row.rule === 'declare') as { name: string; ours: number };

/** The last response is held back, as text, until the session stands. */
function establish(state: LoginState, text: Uint8Array): LoginStep {
  const { fields } = state.pending as NonNullable<LoginState['pending']>;
  const login: CompletedLogin = {
    initiatorName: state.initiatorName,
    ...state.connection,
    granted: state.granted,
    discoveryTarget: state.discovery?.target,
    values: state.values,
    firstCmdSN: fields.cmdSN,
    nextStatSN: serialAdd(state.statSN, 1),
  };
  return { state: { ...state, phase: 'establishing', text }, effects: [{ kind: 'establish', login }] };
}

function onEstablished(state: LoginState, tsih: number): LoginStep {
  if (state.phase !== 'establishing') return { state, effects: [] };
  const { fields } = state.pending as NonNullable<LoginState['pending']>;
  return respond({ ...state, phase: 'ended' }, { ...transition(fields), tsih }, state.text);
}

function transition(fields: LoginRequestFields): LoginResponseFields {
  return fields.transit ? { transit: true, nextStage: fields.nextStage } : {};
}

function refuse(state: LoginState, status: LoginStatus, text: Uint8Array = NO_TEXT): LoginStep {
  // The stage is reserved in a refusal (§6.3.1).
  const fields = { currentStage: 0, statusClass: status >>> 8, statusDetail: status & 0xff };
  const answered = respond({ ...state, phase: 'ended' }, fields, text);
  return { state: answered.state, effects: [...answered.effects, { kind: 'close', status }] };
}

function respond(state: LoginState, extra: LoginResponseFields, text: Uint8Array): LoginStep {
  const { fields } = state.pending as NonNullable<LoginState['pending']>;
  const response: LoginResponseFields = {
    currentStage: fields.currentStage,
    isid: fields.isid,
    tsih: fields.tsih,
    initiatorTaskTag: fields.initiatorTaskTag,
    statSN: state.statSN,
    expCmdSN: fields.cmdSN,
    maxCmdSN: serialAdd(fields.cmdSN, state.queueDepth - 1),
    ...state.joined,
    ...extra,
  };
  return {
    state: { ...state, statSN: serialAdd(state.statSN, 1) },
    effects: [{ kind: 'respond', fields: response, text }],
  };
}
