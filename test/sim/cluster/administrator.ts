import { crc32c } from '../../../base/crc32c.ts';
import type { JoinedMembers } from '../../../cluster/cluster-node-options.ts';
import type { Command, CommandResult } from '../../../cluster/state/commands.ts';
import type { ClusterState } from '../../../cluster/state/model.ts';
import { obstaclesToRemoval } from '../../../cluster/state/removal.ts';
import type { World } from '../world.ts';
import { endpointsOf } from './endpoints.ts';
import type { Host } from './host.ts';

const MIN_MEMBERS = 3;
const MAX_MEMBERS = 5;
const TOKEN_MS = 3_600_000;
/** A removal that is refused for so long is given up. */
const PATIENCE_MS = 8_000;
const HASTY_PATIENCE_MS = 1_500;
/** How often the stand-in for replication looks for replicas that could join. */
const CATCH_UP_MS = 80;
const RETRY_MS = 150;
/** What has not been answered by then is asked of another node; all that is asked may be asked twice. */
const ANSWER_MS = 700;

export interface AdministratorContext {
  readonly world: World;
  /** Members change all the time. */
  readonly isRestless: boolean;
  readonly counters: { add(name: string, by?: number): void };
  readonly hosts: () => readonly Host[];
  /** Makes a server that will join; it is started once it has been let in. */
  readonly addHost: (nodeId: string, joined: JoinedMembers) => void;
  readonly note: (where: string, what: string, fact: number, text?: () => string) => void;
}

/**
 * Whoever adds and removes nodes while all else goes wrong. Besides, it stands in for replication and for the copying
 * of images: replicas that are up catch up, so that nodes can be drained.
 */
export class Administrator {
  readonly #context: AdministratorContext;
  #nextNode: number;
  isOver = false;

  constructor(context: AdministratorContext, firstNodes: number) {
    this.#context = context;
    this.#nextNode = firstNodes + 1;
  }

  start(): void {
    this.#later(this.#context.world.between(300, 3_000), () => this.#changeMembers());
    this.#keepCatchingUp();
  }

  #later(delayMs: number, run: () => void): void {
    this.#context.world.after(delayMs, run);
  }

  #someHost(): Host | undefined {
    const up = this.#context.hosts().filter((h) => h.isUp && h.node !== undefined);
    return up[this.#context.world.random.below(Math.max(1, up.length))];
  }

  /** The newest state that any running node has; it may be old. */
  newestState(): ClusterState | undefined {
    let best: { readonly position: number; readonly state: ClusterState } | undefined;
    for (const { isUp, node } of this.#context.hosts()) {
      if (!isUp || node === undefined) continue;
      const position = node.status().appliedIndex;
      if (position > (best?.position ?? -1)) best = { position, state: node.state() };
    }
    return best?.state;
  }

  /** Proposes through whichever node is there, until an answer comes; undefined: it is too late. */
  async #insist(command: Command, untilMs: number): Promise<CommandResult | undefined> {
    const { world } = this.#context;
    while (!this.isOver && world.nowMs < untilMs) {
      const host = this.#someHost();
      if (host !== undefined) {
        const result = await this.#propose(host, command);
        if (result !== undefined) return result;
      }
      await new Promise<void>((resolve) => this.#later(RETRY_MS, resolve));
    }
    return undefined;
  }

  #propose(host: Host, command: Command): Promise<CommandResult | undefined> {
    return new Promise((resolve) => {
      const { process } = host;
      process.onKill(() => resolve(undefined));
      this.#later(ANSWER_MS, () => resolve(undefined));
      process.enter(() => {
        const proposed = host.node?.propose(command);
        if (proposed === undefined) resolve(undefined);
        else proposed.then(resolve, () => resolve(undefined));
      });
    });
  }

  #changeMembers(): void {
    if (this.isOver) return;
    const state = this.newestState();
    const count = Object.keys(state?.nodes ?? {}).length;
    const { world, isRestless } = this.#context;
    const doing: Promise<void>[] = [];
    const isSmall = count <= MIN_MEMBERS;
    const isReplacing = !isSmall && world.chance(40);
    if (count > 0 && (isReplacing || (count < MAX_MEMBERS && (isSmall || world.chance(50))))) {
      doing.push(this.#grow());
      // Several at once become voters by joint consensus.
      if (count + 2 <= MAX_MEMBERS && world.chance(70)) doing.push(this.#grow());
    }
    if (state !== undefined && !isSmall && (isReplacing || doing.length === 0)) {
      doing.push(this.#shrink(state));
      if (!isReplacing && count - 2 >= MIN_MEMBERS && world.chance(60)) doing.push(this.#shrink(state));
    }
    const again = (): void =>
      this.#later(world.between(100, isRestless ? 500 : 3_000), () => this.#changeMembers());
    void Promise.all(doing).then(again);
  }

  async #grow(): Promise<void> {
    const { world, counters, addHost, note } = this.#context;
    const nodeId = `n${this.#nextNode++}`;
    note(nodeId, 'add-node', 0);
    const secretSha256 = crc32c(Buffer.from(nodeId)).toString(16).padStart(64, '0');
    const atMs = Math.floor(world.nowMs);
    const untilMs = atMs + PATIENCE_MS;
    const token = { id: nodeId, secretSha256, atMs, expiresAtMs: atMs + TOKEN_MS, by: 'simulation' };
    await this.#insist({ type: 'createJoinToken', ...token }, untilMs);
    const endpoints = endpointsOf(nodeId);
    const keySha256 = secretSha256;
    const command: Command = { type: 'addNode', nodeId, endpoints, secretSha256, keySha256, atMs };
    const result = await this.#insist(command, untilMs);
    // An answer that was lost may have been that it is in.
    if (result?.ok !== true && this.newestState()?.nodes[nodeId] === undefined) return;
    // Whoever lets it in knows of it, and so who the others are.
    let state = this.newestState();
    while (state?.nodes[nodeId] === undefined) {
      if (this.isOver || world.nowMs >= untilMs) return;
      await new Promise<void>((resolve) => this.#later(RETRY_MS, resolve));
      state = this.newestState();
    }
    counters.add('members.added');
    addHost(nodeId, { raftId: state.nodes[nodeId].raftId, members: Object.values(state.nodes) });
  }

  async #shrink(state: ClusterState): Promise<void> {
    const { world, counters, note, isRestless } = this.#context;
    const ids = Object.keys(state.nodes).sort();
    const easy = ids.filter((id) => obstaclesToRemoval(state, id).length === 0);
    // Whatever nothing depends on is gone at once, so that the cluster changes while it has other troubles.
    const among = easy.length > 0 && (isRestless || world.chance(70)) ? easy : ids;
    const nodeId = among[world.random.below(among.length)] as string;
    note(nodeId, 'remove-node', 0);
    const untilMs = world.nowMs + (isRestless ? HASTY_PATIENCE_MS : PATIENCE_MS);
    const [atMs, by] = [Math.floor(world.nowMs), 'simulation'];
    await this.#insist({ type: 'drainNode', nodeId, atMs, by }, untilMs);
    while (!this.isOver && world.nowMs < untilMs) {
      const result = await this.#insist({ type: 'removeNode', nodeId, atMs, by }, untilMs);
      if (result?.ok === true) {
        counters.add('members.removed');
        return;
      }
      await new Promise<void>((resolve) => this.#later(RETRY_MS, resolve));
    }
    counters.add('members.removal-given-up');
    await this.#insist({ type: 'undrainNode', nodeId, atMs, by }, world.nowMs + PATIENCE_MS);
  }

  /** Also when all else is over: what is missing is copied in the end. */
  #keepCatchingUp(): void {
    const state = this.newestState();
    const host = this.#someHost();
    const command = state === undefined ? undefined : nextCatchUp(state);
    if (host !== undefined && command !== undefined) void this.#propose(host, command);
    this.#later(CATCH_UP_MS, () => this.#keepCatchingUp());
  }
}

/** A replica that is up and not in sync joins; a node without the image gets it. */
function nextCatchUp(state: ClusterState): Command | undefined {
  for (const { id, epoch, primary, replicas, inSync } of Object.values(state.portalGroups)) {
    if (primary === undefined || state.nodes[primary]?.status !== 'up') continue;
    const add = replicas.find((r) => state.nodes[r]?.status === 'up' && !inSync.some((m) => m.nodeId === r));
    const incarnation = add === undefined ? undefined : state.nodes[add]?.incarnation;
    if (add === undefined || incarnation === undefined) continue;
    return { type: 'expandInSync', group: id, epoch, primary, add, incarnation };
  }
  for (const { name, versions } of Object.values(state.images)) {
    for (const { version, holders } of versions) {
      const holder = Object.keys(state.nodes).find((n) => !holders.includes(n));
      if (holder !== undefined) return { type: 'imageHeld', image: name, version, holder };
    }
  }
  return undefined;
}
