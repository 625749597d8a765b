import type { ChapCredentials } from '../../node/iscsi/ports.ts';

/** What a machine running iPXE makes of a boot script, as a pure function. */

export interface BootTarget {
  readonly portalAddress: string;
  readonly portalPort: number;
  readonly lun: number;
  readonly targetName: string;
  readonly initiatorName: string;
  readonly chap?: ChapCredentials;
}

export type BootScript =
  /** Attach this disk and boot it; on failure ask at the URLs, in order. */
  | { readonly kind: 'boot'; readonly target: BootTarget; readonly retryUrls: readonly string[] }
  /** Sleep, if at all, then ask at the URLs, in order. `shown` is what stands on the screen. */
  | {
      readonly kind: 'ask-again';
      readonly afterSeconds: number;
      readonly retryUrls: readonly string[];
      readonly shown: readonly string[];
    };

/** @throws Error when the text is no script, or says neither what to boot nor where to ask again */
export function parseBootScript(text: string): BootScript {
  const lines = text.split('\n').map((line) => line.trim().replace(/\s*\|\|$/, ''));
  if (lines[0] !== '#!ipxe') throw new Error('not an iPXE script');
  const first = (prefix: string): string | undefined =>
    lines.find((line) => line.startsWith(prefix))?.slice(prefix.length);
  const asked = lines.flatMap(
    (line) => /^chain --replace (?:--timeout \d+ )?(http\S+)$/.exec(line)?.[1] ?? [],
  );
  const retryUrls = [...new Set(asked)];
  const uri = first('sanboot ');
  if (uri !== undefined) {
    const initiatorName = first('set initiator-iqn ');
    if (initiatorName === undefined) throw new Error('the script sets no initiator name');
    const chap = parseChap((setting) => first(`set ${setting} `));
    const target = parseIscsiUri(uri, initiatorName);
    return { kind: 'boot', target: chap === undefined ? target : { ...target, chap }, retryUrls };
  }
  if (retryUrls.length === 0) throw new Error('the script neither boots nor asks again');
  const beforeAsking = lines.slice(0, lines.indexOf(':again'));
  const sleep = beforeAsking.find((line) => line.startsWith('sleep '))?.slice('sleep '.length) ?? '0';
  const shown = lines.filter((line) => line.startsWith('echo ')).map((line) => line.slice('echo '.length));
  return { kind: 'ask-again', afterSeconds: Number(sleep), retryUrls, shown };
}

/** iPXE logs in with CHAP where it has both a name and a secret. */
function parseChap(setting: (name: string) => string | undefined): ChapCredentials | undefined {
  const [username, secret] = [setting('username'), setting('password')];
  if (username === undefined || secret === undefined) return undefined;
  const [reverseName, reverseSecret] = [setting('reverse-username'), setting('reverse-password')];
  if (reverseName === undefined || reverseSecret === undefined) return { username, secret };
  return { username, secret, mutual: { username: reverseName, secret: reverseSecret } };
}

/** RFC 4173 §5. @throws Error */
function parseIscsiUri(uri: string, initiatorName: string): BootTarget {
  const match = /^iscsi:([^:]+):(?:6)?:(\d*):([0-9a-f]*):(.+)$/.exec(uri);
  const [, portalAddress, port, lun, targetName] = match ?? [];
  if (portalAddress === undefined || targetName === undefined) throw new Error(`not an iSCSI URI: ${uri}`);
  return {
    portalAddress,
    portalPort: port === undefined || port === '' ? 3260 : Number(port),
    lun: Number.parseInt(lun === undefined || lun === '' ? '0' : lun, 16),
    targetName,
    initiatorName,
  };
}
