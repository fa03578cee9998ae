import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from '@jest/globals';
import {
  type AcceptHook,
  type Handle,
  handleOf,
  interceptAccept,
  learnRequests,
  resetHandle,
  writeText,
} from '../../lib/compat/node-handles.js';

let server: Server;
let accepted: Socket[] = [];

async function listen(prepare: (server: Server) => void): Promise<void> {
  accepted = [];
  server = createServer({ allowHalfOpen: true }, (socket) => {
    accepted.push(socket);
    socket.on('error', () => undefined);
    socket.end('hello');
    socket.resume();
  });
  prepare(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
}

function dial(from = '127.0.0.1'): Socket {
  const socket = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', localAddress: from });
  socket.on('error', () => undefined);
  return socket;
}

/** The text that a client from this address receives, or the code of its error. */
async function visit(from: string): Promise<string> {
  const socket = dial(from);
  let text = '';
  let code: string | undefined;
  socket.on('data', (chunk) => (text += chunk.toString()));
  socket.on('error', (error: NodeJS.ErrnoException) => (code = error.code));
  await new Promise((resolve) => socket.on('close', resolve));
  return code ?? text;
}

const handles = (): number => process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length;

afterEach(async () => {
  await new Promise((resolve) => server.close(resolve));
});

describe('accept hook', () => {
  it('resets some connections without a socket, invisibly to the others', async () => {
    const asked: string[] = [];
    await listen((each) =>
      interceptAccept(each, (address, client) => {
        asked.push(address);
        if (address === '127.0.0.9') resetHandle(client);
        return address === '127.0.0.9';
      }),
    );
    expect(await visit('127.0.0.9')).toBe('ECONNRESET');
    expect(accepted).toEqual([]);
    expect(await new Promise((resolve) => server.getConnections((_, count) => resolve(count)))).toBe(0);
    expect(await visit('127.0.0.8')).toBe('hello');
    expect(accepted).toHaveLength(1);
    expect(asked).toEqual(['127.0.0.9', '127.0.0.8']);
  });

  it('works again after the server was closed and listens anew', async () => {
    await listen((each) =>
      interceptAccept(each, (_, client) => {
        resetHandle(client);
        return true;
      }),
    );
    await new Promise((resolve) => server.close(resolve));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    expect(await visit('127.0.0.9')).toBe('ECONNRESET');
    expect(accepted).toEqual([]);
  });
});

describe("a server that has not emitted 'listening' yet", () => {
  it('passes each connection to the accept hook once', async () => {
    let asked = 0;
    server = createServer((socket) => socket.end('hello'));
    server.listen(0);
    expect(server.listening).toBe(true);
    interceptAccept(server, () => ++asked > 1);
    await once(server, 'listening');
    expect(await visit('127.0.0.1')).toBe('hello');
    expect(asked).toBe(1);
  });
});

describe('a handle without a socket', () => {
  /** Takes every connection, and resolves with the first. */
  const firstHandle = (): Promise<{ client: Handle; gate: AcceptHook }> =>
    new Promise((resolve) => {
      void listen((each) =>
        interceptAccept(each, (_, client, gate) => {
          gate.count(1);
          resolve({ client, gate });
          return true;
        }),
      ).then(() => dial().resume().end('0123456789'));
    });

  /** The chunks read from a handle, with an empty one at the end. */
  const readAll = (client: Handle): Promise<Buffer[]> =>
    new Promise((resolve) => {
      const chunks: Buffer[] = [];
      client.onread = (bytes) => {
        chunks.push(bytes === undefined ? Buffer.alloc(0) : Buffer.from(bytes));
        if (bytes === undefined) resolve(chunks);
      };
      client.readStart();
    });

  it('returns exactly the bytes read, and reports the end of the peer', async () => {
    const before = handles();
    const { client, gate } = await firstHandle();
    expect((await readAll(client)).map(String)).toEqual(['0123456789', '']);
    expect(client.bytesRead).toBe(10);
    client.close();
    gate.count(-1);
    while (handles() > before) await new Promise((resolve) => setTimeout(resolve, 5));
  });

  it("is counted by its server, which emits 'close' once after it has closed", async () => {
    const { client, gate } = await firstHandle();
    const connections = () => new Promise((resolve) => server.getConnections((_, count) => resolve(count)));
    expect(await connections()).toBe(1);
    let closed = 0;
    server.close();
    server.on('close', () => closed++);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(closed).toBe(0);
    client.close();
    gate.count(-1);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect([closed, await connections()]).toEqual([1, 0]);
  });

  it('can become a socket of the server later, which reads the following bytes', async () => {
    const { client, gate } = await firstHandle();
    client.readStart();
    client.reading = true;
    gate.proceed(client);
    expect(accepted).toHaveLength(1);
    expect(handleOf(accepted[0]!)).toBe(client);
    const [chunk] = (await once(accepted[0]!, 'data')) as [Buffer];
    expect(String(chunk)).toBe('0123456789');
    await once(accepted[0]!, 'close');
  });

  /** Takes the next connection, and resolves with its handle and a peer that reads on demand. */
  async function pair(): Promise<{ client: Handle; peer: Socket }> {
    const taken: Handle[] = [];
    await listen((each) => interceptAccept(each, (_, client) => taken.push(client) > 0));
    const peer = dial();
    await once(peer, 'connect');
    while (taken.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    return { client: taken[0]!, peer };
  }

  it('writes, and half-closes after the writes, with the requests that sockets use', async () => {
    const requests = learnRequests()!;
    expect([undefined, 'WriteWrap']).toContain(requests.Write?.name);
    expect(requests.Shutdown.name).toBe('ShutdownWrap');
    const { client, peer } = await pair();
    // More than the kernel accepts at once: most of it is written later.
    const text = 'é'.repeat(16 * 1024 * 1024);
    let received = 0;
    peer.on('data', (chunk) => (received += chunk.length));
    expect(writeText(client, requests, text)).toBe(true);
    const done = new Promise<number>((resolve) => {
      expect(client.shutdown(Object.assign(new requests.Shutdown(), { oncomplete: resolve }))).toBe(0);
    });
    await once(peer, 'end');
    expect(received).toBe(text.length);
    expect(await done).toBe(0);
    peer.destroy();
    client.close();
  });

  it('shows what waits to be written, and half-closes without a callback', async () => {
    const requests = learnRequests()!;
    const { client, peer } = await pair();
    expect(writeText(client, requests, 'short')).toBe(true);
    expect(client.writeQueueSize).toBe(0);
    expect(client.shutdown(new requests.Shutdown())).toBe(0);
    const [chunk] = (await once(peer, 'data')) as [Buffer];
    expect(String(chunk)).toBe('short');
    await once(peer, 'end');
    peer.destroy();
    client.close();
    await new Promise((resolve) => server.close(resolve));
    const other = await pair();
    other.peer.pause();
    expect(writeText(other.client, requests, 'x'.repeat(64 * 1024 * 1024))).toBe(true);
    expect(other.client.writeQueueSize).toBeGreaterThan(0);
    other.peer.destroy();
    other.client.close();
  });

  it('may be closed repeatedly, even during a write', async () => {
    const requests = learnRequests()!;
    const { client, peer } = await pair();
    peer.pause();
    expect(writeText(client, requests, 'x'.repeat(64 * 1024 * 1024))).toBe(true);
    const status = new Promise<number>((resolve) => {
      expect(client.shutdown(Object.assign(new requests.Shutdown(), { oncomplete: resolve }))).toBe(0);
    });
    client.close();
    client.close();
    expect(await status).toBeLessThan(0);
    peer.destroy();
  });

  it('reports when nothing can be written any more', async () => {
    const requests = learnRequests()!;
    const { client, peer } = await pair();
    client.close();
    expect(writeText(client, requests, 'x')).toBe(false);
    peer.destroy();
  });
});
