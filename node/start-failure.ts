import { errorDocument, errorText } from '../base/error-text.ts';
import { OperationError } from '../base/errors.ts';

/**
 * Why a node did not start, for whoever started it. An address that it cannot listen at is told of as what it is, since
 * an administrator may have to do something about it; what nobody has thought of comes with its stack.
 */
export function startFailureText(error: unknown): string {
  const told = error instanceof OperationError ? error : ofListening(error);
  if (told !== undefined) return `${errorText(errorDocument(told))}  code:     ${told.code}\n`;
  return `bootfabric: ${error instanceof Error ? error.stack : String(error)}\n`;
}

/** Undefined: it is about something else. */
function ofListening(error: unknown): OperationError | undefined {
  const { code, syscall, address, port } = (error ?? {}) as NodeJS.ErrnoException & {
    readonly address?: string;
    readonly port?: number;
  };
  if ((syscall !== 'listen' && syscall !== 'bind') || address === undefined) return undefined;
  const told = LISTENING[code ?? ''];
  if (told === undefined) return undefined;
  const got = port === undefined ? address : `${address}:${port}`;
  return new OperationError(told.message(address, got), { kind: 'unavailable', got, ...told });
}

const LISTENING: Readonly<
  Record<
    string,
    {
      readonly code: string;
      readonly accepted: string;
      readonly message: (address: string, at: string) => string;
    }
  >
> = {
  EADDRNOTAVAIL: {
    code: 'address-not-here',
    message: (address) => `this host does not have the address ${address}`,
    accepted: 'the node’s own directory on its own host, or another address in bootfabric.yaml',
  },
  EADDRINUSE: {
    code: 'address-in-use',
    message: (_, at) => `another process of this host is at ${at}, perhaps this very node`,
    accepted: 'one process at each address and port, or other ports in bootfabric.yaml',
  },
  EACCES: {
    code: 'address-not-permitted',
    message: (_, at) => `this user may not listen at ${at}`,
    accepted: 'root, or ports from 1024 on in bootfabric.yaml',
  },
};
