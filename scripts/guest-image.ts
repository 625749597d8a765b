import { copyFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { guestImage } from './guest-image/build.ts';

const HELP = `usage: node dist/scripts/guest-image.js [--cache FOLDER] [--output FILE]

Makes a small Linux disk that boots from iSCSI under BIOS and UEFI and obeys commands on its serial console
(see scripts/guest-image/README.md), from Debian packages alone. Prints the path of the image.

  --cache FOLDER   keep finished images there (default: node_modules/.cache/bootfabric)
  --output FILE    copy the image to FILE
  --help           this text`;

function main(args: readonly string[]): number {
  const { values } = parseArgs({
    args: [...args],
    options: { cache: { type: 'string' }, output: { type: 'string' }, help: { type: 'boolean' } },
  });
  if (values.help === true) {
    console.log(HELP);
    return 0;
  }
  const image = guestImage(values.cache === undefined ? {} : { cacheFolder: values.cache });
  if (values.output !== undefined) copyFileSync(image, values.output);
  console.log(values.output ?? image);
  return 0;
}

process.exitCode = main(process.argv.slice(2));
