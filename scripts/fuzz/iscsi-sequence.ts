import { connect } from 'node:net';
import { crc32c } from '../../base/crc32c.ts';
import { ProtocolError } from '../../base/errors.ts';
import { Framer } from '../../node/iscsi/framer.ts';
import { MAX_RECV_DATA_SEGMENT_BYTES } from '../../node/iscsi/limits.ts';
import { opcode } from '../../node/iscsi/opcode.ts';
import * as pdu from '../../node/iscsi/pdu.ts';
import { encodeTextKeys } from '../../node/iscsi/text-keys.ts';
import { CLOSE_TIMEOUT_MS } from './limits.ts';
import type { FuzzState, Sequence } from './malformed-pdus.ts';

const FUZZ_INITIATOR = 'iqn.2026-11.net.example:fuzz';
const FUZZ_TARGET = 'iqn.2026-11.net.example:fuzzed';
export const CHAP_TARGET = 'iqn.2026-11.net.example:guarded';
const FIRST_CMD_SN = 1;
const WRITE_TAG = 7;

/** What a target may say to an initiator. */
const TARGET_OPCODES: ReadonlySet<number> = new Set([
  opcode.nopIn,
  opcode.scsiResponse,
  opcode.taskManagementResponse,
  opcode.loginResponse,
  opcode.textResponse,
  opcode.dataIn,
  opcode.logoutResponse,
  opcode.readyToTransfer,
  opcode.asyncMessage,
  opcode.reject,
]);

/**
 * Sends one sequence on a connection of its own, everything at once and its end after it, and waits until the
 * target has closed.
 * @returns the opcodes that were answered
 * @throws Error when the target does not close, or says something that is no PDU of a target
 */
export function playSequence(at: { host: string; port: number }, sequence: Sequence): Promise<number[]> {
  return new Promise((resolve, reject) => {
    const socket = connect({ ...at, noDelay: true });
    const answers = new AnswerReader(sequence);
    const timer = setTimeout(() => {
      socket.destroy();
      reject(new Error(`the target did not close after ${describe(sequence)}`));
    }, CLOSE_TIMEOUT_MS);
    socket.on('error', () => {});
    socket.on('data', (chunk: Buffer) => {
      const wrong = answers.push(chunk);
      if (wrong === undefined) return;
      clearTimeout(timer);
      socket.destroy();
      reject(new Error(`${wrong} after ${describe(sequence)}`));
    });
    socket.on('close', () => {
      clearTimeout(timer);
      resolve(answers.opcodes);
    });
    socket.end(Buffer.concat([...prologue(sequence), ...malformed(sequence)]));
  });
}

/** Short enough for a message; a seed brings the whole of it back. */
function describe({ state, headerDigest, dataDigest, pdus }: Sequence): string {
  const hex = pdus.map(({ bytes }) => Buffer.from(bytes.subarray(0, 100)).toString('hex'));
  return `${JSON.stringify({ state, headerDigest, dataDigest })} ${hex.join(' ')}`;
}

/** Checks that what comes back is well-formed. Digests begin after the last login response. */
class AnswerReader {
  readonly opcodes: number[] = [];
  readonly #framer = new Framer(MAX_RECV_DATA_SEGMENT_BYTES);
  readonly #sequence: Sequence;

  constructor(sequence: Sequence) {
    this.#sequence = sequence;
  }

  /** @returns what is wrong, in words */
  push(chunk: Uint8Array): string | undefined {
    this.#framer.push(chunk);
    try {
      for (let frame = this.#framer.next(); frame !== undefined; frame = this.#framer.next()) {
        const code = (frame.header[frame.at] as number) & 0x3f;
        if (!TARGET_OPCODES.has(code)) return `the target sent opcode ${code}`;
        this.opcodes.push(code);
        if (code === opcode.loginResponse) this.#afterLogin(pdu.loginResponse.decode(frame.header, frame.at));
      }
      return undefined;
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      return `the target sent a malformed PDU (${error.message})`;
    }
  }

  #afterLogin(fields: ReturnType<typeof pdu.loginResponse.decode>): void {
    const isLast = fields.transit && fields.nextStage === 3 && fields.statusClass === 0;
    // A malformed sequence may as well end its login by itself; it then has offered no digests.
    if (!isLast || !isFullFeature(this.#sequence.state)) return;
    this.#framer.headerDigest = this.#sequence.headerDigest;
    this.#framer.dataDigest = this.#sequence.dataDigest;
  }
}

function isFullFeature(state: FuzzState): boolean {
  return state === 'discovery' || state === 'full-feature' || state.startsWith('write-');
}

/** Right PDUs, with right digests, that bring the target into the state. */
function prologue(sequence: Sequence): Uint8Array[] {
  const { state } = sequence;
  const names = { InitiatorName: FUZZ_INITIATOR, SessionType: 'Normal' };
  const guarded = { ...names, TargetName: CHAP_TARGET, AuthMethod: 'CHAP' };
  const named = { ...names, TargetName: FUZZ_TARGET };
  switch (state) {
    case 'start':
      return [];
    case 'security':
      return [login(0, 0, false, named)];
    case 'chap-algorithm':
      return [login(0, 1, true, guarded)];
    case 'chap-response':
      return [login(0, 1, true, guarded), login(0, 1, true, { CHAP_A: '5,7,8' })];
    case 'operational':
      return [login(1, 1, false, named)];
    case 'discovery':
      return [login(1, 3, true, { ...names, ...digests(sequence), SessionType: 'Discovery' })];
    case 'full-feature':
      return [login(1, 3, true, { ...named, ...digests(sequence) }), testUnitReady(sequence)];
    case 'write-solicited':
    case 'write-unsolicited': {
      const InitialR2T = state === 'write-solicited' ? 'Yes' : 'No';
      const keys = { ...named, ...digests(sequence), InitialR2T, ImmediateData: 'Yes' };
      const write = openWrite(sequence, state === 'write-solicited');
      return [login(1, 3, true, keys), testUnitReady(sequence), write];
    }
  }
}

function digests({ headerDigest, dataDigest }: Sequence): Record<string, string> {
  return {
    HeaderDigest: headerDigest ? 'CRC32C' : 'None',
    DataDigest: dataDigest ? 'CRC32C' : 'None',
  };
}

function login(
  currentStage: number,
  nextStage: number,
  transit: boolean,
  keys: Readonly<Record<string, string>>,
): Uint8Array {
  const text = encodeTextKeys(Object.entries(keys).map(([key, value]) => ({ key, value })));
  const bytes = Buffer.alloc(pdu.HEADER_BYTES + ((text.length + 3) & ~3));
  const isid = Buffer.from('400000000001', 'hex');
  const fields = { opcode: opcode.loginRequest, immediate: true, transit, currentStage, isid, cid: 1 };
  // The next stage is reserved where there is none.
  const stages = { nextStage: transit ? nextStage : 0 };
  pdu.loginRequest.encode(
    { ...fields, ...stages, dataSegmentLength: text.length, cmdSN: FIRST_CMD_SN },
    bytes,
  );
  bytes.set(text, pdu.HEADER_BYTES);
  return bytes;
}

/** Takes the unit attention of a new session, which would otherwise be all that the next command meets. */
function testUnitReady(sequence: Sequence): Uint8Array {
  const bytes = Buffer.alloc(pdu.HEADER_BYTES);
  pdu.scsiCommand.encode({ opcode: opcode.scsiCommand, final: true, cmdSN: FIRST_CMD_SN }, bytes);
  return withDigest(bytes, sequence);
}

/** A WRITE of 64 blocks of which no data has come yet. */
function openWrite(sequence: Sequence, final: boolean): Uint8Array {
  const bytes = Buffer.alloc(pdu.HEADER_BYTES);
  const numbers = {
    initiatorTaskTag: WRITE_TAG,
    expectedDataTransferLength: 64 * 512,
    cmdSN: FIRST_CMD_SN + 1,
  };
  pdu.scsiCommand.encode({ opcode: opcode.scsiCommand, final, write: true, ...numbers }, bytes);
  bytes.set(Buffer.from('2a000000000000004000', 'hex'), pdu.CDB_OFFSET);
  return withDigest(bytes, sequence);
}

function withDigest(header: Uint8Array, { headerDigest }: Sequence): Uint8Array {
  return headerDigest ? Buffer.concat([header, digestOf(header)]) : header;
}

/** The malformed PDUs; in full feature phase with the digests that were agreed, of what they are. */
function malformed(sequence: Sequence): Uint8Array[] {
  if (!isFullFeature(sequence.state)) return sequence.pdus.map(({ bytes }) => bytes);
  return sequence.pdus.flatMap(({ bytes }) => {
    const headerEnd = Math.min(bytes.length, pdu.HEADER_BYTES + (bytes[4] as number) * 4);
    const header = bytes.subarray(0, headerEnd);
    const data = bytes.subarray(headerEnd);
    return [
      header,
      ...(sequence.headerDigest ? [digestOf(header)] : []),
      data,
      ...(sequence.dataDigest && data.length > 0 ? [digestOf(data)] : []),
    ];
  });
}

function digestOf(bytes: Uint8Array): Uint8Array {
  const digest = Buffer.alloc(4);
  digest.writeUInt32LE(crc32c(bytes));
  return digest;
}
