import { createHook } from 'node:async_hooks';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Duplex } from 'node:stream';
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { Logger } from '@nestjs/common';
import { SubscribeMessage } from '@nestjs/websockets';
import { allow, Principal, SecureGateway, type SecureWsOptions, UseAdmissionGuards } from 'nest-secure-ws';
import { eventually, startApp, type TestApp } from '../../support/app.js';
import { issue, type Pair } from '../../support/certificates.js';
import { openedByTests } from '../../support/opened.js';
import { freePort } from '../../support/ports.js';
import { RawClient, upgradeHead } from '../../support/raw-client.js';
import { passUntil, restoreTime, stopTime } from '../../support/stopped-time.js';

const PORT = freePort();

@SecureGateway(PORT, { listen: { host: '127.0.0.1' } })
@UseAdmissionGuards(({ certificate, secure }) => allow({ principal: [certificate?.subject.CN ?? null, secure] }))
class Own {
  @SubscribeMessage('who')
  who(@Principal() principal: unknown) {
    return { event: 'who', data: principal };
  }
}

let ca: Pair;
let first: Pair;
let second: Pair;
let known: Pair;
let stranger: Pair;
let folder: string;
beforeAll(() => {
  ca = issue('our ca', { isCa: true });
  first = issue('first', { ca });
  second = issue('second', { ca });
  known = issue('anna', { ca });
  stranger = issue('mallory');
  folder = mkdtempSync(join(tmpdir(), 'nest-secure-ws-tls-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const opened = openedByTests();
const { clients } = opened;
afterEach(() => {
  jest.restoreAllMocks();
  restoreTime();
});

const start = async (tls: SecureWsOptions['tls'], more: SecureWsOptions = {}): Promise<TestApp> =>
  (opened.app = await startApp({ gateways: [Own], options: { ...more, tls } }));

async function who(tls: ConnectionOptions = {}): Promise<unknown> {
  const client = await RawClient.open({ port: PORT, tls });
  clients.push(client);
  client.send('who');
  return ((await client.json()) as { data: unknown }).data;
}

/** The common name of the certificate presented to a new client. */
async function shown(): Promise<string> {
  const client = await RawClient.connect({ port: PORT, tls: {} });
  const { subject } = (client.socket as TLSSocket).getPeerCertificate();
  client.destroy();
  return String(subject.CN);
}

const pems = ({ cert, key }: Pair) => ({ cert, key });

/** Writes a certificate and its key into a new folder. */
function written(name: string, { cert, key }: Pair): string {
  const path = join(folder, name);
  mkdirSync(path, { recursive: true });
  writeFileSync(join(path, 'cert.pem'), cert);
  writeFileSync(join(path, 'key.pem'), key);
  return path;
}

const filesIn = (path: string) => ({ certFile: join(path, 'cert.pem'), keyFile: join(path, 'key.pem') });

describe('TLS on a dedicated port', () => {
  it('is configured with values or with files', async () => {
    await start(pems(first));
    expect(await who()).toEqual([null, true]);
    for (const client of clients.splice(0)) client.destroy();
    await opened.app!.close();
    await start(filesIn(written('plain', second)));
    expect(await shown()).toBe('second');
  });

  it('refuses plaintext, garbage and old versions, and takes no slot for them', async () => {
    const clock = stopTime();
    await start({ ...pems(first), minVersion: 'TLSv1.3' }, { http: { openTimeout: 1000 } });
    for (const said of [upgradeHead(PORT), '\x16\x03\x01\x00\x05garbage', '\x00'.repeat(300)]) {
      const client = await RawClient.connect({ port: PORT });
      clients.push(client);
      client.write(said);
      await passUntil(clock, () => client.ended || client.closed);
      expect(client.received.toString('latin1')).not.toContain('HTTP');
    }
    await expect(RawClient.connect({ port: PORT, tls: { maxVersion: 'TLSv1.2' } })).rejects.toThrow();
    // The open timeout covers half-open TLS handshakes.
    const half = await Promise.all(Array.from({ length: 20 }, () => RawClient.connect({ port: PORT })));
    clients.push(...half);
    await passUntil(clock, () => half.every((client) => client.ended || client.closed));
    expect(half.every(({ total }) => total === 0)).toBe(true);
    await eventually(() => opened.app!.stats().pending === 0);
    expect(await who()).toEqual([null, true]);
  });

  it('passes a verified client certificate to guards, and refuses any other', async () => {
    await start({ ...pems(first), ca: ca.cert, requestCert: true });
    expect(await who(pems(known))).toEqual(['anna', true]);
    for (const tls of [{}, pems(stranger)]) await expect(who(tls)).rejects.toThrow();
    await eventually(() => opened.app!.stats().pending === 0 && opened.app!.stats().slots === 1);
    expect(opened.app!.stats().opened).toBe(1);
  });

  it.each(['TLSv1.2', 'TLSv1.3'] as const)(
    'resumes a session of %s with its original certificate, and checks it like any other',
    async (maxVersion) => {
      await start(
        { ...pems(first), ca: ca.cert, requestCert: true, minVersion: 'TLSv1.2' },
        { connections: { maxPerIp: 1 } },
      );
      const connected = await RawClient.connect({ port: PORT, tls: { ...pems(known), maxVersion } });
      clients.push(connected);
      const begun = connected.socket as TLSSocket;
      expect(begun.isSessionReused()).toBe(false);
      // TLS 1.3 sends its tickets after the handshake.
      const [session] = maxVersion === 'TLSv1.3' ? await once(begun, 'session') : [begun.getSession()];
      connected.destroy();
      await eventually(() => opened.app!.stats().pending === 0);
      // Only the session identifies the client.
      const resumed = await RawClient.open({ port: PORT, tls: { session, maxVersion } });
      clients.push(resumed);
      expect((resumed.socket as TLSSocket).isSessionReused()).toBe(true);
      resumed.send('who');
      expect(await resumed.json()).toEqual({ event: 'who', data: ['anna', true] });
      // The address is at its connection limit.
      await expect(RawClient.open({ port: PORT, tls: { session, maxVersion } })).rejects.toThrow();
      // A session of another server's keys is not resumed.
      for (const client of clients.splice(0)) client.destroy();
      await opened.app!.close();
      await start({ ...pems(first), ca: ca.cert, requestCert: true }, {});
      await expect(RawClient.open({ port: PORT, tls: { session, maxVersion } })).rejects.toThrow();
    },
  );

  it.each([
    ['requestCert without a CA', () => ({ ...pems(first), requestCert: true }), /tls\.caFile/],
    ['a certificate without its key', () => ({ cert: first.cert }), /tls\.keyFile/],
    ['a key without its certificate', () => ({ key: first.key }), /tls\.certFile/],
    ['a key that does not match its certificate', () => ({ cert: first.cert, key: second.key }), /cannot be used/],
    ['an invalid CA', () => ({ ...pems(first), ca: 'garbage', requestCert: true }), /cannot be used/],
    ['a missing file', () => ({ certFile: '/nowhere/cert.pem', keyFile: '/nowhere/key.pem' }), /ENOENT/],
    ['both a key and its file', () => ({ ...pems(first), keyFile: '/nowhere/key.pem' }), /tls\.key and .* both set/],
    ['both a file and a value', () => ({ ...pems(first), certFile: '/nowhere/cert.pem' }), /both set/],
  ])('%s stops the start', async (_, tls, words) => {
    await expect(start(tls())).rejects.toThrow(words);
  });

  it('reloads changed files without dropping a connection, and keeps the old ones while they do not match', async () => {
    const warn = jest.spyOn(Logger.prototype, 'warn').mockImplementation(() => {});
    const said = (words: string) => warn.mock.calls.some(([line]) => String(line).includes(words));
    const path = written('live', first);
    await start({ ...filesIn(path) });
    const old = await RawClient.open({ port: PORT, tls: {} });
    clients.push(old);
    expect(await shown()).toBe('first');
    writeFileSync(join(path, 'cert.pem'), second.cert);
    await eventually(() => said('the old ones are kept'));
    expect(await shown()).toBe('first');
    writeFileSync(join(path, 'key.pem'), second.key);
    await eventually(() => said('re-read'));
    expect(await shown()).toBe('second');
    rmSync(join(path, 'cert.pem'));
    await eventually(() => said('ENOENT'));
    expect(await shown()).toBe('second');
    old.send('who');
    expect(await old.json()).toEqual({ event: 'who', data: [null, true] });
    expect(warn.mock.calls.join()).not.toContain('PRIVATE KEY');
  });

  it('follows a replaced symbolic link, including the authorities', async () => {
    const other = issue('their ca', { isCa: true });
    const theirs = issue('bert', { ca: other });
    const sets = [
      [written('v1', first), ca.cert],
      [written('v2', second), other.cert],
    ] as const;
    for (const [path, authority] of sets) writeFileSync(join(path, 'ca.pem'), authority);
    const current = join(folder, 'current');
    symlinkSync(sets[0][0], current);
    await start({ ...filesIn(current), caFile: join(current, 'ca.pem'), requestCert: true });
    expect(await who(pems(known))).toEqual(['anna', true]);
    await expect(who(pems(theirs))).rejects.toThrow();
    symlinkSync(sets[1][0], `${current}.new`);
    renameSync(`${current}.new`, current);
    let answer: unknown;
    const until = Date.now() + 8_000;
    while (answer === undefined && Date.now() < until) answer = await who(pems(theirs)).catch(() => undefined);
    expect(answer).toEqual(['bert', true]);
    await expect(who(pems(known))).rejects.toThrow();
  });
});

/** Counts the TLS objects that are created in this process. */
const tlsObjects = { count: 0 };
const hook = createHook({ init: (_id, type) => void (type === 'TLSWRAP' && tlsObjects.count++) });
afterEach(() => void hook.disable());

describe('a peer that is slow to begin TLS', () => {
  const pendingIs = (count: number) => eventually(() => opened.app!.stats().pending === count);
  const silent = (options: { allowHalfOpen?: boolean } = {}) =>
    connect({ port: PORT, host: '127.0.0.1', ...options }).on('error', () => {});

  it('costs no TLS object before its first byte, and no place after its end', async () => {
    await start(pems(first));
    tlsObjects.count = 0;
    hook.enable();
    const sockets = Array.from({ length: 5 }, () => silent({ allowHalfOpen: true }));
    await pendingIs(5);
    expect(tlsObjects.count).toBe(0);
    sockets[0]!.write('\x16\x03');
    sockets[1]!.write('GET / HTTP/1.1\r\n');
    // The second one is refused: it does not begin TLS.
    await eventually(() => tlsObjects.count === 2 && opened.app!.stats().pending === 4);
    sockets[2]!.end();
    await pendingIs(3);
    sockets[3]!.resetAndDestroy();
    await pendingIs(2);
    sockets[0]!.resetAndDestroy();
    await pendingIs(1);
    sockets[4]!.destroy();
    await pendingIs(0);
    expect(await who()).toEqual([null, true]);
    for (const socket of sockets) socket.destroy();
  });

  it('is dropped when it begins TLS and then half-closes, and at shutdown', async () => {
    await start(pems(first));
    const half = silent({ allowHalfOpen: true });
    await pendingIs(1);
    half.end('\x16\x03\x01');
    await pendingIs(0);
    const last = silent();
    await pendingIs(1);
    const gone = once(last, 'close');
    await opened.app!.close();
    await gone;
    half.destroy();
  });

  it('can send its first flight byte by byte, and the request with the end of TLS', async () => {
    await start(pems(first));
    const tcp = silent();
    await once(tcp, 'connect');
    // Every write of the client's TLS is cut into single bytes.
    const cut = new Duplex({
      read: () => {},
      write: (chunk: Buffer, _encoding, done) => {
        for (const byte of chunk) tcp.write(Buffer.of(byte));
        done();
      },
    });
    tcp.setNoDelay(true).on('data', (chunk) => cut.push(chunk));
    const client = connectTls({ socket: cut, rejectUnauthorized: false });
    client.on('error', () => {});
    client.write(upgradeHead(PORT));
    const [answer] = (await once(client, 'data')) as [Buffer];
    expect(answer.toString('latin1')).toContain('101 Switching Protocols');
    client.destroy();
    tcp.destroy();
  });
});

describe('TLS and admission at accept', () => {
  it('drops a denied address before writing a byte of TLS', async () => {
    await start(pems(first), { connections: { deniedIps: ['127.0.0.9'] } });
    const socket = connect({ port: PORT, host: '127.0.0.1', localAddress: '127.0.0.9' });
    let received = 0;
    socket.on('data', ({ length }: Buffer) => (received += length));
    socket.on('error', () => {});
    await new Promise((resolve) => socket.on('close', resolve));
    expect(received).toBe(0);
  });
});
