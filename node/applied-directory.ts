import { join } from 'node:path';
import { describeError, OperationError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { AppliedDamageError, AppliedStore } from '../cluster/applied-store.ts';
import { nodeFileSystem } from '../storage/log/file-system.ts';

const STATE = 'state';
const DAMAGED = /^state\.damaged-(\d+)$/;

/**
 * Opens the applied state of a node. A damaged one is put aside to be looked into, and an empty one takes its place:
 * it is a view of the log, which says whether it can be made again from there or has to come from others.
 * @throws OperationError code "node-running", or those of AppliedStore.load
 */
export async function openAppliedStore(
  dataDirectory: string,
  owner: { readonly clusterId: string; readonly nodeId: string },
  logger: Logger,
): Promise<AppliedStore> {
  const path = join(dataDirectory, STATE);
  await nodeFileSystem.makeDirectory(path);
  try {
    return await openWhole(path, owner);
  } catch (error) {
    if (codeOf(error) === 'LEVEL_LOCKED') throw inUse(path);
    if (!isDamage(error)) throw error;
    const numbers = (await nodeFileSystem.list(dataDirectory)).map((name) =>
      Number(DAMAGED.exec(name)?.[1] ?? 0),
    );
    const aside = join(dataDirectory, `state.damaged-${Math.max(0, ...numbers) + 1}`);
    logger.error('cluster.applied.set-aside', { as: aside, reason: describeError(error) });
    await nodeFileSystem.rename(path, aside);
    await nodeFileSystem.makeDirectory(path);
    await nodeFileSystem.syncDirectory(dataDirectory);
    return await AppliedStore.open(path, owner);
  }
}

async function openWhole(
  path: string,
  owner: { readonly clusterId: string; readonly nodeId: string },
): Promise<AppliedStore> {
  const store = await AppliedStore.open(path, owner);
  try {
    await store.load();
    return store;
  } catch (error) {
    await store.close();
    throw error;
  }
}

function isDamage(error: unknown): boolean {
  return error instanceof AppliedDamageError || codeOf(error) === 'LEVEL_CORRUPTION';
}

/** Level wraps what its engine says. */
function codeOf(error: unknown): string | undefined {
  const { code, cause } = error as { readonly code?: string; readonly cause?: { readonly code?: string } };
  return cause?.code ?? code;
}

function inUse(path: string): OperationError {
  return new OperationError(`${path} is in use: another process runs this node`, {
    kind: 'conflict',
    code: 'node-running',
    got: path,
    accepted: 'one process for each node directory',
  });
}
