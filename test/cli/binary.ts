// The executable over the sources: what bin/nest-secure-ws.js is over the built package.
import { fileURLToPath } from 'node:url';
import { main } from '../../lib/cli/index.js';

const stopped = new AbortController();
process.once('SIGINT', () => stopped.abort());
process.once('SIGTERM', () => stopped.abort());
const code = await main(process.argv.slice(2), {
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  cwd: process.cwd(),
  signal: stopped.signal,
  self: fileURLToPath(import.meta.url),
});
process.stdout.write('', () => process.stderr.write('', () => process.exit(code)));
