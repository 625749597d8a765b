import { withAudit } from './audit.ts';
import type { Command, CommandRefusal } from './commands.ts';
import { newestNumber } from './image-removal.ts';
import {
  MAX_BOOT_FILES,
  MAX_CHUNK_BYTES,
  MAX_IMAGE_BYTES,
  MAX_IMAGES,
  MAX_VERSIONS_PER_IMAGE,
} from './limits.ts';
import type { BootFileRecord, ClusterState, ImageRecord, ImageVersionRecord } from './model.ts';
import { checkFileName, checkName, checkSha256, lookup, namesOf } from './names.ts';
import { unknownNode } from './nodes.ts';
import { accepted, type Outcome, refused } from './outcome.ts';

/** Image versions and boot files: what exists, and which nodes hold a verified copy. */

type ContentCommand = Extract<
  Command,
  { type: 'addImageVersion' | 'imageHeld' | 'addBootFile' | 'removeBootFile' | 'bootFileHeld' }
>;

const SECTOR_BYTES = 512;
const DATA_BLOCK_BYTES = 4096;

export function changeContents(state: ClusterState, command: ContentCommand): Outcome {
  switch (command.type) {
    case 'addImageVersion':
      return addImageVersion(state, command);
    case 'imageHeld':
      return imageHeld(state, command);
    case 'addBootFile':
      return addBootFile(state, command);
    case 'removeBootFile':
      return removeBootFile(state, command);
    case 'bootFileHeld':
      return bootFileHeld(state, command);
  }
}

/**
 * Gives an image its next version. Told twice of the same newest content, it answers with the version that
 * exists, so that a request of unknown outcome can be sent again.
 */
function addImageVersion(
  state: ClusterState,
  command: Extract<Command, { type: 'addImageVersion' }>,
): Outcome {
  const refusal =
    checkName('an image', command.image) ??
    checkSha256('the manifest', command.manifestSha256) ??
    checkImageSize(command.sizeBytes, command.chunkSizeBytes);
  if (refusal !== undefined) return refused(state, refusal);
  if (lookup(state.nodes, command.holder) === undefined) return unknownNode(state, command.holder);
  const image = lookup(state.images, command.image) ?? { name: command.image, versions: [] };
  const newest = image.versions.at(-1);
  if (newest?.manifestSha256 === command.manifestSha256) {
    return imageHeld(state, {
      type: 'imageHeld',
      image: image.name,
      version: newest.version,
      holder: command.holder,
    });
  }
  const full = checkImageCount(state, image);
  if (full !== undefined) return refused(state, full);
  const version: ImageVersionRecord = {
    version: newestNumber(image) + 1,
    sizeBytes: command.sizeBytes,
    chunkSizeBytes: command.chunkSizeBytes,
    manifestSha256: command.manifestSha256,
    holders: [command.holder],
    createdAtMs: command.atMs,
  };
  const record: ImageRecord = { ...image, versions: [...image.versions, version] };
  return accepted(withImage(state, record), { image: image.name, version: version.version });
}

function checkImageSize(sizeBytes: number, chunkSizeBytes: number): CommandRefusal | undefined {
  if (sizeBytes === 0 || sizeBytes > MAX_IMAGE_BYTES || sizeBytes % SECTOR_BYTES !== 0) {
    return {
      kind: 'invalid',
      code: 'bad-image-size',
      message: `an image cannot have ${sizeBytes} bytes`,
      got: sizeBytes,
      accepted: `a multiple of ${SECTOR_BYTES}, at most ${MAX_IMAGE_BYTES}`,
    };
  }
  if (chunkSizeBytes === 0 || chunkSizeBytes > MAX_CHUNK_BYTES || chunkSizeBytes % DATA_BLOCK_BYTES !== 0) {
    return {
      kind: 'invalid',
      code: 'bad-chunk-size',
      message: `a chunk cannot have ${chunkSizeBytes} bytes`,
      got: chunkSizeBytes,
      accepted: `a multiple of ${DATA_BLOCK_BYTES}, at most ${MAX_CHUNK_BYTES}`,
    };
  }
  return undefined;
}

function checkImageCount(state: ClusterState, image: ImageRecord): CommandRefusal | undefined {
  const isNew = newestNumber(image) === 0;
  if (isNew && Object.keys(state.images).length >= MAX_IMAGES) {
    return {
      kind: 'conflict',
      code: 'too-many-images',
      message: `the cluster has ${MAX_IMAGES} images already`,
      got: image.name,
      accepted: `at most ${MAX_IMAGES} images`,
    };
  }
  if (image.versions.length >= MAX_VERSIONS_PER_IMAGE) {
    return {
      kind: 'conflict',
      code: 'too-many-versions',
      message: `image ${image.name} has ${MAX_VERSIONS_PER_IMAGE} versions already`,
      got: image.versions.length,
      accepted: `at most ${MAX_VERSIONS_PER_IMAGE} versions`,
    };
  }
  return undefined;
}

/** A node has fetched and verified every chunk. */
function imageHeld(state: ClusterState, command: Extract<Command, { type: 'imageHeld' }>): Outcome {
  const image = lookup(state.images, command.image);
  const version = image?.versions.find((v) => v.version === command.version);
  if (image === undefined || version === undefined) {
    return refused(state, {
      kind: 'not-found',
      code: 'unknown-image-version',
      message: `there is no version ${command.version} of image "${command.image}"`,
      got: command.version,
    });
  }
  if (lookup(state.nodes, command.holder) === undefined) return unknownNode(state, command.holder);
  const value = { image: image.name, version: version.version };
  if (version.holders.includes(command.holder)) return accepted(state, value);
  const held = { ...version, holders: [...version.holders, command.holder] };
  const versions = image.versions.map((v) => (v === version ? held : v));
  return accepted(withImage(state, { ...image, versions }), value);
}

function withImage(state: ClusterState, image: ImageRecord): ClusterState {
  return { ...state, images: { ...state.images, [image.name]: image } };
}

/** Adds a boot file, or replaces the content of the one with that name. */
function addBootFile(state: ClusterState, command: Extract<Command, { type: 'addBootFile' }>): Outcome {
  const { name, sizeBytes, sha256, holder } = command;
  const refusal = checkFileName(name) ?? checkSha256(`boot file ${name}`, sha256);
  if (refusal !== undefined) return refused(state, refusal);
  if (lookup(state.nodes, holder) === undefined) return unknownNode(state, holder);
  const existing = lookup(state.bootFiles, name);
  if (existing?.sha256 === sha256) {
    return bootFileHeld(state, { type: 'bootFileHeld', name, sha256, holder });
  }
  if (existing === undefined && Object.keys(state.bootFiles).length >= MAX_BOOT_FILES) {
    return refused(state, {
      kind: 'conflict',
      code: 'too-many-boot-files',
      message: `the cluster has ${MAX_BOOT_FILES} boot files already`,
      got: name,
      accepted: `at most ${MAX_BOOT_FILES} boot files`,
    });
  }
  return accepted(withBootFile(state, { name, sizeBytes, sha256, holders: [holder] }), { name, sha256 });
}

/** A node has fetched and verified a boot file. */
function bootFileHeld(state: ClusterState, command: Extract<Command, { type: 'bootFileHeld' }>): Outcome {
  const { name, sha256, holder } = command;
  const file = lookup(state.bootFiles, name);
  if (file === undefined) return unknownBootFile(state, name);
  if (file.sha256 !== sha256) {
    return refused(state, {
      kind: 'conflict',
      code: 'boot-file-replaced',
      message: `boot file ${name} has other content by now`,
      got: sha256,
      accepted: file.sha256,
    });
  }
  if (lookup(state.nodes, holder) === undefined) return unknownNode(state, holder);
  if (file.holders.includes(holder)) return accepted(state, { name, sha256 });
  return accepted(withBootFile(state, { ...file, holders: [...file.holders, holder] }), { name, sha256 });
}

/** Nothing is served under that name any more, but what nodes have of their own. */
function removeBootFile(
  state: ClusterState,
  { name, atMs, by }: Extract<Command, { type: 'removeBootFile' }>,
): Outcome {
  const file = lookup(state.bootFiles, name);
  if (file === undefined) return unknownBootFile(state, name);
  const { [name]: _, ...bootFiles } = state.bootFiles;
  const detail = `${name} (${file.sha256}), by ${by}`;
  return accepted(withAudit({ ...state, bootFiles }, atMs, 'boot-file-removed', detail), { name });
}

function unknownBootFile(state: ClusterState, name: string): Outcome {
  return refused(state, {
    kind: 'not-found',
    code: 'unknown-boot-file',
    message: `there is no boot file "${name}"`,
    got: name,
    accepted: namesOf(state.bootFiles) || 'no boot file has been added yet',
  });
}

function withBootFile(state: ClusterState, file: BootFileRecord): ClusterState {
  return { ...state, bootFiles: { ...state.bootFiles, [file.name]: file } };
}
