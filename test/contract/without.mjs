// Preloaded: hides one internal of Node from this library, and from no other code.
import { createServer, Server as HttpServer } from 'node:http';
import { Server, Socket } from 'node:net';
import { Duplex } from 'node:stream';

/** Whether the caller is a file of this library, not Node itself. */
const isOurs = () => /[\\/](?:lib|dist)[\\/](?:compat|net|server)[\\/]/.test(new Error().stack.split('\n')[3] ?? '');

/** Makes a property of a prototype absent for files of this library. */
function hide(target, name) {
  let holder = target;
  while (holder !== null && !Object.hasOwn(holder, name)) holder = Object.getPrototypeOf(holder);
  const value = holder[name];
  Object.defineProperty(holder, name, {
    configurable: true,
    get() {
      return isOurs() ? undefined : value;
    },
    set(other) {
      Object.defineProperty(this, name, { configurable: true, writable: true, value: other });
    },
  });
}

/** The same for a property that Node sets on each object. */
function hideOwn(prototype, name) {
  const values = new WeakMap();
  Object.defineProperty(prototype, name, {
    configurable: true,
    get() {
      return isOurs() ? undefined : values.get(this);
    },
    set(value) {
      values.set(this, value);
    },
  });
}

function tcp() {
  const socket = new Socket();
  socket.on('error', () => undefined);
  socket.connect({ host: '127.0.0.1', port: 9 });
  const handle = socket._handle;
  socket.destroy();
  return Object.getPrototypeOf(handle);
}

function writeRequest() {
  let request;
  const writeLatin1String = (each) => {
    request = each;
    return 0;
  };
  const handle = { writeLatin1String, close: () => undefined, readStart: () => 0 };
  new Socket({ handle, readable: false }).write('.', 'latin1');
  return request;
}

const WAYS = {
  _emitCloseIfDrained: () => hide(Server.prototype, '_emitCloseIfDrained'),
  _connections: () => {
    const counts = new WeakMap();
    Object.defineProperty(Server.prototype, '_connections', {
      configurable: true,
      get() {
        return counts.get(this);
      },
      set(count) {
        if (!isOurs()) counts.set(this, count);
      },
    });
  },
  getpeername: () => hide(tcp(), 'getpeername'),
  reset: () => hide(tcp(), 'reset'),
  readStart: () => hide(tcp(), 'readStart'),
  WriteWrap: () => {
    const request = writeRequest();
    // Node 26 creates its requests itself.
    if (request) Object.defineProperty(request.constructor, 'name', { value: 'OtherWrap' });
    else hide(tcp(), 'writeLatin1String');
  },
  'the listener of HTTP servers': () => {
    const on = HttpServer.prototype.on;
    const [own] = createServer().listeners('connection');
    HttpServer.prototype.on = function (event, listener) {
      return on.call(this, event, listener === own ? own.bind(this) : listener);
    };
  },
  kCapture: () => {
    const symbolsOf = Object.getOwnPropertySymbols;
    Object.getOwnPropertySymbols = (object) => {
      const symbols = symbolsOf(object);
      return isOurs() ? symbols.filter(({ description }) => description !== 'kCapture') : symbols;
    };
  },
  // The internals of Node are there: what is shown is that they are not used where the runtime says that it is Deno.
  'a server other than that of Deno': () => {
    Object.defineProperty(process.versions, 'deno', { value: '2.9.6' });
  },
  'the server of a socket': () => hideOwn(Socket.prototype, 'server'),
  _tickCallback: () => hide(process, '_tickCallback'),
  parser: () => hideOwn(Duplex.prototype, 'parser'),
  _parent: () => hideOwn(Duplex.prototype, '_parent'),
};
WAYS[process.env.WITHOUT]?.();
