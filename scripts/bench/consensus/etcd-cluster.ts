import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { EtcdConnection } from './etcd-connection.ts';
import type { EtcdStatus } from './etcd-wire.ts';
import { freePorts, Processes, untilTrue } from './processes.ts';
import {
  type KeyValueConnection,
  NODE_COUNT,
  type SyncCounts,
  type SystemUnderTest,
} from './system-under-test.ts';

const HOST = '127.0.0.1';

export interface EtcdTimeouts {
  readonly heartbeatMs: number;
  readonly electionMs: number;
}

/** Three processes of Debian's etcd, without TLS, with pre-vote. */
export class EtcdCluster implements SystemUnderTest {
  readonly name = 'etcd';
  readonly #directory: string;
  readonly #timeouts: EtcdTimeouts;
  readonly #processes: Processes;
  #clientPorts: readonly number[] = [];
  #peerPorts: readonly number[] = [];
  #controls: EtcdConnection[] = [];

  constructor(directory: string, timeouts: EtcdTimeouts) {
    this.#directory = directory;
    this.#timeouts = timeouts;
    this.#processes = new Processes((node) => join(directory, `etcd${node}.log`));
  }

  get pids(): readonly number[] {
    return this.#processes.pids;
  }

  async start(): Promise<void> {
    mkdirSync(this.#directory, { recursive: true });
    const ports = await freePorts(2 * NODE_COUNT);
    this.#clientPorts = ports.slice(0, NODE_COUNT);
    this.#peerPorts = ports.slice(NODE_COUNT);
    this.#controls = this.#clientPorts.map((port) => new EtcdConnection(`${HOST}:${port}`, 1000));
    for (let node = 0; node < NODE_COUNT; node++) this.#launch(node);
    await this.whole();
  }

  async stop(): Promise<void> {
    for (const control of this.#controls) control.close();
    await this.#processes.stop();
  }

  async leader(): Promise<number> {
    const statuses = await this.#statuses();
    const leader = statuses.findIndex((s) => s !== undefined && s.leader !== 0n && s.memberId === s.leader);
    if (leader === -1) throw new Error('nobody leads');
    return leader;
  }

  connect(node: number): Promise<KeyValueConnection> {
    return Promise.resolve(new EtcdConnection(`${HOST}:${this.#clientPorts[node]}`));
  }

  /** From each process's own metrics. */
  async syncs(): Promise<SyncCounts> {
    const counts = await Promise.all(
      this.#clientPorts.map(async (port) => {
        const text = await (await fetch(`http://${HOST}:${port}/metrics`)).text();
        return Number(/^etcd_disk_wal_fsync_duration_seconds_count (\S+)$/m.exec(text)?.[1] ?? Number.NaN);
      }),
    );
    return { log: counts.reduce((sum, count) => sum + count, 0) };
  }

  kill(node: number): Promise<void> {
    return this.#processes.kill(node);
  }

  restart(node: number): Promise<void> {
    this.#launch(node);
    return Promise.resolve();
  }

  async whole(): Promise<void> {
    await untilTrue('three etcd processes agree on a leader', async () => {
      this.#processes.check();
      const statuses = await this.#statuses();
      const leaders = new Set(statuses.map((status) => status?.leader));
      const applied = new Set(statuses.map((status) => status?.raftAppliedIndex));
      return leaders.size === 1 && !leaders.has(undefined) && !leaders.has(0n) && applied.size === 1;
    });
  }

  async #statuses(): Promise<(EtcdStatus | undefined)[]> {
    return await Promise.all(this.#controls.map((control) => control.status().catch(() => undefined)));
  }

  #launch(node: number): void {
    const client = `http://${HOST}:${this.#clientPorts[node]}`;
    const peer = `http://${HOST}:${this.#peerPorts[node]}`;
    const cluster = this.#peerPorts.map((port, i) => `etcd${i}=http://${HOST}:${port}`).join(',');
    this.#processes.start(node, 'etcd', [
      ...['--name', `etcd${node}`, '--data-dir', join(this.#directory, `etcd${node}`)],
      ...['--listen-client-urls', client, '--advertise-client-urls', client],
      ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer],
      ...['--initial-cluster', cluster, '--initial-cluster-token', 'bench'],
      ...['--heartbeat-interval', String(this.#timeouts.heartbeatMs)],
      ...['--election-timeout', String(this.#timeouts.electionMs)],
      ...['--pre-vote', '--logger', 'zap', '--log-level', 'error', '--log-outputs', 'stderr'],
    ]);
  }
}
