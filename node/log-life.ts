import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describeError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { RandomSource } from '../base/random.ts';
import { type FileSystem, isMissing } from '../storage/log/file-system.ts';
import { replaceFile } from '../storage/log/whole-file.ts';

/** In the directory of the log, and in that of the node's settings. */
const LIFE = 'life';
const EXPECTED = 'raft.life';
const LIFE_BYTES = 8;
/** Stands for a log without a life. */
const NONE = '-';
/** Why settings may not be written to, which keeps no node from starting. */
const NOT_WRITABLE = new Set(['EROFS', 'EACCES', 'EPERM', 'ENOSPC', 'EDQUOT']);

export interface LogLifeOptions {
  /** Of the node's settings; with its data on another disk, that may be exchanged without this. */
  readonly settingsDirectory: string;
  readonly fileSystem: FileSystem;
  readonly random: RandomSource;
  readonly logger: Logger;
}

/**
 * Which log of the cluster this node took part with last: each start begins another life of it, a random number that stands
 * in the log's directory and beside the node's settings. An empty log in its place, that of a disk that is not mounted, or an
 * older one has promised to others what it knows nothing of (docs/adr/0027).
 */
export class LogLife {
  readonly #options: LogLifeOptions;

  constructor(options: LogLifeOptions) {
    this.#options = options;
  }

  /** @returns why the log in that directory is not the one; undefined: it is, or nobody can say */
  async refusal(logDirectory: string): Promise<string | undefined> {
    const expected = await this.#expected();
    if (expected.length === 0) return undefined;
    const life = await this.#lifeOf(logDirectory);
    if (expected.includes(life)) return undefined;
    return life === NONE
      ? 'the log that this node took part with is not there; is its disk mounted?'
      : 'it is not the log as this node took part with it last, but an older one, as from a backup or a snapshot';
  }

  /**
   * To be called once the log's beginning is durable, and before anybody is promised anything. A crash on the way leaves a log
   * that is still known.
   */
  async renew(logDirectory: string): Promise<void> {
    const { fileSystem, random, logger } = this.#options;
    const life = Buffer.from(random.bytes(LIFE_BYTES)).toString('hex');
    try {
      await this.#expect([await this.#lifeOf(logDirectory), life]);
      await replaceFile(fileSystem, logDirectory, LIFE, Buffer.from(`${life}\n`));
      await this.#expect([life]);
    } catch (error) {
      if (!NOT_WRITABLE.has((error as NodeJS.ErrnoException).code ?? '')) throw error;
      logger.warn('cluster.log.life-not-written', { error: describeError(error) });
    }
  }

  #expect(lives: readonly string[]): Promise<void> {
    const { fileSystem, settingsDirectory } = this.#options;
    return replaceFile(fileSystem, settingsDirectory, EXPECTED, Buffer.from(`${lives.join('\n')}\n`));
  }

  async #expected(): Promise<readonly string[]> {
    return await linesOf(join(this.#options.settingsDirectory, EXPECTED));
  }

  async #lifeOf(logDirectory: string): Promise<string> {
    return (await linesOf(join(logDirectory, LIFE)))[0] ?? NONE;
  }
}

async function linesOf(path: string): Promise<readonly string[]> {
  try {
    return (await readFile(path, 'utf8')).split('\n').filter((line) => line !== '');
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}
