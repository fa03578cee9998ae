import { createHmac, createSecretKey, type KeyObject, timingSafeEqual } from 'node:crypto';

/** Maximum length of the payload in characters: at most 1 MiB as UTF-8. */
export const MAX_MESSAGE = 1024 * 1024;
const MAX_HEADER = 512;
/**
 * Maximum length of a received payload. The parts of a broadcast have heads, and an answer may contain characters that
 * JSON escapes.
 */
const MAX_RECEIVED = 4 * MAX_MESSAGE;
/** Maximum age of a message in milliseconds, in either direction; an older one could be a replay. */
const MAX_AGE = 60_000;
/** Maximum difference of clocks in milliseconds. */
const SKEW = 2_000;
/** Maximum number of publishers whose state is kept for a channel. */
const MOST_PUBLISHERS = 1024;
/** Maximum number of channels sent to; beyond it, channels that were not used for a day are forgotten. */
const MOST_CHANNELS = 4096;
const FORGET_AFTER = 86_400_000;

const FORM = /^1 ([A-Za-z0-9_-]{1,64}) (\d{1,15}) (\d{1,15}) ([a-z-]{1,32}) ([A-Za-z0-9_-]{22}|-)$/;

export interface Received {
  readonly from: string;
  readonly kind: string;
  readonly payload: string;
}

/** Numbers of dropped messages by reason, and of lost messages. */
export interface MessageCounts {
  /** Not in this format: from another program or version. */
  malformed: number;
  /** Not signed, or with another secret. */
  unsigned: number;
  /** Received before, or too old. */
  replayed: number;
  /** Messages of other processes that were lost, as gaps in their sequence numbers show. */
  gaps: number;
}

interface Publisher {
  sequence: number;
  /** When its last message arrived, by the monotonic clock. */
  seen: number;
}

/**
 * The format of messages between processes: `1 <from> <number> <time> <kind> <signature>`, a line break, the payload.
 * Numbers increase by one for each publisher and channel. The signature is an HMAC-SHA256 over channel and message,
 * truncated to 128 bits.
 */
export class MessageCodec {
  readonly counts: MessageCounts = { malformed: 0, unsigned: 0, replayed: 0, gaps: 0 };
  readonly #key: KeyObject | undefined;
  readonly #sent = new Map<string, { number: number; at: number }>();
  readonly #publishers = new Map<string, Map<string, Publisher>>();
  /** When each channel was subscribed to, by the monotonic clock: earlier messages cannot arrive. */
  readonly #since = new Map<string, number>();

  constructor(
    /** `NodeInfo.id` */
    private readonly id: string,
    secret: string | undefined,
    /** The clock that processes share. */
    private readonly now: () => number,
    private readonly monotonic: () => number = () => performance.now(),
    /**
     * Called when a message is dropped because of its signature, or is signed while this process has no secret: the
     * settings of the processes differ, or a stranger publishes.
     */
    private readonly onMismatch: (from: string) => void = () => undefined,
  ) {
    this.#key = secret === undefined ? undefined : createSecretKey(Buffer.from(secret));
  }

  /** Records a subscription, possibly a renewed one: messages missed before do not count as a gap. */
  subscribed(channel: string): void {
    this.#publishers.delete(channel);
    this.#since.set(channel, this.monotonic());
  }

  unsubscribed(channel: string): void {
    this.#publishers.delete(channel);
    this.#since.delete(channel);
  }

  encode(channel: string, kind: string, payload: string): string {
    const head = `1 ${this.id} ${this.#next(channel)} ${Math.floor(this.now())} ${kind}`;
    return `${head} ${this.#key === undefined ? '-' : this.#sign(channel, head, payload)}\n${payload}`;
  }

  /** Parses a message; `undefined` if it must be dropped. */
  decode(channel: string, message: string): Received | undefined {
    // protection: cluster: received messages are bounded
    if (message.length > MAX_RECEIVED) return this.#drop('malformed');
    // end protection
    const end = message.indexOf('\n');
    const fields = end < 0 || end > MAX_HEADER ? null : FORM.exec(message.slice(0, end));
    if (fields === null) return this.#drop('malformed');
    const [, from = '', number = '', time = '', kind = '', signature = ''] = fields;
    const payload = message.slice(end + 1);
    if (this.#key !== undefined) {
      const expected = this.#sign(channel, message.slice(0, end - signature.length - 1), payload);
      // protection: cluster: messages are signed
      if (signature.length !== expected.length || !timingSafeEqual(Buffer.from(signature), Buffer.from(expected))) {
        this.onMismatch(from);
        return this.#drop('unsigned');
      }
      // end protection
    } else if (signature !== '-') {
      this.onMismatch(from);
    }
    // protection: cluster: messages are heard once
    if (!this.#isNext(channel, from, Number(number), Number(time))) return this.#drop('replayed');
    // end protection
    return { from, kind, payload };
  }

  #isNext(channel: string, from: string, sequence: number, time: number): boolean {
    const now = this.now();
    const seen = this.monotonic();
    const subscribedFor = seen - (this.#since.get(channel) ?? 0);
    if (Math.abs(now - time) > MAX_AGE || now - time > subscribedFor + SKEW) return false;
    let publishers = this.#publishers.get(channel);
    if (publishers === undefined) this.#publishers.set(channel, (publishers = new Map()));
    const publisher = publishers.get(from);
    if (publisher === undefined) {
      // protection: cluster: publishers that are remembered are bounded
      if (publishers.size >= MOST_PUBLISHERS && !dropSilent(publishers, seen)) return false;
      // end protection
      publishers.set(from, { sequence, seen });
      return true;
    }
    if (sequence <= publisher.sequence) return false;
    this.counts.gaps += sequence - publisher.sequence - 1;
    publisher.sequence = sequence;
    publisher.seen = seen;
    return true;
  }

  /** Forgets channels that are not used any more, such as the own channel of a process that has ended. */
  #next(channel: string): number {
    const at = this.monotonic();
    const sent = this.#sent.get(channel);
    if (sent !== undefined) {
      sent.at = at;
      return ++sent.number;
    }
    if (this.#sent.size >= MOST_CHANNELS)
      for (const [each, { at: usedAt }] of this.#sent) if (at - usedAt > FORGET_AFTER) this.#sent.delete(each);
    this.#sent.set(channel, { number: 1, at });
    return 1;
  }

  #sign(channel: string, head: string, payload: string): string {
    return createHmac('sha256', this.#key!).update(`${channel}\n${head}\n${payload}`).digest('base64url').slice(0, 22);
  }

  #drop(why: keyof MessageCounts): undefined {
    this.counts[why]++;
    return undefined;
  }
}

/** Removes a publisher whose messages would be too old to be accepted again. */
function dropSilent(publishers: Map<string, Publisher>, now: number): boolean {
  for (const [from, { seen }] of publishers) if (now - seen > 2 * MAX_AGE) publishers.delete(from);
  return publishers.size < MOST_PUBLISHERS;
}
