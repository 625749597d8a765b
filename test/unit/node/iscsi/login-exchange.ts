import { serialAdd } from '../../../../base/serial-number.ts';
import { opcode } from '../../../../node/iscsi/opcode.ts';
import { HEADER_BYTES, loginRequest, loginResponse } from '../../../../node/iscsi/pdu.ts';
import { decodeTextKeys, encodeTextKeys } from '../../../../node/iscsi/text-keys.ts';
import { nextFrame, type Wire } from '../../../../scripts/simulator/iscsi-wire.ts';

export interface LoginAnswer {
  /** Class and detail. */
  readonly status: number;
  readonly transit: boolean;
  readonly keys: Readonly<Record<string, string>>;
  readonly fields: ReturnType<typeof loginResponse.decode>;
}

/** A login request by request, for tests that do what no initiator would. */
export function startLogin(wire: Wire) {
  let expStatSN = 0;
  return {
    async ask(
      fields: Partial<ReturnType<typeof loginRequest.decode>>,
      keys: Readonly<Record<string, string>>,
    ): Promise<LoginAnswer> {
      const header = Buffer.alloc(HEADER_BYTES);
      const isid = Buffer.from('400000000001', 'hex');
      const usual = { opcode: opcode.loginRequest, immediate: true, transit: true, isid, cid: 1, cmdSN: 1 };
      loginRequest.encode({ ...usual, expStatSN, ...fields }, header);
      const frame = nextFrame(wire, 5000);
      wire.sendWith(header, encodeTextKeys(Object.entries(keys).map(([key, value]) => ({ key, value }))));
      const { header: bytes, at, data } = await frame;
      const answer = loginResponse.decode(bytes, at);
      expStatSN = serialAdd(answer.statSN, 1);
      return {
        status: answer.statusClass * 256 + answer.statusDetail,
        transit: answer.transit,
        keys: Object.fromEntries(decodeTextKeys(Buffer.concat(data)).map(({ key, value }) => [key, value])),
        fields: answer,
      };
    },
  };
}
