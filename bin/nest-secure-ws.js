#!/usr/bin/env node
// The command line: npx nest-secure-ws doctor | probe | tune. See docs/command-line.md.
import { fileURLToPath } from 'node:url';

const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  console.error(`nest-secure-ws needs Node 20.19 or newer; this is ${process.versions.node}.`);
  process.exit(2);
}
const { main } = await import('../dist/cli/index.js');
const stopped = new AbortController();
process.once('SIGINT', () => stopped.abort());
process.once('SIGTERM', () => stopped.abort());
// Whoever reads the output has stopped: `nest-secure-ws doctor | head`.
process.stdout.on('error', (error) => process.exit(error.code === 'EPIPE' ? 0 : 2));
const code = await main(process.argv.slice(2), {
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  cwd: process.cwd(),
  signal: stopped.signal,
  self: fileURLToPath(import.meta.url),
}).catch((error) => {
  console.error(error);
  return 2;
});
// What has been printed leaves first; nothing that a command has left behind keeps the process.
process.stdout.write('', () => process.stderr.write('', () => process.exit(code)));
