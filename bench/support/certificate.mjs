import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const KINDS = {
  ec: ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'],
  rsa: ['-newkey', 'rsa:2048'],
};
const made = {};

/** A self-signed certificate for localhost and its key; the same one at each call. Needs `openssl`. */
export function certificate(kind = 'ec') {
  made[kind] ??= issue(KINDS[kind]);
  return made[kind];
}

function issue(algorithm) {
  const folder = mkdtempSync(join(tmpdir(), 'nest-secure-ws-bench-'));
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
  try {
    const to = ['-days', '2', '-nodes', '-subj', '/CN=localhost', '-keyout', key, '-out', cert];
    execFileSync('openssl', ['req', '-x509', ...algorithm, ...to], { stdio: 'pipe' });
    return { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
