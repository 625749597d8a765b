import type { PduFrame } from './framer.ts';
import { opcode } from './opcode.ts';
import { HEADER_BYTES, loginRequest, loginResponse } from './pdu.ts';

/** The fields of a Login Request, which outlive the bytes that it came in. */
export function decodeLogin(frame: PduFrame): ReturnType<typeof loginRequest.decode> {
  const fields = loginRequest.decode(frame.header, frame.at);
  return { ...fields, isid: Uint8Array.from(fields.isid) };
}

/** Header and text in one buffer: iPXE takes a redirect only when it comes in one piece. */
export function encodeLoginResponse(
  fields: Parameters<typeof loginResponse.encode>[0],
  text: Uint8Array,
): Buffer {
  const whole = Buffer.alloc(HEADER_BYTES + ((text.length + 3) & ~3));
  loginResponse.encode({ opcode: opcode.loginResponse, dataSegmentLength: text.length, ...fields }, whole);
  whole.set(text, HEADER_BYTES);
  return whole;
}
