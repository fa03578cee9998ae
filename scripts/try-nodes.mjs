// Runs the tests with other versions of Node, one after the other; exits with 1 when one of them fails.
//
//     node scripts/try-nodes.mjs 22 24                  every test
//     node scripts/try-nodes.mjs 22 24 test/unit        only those that Jest finds by these words
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { installNode, run, versionOf } from './node-versions.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const FLAGS = ['--experimental-vm-modules', '--disable-warning=ExperimentalWarning', 'node_modules/jest/bin/jest.js'];
/** Time limit of the whole suite in seconds, for a slow machine. */
const LIMIT = 1800;

const words = process.argv.slice(2);
const versions = words.filter((word) => /^\d+$/.test(word));
const chosen = words.filter((word) => !versions.includes(word));
if (versions.length === 0) throw new Error('say which: node scripts/try-nodes.mjs 22 24');

const folder = mkdtempSync(join(tmpdir(), 'try-nodes-'));
try {
  for (const node of versions.map((major) => installNode(major, folder))) tryWith(node);
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}

function tryWith(node) {
  console.log(`\n== Node ${versionOf(node)}`);
  // Processes that tests start as `node` use this version too.
  const env = { ...process.env, PATH: `${dirname(node)}${delimiter}${process.env.PATH}` };
  run(node, [...FLAGS, ...chosen], root, LIMIT, env);
}
