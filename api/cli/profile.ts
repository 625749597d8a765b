import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import Type, { type Static } from 'typebox';
import { describeError, OperationError } from '../../base/errors.ts';
import { checkSchema } from '../../base/schema-check.ts';
import type { CliIo } from './cli-io.ts';
import { UsageError } from './failures.ts';

const profileSchema = Type.Object({
  clusterName: Type.String(),
  clusterId: Type.String({ minLength: 1, description: 'the id of the cluster' }),
  apiUrls: Type.Array(
    Type.String({ pattern: '^https://[^/]+$', description: 'a URL such as https://192.0.2.11:7443' }),
    { minItems: 1, description: 'a list of URLs such as https://192.0.2.11:7443' },
  ),
  caCertificate: Type.String({
    pattern: '^-----BEGIN CERTIFICATE-----',
    description: 'the certificate of the cluster’s authority in PEM',
  }),
  token: Type.String({ pattern: '^[\\x21-\\x7e]+$', description: 'the token of an administrator' }),
});

/** admin.json, as `bootfabric init` writes it: how to reach a cluster and be let in. */
export type Profile = Static<typeof profileSchema>;

/** The file that is used: the option's, the environment's, or the usual one. */
export function profileFile(option: string | undefined, io: CliIo): string {
  return option ?? io.profileVariable ?? join(io.homeDirectory, '.config/bootfabric/admin.json');
}

/**
 * Notes where the cluster's nodes are by now, so that the profile stays of use when those it was made with are gone.
 * Where the file cannot be written it stays as it is: the next command learns the same again.
 * @param nodeUrls of all nodes there are
 * @param deadUrls where nobody answered; forgotten unless a node is there by the cluster's word
 */
export async function rememberNodes(
  file: string,
  profile: Profile,
  nodeUrls: readonly string[],
  deadUrls: readonly string[],
): Promise<void> {
  const kept = profile.apiUrls.filter((url) => nodeUrls.includes(url) || !deadUrls.includes(url));
  const apiUrls = [...new Set([...kept, ...nodeUrls])];
  if (apiUrls.join() === profile.apiUrls.join()) return;
  const aside = `${file}.new`;
  try {
    await writeFile(aside, `${JSON.stringify({ ...profile, apiUrls }, null, 2)}\n`, { mode: 0o600 });
    await rename(aside, file);
  } catch {
    await rm(aside, { force: true }).catch(() => {});
  }
}

/** @throws UsageError when the file is missing or not a profile; tells which file that is and how to name another */
export async function loadProfile(option: string | undefined, io: CliIo): Promise<Profile> {
  const file = profileFile(option, io);
  const accepted = 'the admin.json that "bootfabric init" wrote: --profile FILE or BOOTFABRIC_PROFILE=FILE';
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    throw new UsageError(`the profile cannot be read: ${describeError(error)}`, { got: file, accepted });
  }
  let document: unknown;
  try {
    document = JSON.parse(text) as unknown;
  } catch {
    throw new UsageError(`the profile ${file} is not JSON`, { got: file, accepted });
  }
  try {
    return checkSchema(profileSchema, document, file);
  } catch (error) {
    if (!(error instanceof OperationError)) throw error;
    // The value may be the token; it is not shown.
    throw new UsageError(`the profile ${file} is not complete`, {
      got: file,
      accepted: error.accepted ?? accepted,
    });
  }
}
