import { opcode, RESERVED_TAG } from '../../node/iscsi/opcode.ts';
import * as pdu from '../../node/iscsi/pdu.ts';
import { decodeTextKeys, encodeTextKeys } from '../../node/iscsi/text-keys.ts';
import { capacity16 } from '../../node/scsi/parameter-command.ts';
import { type InitiatorOptions, InitiatorSession } from './iscsi-session.ts';
import { DEFAULT_TIMEOUT_MS, login } from './iscsi-wire.ts';
import {
  flushRequest,
  inquiryRequest,
  isUnitAttention,
  readCapacityRequest,
  readRequest,
  type ScsiReply,
  type ScsiRequest,
  ScsiStatusError,
  writeRequest,
} from './scsi-exchange.ts';

export type { InitiatorOptions } from './iscsi-session.ts';

/** An iSCSI initiator for tests and the demo: asynchronous, true to the protocol, for one LUN of one target. */

const BLOCK_BYTES = 512;
const MAX_ATTENTIONS = 8;

/**
 * Logs in, waits until the unit is ready and reads its capacity, each within the time allowed: a target that dies in
 * between may do so without a word.
 * @throws LoginRefusedError, ConnectionLostError, ScsiStatusError
 */
export async function connectInitiator(options: InitiatorOptions): Promise<Initiator> {
  const initiator = new Initiator(await login(options), options);
  const timer = setTimeout(() => initiator.destroy(), options.timeoutMs ?? DEFAULT_TIMEOUT_MS);
  try {
    await initiator.awaitReady();
    return initiator;
  } catch (error) {
    initiator.destroy();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/** One LUN of one target, as a disk and by single requests. */
export class Initiator extends InitiatorSession {
  /** Of the LUN, as READ CAPACITY (16) told it. */
  capacity = { blocks: 0, blockBytes: BLOCK_BYTES };

  /** Takes the unit attentions of a new session, then reads the capacity. */
  async awaitReady(): Promise<void> {
    await this.good('TEST UNIT READY', { cdb: new Uint8Array(6) });
    const reply = await this.good('READ CAPACITY(16)', readCapacityRequest());
    const { lastLba, blockLength } = capacity16.decode(reply.data);
    this.capacity = { blocks: Number(lastLba) + 1, blockBytes: blockLength };
  }

  /** @throws ScsiStatusError, ConnectionLostError */
  async read(lba: number, blocks: number): Promise<Uint8Array> {
    return (await this.good('READ(16)', readRequest(lba, blocks * BLOCK_BYTES))).data;
  }

  /**
   * Resolves only once the target has answered GOOD. The data must not change until then.
   * @throws ScsiStatusError, ConnectionLostError (the blocks may or may not have been written)
   */
  async write(lba: number, data: Uint8Array, options: { forceUnitAccess?: boolean } = {}): Promise<void> {
    await this.good('WRITE(16)', writeRequest(lba, data, options.forceUnitAccess ?? false));
  }

  /** SYNCHRONIZE CACHE over the whole unit. @throws ScsiStatusError, ConnectionLostError */
  async flush(): Promise<void> {
    await this.good('SYNCHRONIZE CACHE(10)', flushRequest());
  }

  /** Standard INQUIRY data, or a VPD page. */
  async inquiry(pageCode?: number): Promise<Uint8Array> {
    return (await this.good('INQUIRY', inquiryRequest(pageCode))).data;
  }

  /**
   * Any command, sent again after a unit attention, as operating systems do: that says what has happened, not that this failed.
   * @throws ScsiStatusError, ConnectionLostError
   */
  async good(what: string, request: ScsiRequest): Promise<ScsiReply> {
    for (let attempt = 0; ; attempt++) {
      const reply = await this.command(request);
      if (reply.status === 0) return reply;
      if (!isUnitAttention(reply) || attempt >= MAX_ATTENTIONS) throw new ScsiStatusError(what, reply);
    }
  }

  /** NOP-Out; resolves with the data echoed. */
  async ping(data: Uint8Array = new Uint8Array()): Promise<Uint8Array> {
    const fields = { opcode: opcode.nopOut, immediate: true, final: true, targetTransferTag: RESERVED_TAG };
    const frame = await this.ask(
      (numbers, header) => pdu.nopOut.encode({ ...fields, ...numbers }, header),
      data,
    );
    return Buffer.concat(frame.data);
  }

  /** A task management function on the LUN. Commands it ends stay pending here until abandon() or the end. */
  async taskManagement(code: number, taskTag = RESERVED_TAG, refCmdSN = 0): Promise<number> {
    return (await this.taskManagementReply(code, taskTag, refCmdSN)).response;
  }

  async taskManagementReply(code: number, referencedTaskTag = RESERVED_TAG, refCmdSN = 0) {
    const fields = { opcode: opcode.taskManagementRequest, immediate: true, final: true, function: code };
    const task = { lunHigh: this.lun << 16, referencedTaskTag, refCmdSN };
    const frame = await this.ask((numbers, header) =>
      pdu.taskManagementRequest.encode({ ...fields, ...task, ...numbers }, header),
    );
    return pdu.taskManagementResponse.decode(frame.header, frame.at);
  }

  /** Text of a Text Request, as "SendTargets=All". */
  async text(keys: Readonly<Record<string, string>>): Promise<ReturnType<typeof decodeTextKeys>> {
    const pairs = Object.entries(keys).map(([key, value]) => ({ key, value }));
    const fields = { opcode: opcode.textRequest, immediate: true, final: true };
    let data = encodeTextKeys(pairs);
    let targetTransferTag = RESERVED_TAG;
    const received: Uint8Array[] = [];
    const tag = this.takeTag();
    for (;;) {
      const continued = { ...fields, targetTransferTag };
      const frame = await this.ask(
        (numbers, header) => pdu.textRequest.encode({ ...continued, ...numbers }, header),
        data,
        tag,
      );
      received.push(...frame.data);
      const answer = pdu.textResponse.decode(frame.header, frame.at);
      if (answer.final) return decodeTextKeys(Buffer.concat(received));
      targetTransferTag = answer.targetTransferTag;
      data = new Uint8Array();
    }
  }

  /** Logs out and waits for the target's response. */
  async logout(): Promise<void> {
    const fields = { opcode: opcode.logoutRequest, immediate: true, final: true, cid: 1 };
    await this.ask((numbers, header) => pdu.logoutRequest.encode({ ...fields, ...numbers }, header));
    this.destroy();
  }
}
