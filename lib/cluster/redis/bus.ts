import type { ClusterBus, ClusterBusOptions } from '../contract.js';
import type { RedisClient } from './client.js';
import type { RedisLink } from './link.js';

/**
 * `ClusterBus` over Redis's publish and subscribe. It publishes on the connection for commands and listens on one of its
 * own, which takes nothing else.
 */
export class RedisBus implements ClusterBus {
  #options!: ClusterBusOptions;
  /** What is wanted, across connections. */
  readonly #channels = new Set<string>();
  #isStopped = false;

  constructor(
    private readonly client: RedisClient,
    private readonly link: RedisLink,
  ) {
    client.on('error', () => undefined);
    client.on('ready', () => this.#subscribeAll());
    client.on('close', () => this.#options?.onChange());
    client.on('message', (channel: string, message: string) => this.#options.receive(channel, message));
  }

  get isAvailable(): boolean {
    return !this.#isStopped && this.client.status === 'ready';
  }

  async start(options: ClusterBusOptions): Promise<void> {
    this.#options = options;
    const connected = this.client.connect().catch(() => undefined);
    await Promise.race([connected, new Promise((resolve) => setTimeout(resolve, 10 * options.timeout).unref())]);
  }

  async stop(): Promise<void> {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.client.disconnect();
  }

  publish(channel: string, message: string): Promise<boolean> {
    return this.link.publish(channel, message);
  }

  subscribe(channel: string): void {
    if (this.#channels.has(channel)) return;
    this.#channels.add(channel);
    if (this.isAvailable) this.#send('subscribe', [channel]);
  }

  unsubscribe(channel: string): void {
    if (this.#channels.delete(channel) && this.isAvailable) this.#send('unsubscribe', [channel]);
  }

  reset(): void {
    if (!this.#isStopped && this.isAvailable) this.client.disconnect(true);
  }

  #subscribeAll(): void {
    if (this.#channels.size > 0) this.#send('subscribe', [...this.#channels]);
    this.#options?.onChange();
  }

  /** One that fails is noticed as a message of our own that does not come back. */
  #send(command: 'subscribe' | 'unsubscribe', channels: string[]): void {
    this.client[command](...channels).catch(() => undefined);
  }
}
