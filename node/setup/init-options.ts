import { Command, Option } from 'commander';

/** The options of `bootfabric init` as typed, before anything is checked against anything. */
export interface InitOptions {
  readonly cluster: string;
  readonly out: string;
  readonly node: readonly string[];
  readonly ports?: string;
  readonly portal: readonly string[];
  readonly portalInterface?: string;
  readonly workers?: string;
  readonly dhcp: 'off' | 'proxy' | 'full';
  readonly dhcpInterface?: readonly string[];
  readonly dhcpSubnet?: string;
  readonly dhcpRange?: string;
  readonly dhcpRouter?: string;
  readonly dhcpDns?: string;
  readonly dhcpLease?: string;
  readonly ipxeDir: string;
  readonly json?: boolean;
}

const collect = (value: string, earlier: readonly string[] | undefined): readonly string[] => [
  ...(earlier ?? []),
  value,
];

/** Takes InitOptions. */
export function initCommand(): Command {
  return new Command('bootfabric init')
    .description('Prepare a new cluster: one directory per node, certificates and an administrator profile.')
    .requiredOption('--cluster <name>', 'name of the cluster')
    .requiredOption('--out <dir>', 'directory to make; must not hold anything yet')
    .addOption(
      repeated('--node <id=address>', 'a node and its IPv4 address; once per node').makeOptionMandatory(),
    )
    .option('--ports <name=port,...>', 'other ports than the usual ones, the same on every node')
    .addOption(
      repeated(
        '--portal <address[:port]>',
        'a movable portal address; once per portal group',
      ).makeOptionMandatory(),
    )
    .option('--portal-interface <name>', 'network interface that carries portal addresses')
    .option(
      '--workers <n>',
      'data-plane workers of a node, or auto: as many as its processors are good for (else one)',
    )
    .addOption(new Option('--dhcp <mode>', 'answer DHCP').choices(['off', 'proxy', 'full']).default('off'))
    .addOption(repeated('--dhcp-interface <name>', 'answer DHCP on this interface'))
    .option('--dhcp-subnet <cidr>', 'full: the subnet served')
    .option('--dhcp-range <first-last>', 'full: addresses to hand out')
    .option('--dhcp-router <address>', 'full: default router of clients')
    .option('--dhcp-dns <address,...>', 'full: name servers of clients')
    .option('--dhcp-lease <seconds>', 'full: how long a lease lasts')
    .option('--ipxe-dir <dir>', "where iPXE's boot programs are", '/usr/lib/ipxe')
    .option('--json', 'print a JSON document');
}

/** An option that may be given several times. */
export function repeated(flags: string, description: string): Option {
  return new Option(flags, `${description} (repeatable)`).argParser(collect);
}
