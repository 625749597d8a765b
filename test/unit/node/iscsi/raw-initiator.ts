import { serialAdd } from '../../../../base/serial-number.ts';
import { opcode, RESERVED_TAG } from '../../../../node/iscsi/opcode.ts';
import * as pdu from '../../../../node/iscsi/pdu.ts';
import { type LoggedIn, type LoginOptions, login } from '../../../../scripts/simulator/iscsi-wire.ts';
import { INITIATOR, TARGET, type TestTarget } from './target-fixture.ts';

/** iPXE's terms: every write is asked for by R2T. */
export const R2T_ONLY = { ImmediateData: 'No', InitialR2T: 'Yes' };

type CommandFields = Partial<ReturnType<typeof pdu.scsiCommand.decode>>;
type TaskManagementFields = Partial<ReturnType<typeof pdu.taskManagementRequest.decode>>;
type DataOutFields = Partial<ReturnType<typeof pdu.dataOut.decode>>;
type TextFields = Partial<ReturnType<typeof pdu.textRequest.decode>>;
type LogoutFields = Partial<ReturnType<typeof pdu.logoutRequest.decode>>;

export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1));
}

export const codeOf = (bytes: Buffer): number => (bytes[0] as number) & 0x3f;

/** A session for tests that send PDUs of their own making, and look at each that comes. */
export class RawInitiator {
  readonly loggedIn: LoggedIn;
  /** Every PDU since the login: header, then data. */
  readonly received: Buffer[] = [];
  cmdSN: number;

  constructor(loggedIn: LoggedIn) {
    this.loggedIn = loggedIn;
    this.cmdSN = loggedIn.nextCmdSN;
    loggedIn.wire.onFrame(({ header, at, data }) => {
      this.received.push(Buffer.concat([header.subarray(at, at + pdu.HEADER_BYTES), ...data]));
    });
  }

  get isLost(): boolean {
    return this.loggedIn.wire.lost !== undefined;
  }

  destroy(): void {
    this.loggedIn.wire.destroy();
  }

  send(header: Uint8Array, data: Uint8Array = new Uint8Array()): void {
    this.loggedIn.wire.sendWith(Buffer.from(header), data);
  }

  /** What a request says of itself; a CmdSN that is not immediate is taken up. */
  numbers(initiatorTaskTag: number, immediate = false) {
    const { cmdSN } = this;
    if (!immediate) this.cmdSN = serialAdd(cmdSN, 1);
    return { initiatorTaskTag, cmdSN, immediate };
  }

  command(tag: number, cdb: string, fields: CommandFields = {}, data?: Uint8Array): void {
    const numbers = this.numbers(tag, fields.immediate === true);
    const header = pdu.scsiCommand.encode({ opcode: opcode.scsiCommand, final: true, ...numbers, ...fields });
    header.set(Buffer.from(cdb, 'hex'), pdu.CDB_OFFSET);
    this.send(header, data);
  }

  /** WRITE(10) of one or more blocks from the first on. */
  write(tag: number, blocks: number, fields: CommandFields = {}, data?: Uint8Array): void {
    const cdb = `2a0000000000${blocks.toString(16).padStart(6, '0')}00`;
    this.command(tag, cdb, { write: true, expectedDataTransferLength: blocks * 512, ...fields }, data);
  }

  dataOut(tag: number, data: Uint8Array, fields: DataOutFields = {}): void {
    const usual = {
      opcode: opcode.dataOut,
      final: true,
      initiatorTaskTag: tag,
      targetTransferTag: RESERVED_TAG,
    };
    this.send(pdu.dataOut.encode({ ...usual, ...fields }), data);
  }

  /** An immediate one. */
  taskManagement(tag: number, code: number, fields: TaskManagementFields = {}): void {
    const usual = { opcode: opcode.taskManagementRequest, final: true, referencedTaskTag: RESERVED_TAG };
    this.send(
      pdu.taskManagementRequest.encode({ ...usual, function: code, ...this.numbers(tag, true), ...fields }),
    );
  }

  /** An immediate one that asks for an answer. */
  nopOut(tag: number, data?: Uint8Array): void {
    const usual = { opcode: opcode.nopOut, final: true, targetTransferTag: RESERVED_TAG };
    this.send(pdu.nopOut.encode({ ...usual, ...this.numbers(tag, true) }), data);
  }

  text(tag: number, text: string, fields: TextFields = {}): void {
    const usual = { opcode: opcode.textRequest, final: true, targetTransferTag: RESERVED_TAG };
    this.send(
      pdu.textRequest.encode({ ...usual, ...this.numbers(tag, true), ...fields }),
      Buffer.from(text, 'latin1'),
    );
  }

  logout(tag: number, reason: number, fields: LogoutFields = {}): void {
    const usual = { opcode: opcode.logoutRequest, final: true, reason, cid: 1 };
    this.send(pdu.logoutRequest.encode({ ...usual, ...this.numbers(tag, true), ...fields }));
  }

  /** The first PDU of this kind, of one task if a tag is given; waits for it. */
  async next(code: number, tag?: number): Promise<Buffer> {
    const find = (): Buffer | undefined =>
      this.received.find((b) => codeOf(b) === code && (tag === undefined || b.readUInt32BE(16) === tag));
    await until(() => find() !== undefined || this.isLost);
    const found = find();
    if (found === undefined) throw new Error(`the connection was lost before a PDU of opcode ${code} came`);
    return found;
  }

  /** Has the target answer all that was sent and can be answered: a ping in the same turn, and one in a turn after it. */
  async settle(tag = 0xabc): Promise<void> {
    for (let turn = 0; turn < 2; turn++) {
      this.nopOut(tag);
      const echo = await this.next(opcode.nopIn, tag);
      this.received.splice(this.received.indexOf(echo), 1);
    }
  }

  async readyToTransfer(tag: number) {
    return pdu.readyToTransfer.decode(await this.next(opcode.readyToTransfer, tag));
  }

  /** Status, sense and the rest of a SCSI Response. */
  async scsiResponse(tag: number) {
    const bytes = await this.next(opcode.scsiResponse, tag);
    const sense = bytes.subarray(pdu.HEADER_BYTES + 2);
    return {
      ...pdu.scsiResponse.decode(bytes),
      ascAndAscq: sense.length === 0 ? undefined : sense.readUInt16BE(12),
    };
  }

  async taskResponse(tag: number): Promise<number> {
    return pdu.taskManagementResponse.decode(await this.next(opcode.taskManagementResponse, tag)).response;
  }

  /** The reason, and the header that was refused. */
  async rejection(): Promise<{ reason: number; header: Buffer; expCmdSN: number }> {
    const bytes = await this.next(opcode.reject);
    const { reason, expCmdSN } = pdu.reject.decode(bytes);
    return { reason, expCmdSN, header: bytes.subarray(pdu.HEADER_BYTES) };
  }
}

/** Logs in to TARGET, and takes the unit attention of a new session. */
export async function attachRaw(
  { host, port }: TestTarget,
  more: Partial<LoginOptions> = {},
): Promise<RawInitiator> {
  const options = { host, port, initiatorName: INITIATOR, targetName: TARGET, ...more };
  const initiator = new RawInitiator(await login(options));
  initiator.command(1, '000000000000');
  await initiator.next(opcode.scsiResponse);
  initiator.received.length = 0;
  return initiator;
}

/** A discovery session. */
export async function discoverRaw(
  { host, port }: TestTarget,
  more: Partial<LoginOptions> = {},
): Promise<RawInitiator> {
  return new RawInitiator(await login({ host, port, initiatorName: INITIATOR, ...more }));
}
