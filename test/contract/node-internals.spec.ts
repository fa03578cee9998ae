import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { afterEach, describe, expect, it } from '@jest/globals';
import { dropEarly } from '../../lib/listener/early-drop.js';

let server: Server;
let accepted = 0;

async function listen(prepare: (server: Server) => void): Promise<void> {
  accepted = 0;
  server = createServer((socket) => {
    accepted++;
    socket.on('error', () => undefined);
    socket.end('hello');
  });
  prepare(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
}

/** What a client of that address gets: text, or the code of an error. */
async function visit(from: string): Promise<string> {
  const socket = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', localAddress: from });
  let text = '';
  let code: string | undefined;
  socket.on('data', (chunk) => (text += chunk.toString()));
  socket.on('error', (error: NodeJS.ErrnoException) => (code = error.code));
  await new Promise((resolve) => socket.on('close', resolve));
  return code ?? text;
}

afterEach(async () => {
  await new Promise((resolve) => server.close(resolve));
});

describe('Node hands connections over before it makes sockets of them', () => {
  it('so that denied ones are reset without one, and others do not notice', async () => {
    const asked: string[] = [];
    await listen((each) =>
      dropEarly(each, (address) => {
        asked.push(address);
        return address === '127.0.0.9';
      }),
    );
    expect(await visit('127.0.0.9')).toBe('ECONNRESET');
    expect(accepted).toBe(0);
    expect(await new Promise((resolve) => server.getConnections((_, count) => resolve(count)))).toBe(0);
    expect(await visit('127.0.0.8')).toBe('hello');
    expect(accepted).toBe(1);
    expect(asked).toEqual(['127.0.0.9', '127.0.0.8']);
  });

  it('again after the server was closed and listens anew', async () => {
    await listen((each) => dropEarly(each, () => true));
    await new Promise((resolve) => server.close(resolve));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    expect(await visit('127.0.0.9')).toBe('ECONNRESET');
    expect(accepted).toBe(0);
  });
});
