import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { dirname } from 'node:path';
import { expect } from 'vitest';
import { Framer } from '../../../node/iscsi/framer.ts';
import { LOGIN_DATA_SEGMENT_BYTES } from '../../../node/iscsi/limits.ts';
import { opcode } from '../../../node/iscsi/opcode.ts';
import { loginRequest, loginResponse } from '../../../node/iscsi/pdu.ts';
import { decodeTextKeys } from '../../../node/iscsi/text-keys.ts';

/** A login in words: who said what, in which stage, with which flags and keys. */

/** What is another one in each login. */
const VOLATILE: ReadonlySet<string> = new Set(['CHAP_I', 'CHAP_C', 'CHAP_R', 'TargetAddress']);

/** Bytes of one connection, each piece with the side that sent it. */
export interface Piece {
  readonly from: 'initiator' | 'target';
  readonly bytes: Uint8Array;
}

/** Decodes the login of one connection, up to full feature phase or its refusal. */
export function loginTranscript(pieces: readonly Piece[]): string {
  const framers = {
    initiator: new Framer(LOGIN_DATA_SEGMENT_BYTES),
    target: new Framer(LOGIN_DATA_SEGMENT_BYTES),
  };
  const lines: string[] = [];
  for (const { from, bytes } of pieces) {
    framers[from].push(bytes);
    for (let frame = framers[from].next(); frame !== undefined; frame = framers[from].next()) {
      const code = (frame.header[frame.at] as number) & 0x3f;
      if (code !== (from === 'initiator' ? opcode.loginRequest : opcode.loginResponse)) return lines.join('');
      lines.push(
        from === 'initiator'
          ? describeRequest(frame.header, frame.at)
          : describeResponse(frame.header, frame.at),
      );
      for (const { key, value } of decodeTextKeys(Buffer.concat(frame.data))) {
        lines.push(`    ${key}=${VOLATILE.has(key) ? '*' : value}\n`);
      }
      if (from === 'target' && isLast(loginResponse.decode(frame.header, frame.at))) return lines.join('');
    }
  }
  return lines.join('');
}

function describeRequest(header: Uint8Array, at: number): string {
  const { currentStage, nextStage, transit, continues, versionMax, versionMin, tsih } = loginRequest.decode(
    header,
    at,
  );
  const flags = `${transit ? 'T' : '-'}${continues ? 'C' : '-'}`;
  const stages = `CSG=${currentStage} NSG=${transit ? nextStage : '-'}`;
  return `initiator ${flags} ${stages} version ${versionMin}-${versionMax} TSIH ${tsih === 0 ? '0' : '*'}\n`;
}

function describeResponse(header: Uint8Array, at: number): string {
  const { currentStage, nextStage, transit, continues, statusClass, statusDetail, tsih } =
    loginResponse.decode(header, at);
  const flags = `${transit ? 'T' : '-'}${continues ? 'C' : '-'}`;
  const stages = `CSG=${currentStage} NSG=${transit ? nextStage : '-'}`;
  const status = `${statusClass}.${statusDetail}`;
  return `target    ${flags} ${stages} status ${status} TSIH ${tsih === 0 ? '0' : '*'}\n`;
}

function isLast({ statusClass, transit, nextStage }: ReturnType<typeof loginResponse.decode>): boolean {
  return statusClass !== 0 || (transit && nextStage === 3);
}

/**
 * Compares a transcript with the one kept in a file. With UPDATE_GOLDENS=1 in the environment it is written anew, to
 * be looked at before it is kept.
 */
export function expectGolden(file: string, transcript: string): void {
  if (process.env['UPDATE_GOLDENS'] === '1') {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, transcript);
  }
  expect(existsSync(file), `${file} is missing; the login was\n${transcript}`).toBe(true);
  expect(transcript).toBe(readFileSync(file, 'utf8'));
}

/** A TCP relay before a target that remembers what each connection began with. */
export class LoginTap {
  readonly connections: Piece[][] = [];
  readonly #server: Server;
  #port = 0;

  constructor(target: { readonly host: string; readonly port: number }) {
    this.#server = createServer((initiator) => {
      const pieces: Piece[] = [];
      this.connections.push(pieces);
      const onward = connect({ host: target.host, port: target.port, noDelay: true });
      const relay = (from: Piece['from']) => (bytes: Uint8Array) => {
        if (pieces.length < MAX_PIECES) pieces.push({ from, bytes });
      };
      initiator.on('data', relay('initiator')).on('error', () => onward.destroy());
      onward.on('data', relay('target')).on('error', () => initiator.destroy());
      initiator.pipe(onward).pipe(initiator);
    });
  }

  listen(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.listen({ host: '127.0.0.1', port: 0 }, () => {
        const address = this.#server.address();
        this.#port = typeof address === 'object' && address !== null ? address.port : 0;
        resolve();
      });
    });
  }

  get port(): number {
    return this.#port;
  }

  close(): Promise<void> {
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }
}

/** More than any login takes. */
const MAX_PIECES = 64;
