import { cruise, type IReporterOutput } from 'dependency-cruiser';
import { describe, expect, it } from 'vitest';

/**
 * Which part may import which. The rules are the design's; a rule that sees no modules proves nothing, so
 * the number of modules seen is checked as well.
 */
const PURE = [
  '^cluster/(raft|state)/',
  '^node/scsi/',
  '^base/',
  '(^|/)[^/]*(packet|pdu|frame|codec|machine|layout|framer|text-keys|login-keys|boot-decision)\\.ts$',
];
const IMPURE_BUILTINS =
  '^(node:)?(net|dgram|fs|fs/promises|timers|timers/promises|http|https|tls|child_process|worker_threads)$';

const forbidden = [
  rule('no-cycles', {}, { circular: true }),
  rule(
    'base-imports-nothing-of-ours',
    { path: '^base/' },
    { path: '^(node|cluster|storage|api|scripts|test)/' },
  ),
  rule('storage-imports-base-only', { path: '^storage/' }, { path: '^(node|cluster|api|scripts|test)/' }),
  rule('cluster-imports-base-only', { path: '^cluster/' }, { path: '^(node|storage|api|scripts|test)/' }),
  rule(
    'protocols-keep-apart',
    { path: '^node/(dhcp|tftp|http-boot|scsi|iscsi)/' },
    {
      path: '^(node/(dhcp|tftp|http-boot|scsi|iscsi)|api|scripts|test)/',
      pathNot: ['^node/$1/', '^node/scsi/'],
    },
  ),
  rule('only-iscsi-imports-scsi', { path: '^node/(dhcp|tftp|http-boot)/' }, { path: '^node/(scsi|iscsi)/' }),
  rule(
    'protocols-see-ports-only',
    { path: '^node/(dhcp|tftp|http-boot|scsi|iscsi)/' },
    {
      path: '^(cluster|storage)/',
      pathNot: [
        '^cluster/ports\\.ts$',
        '^cluster/state/(model|commands)\\.ts$',
        '^storage/block-device\\.ts$',
      ],
    },
  ),
  rule(
    'cli-and-web-know-the-contract-only',
    { path: '^api/(cli|web)/' },
    { path: '^(node|cluster|storage|scripts|test|api)/', pathNot: ['^api/contract/', '^api/$1/'] },
  ),
  rule('nothing-imports-main', { path: '.' }, { path: '^node/main\\.ts$' }),
  rule(
    'product-imports-no-tests-or-scripts',
    { path: '^(base|node|cluster|storage|api)/' },
    { path: '^(scripts|test)/' },
  ),
  rule('pure-files-do-no-io', { path: PURE, pathNot: '^(scripts|test)/' }, { path: IMPURE_BUILTINS }),
];

function rule(name: string, from: object, to: object): object {
  return { name, severity: 'error', from, to };
}

describe('the import rules', () => {
  it('hold for every module, and every part was seen', { timeout: 60_000 }, async () => {
    const result: IReporterOutput = await cruise(['base', 'node', 'cluster', 'storage', 'api', 'scripts'], {
      validate: true,
      ruleSet: { forbidden } as never,
      doNotFollow: { path: 'node_modules' },
      tsPreCompilationDeps: true,
      parser: 'swc',
      enhancedResolveOptions: { extensions: ['.ts', '.js', '.mjs'] },
    } as never);
    const output = result.output as {
      summary: { violations: { rule: { name: string }; from: string; to: string }[] };
      modules: { source: string }[];
    };
    const sources = output.modules.map((m) => m.source);
    for (const part of ['base/', 'node/', 'cluster/', 'storage/', 'api/']) {
      expect(sources.filter((s) => s.startsWith(part)).length, `modules seen in ${part}`).toBeGreaterThan(3);
    }
    const violations = output.summary.violations.map((v) => `${v.rule.name}: ${v.from} -> ${v.to}`);
    expect(violations).toEqual([]);
  });
});
