import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import type { Settings } from '../config/settings.js';
import { CloseCode } from '../protocol/close-codes.js';
import { type Call, type ConnectOptions, resolveCall } from './call.js';
import type { ClientSocket } from './client-socket.js';
import { open } from './open.js';
import { type RetryEvent, reconnect } from './reconnect.js';
import { type ClientRuntime, sharedRuntime } from './runtime.js';
import { LinkedSignal } from './signals.js';

/**
 * `connect` and `reconnecting` with the module's settings for options that a call leaves out. When the application
 * shuts down, open connections are closed with 1001 and terminated after `keepalive.closeTimeout` at the latest,
 * pending attempts are aborted, and later ones are rejected. Injectable.
 */
@Injectable()
export class SecureWsConnector implements OnModuleDestroy {
  private readonly sockets = new Set<ClientSocket>();
  private readonly shutdown = new AbortController();

  /**
   * @hidden `settings`: returns the module's settings, at each call. `onRetry`: called before `reconnecting` waits, for
   * the log.
   */
  constructor(
    private readonly settings: () => Settings,
    private readonly onRetry?: (event: RetryEvent) => void,
    private readonly runtime: ClientRuntime = sharedRuntime,
  ) {}

  /** Like the function `connect`. */
  async connect(url: string | URL, options: ConnectOptions = {}): Promise<ClientSocket> {
    const call = resolveCall(url, options, this.settings());
    const link = new LinkedSignal(call.signal, this.shutdown.signal);
    try {
      return this.track(await open({ ...call, signal: link.signal }, this.runtime));
    } finally {
      link.release();
    }
  }

  /** Like the function `reconnecting`; ends when the application shuts down. */
  reconnecting(url: string | URL, options: ConnectOptions = {}): AsyncGenerator<ClientSocket, void, undefined> {
    return this.follow(resolveCall(url, options, this.settings()));
  }

  /** @hidden Called by Nest. */
  async onModuleDestroy(): Promise<void> {
    this.shutdown.abort(new Error('the application is shutting down'));
    const sockets = [...this.sockets];
    for (const socket of sockets) socket.close(CloseCode.GOING_AWAY);
    await Promise.all(sockets.map(({ closed }) => closed));
  }

  private async *follow(call: Call): AsyncGenerator<ClientSocket, void, undefined> {
    const link = new LinkedSignal(call.signal, this.shutdown.signal);
    try {
      for await (const socket of reconnect({ ...call, signal: link.signal }, this.runtime, this.onRetry)) {
        yield this.track(socket);
      }
    } finally {
      link.release();
    }
  }

  private track(socket: ClientSocket): ClientSocket {
    this.sockets.add(socket);
    void socket.closed.then(() => this.sockets.delete(socket));
    return socket;
  }
}
