import { expect, it } from 'vitest';
import { opcode } from '../../../../node/iscsi/opcode.ts';
import type { TcpSegment } from '../../../../scripts/lab/capture-frames.ts';
import { DiskSessions } from '../../../../scripts/lab/disk-sessions.ts';

const MACHINE = '10.77.0.150:1024';
const PORTAL = '10.77.0.101:3260';
const NODE_MAC = '02:00:00:00:00:0a';
const IPXE_ISID = '402723000001';
const OPEN_ISCSI_ISID = '00023d000001';
const START = 0xffff_fff0;

function pdu(code: number, fill: (header: Buffer) => void, data = Buffer.alloc(0)): Buffer {
  const header = Buffer.alloc(48);
  header[0] = code;
  header.writeUIntBE(data.length, 5, 3);
  fill(header);
  return Buffer.concat([header, data, Buffer.alloc(-data.length & 3)]);
}

function login(isid: string): Buffer {
  const fill = (header: Buffer): void => void Buffer.from(isid, 'hex').copy(header, 8);
  return pdu(opcode.loginRequest | 0x40, fill, Buffer.from('InitiatorName=a\0'));
}

function read10(lba: number, blocks: number): Buffer {
  return pdu(opcode.scsiCommand, (header) => {
    header[32] = 0x28;
    header.writeUInt32BE(lba, 34);
    header.writeUInt16BE(blocks, 39);
  });
}

function read16(lba: bigint, blocks: number): Buffer {
  return pdu(opcode.scsiCommand, (header) => {
    header[32] = 0x88;
    header.writeBigUInt64BE(lba, 34);
    header.writeUInt32BE(blocks, 42);
  });
}

/** What a machine sends over one connection, cut into segments. */
class Sender {
  readonly sessions: DiskSessions;
  #next = START;

  constructor(sessions: DiskSessions) {
    this.sessions = sessions;
    this.syn();
    this.#next = (START + 1) >>> 0;
  }

  syn(): void {
    this.sessions.take(segment({ sequence: START, opens: true }));
  }

  send(payload: Buffer): void {
    this.sessions.take(segment({ sequence: this.#next, payload }));
    this.#next = (this.#next + payload.length) >>> 0;
  }
}

function segment(fields: Partial<TcpSegment>): TcpSegment {
  const plain = {
    fromMac: '52:54:00:77:00:31',
    sequence: 0,
    opens: false,
    ends: false,
    payload: Buffer.alloc(0),
  };
  return { from: MACHINE, to: PORTAL, ...plain, ...fields };
}

function answer(sequence: number, lengthBytes: number): TcpSegment {
  const payload = Buffer.alloc(lengthBytes);
  return segment({ from: PORTAL, to: MACHINE, fromMac: NODE_MAC, sequence, payload });
}

it('tells what iPXE reads, however its commands are cut into segments', () => {
  const stream = Buffer.concat([login(IPXE_ISID), read10(0, 1), read16(34816n, 64)]);
  for (let pieceBytes = 1; pieceBytes <= stream.length; pieceBytes++) {
    const sender = new Sender(new DiskSessions(3260));
    for (let at = 0; at < stream.length; at += pieceBytes) sender.send(stream.subarray(at, at + pieceBytes));
    expect(sender.sessions.all).toEqual([
      {
        initiator: 'ipxe',
        servedBy: undefined,
        sentBytes: 0,
        reads: [
          { startBytes: 0, sizeBytes: 512 },
          { startBytes: 17 * 1024 * 1024, sizeBytes: 32768 },
        ],
      },
    ]);
  }
});

it('takes an initiator that names itself by an OUI for the system, whose commands it leaves alone', () => {
  const sender = new Sender(new DiskSessions(3260));
  sender.send(login(OPEN_ISCSI_ISID));
  sender.send(read10(0, 1));
  expect(sender.sessions.all).toMatchObject([{ initiator: 'system', reads: [] }]);
});

it('counts what is sent once, and by whom', () => {
  const sessions = new DiskSessions(3260);
  new Sender(sessions).send(login(IPXE_ISID));
  sessions.take(answer(0xffff_ffff, 100));
  sessions.take(answer(0xffff_ffff, 100));
  sessions.take(answer(49, 100));
  expect(sessions.all).toMatchObject([{ servedBy: NODE_MAC, sentBytes: 150 }]);
});

it('takes a SYN that is repeated for the same connection, and one with another number for a new one', () => {
  const sessions = new DiskSessions(3260);
  const sender = new Sender(sessions);
  sender.syn();
  sender.send(login(IPXE_ISID));
  expect(sessions.all).toHaveLength(1);
  sessions.take(segment({ sequence: 7, opens: true }));
  expect(sessions.all.map(({ initiator }) => initiator)).toEqual(['ipxe', 'unknown']);
});

it('does not take a command that is sent again for another one', () => {
  const sessions = new DiskSessions(3260);
  const sender = new Sender(sessions);
  sender.send(Buffer.concat([login(IPXE_ISID), read10(0, 1)]));
  const repeated = read10(0, 1);
  const sequence = (START + 1 + login(IPXE_ISID).length) >>> 0;
  sessions.take(segment({ sequence, payload: repeated }));
  expect(sessions.all[0]?.reads).toHaveLength(1);
});
