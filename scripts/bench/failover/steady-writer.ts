import { connect } from 'node:net';
import { monotonicMs } from '../../chaos/stamped-disk.ts';
import { connectInitiator, type Initiator } from '../../simulator/iscsi-initiator.ts';
import { ConnectionLostError, LoginRefusedError, openWire, Wire } from '../../simulator/iscsi-wire.ts';

/**
 * How an initiator connects again. eager: with another attempt every 50 ms beside those under way. plain: with one at a
 * time, which TCP makes again after a second when its SYN is lost.
 */
export type Manner = 'eager' | 'plain';

export interface WriterDisk {
  readonly host: string;
  readonly port: number;
  readonly targetName: string;
  readonly initiatorName: string;
}

/** A time without acknowledgement, by the clock that all processes of this machine share. */
export interface Gap {
  readonly kind: 'gap';
  readonly manner: Manner;
  /** The last acknowledgement before it, and the first after. */
  readonly fromMs: number;
  readonly toMs: number;
  /** Of the session that goes on afterwards; absent: it is the one from before. */
  readonly session?: { readonly lostMs: number; readonly connectedMs: number; readonly loggedInMs: number };
}

const ATTEMPT_EVERY_MS = 50;
/** Refused, or not let in yet: asked again after this. */
const RETRY_MS = 10;
const CONNECT_TIMEOUT_MS = 10_000;
const SHORTEST_GAP_MS = 15;
const BLOCK_BYTES = 4096;
const BLOCKS = 4096;
const SECTORS_PER_BLOCK = 8;

/** One initiator that always has one write under way, and logs in again at once when its connection is lost. */
export class SteadyWriter {
  readonly #disk: WriterDisk;
  readonly #manner: Manner;
  readonly #tell: (gap: Gap) => void;
  acknowledged = 0;

  constructor(disk: WriterDisk, manner: Manner, tell: (gap: Gap) => void) {
    this.#disk = disk;
    this.#manner = manner;
    this.#tell = tell;
  }

  /** Never returns. @throws Error when a write fails otherwise than by its connection */
  async run(): Promise<never> {
    const data = Buffer.alloc(BLOCK_BYTES);
    let ackedMs = monotonicMs();
    let initiator = await this.#connected(() => {});
    let session: Gap['session'];
    for (let write = 0; ; ) {
      try {
        data.writeUInt32BE(write, 0);
        await initiator.write((write % BLOCKS) * SECTORS_PER_BLOCK, data);
      } catch (error) {
        if (!(error instanceof ConnectionLostError)) throw error;
        const lostMs = monotonicMs();
        let connectedMs = lostMs;
        initiator = await this.#connected(() => {
          connectedMs = monotonicMs();
        });
        session = { lostMs, connectedMs, loggedInMs: monotonicMs() };
        continue;
      }
      const nowMs = monotonicMs();
      if (session !== undefined || nowMs - ackedMs >= SHORTEST_GAP_MS) {
        const more = session === undefined ? {} : { session };
        this.#tell({ kind: 'gap', manner: this.#manner, fromMs: ackedMs, toMs: nowMs, ...more });
      }
      session = undefined;
      ackedMs = nowMs;
      this.acknowledged++;
      write++;
    }
  }

  async #connected(onConnect: () => void): Promise<Initiator> {
    const open = this.#manner === 'eager' ? raceForWire : openWire;
    for (;;) {
      try {
        return await connectInitiator({
          ...this.#disk,
          timeoutMs: CONNECT_TIMEOUT_MS,
          openWire: async (host, port, timeoutMs) => {
            const wire = await open(host, port, timeoutMs);
            onConnect();
            return wire;
          },
        });
      } catch (error) {
        const isForGood = error instanceof LoginRefusedError && error.status >>> 8 !== 3;
        if (isForGood || !(error instanceof LoginRefusedError || error instanceof ConnectionLostError))
          throw error;
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
  }
}

/** The first of several attempts that is answered, a new one of which begins every so often. */
function raceForWire(host: string, port: number, timeoutMs = CONNECT_TIMEOUT_MS): Promise<Wire> {
  return new Promise((resolve, reject) => {
    const attempts = new Set<ReturnType<typeof connect>>();
    const end = (): void => {
      clearInterval(again);
      clearTimeout(deadline);
      for (const socket of attempts) socket.destroy();
    };
    const attempt = (): void => {
      const socket = connect({ host, port, noDelay: true });
      attempts.add(socket);
      socket.once('error', () => {
        attempts.delete(socket);
      });
      socket.once('connect', () => {
        attempts.delete(socket);
        end();
        resolve(new Wire(socket));
      });
    };
    const again = setInterval(attempt, ATTEMPT_EVERY_MS);
    const deadline = setTimeout(() => {
      end();
      reject(new ConnectionLostError(`no connection to ${host}:${port} within ${timeoutMs} ms`));
    }, timeoutMs);
    attempt();
  });
}
