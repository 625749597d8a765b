import { serialAdd, serialLessOrEqual } from '../../../base/serial-number.ts';
import type { PduFrame } from '../../../node/iscsi/framer.ts';
import { opcode } from '../../../node/iscsi/opcode.ts';
import { CDB_OFFSET, HEADER_BYTES, scsiCommand, scsiResponse } from '../../../node/iscsi/pdu.ts';
import { taskAttribute } from '../../../node/iscsi/task-order.ts';
import { ConnectionLostError, type LoggedIn, login } from '../../simulator/iscsi-wire.ts';

/**
 * A client that costs little: it makes its commands once, changes the numbers in them, and sends all that have come free by
 * the answers of one read of its socket with one system call. So it shows what a server can do, where one that sends each
 * command by itself shows what that client can. One argument, a JSON document of BurstSettings.
 */
export interface BurstSettings {
  readonly url: string;
  readonly sizeBytes: number;
  readonly depth: number;
  readonly operations: number;
  /** Places on the disk, of that size; and how far it is from one write to the next, in places. */
  readonly slots: number;
  readonly step: number;
  readonly firstSlot: number;
}

const BLOCK_BYTES = 512;
const WRITE_10 = 0x2a;
const MAX_ATTENTIONS = 8;
const CMD_SN_AT = 24;
const EXP_STAT_SN_AT = 28;
const LBA_AT = CDB_OFFSET + 2;

class Bursts {
  readonly #settings: BurstSettings;
  readonly #loggedIn: LoggedIn;
  /** By task tag. */
  readonly #commands: Buffer[];
  #freed: Buffer[] = [];
  #cmdSN: number;
  #expStatSN: number;
  #maxCmdSN: number;
  #sent = 0;
  #answered = 0;
  #attentions = 0;
  #slot: number;
  #scheduled = false;
  #done: () => void = () => {};
  #failed: (error: Error) => void = () => {};

  constructor(settings: BurstSettings, loggedIn: LoggedIn, lun: number) {
    this.#settings = settings;
    this.#loggedIn = loggedIn;
    this.#cmdSN = loggedIn.nextCmdSN;
    this.#expStatSN = loggedIn.expStatSN;
    this.#maxCmdSN = loggedIn.maxCmdSN;
    this.#slot = settings.firstSlot;
    this.#commands = Array.from({ length: settings.depth }, (_, tag) => this.#makeCommand(tag, lun));
  }

  #makeCommand(initiatorTaskTag: number, lun: number): Buffer {
    const { sizeBytes } = this.#settings;
    const command = Buffer.alloc(HEADER_BYTES + sizeBytes, 'b');
    scsiCommand.encode(
      {
        opcode: opcode.scsiCommand,
        final: true,
        write: true,
        attributes: taskAttribute.simple,
        dataSegmentLength: sizeBytes,
        lunHigh: lun << 16,
        initiatorTaskTag,
        expectedDataTransferLength: sizeBytes,
      },
      command,
    );
    command[CDB_OFFSET] = WRITE_10;
    command.writeUInt16BE(sizeBytes / BLOCK_BYTES, CDB_OFFSET + 7);
    return command;
  }

  /** @returns how long it took, in seconds */
  async run(): Promise<number> {
    const { wire } = this.#loggedIn;
    const startMs = performance.now();
    await new Promise<void>((resolve, reject) => {
      this.#done = resolve;
      this.#failed = reject;
      wire.onClose(reject);
      wire.onFrame((frame) => this.#receive(frame));
      for (const command of this.#commands.slice(0, this.#settings.operations)) this.#queue(command);
    });
    return (performance.now() - startMs) / 1000;
  }

  #receive(frame: PduFrame): void {
    if (((frame.header[frame.at] as number) & 0x3f) !== opcode.scsiResponse) return;
    const { status, response, initiatorTaskTag, statSN, maxCmdSN } = scsiResponse.decode(
      frame.header,
      frame.at,
    );
    this.#expStatSN = serialAdd(statSN, 1);
    this.#maxCmdSN = maxCmdSN;
    const command = this.#commands[initiatorTaskTag];
    if (command === undefined || response !== 0)
      throw new Error('an answer to no command of ours, or none by the unit');
    if (status === 0) {
      this.#answered++;
      if (this.#answered === this.#settings.operations) this.#done();
    } else {
      // What a unit has to say to every new session first: the command has not been carried out.
      if (++this.#attentions > MAX_ATTENTIONS)
        this.#failed(new Error(`a write was answered with status ${status}`));
      this.#sent--;
    }
    if (this.#sent < this.#settings.operations) this.#queue(command);
    else if (this.#freed.length > 0) this.#sendSoon();
  }

  /** It leaves with all others that are queued in this turn. */
  #queue(command: Buffer): void {
    this.#sent++;
    this.#freed.push(command);
    this.#sendSoon();
  }

  #sendSoon(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => this.#send());
  }

  #send(): void {
    this.#scheduled = false;
    const commands = this.#freed;
    this.#freed = [];
    const { slots, step, sizeBytes } = this.#settings;
    const { socket } = this.#loggedIn.wire;
    socket.cork();
    for (const [i, command] of commands.entries()) {
      if (!serialLessOrEqual(this.#cmdSN, this.#maxCmdSN)) {
        // The target's window opens further with its answers.
        this.#freed = commands.slice(i);
        break;
      }
      command.writeUInt32BE(this.#cmdSN, CMD_SN_AT);
      command.writeUInt32BE(this.#expStatSN, EXP_STAT_SN_AT);
      command.writeUInt32BE((this.#slot * sizeBytes) / BLOCK_BYTES, LBA_AT);
      this.#cmdSN = serialAdd(this.#cmdSN, 1);
      this.#slot = (this.#slot + step) % slots;
      socket.write(command);
    }
    socket.uncork();
  }
}

async function main(): Promise<void> {
  const settings = JSON.parse(process.argv[2] ?? '') as BurstSettings;
  const { hostname, port, pathname } = new URL(settings.url.replace('iscsi:', 'http:'));
  const [, targetName = '', lun = ''] = decodeURIComponent(pathname).split('/');
  const names = { targetName, initiatorName: 'iqn.2026-11.net.example:bursts' };
  const loggedIn = await login({ host: hostname, port: Number(port), ...names });
  const { parameters, wire } = loggedIn;
  if (parameters.maxSendDataSegmentBytes < settings.sizeBytes) {
    throw new ConnectionLostError('the target takes no write of that size in one PDU');
  }
  const seconds = await new Bursts(settings, loggedIn, Number(lun)).run();
  process.stdout.write(`${JSON.stringify({ operations: settings.operations, seconds })}\n`);
  wire.destroy();
}

await main();
