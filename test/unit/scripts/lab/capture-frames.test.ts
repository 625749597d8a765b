import { expect, it } from 'vitest';
import { CaptureReader, tcpSegment } from '../../../../scripts/lab/capture-frames.ts';

const PCAP_HEADER = Buffer.alloc(24);

function record(frame: Buffer): Buffer {
  const header = Buffer.alloc(16);
  header.writeUInt32LE(frame.length, 8);
  return Buffer.concat([header, frame]);
}

/** Ethernet, IPv4 without options, TCP without options. */
function tcpFrame(payload: Buffer, paddingBytes: number): Buffer {
  const frame = Buffer.alloc(14 + 20 + 20 + payload.length + paddingBytes);
  Buffer.from('525400770001', 'hex').copy(frame, 0);
  Buffer.from('02000000000a', 'hex').copy(frame, 6);
  frame.writeUInt16BE(0x0800, 12);
  frame[14] = 0x45;
  frame.writeUInt16BE(40 + payload.length, 16);
  frame[14 + 9] = 6;
  frame.set([10, 77, 0, 101, 10, 77, 0, 150], 14 + 12);
  frame.writeUInt16BE(3260, 34);
  frame.writeUInt16BE(4321, 36);
  frame.writeUInt32BE(0xffff_fff0, 38);
  frame[34 + 12] = 5 << 4;
  frame[34 + 13] = 0x12;
  payload.copy(frame, 54);
  return frame;
}

it('cuts a capture into frames, wherever what is read of it ends', () => {
  const frames = [Buffer.from('first'), Buffer.alloc(0), Buffer.from('the third')];
  const capture = Buffer.concat([PCAP_HEADER, ...frames.map(record)]);
  for (let pieceBytes = 1; pieceBytes <= capture.length; pieceBytes++) {
    const reader = new CaptureReader();
    const found: string[] = [];
    for (let at = 0; at < capture.length; at += pieceBytes) {
      found.push(...reader.push(capture.subarray(at, at + pieceBytes)).map(String));
    }
    expect(found).toEqual(frames.map(String));
  }
});

it('finds the TCP segment of a frame and leaves out what only pads it', () => {
  expect(tcpSegment(tcpFrame(Buffer.from('hi'), 4))).toEqual({
    from: '10.77.0.101:3260',
    to: '10.77.0.150:4321',
    fromMac: '02:00:00:00:00:0a',
    sequence: 0xffff_fff0,
    opens: true,
    ends: false,
    payload: Buffer.from('hi'),
  });
});

it('knows what is not TCP', () => {
  const udp = tcpFrame(Buffer.alloc(0), 0);
  udp[14 + 9] = 17;
  expect(tcpSegment(udp)).toBeUndefined();
  const arp = tcpFrame(Buffer.alloc(0), 0);
  arp.writeUInt16BE(0x0806, 12);
  expect(tcpSegment(arp)).toBeUndefined();
});
