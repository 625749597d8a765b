import { Command } from 'commander';
import { repeated } from './init-options.ts';

/** The options of `bootfabric join` as typed. */
export interface JoinOptions {
  readonly id: string;
  readonly address: string;
  readonly out: string;
  readonly ports?: string;
  readonly portalInterface?: string;
  readonly workers?: string;
  readonly dhcpInterface?: readonly string[];
  readonly weight?: string;
  readonly rack?: string;
  readonly ipxeDir: string;
  readonly json?: boolean;
}

/** Takes JoinOptions and, as its argument, the token. */
export function joinCommand(): Command {
  return new Command('bootfabric join')
    .description('Make this host a node of a cluster that runs; start it afterwards.')
    .argument('<token>', 'what "bootfabric node token" or "bootfabric init" printed')
    .requiredOption('--id <id>', 'id of the new node; no node of the cluster may ever have had it')
    .requiredOption('--address <ipv4>', 'address of this host')
    .requiredOption('--out <dir>', 'directory to make; must not hold anything yet')
    .option('--ports <name=port,...>', 'other ports than the usual ones')
    .option('--portal-interface <name>', 'network interface that carries portal addresses')
    .option(
      '--workers <n>',
      'data-plane workers of a node, or auto: as many as its processors are good for (else one)',
    )
    .addOption(repeated('--dhcp-interface <name>', 'answer DHCP on this interface'))
    .option('--weight <n>', "its share of portal groups beside the others', 1 to 1000")
    .option('--rack <name>', 'its rack, room or power supply: what fails together with it')
    .option('--ipxe-dir <dir>', "where iPXE's boot programs are", '/usr/lib/ipxe')
    .option('--json', 'print a JSON document');
}
