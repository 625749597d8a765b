import {
  FETCH_TIMEOUT_MS,
  REFUSED_RETRY_SECONDS,
  RETRY_SECONDS,
  RETRY_SECONDS_MAX,
  SAN_RETRIES,
  SCRIPT_TEXT_CHARACTERS_MAX,
} from './limits.ts';
import type { BootAnswer, ScriptCredentials } from './ports.ts';

export interface ScriptContext {
  readonly clientName: string;
  /** Where to ask again, on every node, each with a fresh token. */
  readonly retryUrls: readonly string[];
}

/**
 * The iPXE script for an answer. It never ends in iPXE's shell, where a machine without a keyboard would stay:
 * after any failure it asks again, first every node, and then by DHCP, which finds nodes that are new and
 * gives a fresh token.
 *
 * The disk's URI is literal, since iPXE splits a line into words before it expands settings. It is attached
 * without --keep: a disk that does not boot is detached, so that the next try begins with a new session.
 */
export function ipxeScript(answer: BootAnswer, context: ScriptContext): string {
  switch (answer.kind) {
    case 'boot':
      return isWritable(answer)
        ? bootScript(answer, context)
        : refusalScript('a name or address of its disk cannot be written into a script', context);
    case 'wait':
      return lines(
        `echo ${shown(`${context.clientName} waits for its disk: ${answer.reason}`)}`,
        ...askAgain(context, clampSeconds(answer.retryAfterSeconds)),
      );
    case 'refused':
      return refusalScript(answer.reason, context);
  }
}

/**
 * The first script, which DHCP names and any node answers at once. As long as iPXE has no script, it knows one node
 * alone and gives up with it; making a disk ready may take seconds. From here on it knows all.
 */
export function firstScript(context: ScriptContext): string {
  return lines(...askInTurn(context, RETRY_SECONDS));
}

type Boot = Extract<BootAnswer, { kind: 'boot' }>;

/** Names of RFC 3722 and literal addresses hold nothing that iPXE's scripts or URIs give a meaning to. */
function isWritable(answer: Boot): boolean {
  return (
    /^(iqn|eui|naa)\.[A-Za-z0-9.:-]+$/.test(answer.targetName) &&
    /^(iqn|eui|naa)\.[A-Za-z0-9.:-]+$/.test(answer.initiatorName) &&
    /^[0-9.]+$/.test(answer.portalAddress) &&
    credentialTexts(answer.chap).every((text) => /^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(text))
  );
}

function bootScript(answer: Boot, context: ScriptContext): string {
  const { portalAddress, portalPort, targetName } = answer;
  // RFC 4173 §5: iscsi:server:protocol:port:LUN:target, the LUN in hexadecimal.
  const uri = `iscsi:${portalAddress}::${portalPort}:${answer.lun.toString(16)}:${targetName}`;
  return lines(
    `echo ${shown(`${context.clientName}: disk ${targetName} at ${portalAddress}`)}`,
    `set initiator-iqn ${answer.initiatorName}`,
    ...credentialLines(answer.chap),
    // Older builds lack the setting.
    `set san-retries ${SAN_RETRIES} ||`,
    `sanboot ${uri} ||`,
    `echo ${shown('the disk could not be attached, or nothing on it boots')}`,
    ...askAgain(context, RETRY_SECONDS),
  );
}

function credentialTexts(chap: ScriptCredentials | undefined): readonly string[] {
  if (chap === undefined) return [];
  const { username, secret, mutual } = chap;
  return mutual === undefined ? [username, secret] : [username, secret, mutual.username, mutual.secret];
}

/**
 * iPXE logs in with these and hands them on to the operating system in the iBFT. Settings outlive a script that is
 * chained to, so what does not apply is cleared.
 */
function credentialLines(chap: ScriptCredentials | undefined): readonly string[] {
  const texts = credentialTexts(chap);
  return ['username', 'password', 'reverse-username', 'reverse-password'].map((setting, i) =>
    texts[i] === undefined ? `clear ${setting} ||` : `set ${setting} ${texts[i]}`,
  );
}

function refusalScript(reason: string, context: ScriptContext): string {
  return lines(
    'echo',
    `echo ${shown(`${context.clientName} cannot boot: ${reason}`)}`,
    `echo ${shown('an administrator has to change this; asking again until then')}`,
    ...askAgain(context, REFUSED_RETRY_SECONDS),
  );
}

function askAgain(context: ScriptContext, seconds: number): readonly string[] {
  return [`sleep ${seconds}`, ...askInTurn(context, seconds)];
}

/**
 * Every node, until one answers. One that hangs would be waited for without end, so that this is bounded; builds of
 * before 2014 refuse a line with a bound and are given the plain one.
 */
function askInTurn({ retryUrls }: ScriptContext, seconds: number): readonly string[] {
  return [
    ':again',
    ...retryUrls.map((url) => `chain --replace --timeout ${FETCH_TIMEOUT_MS} ${url} ||`),
    ...retryUrls.map((url) => `chain --replace ${url} ||`),
    'dhcp ||',
    `chain --replace \${filename} ||`,
    `sleep ${seconds}`,
    'goto again',
  ];
}

function clampSeconds(seconds: number): number {
  return Math.min(Math.max(1, Math.ceil(seconds)), RETRY_SECONDS_MAX);
}

/** Text for the screen, without anything that iPXE's scripts give a meaning to. */
function shown(text: string): string {
  const harmless = text.replaceAll(/[^A-Za-z0-9 .,:()/_+-]/g, '?');
  return `bootfabric: ${harmless.slice(0, SCRIPT_TEXT_CHARACTERS_MAX)}`;
}

function lines(...content: readonly string[]): string {
  return `#!ipxe\n${content.join('\n')}\n`;
}
