import { AsyncResource } from 'node:async_hooks';
import { createServer, type Server, Socket } from 'node:net';
import { constants } from 'node:os';

/**
 * Node's handle of a TCP connection, which exists before Node creates a socket and its streams. It is not documented:
 * `test/contract/` pins it, and on a version of Node where it differs, all connections are handled as sockets.
 */
export interface Handle {
  /** Called with the bytes that were read, or with none at the end, whether orderly or not. */
  onread?: (this: Handle, bytes?: ArrayBuffer) => void;
  /** Node's socket reads it to find out whether the handle is being read. */
  reading?: boolean;
  readonly bytesRead: number;
  /** Bytes that the kernel has not taken yet. */
  readonly writeQueueSize?: number;
  readStart(): number;
  readStop(): number;
  /**
   * Returns 0, or the code of the error; what cannot be sent at once is sent later, and `request` is notified. Node 26
   * creates the request itself, only in that case, and returns it.
   */
  writeLatin1String(request: Request | null, text: string): number | Request;
  /** 0: in progress, after earlier writes. 1: complete. Other values: an error. */
  shutdown(request: Request): number;
  getpeername(name: HandleAddress): number;
  getsockname?(name: HandleAddress): number;
  reset(): number;
  close(): void;
}

/** Filled in by `getpeername` and `getsockname`. */
export interface HandleAddress {
  address?: string;
  port?: number;
  family?: string;
}

/** An asynchronous write, or a shutdown. Node calls `oncomplete` if it is set. */
export interface Request {
  oncomplete?(status: number): void;
}

type OnConnection = (this: unknown, error: number, client?: Partial<Handle>) => void;

type Listening = Server & {
  readonly _handle?: { onconnection?: OnConnection } | null;
  /** The number of connections, which `getConnections` returns, and for which `close` waits. */
  _connections: number;
  _emitCloseIfDrained(): void;
};

/** The server on which taken connections have arrived. */
export interface AcceptHook {
  /** Counts a connection without a socket up or down: the server reports it, and waits for it when it closes. */
  count(change: 1 | -1): void;
  /** Lets Node continue as usual: it creates a socket, counts it, and emits 'connection'. */
  proceed(client: Handle): void;
}

/** Set on a connection that one application on a server has taken and given to Node: the others do not take it again. */
const PASSED = Symbol.for('nest-secure-ws.passed');
type Passable = Partial<Handle> & { [PASSED]?: true };

/**
 * Takes TCP connections of a server before Node creates sockets for them: `take` returns whether it has taken the
 * connection. Returns a function that undoes this.
 */
export function interceptAccept(
  server: Server,
  take: (address: string, client: Handle, acceptHook: AcceptHook) => boolean,
): () => void {
  let taken: Listening['_handle'];
  let accept: OnConnection | undefined;
  let isOver = false;
  /** The async context of the server, in which Node emits 'connection'. */
  let context: AsyncResource | undefined;
  function onConnection(this: unknown, error: number, client?: Partial<Handle>): void {
    context ??= new AsyncResource('SECUREWS', { requireManualDestroy: true });
    const isNew = !isOver && error === 0 && client !== undefined && (client as Passable)[PASSED] === undefined;
    const address = isNew ? addressOf(client) : undefined;
    if (address === undefined || !take(address, client as Handle, acceptHook)) accept!.call(this, error, client);
  }
  const acceptHook = acceptHookOf(server as Listening, (client) => context!.runInAsyncScope(accept!, taken, 0, client));
  const install = (): void => {
    const handle = (server as Listening)._handle;
    // A server already has its handle before it emits 'listening'.
    if (typeof handle?.onconnection !== 'function' || handle === taken) return;
    taken = handle;
    accept = handle.onconnection;
    handle.onconnection = onConnection;
  };
  if (server.listening) install();
  server.on('listening', install);
  return () => {
    isOver = true;
    server.removeListener('listening', install);
    // If the callback was replaced again since, this one only passes on its arguments.
    if (taken?.onconnection === onConnection) taken.onconnection = accept!;
  };
}

const acceptHookOf = (server: Listening, accept: (client: Handle) => void): AcceptHook => ({
  count(change) {
    server._connections += change;
    if (change < 0 && !server.listening) server._emitCloseIfDrained();
  },
  proceed(client) {
    server._connections--;
    (client as Passable)[PASSED] = true;
    accept(client);
  },
});

/** Resets a connection; closes it if that fails. */
export function resetHandle(client: Handle): void {
  if (client.reset() !== 0) client.close();
}

/**
 * Whether the peer has reset the connection after its end was read: the arguments of `onread` do not distinguish this
 * from an orderly end.
 */
export const wasReset = (client: Handle): boolean => client.getpeername(name) !== 0;

/** The error with which Node destroys the socket of a reset connection. */
export function resetError(): NodeJS.ErrnoException {
  const { ECONNRESET } = constants.errno;
  return Object.assign(new Error('read ECONNRESET'), { errno: -ECONNRESET, code: 'ECONNRESET', syscall: 'read' });
}

/** The handle below a socket. */
export const handleOf = (socket: Socket): Handle | undefined =>
  (socket as { readonly _handle?: Handle | null })._handle ?? undefined;

/** Filled in by Node, and read at once, so that one object is enough. */
const name: { address?: string } = {};

/** `undefined` if the handle is not TCP, or is closed. */
const addressOf = (client: Partial<Handle>): string | undefined =>
  client.getpeername?.(name) === 0 ? name.address : undefined;

/** The request classes of this version of Node. */
export interface Requests {
  /** `undefined` if Node creates the requests of writes itself. */
  readonly Write: (new () => Request) | undefined;
  readonly Shutdown: new () => Request;
}

/**
 * Node does not export its request classes: a socket over a handle that only records calls shows which ones Node uses.
 * `undefined` if Node writes in an unknown way.
 */
export function learnRequests(): Requests | undefined {
  const seen: (object | null)[] = [];
  const see = (request: object | null): number => seen.push(request) * 0;
  const close = (then?: () => void): void => then?.();
  const handle = { writeLatin1String: see, shutdown: see, close, readStart: () => 0, readStop: () => 0 };
  try {
    const socket: Socket = new Socket({ handle, readable: false } as object);
    socket.write('.', 'latin1');
    socket._final(() => undefined);
    socket.destroy();
    const [Write, Shutdown] = seen.map((request) => request?.constructor);
    const isKnown = (seen[0] === null || Write?.name === 'WriteWrap') && Shutdown?.name === 'ShutdownWrap';
    return isKnown ? ({ Write, Shutdown } as unknown as Requests) : undefined;
  } catch {
    return undefined;
  }
}

/** The request classes of this version of Node, determined by {@link handlesProblem}. */
export let requests: Requests | undefined;

const METHODS = ['readStart', 'readStop', 'writeLatin1String', 'shutdown', 'getpeername', 'reset', 'close'] as const;
let problem: string | undefined | null = null;

/** The reason why this Node's handles cannot be used; `undefined` if they can. Probed once. */
export function handlesProblem(): string | undefined {
  if (problem !== null) return problem;
  try {
    problem = serverProblem() ?? handleProblem();
  } catch (error) {
    problem = `Node's handles: ${(error as Error).message}`;
  }
  return problem;
}

/**
 * Checks that the counter of connections can be written, and that a closed server can be notified that one has ended.
 */
function serverProblem(): string | undefined {
  const server = createServer() as Listening;
  const before = server._connections;
  server._connections = before + 1;
  if (before !== 0 || server._connections !== 1) return "a server's _connections cannot be counted";
  server._connections = before;
  return typeof server._emitCloseIfDrained === 'function' ? undefined : 'a server has no _emitCloseIfDrained';
}

/** A socket has its handle before it connects; this one never connects. */
function handleProblem(): string | undefined {
  const socket = new Socket();
  socket.on('error', ignore);
  socket.connect({ host: '127.0.0.1', port: 9 });
  const handle = handleOf(socket);
  const missing = handle === undefined ? METHODS : METHODS.filter((name) => typeof handle[name] !== 'function');
  const isReadable = handle !== undefined && 'onread' in handle && typeof handle.bytesRead === 'number';
  socket.destroy();
  if (missing.length > 0) return `a TCP handle has no ${missing.join(', ')}`;
  if (!isReadable) return 'a TCP handle is read in an unknown way';
  requests = learnRequests();
  return requests === undefined ? 'a socket writes in an unknown way' : undefined;
}

/** Writes text, now or as soon as the peer reads. Returns false if that is not possible. */
export function writeText(client: Handle, { Write }: Requests, text: string): boolean {
  const written = client.writeLatin1String(Write === undefined ? null : new Write(), text);
  if (typeof written === 'number') return written === 0;
  written.oncomplete = ignore;
  return true;
}

function ignore(): void {}
