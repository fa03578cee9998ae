import { AsyncResource } from 'node:async_hooks';
import { createServer, type Server, Socket } from 'node:net';
import { constants } from 'node:os';

/**
 * What Node has of a TCP connection before it makes a socket, with its two streams, for it. None of this is documented:
 * `test/contract/` pins it, and where a Node does it in another way, all connections come as sockets.
 */
export interface Handle {
  /** Called with what was read, or with nothing at the end, be it orderly or not. */
  onread?: (this: Handle, bytes?: ArrayBuffer) => void;
  /** Node's socket looks at it to know whether it is being read from. */
  reading?: boolean;
  readonly bytesRead: number;
  readStart(): number;
  readStop(): number;
  /**
   * 0, or what kept it from being written; what does not fit at once is written later, and `request` told. Node 26 makes
   * the request by itself, only then, and answers with it.
   */
  writeLatin1String(request: Request | null, text: string): number | Request;
  /** 0: under way, behind what is being written. 1: done. Else what kept it from being done. */
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

/** A write, or a shutdown, that may take its time. */
export interface Request {
  oncomplete(status: number): void;
}

type OnConnection = (this: unknown, error: number, client?: Partial<Handle>) => void;

type Listening = Server & {
  readonly _handle?: { onconnection?: OnConnection } | null;
  /** What `getConnections` answers, and `close` waits for. */
  _connections: number;
  _emitCloseIfDrained(): void;
};

/** Where connections that were taken have come in. */
export interface AcceptHook {
  /** One more, or one less, that is no socket (yet): its server counts it all the same, and waits for it when it closes. */
  count(change: 1 | -1): void;
  /** Node goes on as if nothing had been: a socket, which it counts, and the server's 'connection'. */
  proceed(client: Handle): void;
}

/**
 * Takes each TCP connection of a server before Node makes a socket for it: `take` answers whether it has taken it.
 * Answers what gives the server back.
 */
export function interceptAccept(
  server: Server,
  take: (address: string, client: Handle, acceptHook: AcceptHook) => boolean,
): () => void {
  let taken: Listening['_handle'];
  let accept: OnConnection | undefined;
  let isOver = false;
  /** The async context of the server, in which Node emits its 'connection'. */
  let context: AsyncResource | undefined;
  function onConnection(this: unknown, error: number, client?: Partial<Handle>): void {
    context ??= new AsyncResource('SECUREWS', { requireManualDestroy: true });
    const address = !isOver && error === 0 && client !== undefined ? addressOf(client) : undefined;
    if (address === undefined || !take(address, client as Handle, acceptHook)) accept!.call(this, error, client);
  }
  const acceptHook = acceptHookOf(server as Listening, (client) => context!.runInAsyncScope(accept!, taken, 0, client));
  const install = (): void => {
    const handle = (server as Listening)._handle;
    // A server listens for a moment before it says so.
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
    // Where somebody else has replaced it since, ours only passes on.
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
    accept(client);
  },
});

/** Ends it as if nobody was here. */
export function resetHandle(client: Handle): void {
  if (client.reset() !== 0) client.close();
}

/**
 * Whether the peer has reset the connection, once its end was read: what `onread` is told does not tell that from an
 * orderly end.
 */
export const wasReset = (client: Handle): boolean => client.getpeername(name) !== 0;

/** The error with which Node ends the socket of a connection that was reset. */
export function resetError(): NodeJS.ErrnoException {
  const { ECONNRESET } = constants.errno;
  return Object.assign(new Error('read ECONNRESET'), { errno: -ECONNRESET, code: 'ECONNRESET', syscall: 'read' });
}

/** The handle under a socket. */
export const handleOf = (socket: Socket): Handle | undefined =>
  (socket as { readonly _handle?: Handle | null })._handle ?? undefined;

/** Filled in by Node, and read at once: one serves all. */
const name: { address?: string } = {};

/** `undefined`: no TCP, or gone again. */
const addressOf = (client: Partial<Handle>): string | undefined =>
  client.getpeername?.(name) === 0 ? name.address : undefined;

/** The requests of this Node. */
export interface Requests {
  /** `undefined`: it makes those of writes by itself. */
  readonly Write: (new () => Request) | undefined;
  readonly Shutdown: new () => Request;
}

/**
 * Node does not export its requests: a socket over a handle that only listens shows which ones it makes. `undefined`: it
 * writes in a way that we do not know.
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

/** The requests of this Node, learned by {@link handlesProblem}. */
export let requests: Requests | undefined;

const METHODS = ['readStart', 'readStop', 'writeLatin1String', 'shutdown', 'getpeername', 'reset', 'close'] as const;
let problem: string | undefined | null = null;

/** Why this Node's handles cannot be used; `undefined` where they can. Probed once. */
export function handlesProblem(): string | undefined {
  if (problem !== null) return problem;
  try {
    problem = serverProblem() ?? handleProblem();
  } catch (error) {
    problem = `Node's handles: ${(error as Error).message}`;
  }
  return problem;
}

/** The counter of connections can be written, and a closed server can be told that one has gone. */
function serverProblem(): string | undefined {
  const server = createServer() as Listening;
  const before = server._connections;
  server._connections = before + 1;
  if (before !== 0 || server._connections !== 1) return "a server's _connections cannot be counted";
  server._connections = before;
  return typeof server._emitCloseIfDrained === 'function' ? undefined : 'a server has no _emitCloseIfDrained';
}

/** A socket has its handle before it begins to connect, which this one never does. */
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

/** Writes text, now or as soon as the peer takes it. False where it cannot be. */
export function writeText(client: Handle, { Write }: Requests, text: string): boolean {
  const written = client.writeLatin1String(Write === undefined ? null : toRequest(Write, ignore), text);
  if (typeof written === 'number') return written === 0;
  written.oncomplete = ignore;
  return true;
}

/** `oncomplete` is called once it is done, or has failed. */
export function toRequest(Kind: new () => Request, oncomplete: Request['oncomplete']): Request {
  const request = new Kind();
  request.oncomplete = oncomplete;
  return request;
}

function ignore(): void {}
