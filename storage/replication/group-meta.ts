import { crc32c } from '../../base/crc32c.ts';
import { ProtocolError } from '../../base/errors.ts';
import { MAX_SERVER_STATE_BYTES } from '../block-device.ts';
import type { LunDescription } from '../lun/lun-table.ts';
import type { EpochEntry } from './epoch-table.ts';

/** What a member keeps beside its log. Always written whole, before what depends on it. */
export interface GroupMeta {
  /** The highest epoch this member has answered under; lower ones are rejected for ever. */
  readonly epoch: number;
  /** The lease last granted, in ms: after a restart it has to be waited out as if just granted. */
  readonly leaseMs: number;
  /** Where the log begins to count: records from here on, over `luns`, give the present content. */
  readonly baseIndex: number;
  readonly luns: readonly LunDescription[];
  /**
   * Records below had taken effect when `luns` was written down: resets and drops among them are part of it. A log
   * that ends before has lost some of these records, and others in their places would be taken for older than the list.
   */
  readonly lunsIndex: number;
  readonly epochs: readonly EpochEntry[];
  /** The log is being replaced: on finding this at start, it has to be emptied again. */
  readonly resetting: boolean;
}

/** Keeps one small text per group; `save` resolves once it is on stable storage. */
export interface MetaStore {
  load(groupId: string): Promise<Uint8Array | undefined>;
  save(groupId: string, bytes: Uint8Array): Promise<void>;
}

const VERSION = 1;

/** JSON after one line with its version and CRC32C. */
export function encodeGroupMeta(meta: GroupMeta): Uint8Array {
  const body = Buffer.from(JSON.stringify(meta), 'utf8');
  const head = `${VERSION} ${crc32c(body).toString(16).padStart(8, '0')}\n`;
  return Buffer.concat([Buffer.from(head, 'latin1'), body]);
}

/** @throws ProtocolError code "bad-meta" when it is damaged or of another version */
export function decodeGroupMeta(bytes: Uint8Array): GroupMeta {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const lineEnd = text.indexOf(10);
  const head = /^(\d+) ([0-9a-f]{8})$/.exec(text.subarray(0, Math.max(0, lineEnd)).toString('latin1'));
  const body = text.subarray(lineEnd + 1);
  if (
    head === null ||
    Number(head[1]) !== VERSION ||
    Number.parseInt(head[2] as string, 16) !== crc32c(body)
  ) {
    throw new ProtocolError('the description of a portal group on disk is damaged or of another version', {
      code: 'bad-meta',
      got: head?.[0],
      limit: `version ${VERSION} and a matching CRC32C`,
    });
  }
  const meta = JSON.parse(body.toString('utf8')) as GroupMeta;
  return { ...meta, lunsIndex: meta.lunsIndex ?? leastLunsIndex(meta.luns, meta.baseIndex) };
}

/** For a list of a version that did not say. */
function leastLunsIndex(luns: readonly LunDescription[], baseIndex: number): number {
  return luns.reduce((index, { generation }) => Math.max(index, generation + 1), baseIndex);
}

/** What a member that starts over is given. */
export type LunList = Pick<GroupMeta, 'luns' | 'lunsIndex'>;

export function encodeLuns({ luns, lunsIndex }: LunList): Uint8Array {
  return Buffer.from(JSON.stringify({ lunsIndex, luns }), 'utf8');
}

/** @throws ProtocolError code "bad-frame" */
export function decodeLuns(bytes: Uint8Array): LunList {
  try {
    const given: unknown = JSON.parse(Buffer.from(bytes).toString('utf8'));
    const list = given as Partial<LunList> | null;
    const luns = Array.isArray(given) ? given : list?.luns;
    const lunsIndex = Array.isArray(given) ? undefined : list?.lunsIndex;
    if (Array.isArray(luns) && (lunsIndex === undefined || Number.isSafeInteger(lunsIndex))) {
      const checked = luns.map(checkLun);
      return { luns: checked, lunsIndex: lunsIndex ?? leastLunsIndex(checked, 0) };
    }
  } catch (error) {
    if (error instanceof ProtocolError) throw error;
  }
  throw new ProtocolError('the list of LUNs is not JSON', { code: 'bad-frame' });
}

function checkLun(value: unknown): LunDescription {
  const lun = value as Partial<LunDescription> | null;
  const fits =
    Number.isSafeInteger(lun?.lunId) &&
    Number.isSafeInteger(lun?.generation) &&
    Number.isSafeInteger(lun?.lengthBlocks) &&
    Number.isSafeInteger(lun?.base?.version) &&
    typeof lun?.base?.name === 'string' &&
    (lun.serverState === undefined || isServerState(lun.serverState));
  if (!fits)
    throw new ProtocolError('the list of LUNs has a malformed entry', { code: 'bad-frame', got: value });
  return lun as LunDescription;
}

function isServerState(value: unknown): boolean {
  return typeof value === 'string' && Buffer.byteLength(value, 'base64') <= MAX_SERVER_STATE_BYTES;
}
