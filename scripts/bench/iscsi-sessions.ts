import { randomFillSync } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { connectInitiator, type Initiator } from '../simulator/iscsi-initiator.ts';
import { type RunningServer, startServer } from './iscsi/servers.ts';

const HELP = `usage: npm run bench:iscsi-sessions -- [OPTION ...]

How much memory the target takes for many logged-in sessions: "serve-lun" with one disk, so many sessions of one
initiator each: idle, then all reading and writing 4 KiB at once, then 64 KiB at once. Prints its resident size (VmRSS), and at its
greatest (VmHWM), beyond the cache it was given.

  --sessions N   default 1000
  --cache MIB    image cache; default 64
  --json         print a JSON document
  --help         this text
`;

const PORT = 13_860;
const FILE_MIB = 64;
const MIB = 1024 * 1024;
const SMALL_BLOCKS = 8;
const LARGE_BLOCKS = 128;
const BLOCK_BYTES = 512;
const ROUNDS = 5;
const LOGINS_AT_ONCE = 16;

interface Sizes {
  readonly residentMib: number;
  readonly greatestMib: number;
}

function sizesOf(server: RunningServer): Sizes {
  const status = readFileSync(`/proc/${server.processId}/status`, 'latin1');
  const mib = (name: string): number =>
    Math.round(Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(status)?.[1]) / 1024);
  return { residentMib: mib('VmRSS'), greatestMib: mib('VmHWM') };
}

async function logIn(server: RunningServer, count: number): Promise<Initiator[]> {
  const { port, pathname } = new URL((server.urls[0] as string).replace('iscsi:', 'http:'));
  const targetName = decodeURIComponent(pathname).split('/')[1] as string;
  const sessions: Initiator[] = [];
  while (sessions.length < count) {
    const batch = Array.from({ length: Math.min(LOGINS_AT_ONCE, count - sessions.length) }, (_, i) =>
      connectInitiator({
        host: '127.0.0.1',
        port: Number(port),
        targetName,
        initiatorName: `iqn.2026-11.net.example:client-${sessions.length + i}`,
      }),
    );
    sessions.push(...(await Promise.all(batch)));
  }
  return sessions;
}

/** Every session reads and writes so much of its own place, all of them at once. */
async function work(sessions: readonly Initiator[], blocks: number): Promise<void> {
  const data = Buffer.alloc(blocks * BLOCK_BYTES, 's');
  for (let round = 0; round < ROUNDS; round++) {
    await Promise.all(
      sessions.flatMap((session, i) => {
        const lba = (i * blocks) % (session.capacity.blocks - blocks);
        return [session.read(lba, blocks), session.write(lba, data)];
      }),
    );
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      sessions: { type: 'string', default: '1000' },
      cache: { type: 'string', default: '64' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return;
  }
  const cacheMib = Number(values.cache);
  const directory = mkdtempSync(join(tmpdir(), 'bootfabric-bench-'));
  const file = join(directory, 'disk.raw');
  writeFileSync(file, randomFillSync(Buffer.alloc(FILE_MIB * MIB)));
  let server: RunningServer | undefined;
  try {
    const options = { files: [file], directory, port: PORT, core: undefined, workers: 1, cacheMib };
    server = await startServer('ours', options);
    const atStart = sizesOf(server);
    const sessions = await logIn(server, Number(values.sessions));
    const loggedIn = sizesOf(server);
    await work(sessions, SMALL_BLOCKS);
    const small = sizesOf(server);
    await work(sessions, LARGE_BLOCKS);
    const large = sizesOf(server);
    for (const session of sessions) session.destroy();
    const result = { sessions: sessions.length, cacheMib, atStart, loggedIn, small, large };
    process.stdout.write(values.json ? `${JSON.stringify(result)}\n` : textOf(result));
  } finally {
    await server?.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

interface Result {
  readonly sessions: number;
  readonly cacheMib: number;
  readonly atStart: Sizes;
  readonly loggedIn: Sizes;
  readonly small: Sizes;
  readonly large: Sizes;
}

function textOf({ sessions, cacheMib, atStart, loggedIn, small, large }: Result): string {
  const line = (what: string, { residentMib, greatestMib }: Sizes): string =>
    `  ${what.padEnd(28)} ${residentMib}, at its greatest ${greatestMib}\n`;
  return [
    `resident, MiB (image cache of ${cacheMib} MiB included)\n`,
    line('started', atStart),
    line(`${sessions} sessions, idle`, loggedIn),
    line('after 4 KiB each way at once', small),
    line('after 64 KiB each way at once', large),
  ].join('');
}

try {
  await main();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
