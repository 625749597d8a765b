import type { Connection } from './connection.ts';
import type { CompletedLogin, NamedConnection } from './login-events.ts';
import { type LoginStatus, loginStatus } from './login-status.ts';
import type { Session } from './session.ts';

/** One session as shown to people. */
export interface SessionInfo {
  readonly initiatorName: string;
  /** undefined in a discovery session. */
  readonly targetName: string | undefined;
  /** "ADDRESS:PORT" of the initiator. */
  readonly remote: string;
  /** Milliseconds since the Unix epoch. */
  readonly sinceWallMs: number;
  readonly reads: number;
  readonly writes: number;
  readonly readBytes: number;
  readonly writtenBytes: number;
}

/** A session and the connection that carries it. */
export interface SessionRecord {
  readonly session: Session;
  readonly connection: Connection;
  readonly sinceWallMs: number;
}

export function sessionInfo({ session, connection, sinceWallMs }: SessionRecord): SessionInfo {
  return {
    initiatorName: session.options.initiatorName,
    targetName: session.options.targetName,
    remote: connection.remote,
    sinceWallMs,
    ...session.traffic,
  };
}

/**
 * Whether a login goes on with a session by another connection: the record that has the TSIH it names, or why it may not
 * (RFC 7143 §6.3.1).
 */
export function joinedBy(
  named: NamedConnection,
  record: SessionRecord | undefined,
): SessionRecord | LoginStatus {
  if (record === undefined || record.session.isClosing) return loginStatus.sessionDoesNotExist;
  const { initiatorName, targetName, isid, cid } = record.session.options;
  const isIt =
    initiatorName === named.initiatorName && targetName === named.targetName && isid === named.isid;
  if (!isIt || targetName === undefined) return loginStatus.sessionDoesNotExist;
  return cid === named.cid ? record : loginStatus.tooManyConnections;
}

/**
 * Reinstatement, and one case beyond it: the session that iPXE left behind when it started an operating system,
 * whose ISID is random. It is known by never having been one to answer a NOP-In, unlike the one that takes over.
 * @param by the connection of the login
 */
export function isReplacedBy(
  { session, connection }: Pick<SessionRecord, 'session' | 'connection'>,
  login: CompletedLogin,
  by: Pick<Connection, 'localAddress'>,
): boolean {
  const { initiatorName, targetName, isid, discoveryTarget } = session.options;
  if (session.ended || initiatorName !== login.initiatorName || targetName !== login.granted?.targetName) {
    return false;
  }
  if (targetName === undefined) {
    // Of discovery sessions each portal may have its own (§7.4.2).
    const isSame = isid === login.isid && discoveryTarget === login.discoveryTarget;
    return isSame && connection.localAddress === by.localAddress;
  }
  return isid === login.isid || (!session.answersNopIn && login.values.get('ImmediateData') === 1);
}
