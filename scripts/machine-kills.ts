import { parseArgs } from 'node:util';
import { describeError } from '../base/errors.ts';
import { FULL_DHCP, startBootLab } from './lab/boot-lab.ts';
import { KILLS_NEEDS, killUnderMachine } from './lab/kills-under-way.ts';
import { Machine } from './lab/machine.ts';
import { missingRequirements } from './lab/requirements.ts';

const HELP = `usage: npm run chaos:machine -- [OPTION ...]

Boots a real machine without a disk (QEMU) from three nodes in network namespaces. It runs ext4 on its LUN and writes to
it with fio and block by block, each flushed, while the node that serves it is killed with SIGKILL, again and again, each
time when the last one killed has come back and is in sync. At the end: the boot id and the uptime, every block
acknowledged, fio's own verification, and e2fsck of the file system, read from outside through the LUN.

  --kills N        how many (1 to 1000, default 20)
  --firmware NAME  bios or uefi (default bios)
  --json           print the result as JSON
  --help           this text

Ends with 0 when the machine went on and nothing is missing or wrong, else with 1.`;

const MAC = '52:54:00:77:00:20';
const BOOT_TIMEOUT_MS = 600_000;

async function main(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      kills: { type: 'string', default: '20' },
      firmware: { type: 'string', default: 'bios' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  const kills = Number(values.kills);
  if (!Number.isInteger(kills) || kills < 1 || kills > 1000) {
    throw new Error(`--kills ${values.kills}: a whole number from 1 to 1000 is accepted`);
  }
  const { firmware } = values;
  if (firmware !== 'bios' && firmware !== 'uefi') {
    throw new Error(`--firmware ${firmware}: bios or uefi is accepted`);
  }
  const missing = missingRequirements(KILLS_NEEDS);
  if (missing.length > 0) throw new Error(`this host lacks ${missing.join(', ')}; ${KILLS_NEEDS.enableWith}`);
  const say = (line: string): void => void process.stderr.write(`${line}\n`);
  const boot = await startBootLab(FULL_DHCP);
  const remove = (): void => {
    void boot.remove().finally(() => process.exit(130));
  };
  process.once('SIGINT', remove);
  process.once('SIGTERM', remove);
  try {
    const client = await boot.cluster.addClient('machine', MAC, boot.image);
    const machine = new Machine(boot.lab, { mac: MAC, firmware, folder: boot.folder });
    const ready = await machine.ready(BOOT_TIMEOUT_MS);
    say(`the machine runs, ${(ready.sinceStartMs / 1000).toFixed(1)} s after power-on`);
    const figures = await killUnderMachine(boot, { client, machine, ready, kills, say });
    const sorted = [...figures.pausesMs].sort((a, b) => a - b);
    const median = sorted[Math.floor(sorted.length / 2)] ?? 0;
    console.log(
      values.json
        ? JSON.stringify(figures)
        : `${kills} kills: pause ${median} ms in the median, ${sorted.at(-1)} ms at most; ${figures.blocks} blocks written one by one and ` +
            `${figures.rounds} rounds of fio, none lost; up for ${figures.uptimeSeconds.toFixed(0)} s without a reboot`,
    );
    return 0;
  } finally {
    process.off('SIGINT', remove);
    process.off('SIGTERM', remove);
    await boot.remove();
  }
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  console.error(`chaos:machine: ${describeError(error)}`);
  process.exitCode = 1;
}
