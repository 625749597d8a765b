import { join } from 'node:path';
import { OperationError } from '../../base/errors.ts';
import { type FileSystem, isMissing, isNoSpace, type OpenFile } from '../log/file-system.ts';
import type { ImageVersionRef } from './image-source.ts';

/**
 * Where things are in an image store:
 *
 *     images/NAME/VERSION/        complete and immutable: manifest, image.raw
 *     staging/upload-TOKEN/       being imported, or complete and waiting for its version number
 *     staging/orphan-TOKEN/       complete, left by an earlier start before its version number was stored
 *     staging/fetch-NAME@VERSION/ being fetched from other nodes
 *     staging/removed-NAME@VERSION/ on its way out
 */
export const RAW_FILE = 'image.raw';
export const MANIFEST_FILE = 'manifest';
export const UPLOAD_PREFIX = 'upload-';
export const ORPHAN_PREFIX = 'orphan-';
export const FETCH_PREFIX = 'fetch-';
export const REMOVED_PREFIX = 'removed-';

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

export function isName(name: string): boolean {
  return NAME.test(name);
}

/** @throws OperationError kind "invalid" for a name that is not safe as a file name */
export function checkName(name: string, what: string): void {
  if (NAME.test(name)) return;
  throw new OperationError(`"${name}" cannot be the name of ${what}`, {
    kind: 'invalid',
    code: 'bad-name',
    got: name,
    accepted: 'a letter or digit, then up to 63 letters, digits, dots, hyphens or underscores',
  });
}

export class ImageDirectory {
  readonly root: string;

  constructor(root: string) {
    this.root = root;
  }

  get images(): string {
    return join(this.root, 'images');
  }

  get staging(): string {
    return join(this.root, 'staging');
  }

  version({ name, version }: ImageVersionRef): string {
    checkName(name, 'an image');
    return join(this.images, name, String(version));
  }

  upload(token: string): string {
    return join(this.staging, `${UPLOAD_PREFIX}${token}`);
  }

  removed({ name, version }: ImageVersionRef): string {
    checkName(name, 'an image');
    return join(this.staging, `${REMOVED_PREFIX}${name}@${version}`);
  }

  fetch({ name, version }: ImageVersionRef): string {
    checkName(name, 'an image');
    return join(this.staging, `${FETCH_PREFIX}${name}@${version}`);
  }
}

/** @returns undefined when there is no such file */
export async function openIfThere(fileSystem: FileSystem, path: string): Promise<OpenFile | undefined> {
  try {
    return await fileSystem.open(path);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** @returns undefined when there is no such file */
export async function readWhole(fileSystem: FileSystem, path: string): Promise<Uint8Array | undefined> {
  const file = await openIfThere(fileSystem, path);
  if (file === undefined) return undefined;
  try {
    const out = new Uint8Array(await file.sizeBytes());
    return out.subarray(0, await file.read(out, 0));
  } finally {
    await file.close();
  }
}

/** Tells an administrator of a full disk; anything else stays as it is. */
export function explainNoSpace(error: unknown, doing: string): unknown {
  if (!isNoSpace(error)) return error;
  return new OperationError(`no space on this node's disk while ${doing}`, {
    kind: 'no-space',
    code: 'disk-full',
    accepted: 'less data, or more space on the disk of this node',
  });
}
