import type { ClusterBus } from './contract.js';
import { MAX_MESSAGE, MessageCodec, type MessageCounts, type Received } from './messages.js';
import { Partitions, partitionOf } from './partitions.js';
import { type CastScope, scopeOf } from './requests.js';

export interface MessengerOptions {
  readonly prefix: string;
  readonly secret: string | undefined;
  /** Milliseconds for one answer. */
  readonly timeout: number;
  /** The clock that processes share. */
  now(): number;
  /** Whether the store answers. */
  isStoreUp(): boolean;
  /** Called with a broadcast of another process. */
  deliver(scope: CastScope, text: string): void;
  /** Called with any other message of another process. May throw if the payload is invalid. */
  hear(message: Received): void;
  /** Called when messages start or stop to arrive. */
  onChange(): void;
  /** Called with a sender that uses another secret, or none, or one while this process has none. */
  onMismatch(from: string): void;
}

/** Maximum number of characters of broadcasts that are sent as one message. */
const MAX_BATCH = 64 * 1024;
/** Number of test messages in a row that cannot be sent until the bus counts as dead. */
const MOST_REFUSED = 2;
const PART = /^(\d{1,7}) (\d{1,7})$/;
const EVERYBODY: CastScope = Object.freeze({});

/**
 * Exchanges messages with the other processes over a bus: on the channels `all` and `ctl` (control), on an own channel
 * of each process, and on one channel for each partition of rooms. A message to the own channel tests whether the bus
 * works.
 */
export class Messenger {
  readonly #codec: MessageCodec;
  readonly #partitions: Partitions;
  readonly #ownPrefix: string;
  readonly #ownChannel: string;
  /** Broadcasts of this turn of the event loop, by channel. */
  readonly #casts = new Map<string, string>();
  #probe = 0;
  /** When the first test message that has not come back was sent. */
  #probedAt: number | undefined;
  /** Number of test messages in a row that could not be sent. */
  #refused = 0;
  #isAlive = false;
  #whenAlive: () => void = () => undefined;
  #unsent = 0;
  #isStopped = false;

  constructor(
    private readonly bus: ClusterBus,
    private readonly id: string,
    private readonly options: MessengerOptions,
  ) {
    this.#codec = new MessageCodec(
      id,
      options.secret,
      () => options.now(),
      () => performance.now(),
      (from) => options.onMismatch(from),
    );
    this.#ownPrefix = `1 ${id} `;
    this.#ownChannel = this.#channel(`n:${id}`);
    this.#partitions = new Partitions(
      (partition) => this.#subscribe(`r:${partition}`),
      (partition) => this.#unsubscribe(`r:${partition}`),
    );
  }

  /** Messages to the own channel come back. */
  get isAlive(): boolean {
    return this.#isAlive;
  }

  get counts(): MessageCounts & { readonly unsent: number } {
    return { ...this.#codec.counts, unsent: this.#unsent };
  }

  async start(): Promise<void> {
    for (const name of ['all', 'ctl', `n:${this.id}`]) this.#subscribe(name);
    await this.bus.start({
      timeout: this.options.timeout,
      receive: (channel, message) => this.#receive(channel, message),
      onChange: () => this.#busChanged(),
    });
  }

  /** Announces this process. Resolves when a test message has come back, or after a timeout. */
  async greet(): Promise<void> {
    const isHeard = new Promise<void>((resolve) => {
      // The test message that was sent when the bus became available may have come back already.
      if (this.#isAlive) return resolve();
      this.#whenAlive = resolve;
      setTimeout(resolve, 10 * this.options.timeout).unref();
    });
    this.sendProbe();
    if (await this.say('ctl', 'hello', '')) await isHeard;
  }

  /** Announces that this process leaves, if the bus still works. */
  async leave(): Promise<void> {
    this.#isStopped = true;
    this.#sendCasts();
    await this.say('ctl', 'bye', '');
  }

  async say(name: string, kind: string, payload: string): Promise<boolean> {
    const channel = this.#channel(name);
    const isSent = await this.bus.publish(channel, this.#codec.encode(channel, kind, payload));
    if (!isSent) this.#unsent++;
    return isSent;
  }

  /** Throws a `RangeError` for a broadcast that is too large for other processes. */
  check(text: string): void {
    if (text.length > MAX_MESSAGE / 3 && Buffer.byteLength(text) > MAX_MESSAGE)
      throw new RangeError(
        'a broadcast to other processes can have at most 1 MiB: split it, or use broadcaster.local for this process only',
      );
  }

  /**
   * Publishes a broadcast to the other processes. All broadcasts on one channel in one turn of the event loop are sent
   * as one message.
   */
  cast(scope: CastScope, text: string): void {
    const head = JSON.stringify(scope);
    const name = scope.room === undefined ? 'all' : `r:${partitionOf(scope.room)}`;
    const part = `${head.length} ${text.length}\n${head}${text}`;
    if (this.#casts.size === 0) setImmediate(this.#sendCasts);
    const before = this.#casts.get(name);
    if (before !== undefined && before.length + part.length > MAX_BATCH) void this.say(name, 'cast', before);
    const together = before === undefined || before.length + part.length > MAX_BATCH ? part : before + part;
    this.#casts.set(name, together);
  }

  readonly #sendCasts = (): void => {
    for (const [name, parts] of this.#casts) void this.say(name, 'cast', parts);
    this.#casts.clear();
  };

  /** Called when a room gets its first member in this process. */
  roomOpened(room: string): void {
    this.#partitions.opened(room);
  }

  roomClosed(room: string): void {
    this.#partitions.closed(room);
  }

  /** Called at each heartbeat: tests the bus, and unsubscribes from partitions without members. */
  beat(): void {
    if (this.#isStopped) return;
    if (this.#probedAt !== undefined && performance.now() - this.#probedAt >= this.options.timeout) {
      this.#setAlive(false);
      this.bus.reset();
    }
    this.#partitions.sweep();
    this.sendProbe();
  }

  sendProbe(): void {
    const probe = ++this.#probe;
    this.#probedAt ??= performance.now();
    void this.say(`n:${this.id}`, 'probe', String(probe)).then((isSent) => {
      if (isSent) this.#refused = 0;
      if (isSent || this.#probe !== probe) return;
      // No test message was sent, so none can come back.
      this.#probedAt = undefined;
      // A store that does not answer is the reason in most cases, and is reported as such.
      if (this.options.isStoreUp() && ++this.#refused >= MOST_REFUSED) this.#setAlive(false);
    });
  }

  #probed(probe: number): void {
    if (probe === this.#probe) this.#probedAt = undefined;
    this.#setAlive(true);
  }

  #busChanged(): void {
    if (this.#isStopped) return;
    if (!this.bus.isAvailable) return this.#setAlive(false);
    // The sequence numbers continue, so that messages sent while there was no connection count as a gap.
    // Otherwise it is sent when the store is up: with Redis, its connection is the one that publishes.
    if (this.options.isStoreUp()) this.sendProbe();
  }

  #setAlive(isAlive: boolean): void {
    if (this.#isAlive === isAlive) return;
    this.#isAlive = isAlive;
    if (isAlive) this.#whenAlive();
    this.options.onChange();
  }

  #channel(name: string): string {
    return `${this.options.prefix}:${name}`;
  }

  #subscribe(name: string): void {
    const channel = this.#channel(name);
    this.#codec.subscribed(channel);
    this.bus.subscribe(channel);
  }

  #unsubscribe(name: string): void {
    const channel = this.#channel(name);
    this.bus.unsubscribe(channel);
    this.#codec.unsubscribed(channel);
  }

  #receive(channel: string, message: string): void {
    // This process also receives its own broadcasts, which it has already delivered.
    if (channel !== this.#ownChannel && message.startsWith(this.#ownPrefix)) return;
    const received = this.#codec.decode(channel, message);
    if (received === undefined) return;
    if (received.from === this.id) {
      if (received.kind === 'probe') this.#probed(Number(received.payload));
      return;
    }
    try {
      if (received.kind === 'cast') this.#deliver(received.payload);
      else this.options.hear(received);
    } catch {
      // The payload is invalid: from another version, or from a sender without the secret.
      this.#codec.counts.malformed++;
    }
  }

  #deliver(payload: string): void {
    for (let at = 0; at < payload.length; ) {
      const end = payload.indexOf('\n', at);
      const [, headLength, textLength] = PART.exec(payload.slice(at, Math.min(end, at + 20))) ?? [];
      if (end < 0 || headLength === undefined) throw new TypeError('not a broadcast');
      const head = end + 1 + Number(headLength);
      at = head + Number(textLength);
      if (at > payload.length) throw new TypeError('not a broadcast');
      const scope = headLength === '2' ? EVERYBODY : scopeOf(JSON.parse(payload.slice(end + 1, head)));
      this.options.deliver(scope, payload.slice(head, at));
    }
  }
}
