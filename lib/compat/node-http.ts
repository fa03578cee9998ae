import { createServer, type Server as HttpServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Server as HttpsServer } from 'node:https';
import type { Server, Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { createServer as createTlsServer } from 'node:tls';

/**
 * The behaviour of Node's HTTP server beyond its documentation: which listener of the server is Node's own, which
 * listeners that one adds to a socket, and where its parser reports a request. `probeHttp()` checks all of it at start,
 * on a stream without a connection. On a version of Node that differs, none of it is used, and upgrades arrive only
 * through the documented 'upgrade' event.
 */
export type WebServer = HttpServer | HttpsServer;

/** Node's own listener that starts HTTP on a connection. */
export type ServeHttp = (this: Server, socket: Socket) => void;
type Listener = (...args: unknown[]) => void;
/** An `IncomingMessage` as Node's parser reports it; `upgrade` is set if it asks for another protocol. */
export type ParsedRequest = IncomingMessage & { upgrade?: boolean };
type OnIncoming = (request: ParsedRequest, keepAlive: boolean) => unknown;
type Served = Socket & { parser?: Parser | null; readonly _handle?: StreamHandle | null };

/** The socket that Node's parser reads. */
interface Parser {
  [callback: number]: unknown;
  onIncoming?: OnIncoming | null;
  _consumed?: boolean;
  consume?(handle: StreamHandle): void;
}

interface StreamHandle {
  readonly isStreamBase?: boolean;
  reading?: boolean;
  readStart?(): number;
  readStop?(): number;
  _consumed?: boolean;
}

/** Node's own listener, a function that all servers share, for 'connection' and, over TLS, 'secureConnection'. */
export const NODE_LISTENER = createServer().listeners('connection')[0] as ServeHttp | undefined;

/** The listener with which every Node TLS server starts TLS on a connection. */
export const TLS_LISTENER = createTlsServer().listeners('connection')[0] as ServeHttp | undefined;

/** The listeners that Node's listener adds to a socket, in order. */
const EVENTS = ['data', 'end', 'close', 'drain', 'error', 'timeout', 'resume', 'pause'] as const;
/** Functions that Node sets on a socket while HTTP is used on it. */
const OVERRIDES = ['on', 'addListener', 'prependListener', 'setEncoding'] as const;

/** HTTP on one connection of Node's server, whose bytes can be read before Node's parser gets them. */
export class HttpConnection {
  private readonly added: (readonly [event: string, listener: Listener])[];
  private readonly parse: Listener | undefined;
  private reader: ((chunk: Buffer) => void) | undefined;

  /** Starts HTTP on `socket` with the server's own listener. */
  constructor(
    server: WebServer,
    private readonly socket: Socket,
    serve: ServeHttp,
  ) {
    const before = EVENTS.map((event) => socket.listenerCount(event));
    serve.call(server, socket);
    this.added = EVENTS.flatMap((event, i) =>
      socket
        .rawListeners(event)
        .slice(before[i])
        .map((listener) => [event, listener as Listener] as const),
    );
    this.parse = this.added.find(([event]) => event === 'data')?.[1];
  }

  /** Whether Node's parser still reads this connection; not after an upgrade, nor after the end. */
  get isParsed(): boolean {
    return ((this.socket as Served).parser ?? undefined) !== undefined;
  }

  /** Passes each chunk to `reader` instead of Node's parser. */
  tap(reader: (chunk: Buffer) => void): void {
    const { socket, parse } = this;
    if (parse === undefined) return;
    this.reader = reader;
    socket.removeListener('data', parse);
    // A new 'data' listener also makes Node read through the stream instead of from the handle.
    socket.on('data', this.onData);
    // Adding the listener resumes the socket in the next tick: Node then reads on, although a 'connection' listener of the
    // application has paused the socket in this tick. A later pause takes effect.
    socket.once('resume', this.onResume);
  }

  private readonly onResume = (): void => {
    if (this.reader !== undefined && this.socket.isPaused()) this.socket.resume();
  };

  private readonly onData = (chunk: Buffer): void => {
    if (this.reader !== undefined) this.reader(chunk);
    else if (this.isParsed) this.parse!.call(this.socket, chunk);
  };

  /** Passes bytes to Node's parser. */
  feed(chunk: Buffer): void {
    parseAsRead(this.socket, () => this.parse?.call(this.socket, chunk));
  }

  /** Notifies Node's parser that the peer has half-closed. */
  end(): void {
    for (const [event, listener] of this.added) if (event === 'end') listener.call(this.socket);
  }

  /** Passes chunks to Node's parser again, which soon reads from the handle, as it does without a tap. */
  untap(): void {
    const { socket, parse, reader } = this;
    if (reader === undefined || parse === undefined) return;
    this.reader = undefined;
    // Listeners of the application must get a chunk after the parser, whose position this listener has.
    if (this.isParsed && socket.listenerCount('data') > 1) return;
    socket.removeListener('data', this.onData);
    if (!this.isParsed) return;
    socket.on('data', parse);
    process.nextTick(consume, this);
  }

  /** @internal Does what Node does when a connection begins, so that chunks need no stream and no Buffer. */
  consume(): void {
    const { parser, _handle: handle, destroyed, readableLength } = this.socket as Served;
    if (!parser?.consume || !handle || parser._consumed || destroyed || readableLength > 0) return;
    if (!readsHandle(this.socket)) return;
    // The stream may have read on: it delivers its data when the application resumes it.
    if (this.socket.isPaused()) return void this.socket.once('resume', () => process.nextTick(consume, this));
    for (const [event, listener] of this.added)
      if (event === 'pause' || event === 'resume') this.socket.on(event, listener);
    parser._consumed = handle._consumed = true;
    parser.consume(handle);
  }

  /** Ends HTTP on the connection, as Node does before it emits 'upgrade'; data in its parser is dropped. */
  detach(): void {
    const { socket, added } = this;
    socket.removeListener('data', this.onData);
    socket.removeListener('resume', this.onResume);
    this.reader = undefined;
    for (const [event, listener] of added) socket.removeListener(event, listener);
    // Node's own listener for the end of a connection frees the parser, and removes it from the server's list.
    for (const [event, listener] of added) if (event === 'close') listener.call(socket);
    for (const name of OVERRIDES) delete (socket as Partial<Socket>)[name];
    if (socket.timeout) timeouts.set(socket, socket.timeout);
    socket.setTimeout?.(0);
  }

  /** Restores the timeout that {@link detach} has removed: the application may have set it. */
  restoreTimeout(): void {
    const timeout = timeouts.get(this.socket);
    if (timeout !== undefined) this.socket.setTimeout(timeout);
  }
}

/** Timeouts of sockets on which HTTP has ended, and may be resumed. */
const timeouts = new WeakMap<Socket, number>();

const consume = (connection: HttpConnection): void => connection.consume();

/**
 * Calls `look` with each request of a connection that asks for another protocol, before Node decides whether to emit
 * 'upgrade': setting `upgrade` to false makes it an ordinary request. `isFirst`: it is the first request of the
 * connection.
 */
export function watchUpgrades(socket: Socket, look: (request: ParsedRequest, isFirst: boolean) => void): void {
  const { parser } = socket as Served;
  const onIncoming = parser?.onIncoming;
  if (!parser || typeof onIncoming !== 'function') return;
  let isFirst = true;
  parser.onIncoming = (request, keepAlive) => {
    if (request.upgrade && request.method !== 'CONNECT') look(request, isFirst);
    isFirst = false;
    return onIncoming(request, keepAlive);
  };
}

/**
 * Delivers bytes that were read from the handle of a socket to the reader of the socket. Bytes for Node's parser do not
 * go through the stream: it would hold them while the application has paused the socket, and the parser would get later
 * bytes first.
 */
export function pushAsRead(socket: Socket, bytes: Buffer): void {
  const isConsumed = (socket as Served).parser?._consumed === true;
  const [parse] = isConsumed ? (socket.listeners('data') as Listener[]) : [];
  parseAsRead(socket, () => void (parse === undefined ? socket.push(bytes) : parse.call(socket, bytes)));
}

/** The callbacks of Node's parser after which it lets promises and ticks run; empty if they were not found. */
let tickingCallbacks: readonly number[] = [];

/**
 * Makes `feed` pass bytes to the parser of a socket as if the parser had read them from the handle: after each piece of
 * a body, or of a long head, it lets the promises and ticks of the application run, so that a request can be answered
 * before an error that follows it in the same chunk. Bytes that come from a stream are all parsed first.
 */
function parseAsRead(socket: Socket, feed: () => void): void {
  const { parser } = socket as Served;
  const { _tickCallback: runTicks } = process as { _tickCallback?: () => void };
  if (!parser || typeof runTicks !== 'function' || !readsHandle(socket)) return feed();
  const were = tickingCallbacks.map((key) => [key, parser[key] as Listener] as const);
  for (const [key, callback] of were)
    parser[key] = function (this: unknown, ...args: unknown[]): void {
      callback.apply(this, args);
      runTicks.call(process);
    };
  try {
    feed();
  } finally {
    // Node reuses parsers for later connections.
    for (const [key, callback] of were) parser[key] = callback;
  }
  if (socket.isPaused()) holdBack(socket);
}

/**
 * Reads nothing until a paused socket is resumed, as Node does when its parser reads from the handle: the stream would
 * read on, and a half-close behind a body that nobody has read yet would abort its request.
 */
function holdBack(socket: Socket): void {
  const { parser, _handle: handle } = socket as Served;
  if (!parser || !handle?.readStop || !handle.readStart || socket.destroyed) return;
  handle.readStop();
  // The stream starts reading where nothing is read.
  handle.reading = true;
  const onResume = (): void => {
    // The event of an earlier resume().
    if (socket.isPaused()) return;
    socket.removeListener('resume', onResume);
    if (!socket.destroyed) (socket as Served)._handle?.readStart?.();
  };
  socket.on('resume', onResume);
}

/** Whether Node's parser would read the connection from its handle; not if the application also reads it. */
const readsHandle = (socket: Socket): boolean =>
  (socket as Served)._handle?.isStreamBase === true &&
  socket.listenerCount('data') <= 1 &&
  socket.listenerCount('readable') === 0;

/** The response that is still being written to a socket, if there is one. */
export const unanswered = (socket: Socket): ServerResponse | undefined =>
  (socket as { _httpMessage?: ServerResponse | null })._httpMessage ?? undefined;

/** The original listeners of replacements that were undone while another application had replaced them in turn. */
const givenBack = new WeakMap<Listener, Listener>();

function standing(listener: Listener): Listener {
  let found = listener;
  for (let next = givenBack.get(found); next !== undefined; next = givenBack.get(found)) found = next;
  return found;
}

/**
 * Replaces `own` by `replacement` among the listeners of a server. Returns a function that undoes this, or `undefined`
 * if `own` was not found.
 */
export function replaceListener(
  server: Server,
  event: string,
  own: Listener,
  replacement: Listener,
): (() => void) | undefined {
  if (!substitute(server, event, own, replacement)) return undefined;
  return () => {
    givenBack.set(replacement, own);
    substitute(server, event, replacement, standing(own));
  };
}

function substitute(server: Server, event: string, from: Listener, to: Listener): boolean {
  const all = server.rawListeners(event) as (Listener & { listener?: Listener })[];
  const at = all.indexOf(from);
  if (at < 0) return false;
  // Node cannot insert a listener, so the listeners after it are removed and added again.
  for (const each of all.slice(at).reverse()) server.removeListener(event, each.listener ?? each);
  for (const each of [to, ...all.slice(at + 1)]) server.on(event, each);
  return true;
}

/** A replaced method: the replacement of this one, if any, and the original. */
interface Layer {
  above: Layer | undefined;
  below: AnyMethod;
  before: PropertyDescriptor | undefined;
}

type AnyMethod = (this: unknown, ...args: unknown[]) => unknown;
const layers = new WeakMap<object, Layer>();

/**
 * Replaces a method of one object until the returned function is called. `wrap` gets a function that calls the previous
 * method. Several applications can replace the same method, and undo this in any order.
 */
export function replaceMethod<T extends object, K extends keyof T>(
  target: T,
  name: K,
  wrap: (was: T[K]) => T[K],
): () => void {
  const layer: Layer = {
    above: undefined,
    below: target[name] as AnyMethod,
    before: Object.getOwnPropertyDescriptor(target, name),
  };
  const lower = layers.get(layer.below);
  if (lower !== undefined) lower.above = layer;
  const was: AnyMethod = function (...args) {
    return layer.below.apply(this, args);
  };
  const replacement = wrap(was as T[K]);
  layers.set(replacement as object, layer);
  Object.defineProperty(target, name, { configurable: true, writable: true, enumerable: false, value: replacement });
  return () => {
    const { above, below, before } = layer;
    const lower = layers.get(below);
    if (target[name] === replacement) {
      if (lower !== undefined) lower.above = undefined;
      if (before === undefined) delete target[name];
      else Object.defineProperty(target, name, before);
    } else if (above !== undefined) {
      // Another application has replaced it since.
      if (lower !== undefined) lower.above = above;
      above.below = below;
      above.before = before;
    }
    // A later wrapper of other code still calls this function, which then only passes on.
  };
}

/** Whether the parser of this Node accepts an element of `Connection` before a tab; that of Node 20 does. */
let tabEndsOption = false;
const BEFORE_TAB = /(?:^|,)[\t ]*upgrade *(?:,|$)/i;

/**
 * The rule by which this Node's parser finds `upgrade` in a `Connection` field; `undefined` if it is that of RFC 9110.
 */
export const upgradeOption = (): RegExp | undefined => (tabEndsOption ? BEFORE_TAB : undefined);

let problem: string | undefined | null = null;

/** The difference of this Node's HTTP server from the expected behaviour; `undefined` if there is none. Probed once. */
export function httpProblem(): string | undefined {
  if (problem !== null) return problem;
  try {
    problem = probeHttp();
  } catch (error) {
    problem = `Node's HTTP server: ${(error as Error).message}`;
  }
  return problem;
}

class Unconnected extends Duplex {
  override _read(): void {}
  override _write(_chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    done();
  }
}

function probeHttp(): string | undefined {
  // The probe has no TCP handle. On one, the parser of Deno reads on after it was told to let go.
  if ((process.versions as { deno?: string }).deno !== undefined) return "Deno's HTTP server reads connections itself";
  if (typeof NODE_LISTENER !== 'function') return "Node's HTTP server listens to no 'connection'";
  const server = createServer();
  const paths: unknown[] = [];
  let isAnswering = false;
  // Without a listener Node would not emit 'upgrade'. Tracing agents, which replace the prototype's method, do not see
  // this emit.
  server.on('upgrade', () => undefined);
  server.emit = ((event: string, request: IncomingMessage, response: unknown): boolean => {
    paths.push(event === 'request' ? request.url : event);
    isAnswering = unanswered(request.socket) === response;
    return true;
  }) as typeof server.emit;
  const socket = new Unconnected() as unknown as Socket;
  const first = new HttpConnection(server, socket, NODE_LISTENER);
  let upgrades = 0;
  first.tap(() => undefined);
  first.feed(Buffer.from('GET /lost HTTP/1.1\r\nHo'));
  first.detach();
  if (first.isParsed || EVENTS.some((event) => socket.listenerCount(event) > 0))
    return "Node's HTTP server does not let go of a connection";
  const second = new HttpConnection(server, socket, NODE_LISTENER);
  watchUpgrades(socket, (request) => {
    upgrades++;
    request.upgrade = false;
  });
  const head = 'GET /found HTTP/1.1\r\nHost: a\r\nUpgrade: probe\r\nConnection: upgrade';
  second.feed(Buffer.from(`${head}\r\n\r\n`));
  const third = new Unconnected() as unknown as Socket;
  let isUpgrade = false;
  const tabbed = new HttpConnection(server, third, NODE_LISTENER);
  watchUpgrades(third, (request) => {
    isUpgrade = true;
    request.upgrade = false;
  });
  tabbed.feed(Buffer.from(`${head}\t\r\n\r\n`));
  tabEndsOption = !isUpgrade;
  paths.pop();
  const fourth = new Unconnected() as unknown as Socket;
  tickingCallbacks = findTickingCallbacks(new HttpConnection(server, fourth, NODE_LISTENER), fourth);
  paths.pop();
  for (const each of [socket, third, fourth]) each.destroy();
  const isFound = paths.length === 1 && paths[0] === '/found' && upgrades === 1 && isAnswering;
  return isFound ? undefined : "Node's HTTP server reads a connection in an unknown way";
}

/** The callbacks of Node's parser, which are stored under numbers, that get the pieces of a body and of a long head. */
function findTickingCallbacks(connection: HttpConnection, socket: Socket): number[] {
  const { parser } = socket as Served;
  if (!parser) return [];
  const found = new Set<number>();
  const callbacks = Object.entries(parser).filter(([key, value]) => /^\d+$/.test(key) && typeof value === 'function');
  for (const [key, callback] of callbacks) {
    parser[Number(key)] = function (this: unknown, ...args: unknown[]): unknown {
      if (args[0] instanceof Uint8Array || Array.isArray(args[0])) found.add(Number(key));
      return (callback as Listener).apply(this, args);
    };
  }
  const lines = 'A: a\r\n'.repeat(100);
  connection.feed(Buffer.from(`POST / HTTP/1.1\r\nHost: a\r\n${lines}Content-Length: 1\r\n\r\n.`));
  for (const [key, callback] of callbacks) parser[Number(key)] = callback;
  return [...found];
}
