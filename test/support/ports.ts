import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** One file for each port that these functions have returned, with the id of the process. */
const CLAIMS = join(tmpdir(), 'nest-secure-ws-test-ports');
let isSwept = false;

/**
 * A port for a server that a test starts, below the range of outgoing connections: a client that retries a server that
 * has ended must not connect to itself. The bus of Redis Cluster uses the port 10 000 above.
 */
export async function unusedPort(): Promise<number> {
  for (;;) {
    const port = claimed(10_000, 15_000);
    if ((await isFree(port)) && (await isFree(port + 10_000))) return port;
  }
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  const listens = await new Promise<boolean>((resolve) => {
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => resolve(true));
  });
  if (listens) await new Promise((resolve) => server.close(resolve));
  return listens;
}

/**
 * A port for a dedicated listener, at once: decorators need it before anything listens. The range is above those of
 * {@link unusedPort} and of the buses, and below that of outgoing connections.
 */
export function freePort(): number {
  for (;;) {
    const port = claimed(25_000, 32_000);
    if (!isUsed(port)) return port;
  }
}

/** A random port of the range. While this process runs, no other test process gets the same one. */
function claimed(from: number, to: number): number {
  if (!isSwept) sweep();
  isSwept = true;
  for (;;) {
    const port = from + Math.floor(Math.random() * (to - from));
    if (claim(port)) return port;
  }
}

function claim(port: number): boolean {
  try {
    writeFileSync(join(CLAIMS, String(port)), String(process.pid), { flag: 'wx' });
    return true;
  } catch {
    return false;
  }
}

/** Removes the claims of processes that have ended. */
function sweep(): void {
  mkdirSync(CLAIMS, { recursive: true });
  for (const name of readdirSync(CLAIMS)) {
    const file = join(CLAIMS, name);
    try {
      if (!isAlive(Number(readFileSync(file, 'utf8')))) rmSync(file, { force: true });
    } catch {
      // Another process has removed it.
    }
  }
}

function isAlive(pid: number): boolean {
  try {
    // A claim that is being written has no id yet.
    return pid === 0 || process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}

/** Whether another program uses the port, on Linux. */
function isUsed(port: number): boolean {
  const local = new RegExp(`^ *\\d+: [0-9A-F]+:${port.toString(16).toUpperCase().padStart(4, '0')} `, 'm');
  return ['/proc/net/tcp', '/proc/net/tcp6'].some((file) => {
    try {
      return local.test(readFileSync(file, 'utf8'));
    } catch {
      return false;
    }
  });
}
