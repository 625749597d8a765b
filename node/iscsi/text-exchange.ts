import { ProtocolError } from '../../base/errors.ts';
import { answerTextRequest } from './discovery.ts';
import { MAX_TEXT_BYTES, MAX_TEXT_KEYS } from './limits.ts';
import { RESERVED_TAG, rejectReason } from './opcode.ts';
import type { textRequest } from './pdu.ts';
import type { TargetListing } from './ports.ts';
import type { Responder } from './responder.ts';
import { decodeTextKeys, type TextKey } from './text-keys.ts';

export interface TextExchangeOptions {
  readonly responder: Responder;
  readonly listTargets: () => readonly TargetListing[];
  /** undefined in a discovery session. */
  readonly targetName: string | undefined;
}

/** What is known of a negotiation that goes on. */
interface Negotiation {
  readonly initiatorTaskTag: number;
  readonly targetTransferTag: number;
  /** Keys whose text is not whole. */
  request: Uint8Array;
  /** Of an answer, what has not been sent. */
  rest: Uint8Array;
  readonly keysSeen: Set<string>;
  /** In force once the negotiation has ended. */
  maxRecvDataSegmentBytes: number | undefined;
}

type Request = ReturnType<typeof textRequest.decode>;

const NO_TEXT = new Uint8Array();

/**
 * The target's side of Text Requests and Responses (RFC 7143 §6.4, §11.10, §11.11): one negotiation at a time, which the
 * initiator begins and ends. Each of its requests has one response; until both have F set, the target keeps what was said.
 */
export class TextExchange {
  readonly #options: TextExchangeOptions;
  #current: Negotiation | undefined;
  #nextTag = 0;

  constructor(options: TextExchangeOptions) {
    this.#options = options;
  }

  /** @returns why the request is rejected, which ends the negotiation without a trace; undefined where it was answered */
  receive(fields: Request, data: readonly Uint8Array[]): number | undefined {
    const negotiation = this.#negotiationOf(fields);
    if (negotiation === undefined) return rejectReason.invalidPduField;
    try {
      this.#answer(negotiation, fields, data);
      return undefined;
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#current = undefined;
      return rejectReason.protocolError;
    }
  }

  /** A request without a transfer tag begins anew, whatever there was (§11.10.4). */
  #negotiationOf({ initiatorTaskTag, targetTransferTag }: Request): Negotiation | undefined {
    if (targetTransferTag === RESERVED_TAG) {
      this.#nextTag = (this.#nextTag + 1) % RESERVED_TAG;
      this.#current = {
        initiatorTaskTag,
        targetTransferTag: this.#nextTag,
        request: NO_TEXT,
        rest: NO_TEXT,
        keysSeen: new Set(),
        maxRecvDataSegmentBytes: undefined,
      };
      return this.#current;
    }
    const isIt =
      this.#current?.targetTransferTag === targetTransferTag &&
      this.#current.initiatorTaskTag === initiatorTaskTag;
    return isIt ? this.#current : undefined;
  }

  #answer(negotiation: Negotiation, fields: Request, data: readonly Uint8Array[]): void {
    if (negotiation.rest.length > 0) {
      if (data.length > 0) throw violation('more text before the answer to the last was taken');
      this.#send(negotiation, fields, negotiation.rest);
      return;
    }
    if (fields.continues && fields.final) throw violation('text that goes on cannot be the last');
    const request = Buffer.concat([negotiation.request, ...data]);
    if (request.length > MAX_TEXT_BYTES) throw violation(`text of more than ${MAX_TEXT_BYTES} bytes`);
    if (fields.continues) {
      negotiation.request = request;
      this.#send(negotiation, fields, NO_TEXT);
      return;
    }
    negotiation.request = NO_TEXT;
    const keys = decodeTextKeys(request);
    this.#checkKeys(negotiation, keys);
    const { listTargets, targetName } = this.#options;
    const { text, maxRecvDataSegmentBytes } = answerTextRequest(keys, listTargets(), targetName);
    negotiation.maxRecvDataSegmentBytes ??= maxRecvDataSegmentBytes;
    this.#send(negotiation, fields, text);
  }

  #checkKeys({ keysSeen }: Negotiation, keys: readonly TextKey[]): void {
    for (const { key } of keys) {
      if (keysSeen.has(key)) throw violation(`${key} more than once in one negotiation`);
      keysSeen.add(key);
    }
    if (keysSeen.size > MAX_TEXT_KEYS) throw violation(`more than ${MAX_TEXT_KEYS} keys`);
    const asksForTargets = keysSeen.has('SendTargets');
    if (asksForTargets && keysSeen.size > 1) throw violation('SendTargets beside other keys');
    if (!asksForTargets && this.#options.targetName === undefined) {
      throw violation('a discovery session takes SendTargets only');
    }
  }

  /** Sends as much as the initiator takes at once; the rest waits for its next, empty, request. */
  #send(negotiation: Negotiation, { final }: Request, text: Uint8Array): void {
    const { responder } = this.#options;
    const { initiatorTaskTag, targetTransferTag, maxRecvDataSegmentBytes } = negotiation;
    // What was declared is in force once all is said; but no segment is longer than the initiator may take by then.
    const limit = Math.min(
      responder.maxSendDataSegmentBytes,
      maxRecvDataSegmentBytes ?? responder.maxSendDataSegmentBytes,
    );
    negotiation.rest = text.subarray(limit);
    const continues = negotiation.rest.length > 0;
    const ends = final && !continues;
    if (ends) {
      this.#current = undefined;
      if (maxRecvDataSegmentBytes !== undefined) responder.limitDataSegments(maxRecvDataSegmentBytes);
    }
    const tag = ends ? RESERVED_TAG : targetTransferTag;
    responder.text(
      { initiatorTaskTag, targetTransferTag: tag, final: ends, continues },
      text.subarray(0, limit),
    );
  }
}

function violation(what: string): ProtocolError {
  return new ProtocolError(`a text request is wrong: ${what}`, {
    code: 'bad-text-request',
    rfc: 'RFC 7143 §6.4',
  });
}
