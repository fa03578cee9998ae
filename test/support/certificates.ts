import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';

export interface Pair {
  readonly cert: string;
  readonly key: string;
}

const NAMES = 'DNS:localhost,IP:127.0.0.1,IP:::1';
const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

let made: Pair | undefined;

/** A self-signed certificate for localhost; the same one at each call. Needs the openssl binary. */
export function selfSigned(): Pair {
  made ??= issue('localhost');
  return made;
}

interface IssueOptions {
  readonly ca?: Pair;
  readonly isCa?: boolean;
  /** The subjectAltName, such as `DNS:a.test,IP:127.0.0.1`. */
  readonly names?: string;
}

/** A certificate and its key, signed by `ca` or self-signed. */
export function issue(name: string, { ca, isCa = false, names = NAMES }: IssueOptions = {}): Pair {
  const folder = mkdtempSync(join(tmpdir(), 'nest-secure-ws-'));
  const file = (of: string) => join(folder, of);
  try {
    const signer = ca === undefined ? [] : ['-CA', file('ca.pem'), '-CAkey', file('ca.key')];
    if (ca !== undefined) {
      writeFileSync(file('ca.pem'), ca.cert);
      writeFileSync(file('ca.key'), ca.key);
    }
    const extensions = [
      '-addext',
      `subjectAltName=${names}`,
      '-addext',
      `basicConstraints=critical,CA:${isCa ? 'TRUE' : 'FALSE'}`,
    ];
    const to = ['-days', '2', '-subj', `/CN=${name}`, '-keyout', file('key'), '-out', file('cert')];
    execFileSync('openssl', ['req', '-x509', ...NEW_KEY, ...extensions, ...signer, ...to], { stdio: 'pipe' });
    return { cert: readFileSync(file('cert'), 'utf8'), key: readFileSync(file('key'), 'utf8') };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The first bytes that a TLS client sends. */
export async function clientHello(): Promise<Buffer> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = connectTls({ port: (server.address() as { port: number }).port, host: '127.0.0.1' });
  client.on('error', () => undefined);
  const [socket] = (await once(server, 'connection')) as [Socket];
  const [bytes] = (await once(socket, 'data')) as [Buffer];
  socket.destroy();
  client.destroy();
  server.close();
  return bytes;
}
