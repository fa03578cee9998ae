import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { CloseCode, connect, UnexpectedStatusError } from 'nest-secure-ws';
import { attempt } from 'nest-secure-ws/testing';
import { TokenGuard } from './app.module.js';
import { CLASSES, CODES, FUNCTIONS, TEXTS } from './surface.js';

// Starts an application in its own process (the one beside this file, or `node try.js …/main.js`), connects to it, and
// ends it.

for (const each of CLASSES) assert.match(Function.prototype.toString.call(each), /^class\b/);
for (const each of FUNCTIONS) assert.doesNotMatch(Function.prototype.toString.call(each), /^class\b/);
assert.ok(Object.values(CODES).every(Number.isInteger));
for (const each of TEXTS) assert.match(each, /^\d+\.\d+\.\d+/);
assert.equal(new TokenGuard().admit(attempt({ path: '/chat' })).decision, 'refuse');

const main = process.argv[2] ?? fileURLToPath(new URL('main.js', import.meta.url));
const app = spawn(process.execPath, [main], {
  stdio: ['ignore', 'pipe', 'inherit'],
  timeout: 40_000,
  killSignal: 'SIGKILL',
});
process.on('exit', () => app.kill('SIGKILL'));
const exited = once(app, 'exit');
// If it does not start, its output ends without an address.
const [line] = (await Promise.race([once(app.stdout, 'data'), exited.then(() => [''])])) as [Buffer | string];
const url = String(line).trim().replace('http:', 'ws:');
assert.match(url, /^ws:/, 'the application did not start');

const refusal: unknown = await connect(`${url}/chat`).catch((error: unknown) => error);
assert.ok(refusal instanceof UnexpectedStatusError);
assert.equal(refusal.status, 401);
assert.equal(refusal.headers['server'], 'from .env');

const socket = await connect(`${url}/chat?token=ann`);
const messages = socket[Symbol.asyncIterator]();
const next = async (): Promise<unknown> => JSON.parse(String((await messages.next()).value));
socket.sendEvent('say', { text: 'hello' });
assert.deepEqual(await next(), { event: 'said', data: { text: 'hello', by: 'ann', ip: '127.0.0.1', same: true } });
socket.sendEvent('say', { text: 'x'.repeat(21) });
assert.match(JSON.stringify(await next()), /"event":"exception".*text must be shorter/);
socket.send('x'.repeat(1025));
assert.equal((await socket.closed).code, CloseCode.MESSAGE_TOO_BIG);

const last = await connect(`${url}/chat?token=bob`);
app.kill('SIGTERM');
assert.equal((await last.closed).code, CloseCode.GOING_AWAY);
assert.deepEqual(await exited, [0, null]);
