import { parseArgs } from 'node:util';
import { describeError } from '../../base/errors.ts';
import { missingRequirements } from '../lab/requirements.ts';
import { describeTrouble, formatTroubles } from './failover/report.ts';
import { runFailovers } from './failover/run.ts';

const HELP = `usage: npm run bench:failover -- [OPTION ...]

How long an initiator waits when the node that serves its disk is killed, and where that time goes. Starts node
processes in network namespaces of their own and two initiators in another, with disks of the same portal group, each
of which always has one write under way and logs in again at once when its connection is lost:

  eager  makes a new attempt to connect every 50 ms, beside those under way
  plain  has one attempt at a time, which TCP makes again after a second when its first packet is lost

SIGKILL: the pause is the time from the signal to the next write acknowledged. Else it is the longest time from one
acknowledgement to the next. The steps between are taken from the nodes' logs, in milliseconds since the deed.

  --kills N    SIGKILL of the node that serves (default 20)
  --moves N    portal-group move (default 0)
  --drains N   node drain (default 0)
  --stops N    SIGTERM of the node that serves (default 0)
  --nodes N    3 or 5 (default 3)
  --rest MS    how long every replica has been in sync before the next deed (default 1500). With 0 what takes over may be
               a node that has come back in that very moment
  --logs DIR   where the nodes' logs go at the end
  --json       print the result as JSON
  --help       this text

Each comes when the last one is over and every replica has been in sync for a while. Needs root, iproute2 and procps.`;

const NEEDS = {
  root: true,
  commands: ['ip', 'mount', 'umount', 'sysctl'],
  enableWith: 'as root: apt-get install iproute2 procps',
};
const MOST = 1000;
const LONGEST_REST_MS = 60_000;

async function main(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      kills: { type: 'string', default: '20' },
      moves: { type: 'string', default: '0' },
      drains: { type: 'string', default: '0' },
      stops: { type: 'string', default: '0' },
      nodes: { type: 'string', default: '3' },
      rest: { type: 'string', default: '1500' },
      logs: { type: 'string' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(HELP);
    return;
  }
  const missing = missingRequirements(NEEDS);
  if (missing.length > 0) throw new Error(`this host lacks ${missing.join(', ')}; ${NEEDS.enableWith}`);
  const troubles = await runFailovers({
    nodes: count('--nodes', values.nodes),
    kills: count('--kills', values.kills),
    moves: count('--moves', values.moves),
    drains: count('--drains', values.drains),
    stops: count('--stops', values.stops),
    restMs: count('--rest', values.rest),
    ...(values.logs === undefined ? {} : { logs: values.logs }),
    say: (trouble) => void process.stderr.write(`${describeTrouble(trouble)}\n`),
  });
  console.log(values.json ? JSON.stringify(troubles) : formatTroubles(troubles));
}

function count(option: string, text: string): number {
  const number = Number(text);
  const most = option === '--rest' ? LONGEST_REST_MS : MOST;
  const accepted = option === '--nodes' ? [3, 5].includes(number) : number >= 0 && number <= most;
  if (Number.isInteger(number) && accepted) return number;
  const what = option === '--nodes' ? '3 or 5' : `a whole number from 0 to ${most}`;
  throw new Error(`${option} ${text}: ${what} is accepted`);
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  console.error(`bench:failover: ${describeError(error)}`);
  process.exitCode = 1;
}
