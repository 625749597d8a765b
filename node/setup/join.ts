import { sign } from 'node:crypto';
import { resolve } from 'node:path';
import { type JoinAnswerDocument, joinStatement } from '../../api/contract/join.ts';
import { formatConfig, type NodeConfig } from '../config.ts';
import { createKeyPair } from './certificates.ts';
import { refuseTaken, writeDirectory } from './init.ts';
import { endpointsOf, type NewFile } from './init-cluster.ts';
import { parseInterfaces, parsePorts } from './init-plan.ts';
import { checkInterface, checkName, parseHostAddress, parseWeight, planDataPlane } from './init-values.ts';
import { askToJoin } from './join-client.ts';
import { type JoinOptions, joinCommand } from './join-options.ts';
import { decodeJoinToken, type JoinToken, secretSha256 } from './join-token.ts';
import { NODE_FILES } from './node-directory.ts';
import { type CommandOutput, runOfflineCommand } from './offline-command.ts';

const PUBLIC_MODE = 0o644;
const SECRET_MODE = 0o600;

/**
 * `bootfabric join`: makes the directory of a new node of a running cluster.
 * @param args what follows "join"
 * @returns the exit code: 0 joined, 1 refused, 2 wrong usage
 */
export async function runJoin(args: readonly string[], output: CommandOutput): Promise<number> {
  const command = joinCommand();
  return await runOfflineCommand(command, args, output, async (asJson) => {
    const options = command.opts<JoinOptions>();
    const directory = resolve(options.out);
    const [token = ''] = command.args;
    const plan = planJoin(token, options);
    // Before the token is spent on it.
    await refuseTaken(directory);
    const joined = await join(plan);
    await writeDirectory(directory, { clusterId: joined.clusterId, files: joined.files });
    const { nodeId } = plan;
    const report = { nodeId, clusterName: joined.clusterName, clusterId: joined.clusterId, directory };
    output.out(
      asJson
        ? `${JSON.stringify(report)}\n`
        : `Node ${nodeId} is in cluster ${joined.clusterName}\n\nRun here:  bootfabric start --data ${directory}\n`,
    );
  });
}

interface JoinPlan {
  readonly token: JoinToken;
  readonly nodeId: string;
  readonly address: ReturnType<typeof parseHostAddress>;
  readonly ports: ReturnType<typeof parsePorts>;
  readonly portalInterface: string | null;
  readonly dataPlane: Pick<NodeConfig, 'dataPlane'>;
  readonly dhcpInterfaces: readonly string[];
  readonly placement: NonNullable<NodeConfig['placement']>;
  readonly ipxeDir: string;
}

function planJoin(token: string, options: JoinOptions): JoinPlan {
  const portalInterface =
    options.portalInterface === undefined
      ? null
      : checkInterface('--portal-interface', options.portalInterface);
  return {
    token: decodeJoinToken(token),
    nodeId: checkName('--id', options.id),
    address: parseHostAddress('--address', options.address),
    ports: parsePorts(options.ports),
    portalInterface,
    dataPlane: planDataPlane(options.workers),
    dhcpInterfaces: parseInterfaces(options.dhcpInterface ?? []),
    placement: {
      ...(options.weight === undefined ? {} : { weight: parseWeight(options.weight) }),
      ...(options.rack === undefined ? {} : { rack: checkName('--rack', options.rack) }),
    },
    ipxeDir: options.ipxeDir,
  };
}

async function join(
  plan: JoinPlan,
): Promise<{ readonly clusterName: string; readonly clusterId: string; readonly files: NewFile[] }> {
  const { token, nodeId, address, portalInterface } = plan;
  // The private half never leaves this host.
  const keys = createKeyPair();
  const statement = joinStatement(token.clusterId, nodeId, secretSha256(token.secret));
  const answer = await askToJoin(token, {
    secret: token.secret,
    nodeId,
    address,
    endpoints: endpointsOf(plan, plan),
    portalInterface,
    publicKey: keys.publicKeyPem,
    proof: sign('sha256', Buffer.from(statement), keys.privateKeyPem).toString('base64'),
  });
  const { clusterName, clusterId } = answer;
  return { clusterName, clusterId, files: filesOf(plan, answer, keys.privateKeyPem) };
}

function filesOf(plan: JoinPlan, answer: JoinAnswerDocument, privateKeyPem: string): NewFile[] {
  const { raftId, members } = answer;
  const config = formatConfig({
    nodeId: plan.nodeId,
    address: plan.address,
    ports: plan.ports,
    portal: { interface: plan.portalInterface },
    ...plan.dataPlane,
    dhcp: { interfaces: plan.dhcpInterfaces },
    ...(Object.keys(plan.placement).length === 0 ? {} : { placement: plan.placement }),
    ipxeDir: plan.ipxeDir,
    dataDir: './data',
  });
  const file = (path: string, text: string, mode: number): NewFile => ({ path, text, mode });
  return [
    file(NODE_FILES.config, config, PUBLIC_MODE),
    file(NODE_FILES.genesis, answer.genesis, PUBLIC_MODE),
    file(NODE_FILES.joined, `${JSON.stringify({ raftId, members }, null, 2)}\n`, PUBLIC_MODE),
    file(NODE_FILES.authority, answer.authority, PUBLIC_MODE),
    file(NODE_FILES.certificate, answer.certificate, PUBLIC_MODE),
    file(NODE_FILES.privateKey, privateKeyPem, SECRET_MODE),
    file(NODE_FILES.authorityKey, answer.authorityKey, SECRET_MODE),
    file(NODE_FILES.clusterSecret, `${answer.clusterSecret}\n`, SECRET_MODE),
  ];
}
