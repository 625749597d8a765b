import { connect, type Socket } from 'node:net';
import { ProtocolError } from '../../base/errors.ts';
import { serialAdd } from '../../base/serial-number.ts';
import { Framer, type PduFrame } from '../../node/iscsi/framer.ts';
import { MAX_RECV_DATA_SEGMENT_BYTES } from '../../node/iscsi/limits.ts';
import { type SessionParameters, sessionParameters } from '../../node/iscsi/login-keys.ts';
import { opcode } from '../../node/iscsi/opcode.ts';
import { Outbox } from '../../node/iscsi/outbox.ts';
import { HEADER_BYTES, loginRequest, loginResponse } from '../../node/iscsi/pdu.ts';
import { decodeTextKeys, encodeTextKeys, type TextKey } from '../../node/iscsi/text-keys.ts';
import { authenticate, type InitiatorChap } from './iscsi-chap.ts';

/** The initiator's end of one connection: TCP, framing and login. */

export interface LoginOptions {
  readonly host: string;
  readonly port: number;
  readonly initiatorName: string;
  /** undefined: a discovery session. */
  readonly targetName?: string;
  /** 12 hexadecimal digits. Sessions of one initiator to one target that share it replace each other. */
  readonly isid?: string;
  /** Of a session that is there, whose connection this one replaces; absent: a new session. */
  readonly tsih?: number;
  readonly cid?: number;
  /** CmdSN of the login, and of the first command of a new session. */
  readonly cmdSN?: number;
  /** For connecting and for each login response. */
  readonly timeoutMs?: number;
  /** Operational keys offered instead of, or beside, the default ones. */
  readonly keys?: Readonly<Record<string, string>>;
  /** Absent: AuthMethod None. */
  readonly chap?: InitiatorChap;
  /** How TCP connections are made; absent: by one attempt each. */
  readonly openWire?: typeof openWire;
}

/** Login was refused; `status` is class and detail, as 0x0203 for "not found". */
export class LoginRefusedError extends Error {
  readonly status: number;

  constructor(status: number) {
    super(`login refused with status 0x${status.toString(16).padStart(4, '0')}`);
    this.name = 'LoginRefusedError';
    this.status = status;
  }
}

/** The connection went away; what was outstanding may or may not have been carried out. */
export class ConnectionLostError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'ConnectionLostError';
  }
}

export interface LoggedIn {
  readonly wire: Wire;
  readonly parameters: SessionParameters;
  readonly tsih: number;
  /** Where the login ended up, after redirects. */
  readonly host: string;
  readonly port: number;
  readonly nextCmdSN: number;
  readonly expStatSN: number;
  readonly maxCmdSN: number;
}

export const DEFAULT_TIMEOUT_MS = 5000;
const MAX_REDIRECTS = 4;
const DEFAULT_ISID = '400000000001';

const DEFAULT_KEYS: Readonly<Record<string, string>> = {
  HeaderDigest: 'None',
  DataDigest: 'None',
  InitialR2T: 'No',
  ImmediateData: 'Yes',
  MaxRecvDataSegmentLength: String(MAX_RECV_DATA_SEGMENT_BYTES),
  MaxBurstLength: '1048576',
  FirstBurstLength: '262144',
  MaxOutstandingR2T: '1',
  MaxConnections: '1',
  DefaultTime2Wait: '0',
  DefaultTime2Retain: '0',
  DataPDUInOrder: 'Yes',
  DataSequenceInOrder: 'Yes',
  ErrorRecoveryLevel: '0',
};

/** One TCP connection that speaks PDUs. */
export class Wire {
  readonly socket: Socket;
  readonly #framer = new Framer(MAX_RECV_DATA_SEGMENT_BYTES);
  readonly #outbox: Outbox;
  #receive: ((frame: PduFrame) => void) | undefined;
  #onClose: ((why: ConnectionLostError) => void) | undefined;
  #lost: ConnectionLostError | undefined;

  constructor(socket: Socket) {
    this.socket = socket;
    this.#outbox = new Outbox(
      socket,
      (flush) => setImmediate(flush),
      () => {},
    );
    socket.on('data', (chunk: Buffer) => {
      this.#framer.push(chunk);
      this.#pump();
    });
    socket.on('error', (error) => this.#lose(error.message));
    socket.on('close', () => this.#lose('closed by the target'));
  }

  get lost(): ConnectionLostError | undefined {
    return this.#lost;
  }

  /** Where PDUs go from now on; those that have come already go there at once. */
  onFrame(receive: (frame: PduFrame) => void): void {
    this.#receive = receive;
    this.#pump();
  }

  /** Called once, when the connection is gone. */
  onClose(handler: (why: ConnectionLostError) => void): void {
    this.#onClose = handler;
    if (this.#lost !== undefined) handler(this.#lost);
  }

  useDigests(header: boolean, data: boolean): void {
    this.#framer.headerDigest = header;
    this.#framer.dataDigest = data;
    this.#outbox.headerDigest = header;
    this.#outbox.dataDigest = data;
  }

  header(): Buffer {
    return this.#outbox.header();
  }

  send(header: Buffer, data: readonly Uint8Array[] = [], dataBytes = 0): void {
    if (this.#lost === undefined) this.#outbox.send(header, data, dataBytes);
  }

  /** Sends a header and its data, setting the length field. */
  sendWith(header: Buffer, data: Uint8Array): void {
    header[5] = data.length >>> 16;
    header[6] = data.length >>> 8;
    header[7] = data.length;
    this.send(header, [data], data.length);
  }

  destroy(): void {
    this.socket.destroy();
  }

  #pump(): void {
    try {
      while (this.#receive !== undefined && this.#lost === undefined) {
        const frame = this.#framer.next();
        if (frame === undefined) return;
        this.#receive(frame);
      }
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#lose(error.message);
      this.socket.destroy();
    }
  }

  #lose(message: string): void {
    if (this.#lost !== undefined) return;
    this.#lost = new ConnectionLostError(`iSCSI connection lost: ${message}`);
    this.#onClose?.(this.#lost);
  }
}

/**
 * @param localAddress the address to connect from; absent: whichever the system takes
 * @throws ConnectionLostError when nobody answers there in time
 */
export function openWire(
  host: string,
  port: number,
  timeoutMs = DEFAULT_TIMEOUT_MS,
  localAddress?: string,
): Promise<Wire> {
  return new Promise((resolve, reject) => {
    const from = localAddress === undefined ? {} : { localAddress };
    const socket = connect({ host, port, noDelay: true, ...from });
    const timer = setTimeout(() => {
      socket.destroy();
      reject(new ConnectionLostError(`no connection to ${host}:${port} within ${timeoutMs} ms`));
    }, timeoutMs);
    const failed = (error: Error): void => {
      clearTimeout(timer);
      reject(new ConnectionLostError(`no connection to ${host}:${port}: ${error.message}`));
    };
    socket.once('error', failed);
    socket.once('connect', () => {
      clearTimeout(timer);
      socket.off('error', failed);
      resolve(new Wire(socket));
    });
  });
}

/**
 * Connects and logs in, following redirects.
 * @throws LoginRefusedError, ConnectionLostError
 */
export async function login(options: LoginOptions): Promise<LoggedIn> {
  let { host, port } = options;
  for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
    const outcome = await loginOnce({ ...options, host, port });
    if (outcome.kind === 'done') return outcome.result;
    ({ host, port } = outcome);
  }
  throw new ConnectionLostError(`redirected more than ${MAX_REDIRECTS} times`);
}

type LoginOutcome =
  | { readonly kind: 'done'; readonly result: LoggedIn }
  | { readonly kind: 'redirect'; readonly host: string; readonly port: number };

async function loginOnce(options: LoginOptions): Promise<LoginOutcome> {
  const wire = await (options.openWire ?? openWire)(options.host, options.port, options.timeoutMs);
  try {
    return await exchange(wire, options);
  } catch (error) {
    wire.destroy();
    throw error;
  }
}

/** Security stage with the names, then the operational stage with all keys at once. */
async function exchange(wire: Wire, options: LoginOptions): Promise<LoginOutcome> {
  const names: TextKey[] = [{ key: 'InitiatorName', value: options.initiatorName }];
  if (options.targetName === undefined) names.push({ key: 'SessionType', value: 'Discovery' });
  else names.push({ key: 'TargetName', value: options.targetName }, { key: 'SessionType', value: 'Normal' });
  names.push({ key: 'AuthMethod', value: options.chap === undefined ? 'None' : 'CHAP' });
  let first = await ask(wire, options, { currentStage: 0, nextStage: 1 }, names);
  if (first.redirect !== undefined) {
    wire.destroy();
    return { kind: 'redirect', ...first.redirect };
  }
  if (options.chap !== undefined) {
    await authenticate(options.chap, async (keys) => {
      const expStatSN = serialAdd(first.fields.statSN, 1);
      first = await ask(wire, options, { currentStage: 0, nextStage: 1, expStatSN }, keys);
      return first.keys;
    });
  }
  const offered = Object.entries({ ...DEFAULT_KEYS, ...options.keys }).map(([key, value]) => ({
    key,
    value,
  }));
  const stages = { currentStage: 1, nextStage: 3, expStatSN: serialAdd(first.fields.statSN, 1) };
  const last = await ask(wire, options, stages, offered);
  const values = new Map<string, number | string>();
  for (const { key, value } of [...offered, ...first.keys, ...last.keys]) values.set(key, plain(value));
  const parameters = sessionParameters(values, MAX_RECV_DATA_SEGMENT_BYTES);
  wire.useDigests(parameters.headerDigest, parameters.dataDigest);
  return {
    kind: 'done',
    result: {
      wire,
      parameters,
      tsih: last.fields.tsih,
      host: options.host,
      port: options.port,
      nextCmdSN: last.fields.expCmdSN,
      expStatSN: serialAdd(last.fields.statSN, 1),
      maxCmdSN: last.fields.maxCmdSN,
    },
  };
}

function plain(value: string): number | string {
  if (value === 'Yes') return 1;
  if (value === 'No') return 0;
  return /^\d+$/.test(value) ? Number(value) : value;
}

interface LoginReply {
  readonly fields: ReturnType<typeof loginResponse.decode>;
  readonly keys: readonly TextKey[];
  readonly redirect?: { readonly host: string; readonly port: number };
}

async function ask(
  wire: Wire,
  options: LoginOptions,
  stages: { currentStage: number; nextStage: number; expStatSN?: number },
  keys: readonly TextKey[],
): Promise<LoginReply> {
  const header = Buffer.alloc(HEADER_BYTES);
  const isid = Buffer.from(options.isid ?? DEFAULT_ISID, 'hex');
  const { tsih = 0, cid = 1, cmdSN = 1 } = options;
  const request = { opcode: opcode.loginRequest, immediate: true, transit: true, isid, tsih, cid, cmdSN };
  loginRequest.encode({ ...request, ...stages }, header);
  const frame = nextFrame(wire, options.timeoutMs ?? DEFAULT_TIMEOUT_MS);
  wire.sendWith(header, encodeTextKeys(keys));
  const { header: bytes, at, data } = await frame;
  const fields = loginResponse.decode(bytes, at);
  const answered = decodeTextKeys(Buffer.concat(data));
  if (fields.statusClass === 0) return { fields, keys: answered };
  const address = answered.find(({ key }) => key === 'TargetAddress')?.value;
  if (fields.statusClass !== 1 || address === undefined) {
    throw new LoginRefusedError(fields.statusClass * 256 + fields.statusDetail);
  }
  const match = /^\[?([^\]]*?)\]?:(\d+)(?:,\d+)?$/.exec(address);
  return { fields, keys: answered, redirect: { host: match?.[1] ?? '', port: Number(match?.[2]) } };
}

/** @throws ConnectionLostError when the connection goes, or the time is over, before a PDU has come */
export function nextFrame(wire: Wire, timeoutMs: number): Promise<PduFrame> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(new ConnectionLostError(`no answer within ${timeoutMs} ms`));
      wire.destroy();
    }, timeoutMs);
    wire.onClose((why) => {
      clearTimeout(timer);
      reject(why);
    });
    let taken = false;
    wire.onFrame((frame) => {
      if (taken) return;
      taken = true;
      clearTimeout(timer);
      resolve(frame);
    });
  });
}
