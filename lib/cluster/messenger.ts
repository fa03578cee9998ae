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
  /** A broadcast of another process. */
  deliver(scope: CastScope, text: string): void;
  /** Any other message of another process. May throw for one that is not what its kind says. */
  hear(message: Received): void;
  /** Messages arrive, or do so no longer. */
  onChange(): void;
}

/** Characters of broadcasts that go as one message. */
const MAX_BATCH = 64 * 1024;
const PART = /^(\d{1,7}) (\d{1,7})$/;
const EVERYBODY: CastScope = Object.freeze({});

/**
 * What processes tell each other over a bus: on `all`, on `ctl` (control), on a channel of each process's own, and on
 * one for each partition of rooms. A message to its own channel says whether the bus is alive.
 */
export class Messenger {
  readonly #codec: MessageCodec;
  readonly #partitions: Partitions;
  readonly #ownPrefix: string;
  readonly #ownChannel: string;
  /** Broadcasts of this turn of the event loop, by channel. */
  readonly #casts = new Map<string, string>();
  #probe = 0;
  /** When the first of those that have not come back was sent. */
  #probedAt: number | undefined;
  #isAlive = false;
  #whenAlive: () => void = () => undefined;
  #unsent = 0;
  #isStopped = false;

  constructor(
    private readonly bus: ClusterBus,
    private readonly id: string,
    private readonly options: MessengerOptions,
  ) {
    this.#codec = new MessageCodec(id, options.secret, () => options.now());
    this.#ownPrefix = `1 ${id} `;
    this.#ownChannel = this.#channel(`n:${id}`);
    this.#partitions = new Partitions(
      (partition) => this.#subscribe(`r:${partition}`),
      (partition) => this.#unsubscribe(`r:${partition}`),
    );
  }

  /** Messages of our own come back. */
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

  /** Says that this process is there. Resolves when a message has come back, or after a while. */
  async greet(): Promise<void> {
    const isHeard = new Promise<void>((resolve) => {
      this.#whenAlive = resolve;
      setTimeout(resolve, 10 * this.options.timeout).unref();
    });
    this.sendProbe();
    if (await this.say('ctl', 'hello', '')) await isHeard;
  }

  /** Says goodbye, as long as it can still be said. */
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
        'a broadcast to other processes can have 1 MiB at most: split it, or use broadcaster.local for this process alone',
      );
  }

  /** Publishes a broadcast to the other processes: all of one turn of the event loop and one channel go as one message. */
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

  /** A room has its first member here, of whichever gateway. */
  roomOpened(room: string): void {
    this.#partitions.opened(room);
  }

  roomClosed(room: string): void {
    this.#partitions.closed(room);
  }

  /** Once each heartbeat: is our own channel alive, are there rooms that nobody is in any more. */
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
      // Nothing was sent: nothing can come back.
      if (!isSent && this.#probe === probe) this.#probedAt = undefined;
    });
  }

  #probed(probe: number): void {
    if (probe === this.#probe) this.#probedAt = undefined;
    this.#setAlive(true);
  }

  #busChanged(): void {
    if (this.#isStopped) return;
    if (!this.bus.isAvailable) return this.#setAlive(false);
    // Numbers of messages go on: what was sent while there was no connection is a gap.
    this.sendProbe();
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
    // What was delivered here already comes back as well.
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
      // A payload that is not what its kind says: of another version, or of somebody without a secret.
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
