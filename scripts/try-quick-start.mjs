// Starts the quick-start sample as the README does, connects to it, and ends it as an operator would.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { WebSocket } from 'ws';

const port = 20_000 + (process.pid % 20_000);
const child = spawn('npm', ['start', '--silent'], {
  env: { ...process.env, PORT: String(port), WEBSOCKETS_SERVER: 'tried' },
  stdio: ['ignore', 'pipe', 'inherit'],
});
const fail = (message) => {
  console.error(message);
  child.kill('SIGKILL');
  process.exit(1);
};
const limit = setTimeout(() => fail('nothing for 90 seconds'), 90_000);

let output = '';
for await (const chunk of child.stdout) {
  output += chunk;
  if (output.includes(`:${port}`)) break;
}
if (!output.includes(`:${port}`)) fail(`the sample did not start: ${output}`);

const page = await fetch(`http://127.0.0.1:${port}/`);
if (page.status !== 200 || !(await page.text()).includes('<html')) fail('no page at /');

const socket = new WebSocket(`ws://127.0.0.1:${port}/`);
const opened = once(socket, 'open');
const [response] = await once(socket, 'upgrade');
if (response.headers.server !== 'tried') fail(`Server is ${response.headers.server}`);
await opened;
socket.send(JSON.stringify({ event: 'echo', data: 'hello' }));
const [message] = await once(socket, 'message');
if (String(message) !== '{"event":"echo","data":"hello"}') fail(`unexpected answer ${message}`);

const closed = once(socket, 'close');
child.kill('SIGTERM');
const [code] = await closed;
if (code !== 1001) fail(`closed with ${code}`);
const [status] = child.exitCode === null ? await once(child, 'exit') : [child.exitCode];
if (status !== 0) fail(`ended with ${status}`);
clearTimeout(limit);
console.log('The quick start serves, and ends cleanly.');
