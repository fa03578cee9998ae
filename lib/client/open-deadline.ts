import type { Socket } from 'node:net';
import { Timed } from '../net/timer-wheel.js';
import { OpenTimeoutError } from './errors.js';
import type { ClientRuntime } from './runtime.js';
import { onAbort } from './signals.js';

const NEVER = Number.POSITIVE_INFINITY;

/**
 * The open timeout or the caller's signal, which end an attempt early. One object covers name lookup, connect, TLS,
 * requests, redirects and the bodies of refusals.
 */
export class OpenDeadline extends Timed {
  private failure: { readonly reason: unknown } | undefined;
  private onEnd: ((reason: unknown) => void) | undefined;
  private endsAt: number;

  constructor(
    private readonly runtime: ClientRuntime,
    private readonly timeout: number,
    private readonly signal: AbortSignal | undefined,
  ) {
    super();
    this.endsAt = runtime.clock.now() + timeout;
    if (signal?.aborted) this.fail(signal.reason);
    else {
      runtime.schedule(this, this.endsAt);
      if (signal !== undefined) onAbort(signal, this.aborted);
    }
  }

  /** Throws the reason if the attempt has been ended. */
  check(): void {
    if (this.failure !== undefined) throw this.failure.reason;
  }

  /** Calls `end` when the attempt is ended; only one listener at a time. Returns a function that removes it. */
  listen(end: (reason: unknown) => void): () => void {
    this.onEnd = end;
    return () => {
      this.onEnd = undefined;
    };
  }

  /**
   * Resolves to the value, or rejects when the attempt is ended first; a value that arrives later is passed to
   * `discard`.
   */
  async race<T>(value: Promise<T>, discard: (late: T) => void): Promise<T> {
    let over = false;
    const ended = new Promise<never>((_, reject) => this.listen(reject));
    try {
      this.check();
      return await Promise.race([value, ended]);
    } catch (error) {
      over = true;
      throw error;
    } finally {
      this.onEnd = undefined;
      if (over) value.then(discard, () => {});
    }
  }

  /** Stops watching, because the attempt is complete. */
  release(): void {
    this.runtime.cancel(this);
    this.signal?.removeEventListener('abort', this.aborted);
    this.onEnd = undefined;
  }

  /** Extends the timeout because the event loop was late. */
  override onStall(silence: number): void {
    this.endsAt += silence;
  }

  override onDue(now: number): number {
    if (now < this.endsAt) return this.endsAt;
    this.fail(new OpenTimeoutError(this.timeout));
    return NEVER;
  }

  private readonly aborted = (): void => this.fail(this.signal?.reason);

  private fail(reason: unknown): void {
    this.failure ??= { reason };
    this.onEnd?.(this.failure.reason);
  }
}

/** Waits for `event`. Rejects, and destroys the socket, on its error, its close, or the end of the attempt. */
export function waitFor(socket: Socket, event: 'connect' | 'secureConnect', deadline: OpenDeadline): Promise<void> {
  return during(socket, deadline, (resolve) => {
    socket.once(event, resolve);
    return () => void socket.removeListener(event, resolve);
  });
}

/** The error for a server that closed before it had answered. */
export const closedEarly = (): Error =>
  Object.assign(new Error('the server closed the connection before the handshake was complete'), {
    code: 'ECONNRESET',
  });

/** Creates a promise about a socket of an attempt; `start` returns a function that removes its listeners. */
export function during<T>(
  socket: Socket,
  deadline: OpenDeadline,
  start: (resolve: (value: T) => void, reject: (error: unknown) => void) => () => void,
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const clear = (): void => {
      unlisten();
      stop();
      socket.removeListener('error', fail);
      socket.removeListener('close', closed);
    };
    const fail = (error: unknown): void => {
      clear();
      socket.destroy();
      reject(error);
    };
    const closed = (): void => fail(closedEarly());
    const unlisten = deadline.listen(fail);
    socket.on('error', fail);
    socket.on('close', closed);
    const stop = start((value) => {
      clear();
      resolve(value);
    }, fail);
    try {
      deadline.check();
      if (socket.destroyed) closed();
    } catch (reason) {
      fail(reason);
    }
  });
}
