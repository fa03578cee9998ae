import type { ClusterBus, ClusterBusOptions } from '../contract.js';
import { keepConnected, type RedisClient } from './client.js';
import type { RedisLink } from './link.js';

/**
 * `ClusterBus` over Redis's publish and subscribe. It publishes on the connection for commands, and subscribes on a
 * separate connection, as Redis requires.
 */
export class RedisBus implements ClusterBus {
  #options!: ClusterBusOptions;
  /** The channels to subscribe to, also after a reconnect. */
  readonly #channels = new Set<string>();
  #isStopped = false;
  /** Redis has confirmed the subscriptions: messages arrive. */
  #isSubscribed = false;
  #whenSettled: () => void = () => undefined;
  readonly #connection: ReturnType<typeof keepConnected>;

  constructor(
    private readonly client: RedisClient,
    private readonly link: RedisLink,
  ) {
    client.on('error', () => undefined);
    this.#connection = keepConnected(client);
    client.on('ready', () => void this.#subscribeAll());
    for (const event of ['close', 'end']) client.on(event, () => this.#disconnected());
    client.on('message', (channel: string, message: string) => this.#options.receive(channel, message));
  }

  get isAvailable(): boolean {
    return !this.#isStopped && this.#isSubscribed && this.#isConnected;
  }

  async start(options: ClusterBusOptions): Promise<void> {
    this.#options = options;
    await new Promise<void>((resolve) => {
      this.#whenSettled = resolve;
      setTimeout(resolve, 10 * options.timeout).unref();
      this.#connection.connect();
    });
  }

  async stop(): Promise<void> {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.#connection.close();
  }

  publish(channel: string, message: string): Promise<boolean> {
    return this.link.publish(channel, message);
  }

  subscribe(channel: string): void {
    if (this.#channels.has(channel)) return;
    this.#channels.add(channel);
    if (this.#isConnected) void this.#send('subscribe', [channel]);
  }

  unsubscribe(channel: string): void {
    if (this.#channels.delete(channel) && this.#isConnected) void this.#send('unsubscribe', [channel]);
  }

  reset(): void {
    if (!this.#isStopped && this.#isConnected) this.client.disconnect(true);
  }

  get #isConnected(): boolean {
    return this.client.status === 'ready';
  }

  async #subscribeAll(): Promise<void> {
    if (this.#channels.size > 0) await this.#send('subscribe', [...this.#channels]);
    this.#setSubscribed(this.#isConnected);
    this.#whenSettled();
  }

  #disconnected(): void {
    this.#setSubscribed(false);
    this.#whenSettled();
  }

  #setSubscribed(isSubscribed: boolean): void {
    this.#isSubscribed = isSubscribed;
    this.#options?.onChange();
  }

  /** A subscription that fails is noticed because test messages do not come back; its error says why. */
  #send(command: 'subscribe' | 'unsubscribe', channels: string[]): Promise<unknown> {
    return this.client[command](...channels).catch((error: unknown) => this.link.note(error));
  }
}
