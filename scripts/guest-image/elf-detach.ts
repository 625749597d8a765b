/**
 * A 64-bit little-endian ELF program, as far as it has to be known to do without libraries that it never calls
 * (System V ABI, AMD64 supplement; GNU symbol versions as of the LSB, "Symbol Versioning").
 */
const PROGRAM_HEADER = { load: 1, dynamic: 2, gnuRelro: 0x6474e552, none: 0 };
const DYNAMIC_TAG = {
  end: 0n,
  needed: 1n,
  stringTable: 5n,
  flags: 30n,
  flags1: 0x6ffffffbn,
  versionNeeds: 0x6ffffffen,
  versionNeedsCount: 0x6fffffffn,
};
const DF_BIND_NOW = 8n;
const DF_1_NOW = 1n;
/** Fields of Elf64_Vernaux. */
const VERSION_HASH = 0;
const VERSION_NAME = 8;
const PROGRAM_HEADER_BYTES = 56;
const DYNAMIC_ENTRY_BYTES = 16;
/** What every program needs anyhow, and may therefore need twice. */
const ALWAYS_THERE = 'libc.so.6';

/** The names of the libraries that a program asks the dynamic linker for. @throws Error when it is no such program */
export function neededLibraries(program: Uint8Array): readonly string[] {
  const elf = new ElfView(program);
  return elf.dynamic.filter(({ tag }) => tag === DYNAMIC_TAG.needed).map(({ value }) => elf.string(value));
}

/**
 * A copy of the program that runs without all libraries but those kept. Functions are looked up when they are first
 * called, so that only a call to one of the missing ones fails.
 * @param isKept by the name of a library
 * @throws Error when it is no program of the kind described above, or does not need the C library
 */
export function detachLibraries(program: Uint8Array, isKept: (library: string) => boolean): Uint8Array {
  const elf = new ElfView(Uint8Array.from(program));
  const needs = elf.dynamic.filter(({ tag }) => tag === DYNAMIC_TAG.needed);
  const instead = needs.find(({ value }) => elf.string(value) === ALWAYS_THERE)?.value;
  if (instead === undefined) throw new Error(`the program does not need ${ALWAYS_THERE}`);
  for (const need of needs) if (!isKept(elf.string(need.value))) elf.setDynamic(need.at, instead);
  replaceVersions(elf, isKept, instead);
  for (const { tag, at, value } of elf.dynamic) {
    if (tag === DYNAMIC_TAG.flags) elf.setDynamic(at, value & ~DF_BIND_NOW);
    if (tag === DYNAMIC_TAG.flags1) elf.setDynamic(at, value & ~DF_1_NOW);
  }
  // Looking up at the first call writes into the table of addresses, which must stay writable for that.
  elf.dropProgramHeader(PROGRAM_HEADER.gnuRelro);
  return elf.bytes;
}

/** The versions expected of a library that is not kept become the C library's first, which is there. */
function replaceVersions(elf: ElfView, isKept: (library: string) => boolean, instead: bigint): void {
  const files = versionedFiles(elf);
  const [present] = files.find(({ name }) => name === ALWAYS_THERE)?.versionsAt ?? [];
  if (present === undefined) throw new Error(`the program needs no version of ${ALWAYS_THERE}`);
  const { view } = elf;
  for (const { name, at, versionsAt } of files.filter((one) => !isKept(one.name))) {
    if (name === ALWAYS_THERE) continue;
    view.setUint32(at + 4, Number(instead), true);
    for (const version of versionsAt) {
      for (const field of [VERSION_HASH, VERSION_NAME]) {
        view.setUint32(version + field, view.getUint32(present + field, true), true);
      }
    }
  }
}

interface VersionedFile {
  /** Of the library. */
  readonly name: string;
  /** Offset in the file, and those of its versions. */
  readonly at: number;
  readonly versionsAt: readonly number[];
}

function versionedFiles(elf: ElfView): readonly VersionedFile[] {
  const count = elf.valueOf(DYNAMIC_TAG.versionNeedsCount) ?? 0n;
  const files: VersionedFile[] = [];
  const { view } = elf;
  let at = count === 0n ? 0 : elf.offsetOf(elf.valueOf(DYNAMIC_TAG.versionNeeds) ?? 0n);
  for (let i = 0n; i < count; i++) {
    const name = elf.string(BigInt(view.getUint32(at + 4, true)));
    const versionsAt: number[] = [];
    let version = at + view.getUint32(at + 8, true);
    for (let left = view.getUint16(at + 2, true); left > 0; left--) {
      versionsAt.push(version);
      version += view.getUint32(version + 12, true);
    }
    files.push({ name, at, versionsAt });
    at += view.getUint32(at + 12, true);
  }
  return files;
}

interface DynamicEntry {
  readonly tag: bigint;
  readonly value: bigint;
  /** Offset in the file. */
  readonly at: number;
}

interface ProgramHeader {
  readonly type: number;
  readonly at: number;
  readonly fileOffset: bigint;
  readonly address: bigint;
  readonly fileBytes: bigint;
}

class ElfView {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly #headers: readonly ProgramHeader[];

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const isElf64Little = bytes.length >= 64 && this.view.getUint32(0) === 0x7f454c46;
    if (!isElf64Little || bytes[4] !== 2 || bytes[5] !== 1) {
      throw new Error('not a 64-bit little-endian ELF program');
    }
    const start = Number(this.view.getBigUint64(32, true));
    this.#headers = Array.from({ length: this.view.getUint16(56, true) }, (_, i) =>
      this.#programHeader(start + i * PROGRAM_HEADER_BYTES),
    );
  }

  get dynamic(): readonly DynamicEntry[] {
    const header = this.#headers.find(({ type }) => type === PROGRAM_HEADER.dynamic);
    if (header === undefined) throw new Error('the program is not linked dynamically');
    const entries: DynamicEntry[] = [];
    for (let at = Number(header.fileOffset); ; at += DYNAMIC_ENTRY_BYTES) {
      const tag = this.view.getBigUint64(at, true);
      if (tag === DYNAMIC_TAG.end) return entries;
      entries.push({ tag, value: this.view.getBigUint64(at + 8, true), at });
    }
  }

  valueOf(tag: bigint): bigint | undefined {
    return this.dynamic.find((entry) => entry.tag === tag)?.value;
  }

  setDynamic(at: number, value: bigint): void {
    this.view.setBigUint64(at + 8, value, true);
  }

  /** Of the dynamic string table. */
  string(offset: bigint): string {
    const start = this.offsetOf(this.valueOf(DYNAMIC_TAG.stringTable) ?? 0n) + Number(offset);
    return Buffer.from(this.bytes.subarray(start, this.bytes.indexOf(0, start))).toString('latin1');
  }

  /** Where in the file that is which is loaded at an address. */
  offsetOf(address: bigint): number {
    const header = this.#headers.find(
      (candidate) =>
        candidate.type === PROGRAM_HEADER.load &&
        address >= candidate.address &&
        address < candidate.address + candidate.fileBytes,
    );
    if (header === undefined) throw new Error(`nothing of the file is loaded at 0x${address.toString(16)}`);
    return Number(address - header.address + header.fileOffset);
  }

  dropProgramHeader(type: number): void {
    for (const header of this.#headers) {
      if (header.type === type) this.view.setUint32(header.at, PROGRAM_HEADER.none, true);
    }
  }

  #programHeader(at: number): ProgramHeader {
    return {
      at,
      type: this.view.getUint32(at, true),
      fileOffset: this.view.getBigUint64(at + 8, true),
      address: this.view.getBigUint64(at + 16, true),
      fileBytes: this.view.getBigUint64(at + 32, true),
    };
  }
}
