/** The page: one connection at a time, and a list of its events. */
const $ = (id) => document.getElementById(id);
const controls = ['echo', 'shout', 'malformed', 'malformed-many', 'large'].map($);
const MARKS = { sent: '↑', received: '↓', note: '·', problem: '×' };
const MAX_LINES = 500;
const MAX_SHOWN = 300;
const MIB = 2 ** 20;

let socket;
let strikes = 10;

function connect() {
  const url = new URL('.', location.href);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  url.hash = url.search = '';
  const started = performance.now();
  let opened = false;
  const current = (socket = new WebSocket(url));
  show('wait', 'connecting', 'Cancel');
  fill({ url: url.href, protocol: '–', extensions: '–', ending: '–' });
  current.onopen = () => {
    opened = true;
    $('help').hidden = true;
    show('open', 'connected', 'Disconnect');
    fill({ protocol: current.protocol || 'none', extensions: current.extensions || 'none' });
    log('note', `connected in ${Math.round(performance.now() - started)} ms`);
    settings();
  };
  current.onmessage = ({ data }) => {
    log(isException(data) ? 'problem' : 'received', typeof data === 'string' ? data : `${data.size} bytes`);
  };
  current.onclose = ({ code, reason }) => {
    const ending = `${code}${reason && ` ${reason}`}`;
    const text = opened ? `closed: ${ending}` : 'refused or unreachable: a browser does not tell a page which';
    $('help').hidden = opened;
    const clean = opened && (code === 1000 || code === 1005);
    show(clean ? 'closed' : 'ended', clean ? 'not connected' : opened ? `ended: ${ending}` : 'refused', 'Connect');
    fill({ ending: opened ? ending : 'no handshake' });
    log(clean ? 'note' : 'problem', text);
    socket = undefined;
  };
}

function show(state, text, action) {
  $('status').dataset.state = state;
  $('state').textContent = text;
  $('toggle').textContent = action;
  for (const control of controls) control.disabled = state !== 'open';
}

function fill(values) {
  for (const [id, value] of Object.entries(values)) $(id).textContent = value;
}

/** Shows the server's settings. */
async function settings() {
  const response = await fetch('settings.json').catch(() => undefined);
  if (!response?.ok) return;
  const { server, maxSize, rate, strikes: malformed, pingInterval, dashboard } = await response.json();
  if (dashboard) linkOperators();
  strikes = malformed.limit;
  fill({
    server: server ?? 'none',
    'max-size': maxSize >= MIB ? `${+(maxSize / MIB).toFixed(2)} MiB` : `${maxSize} bytes`,
    rate: `at most ${perWindow(rate)}`,
    strikes: `at most ${perWindow(malformed)}`,
    ping: pingInterval === null ? 'off' : `every ${pingInterval / 1000} s`,
  });
}

/** Links to the pages that exist only when the server has a token for them. */
function linkOperators() {
  const target = document.getElementById('operators');
  const links = ['ws-admin', 'metrics'].map((href) => Object.assign(document.createElement('a'), { href }));
  links[0].textContent = 'Dashboard';
  links[1].textContent = 'metrics';
  target.replaceChildren(links[0], ' and ', links[1], ' of this server');
  target.hidden = false;
}

const perWindow = ({ limit, window }) => `${limit} in ${window / 1000} s`;

function isException(data) {
  return typeof data === 'string' && data.startsWith('{"event":"exception"');
}

function send(text) {
  if (socket?.readyState !== WebSocket.OPEN) return;
  socket.send(text);
  log('sent', text);
}

function say(event) {
  send(JSON.stringify({ event, data: $('text').value }));
  $('text').select();
}

/** Adds a line; the list scrolls to it unless the user has scrolled up. */
function log(kind, text) {
  const list = $('log');
  const follows = list.scrollTop + list.clientHeight >= list.scrollHeight - 8;
  const line = document.createElement('li');
  line.className = kind;
  const shown = text.length > MAX_SHOWN ? `${text.slice(0, 60)}… (${text.length} characters)` : text;
  const parts = [
    ['time', new Date().toLocaleTimeString('en-GB')],
    ['b', MARKS[kind]],
    ['span', shown],
  ];
  for (const [tag, content] of parts) line.appendChild(document.createElement(tag)).textContent = content;
  list.append(line);
  while (list.childElementCount > MAX_LINES) list.firstElementChild.remove();
  if (follows) list.scrollTop = list.scrollHeight;
}

$('toggle').onclick = () => (socket === undefined ? connect() : socket.close());
$('form').onsubmit = (event) => {
  event.preventDefault();
  say('echo');
};
$('shout').onclick = () => say('shout');
$('malformed').onclick = () => send('{ this is no JSON');
$('malformed-many').onclick = () => {
  for (let i = 0; i <= strikes; i++) send('{ this is no JSON');
};
$('large').onclick = () => send(JSON.stringify({ event: 'echo', data: 'x'.repeat(2 * MIB) }));
$('clear').onclick = () => $('log').replaceChildren();

connect();
