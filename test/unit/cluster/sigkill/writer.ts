import { writeSync } from 'node:fs';
import { startFileNode } from './one-node.ts';

/** Proposes boot files "f-ROUND-N" until it is killed, and says the name of each once it is acknowledged. */
const [folder = '', round = ''] = process.argv.slice(2);
const { node } = await startFileNode(folder, `child-${round}`, Number(round));
let next = 0;

async function proposeForEver(): Promise<never> {
  for (;;) {
    const mine = ++next;
    const name = `f-${round}-${mine % 200}`;
    const sha256 = mine.toString(16).padStart(64, '0');
    const result = await node.propose({ type: 'addBootFile', name, sizeBytes: mine, sha256, holder: 'n1' });
    // At once, not when the event loop gets to it: what is said here is what a client was told.
    if (result.ok) writeSync(1, `${name} ${mine}\n`);
  }
}

await Promise.all(Array.from({ length: 8 }, proposeForEver));
