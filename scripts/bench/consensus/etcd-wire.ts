/**
 * The few messages of etcd's v3 API that the bench needs, in protobuf's wire format (fields as in etcd's
 * rpc.proto and kv.proto). By hand, so that no general decoder is what the bench measures.
 */
const VARINT = 0;
const LENGTH_DELIMITED = 2;

function varint(value: number): number[] {
  const out: number[] = [];
  let rest = value;
  while (rest >= 0x80) {
    out.push((rest % 0x80) | 0x80);
    rest = Math.floor(rest / 0x80);
  }
  out.push(rest);
  return out;
}

function bytesField(field: number, bytes: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from([(field << 3) | LENGTH_DELIMITED, ...varint(bytes.length)]), bytes]);
}

/** PutRequest { bytes key = 1; bytes value = 2; } */
export function encodePutRequest(request: { readonly key: Uint8Array; readonly value: Uint8Array }): Buffer {
  return Buffer.concat([bytesField(1, request.key), bytesField(2, request.value)]);
}

/** RangeRequest { bytes key = 1; bool serializable = 7; }, which is linearizable unless it says otherwise. */
export function encodeRangeRequest(key: Uint8Array): Buffer {
  return bytesField(1, key);
}

interface Field {
  readonly field: number;
  readonly number: bigint;
  readonly bytes: Buffer;
}

const NO_BYTES = Buffer.alloc(0);

function* fields(input: Buffer): Generator<Field> {
  let at = 0;
  const readVarint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = input[at++];
      if (byte === undefined || shift > 63n) throw new Error('a protobuf message that breaks off');
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < input.length) {
    const tag = Number(readVarint());
    const field = tag >>> 3;
    if ((tag & 7) === VARINT) {
      yield { field, number: readVarint(), bytes: NO_BYTES };
    } else if ((tag & 7) === LENGTH_DELIMITED) {
      const lengthBytes = Number(readVarint());
      yield { field, number: 0n, bytes: input.subarray(at, at + lengthBytes) };
      at += lengthBytes;
    } else {
      throw new Error(`a protobuf field of wire type ${tag & 7}`);
    }
  }
}

function find(input: Buffer, wanted: number): Field | undefined {
  for (const field of fields(input)) if (field.field === wanted) return field;
  return undefined;
}

/** RangeResponse { repeated KeyValue kvs = 2; }, KeyValue { bytes value = 5; } */
export function decodeRangeResponse(input: Buffer): Uint8Array | undefined {
  const pair = find(input, 2);
  return pair === undefined ? undefined : find(pair.bytes, 5)?.bytes;
}

export interface EtcdStatus {
  readonly memberId: bigint;
  readonly leader: bigint;
  readonly raftAppliedIndex: bigint;
}

/** StatusResponse { ResponseHeader header = 1; uint64 leader = 4; uint64 raftAppliedIndex = 7; } */
export function decodeStatusResponse(input: Buffer): EtcdStatus {
  const header = find(input, 1)?.bytes ?? NO_BYTES;
  return {
    memberId: find(header, 2)?.number ?? 0n,
    leader: find(input, 4)?.number ?? 0n,
    raftAppliedIndex: find(input, 7)?.number ?? 0n,
  };
}
