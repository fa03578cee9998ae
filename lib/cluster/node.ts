import { randomBytes } from 'node:crypto';
import type { RoomMember } from '../dispatch/broadcaster.js';
import type { BreakerState } from './breaker.js';
import type { ClusterBus, ClusterStore, StoredBan, UserAnswer, UserClaim } from './contract.js';
import { MAX_MESSAGE, MessageCodec, type MessageCounts, type Received } from './messages.js';
import { Partitions, partitionOf } from './partitions.js';
import { Requests } from './requests.js';
import { FallbackShare, type LocalClaim, SharedRefusals } from './shared-refusals.js';

/** Whom a broadcast is for: everybody, or those of a gateway, a room, a user. */
export interface CastScope {
  readonly gateway?: string;
  readonly room?: string;
  readonly userKey?: string;
}

/** What a process does for the others. Nothing of it may throw. */
export interface ClusterHost {
  /** A broadcast of another process. */
  deliver(scope: CastScope, text: string): void;
  disconnectUser(userKey: string, code: number, reason: string): number;
  disconnectSocket(id: string, code: number, reason: string): number;
  /** Closes a connection whose user has newer ones elsewhere; `id` as `admitUser` was told. */
  displace(id: string): void;
  connectionsOf(userKey: string): number;
  count(scope: CastScope): number;
  members(scope: CastScope): readonly RoomMember[];
  banned(ban: StoredBan): void;
  unbanned(id: string): void;
  bans(): Iterable<StoredBan>;
  /** A sentence for the log, once for each change of state. */
  notice(sentence: string, status: ClusterState['status']): void;
}

export interface ClusterNodeOptions {
  readonly prefix: string;
  readonly timeout: number;
  readonly heartbeat: number;
  readonly lease: number;
  readonly onFailure: 'local' | 'share' | 'closed';
  readonly secret: string | undefined;
  readonly maxBans: number;
  /** What this process says of itself to others: host, process, connections. */
  about(): Readonly<Record<string, unknown>>;
}

type Reach = 'everything' | 'limits' | 'nothing';

/** Why an attempt may not be admitted. */
export interface ClusterRefusal {
  /** Index of the claim; -1 where nobody could be asked and `onFailure` is `closed`. */
  readonly claim: number;
  /** `rate`: too many attempts; `room`: too many connections. */
  readonly kind: 'rate' | 'room' | 'unavailable';
  /** Milliseconds. */
  readonly wait: number;
}

/** What is known of the cluster in this process. */
export interface ClusterState {
  /** This process among the others. */
  readonly id: string;
  /** `up`: limits, messages and bans are shared; `degraded`: some of it is not, see the rest. */
  readonly status: 'up' | 'degraded';
  readonly nodes: readonly { readonly id: string; readonly about: string }[];
  readonly leaseUntil: number;
  readonly breaker: BreakerState;
  /** Messages of our own come back. */
  readonly isBusAlive: boolean;
  /** Attempts that were decided without the others. */
  readonly fallbacks: number;
  readonly failures: number;
  readonly lastError: string | undefined;
  /** Messages of others that never came, and those that were dropped; of ours, those that could not be sent. */
  readonly messages: Readonly<MessageCounts> & { readonly unsent: number };
  /** Refusals that are remembered. */
  readonly refusals: number;
}

/** Milliseconds that a refusal for want of room is remembered, unless somebody leaves. */
export const ROOM_WAIT = 5000;
/** Milliseconds after a release in which the store has been told of it. */
const ROOM_AFTER = 25;
/** Characters of broadcasts that go as one message. */
const MAX_BATCH = 64 * 1024;
const PART = /^(\d{1,7}) (\d{1,7})$/;
const EVERYBODY: CastScope = Object.freeze({});
/** Members that one process answers with. */
const MOST_MEMBERS = 10_000;
const MAX_REASON = 123;

/**
 * One process among others: judges attempts with their limits, speaks to their connections, and answers for its own.
 * No method throws or rejects for what a store, a bus or another process does.
 */
export class ClusterNode {
  readonly id = randomBytes(6).toString('base64url');
  readonly #codec: MessageCodec;
  readonly #requests: Requests;
  readonly #partitions: Partitions;
  readonly #refusals: SharedRefusals;
  readonly #share: FallbackShare;
  /** Broadcasts of this turn of the event loop, by channel. */
  readonly #casts = new Map<string, string>();
  readonly #ownPrefix = `1 ${this.id} `;
  readonly #ownChannel: string;
  /** Names under which there is room again, and that others must hear of. */
  readonly #room = new Set<string>();
  #roomTimer: NodeJS.Timeout | undefined;
  #tick: NodeJS.Timeout | undefined;
  #probe = 0;
  /** When the first of those that have not come back was sent. */
  #probedAt: number | undefined;
  #isBusAlive = false;
  #whenAlive: () => void = () => undefined;
  #hasStarted = false;
  #told: Reach | undefined;
  #settling: NodeJS.Timeout | undefined;
  #nodes: readonly string[] = [];
  #fallbacks = 0;
  #unsent = 0;
  /** Bans that the store has not been told of. */
  readonly #unsaved = new Map<string, StoredBan | undefined>();
  #isStopped = false;

  constructor(
    private readonly store: ClusterStore,
    private readonly bus: ClusterBus,
    private readonly host: ClusterHost,
    private readonly options: ClusterNodeOptions,
  ) {
    const now = () => store.now();
    this.#ownChannel = this.#channel(`n:${this.id}`);
    this.#codec = new MessageCodec(this.id, options.secret, now);
    this.#requests = new Requests(options.timeout, (id, kind, data) =>
      this.#say('ctl', 'ask', JSON.stringify({ id, kind, data })),
    );
    this.#partitions = new Partitions(
      (partition) => this.#subscribe(`r:${partition}`),
      (partition) => this.#unsubscribe(`r:${partition}`),
    );
    this.#refusals = new SharedRefusals(now);
    this.#share = new FallbackShare(() => performance.now());
  }

  /** Joins. Resolves after the first attempt, whether it succeeded or not. */
  async start(): Promise<void> {
    const { timeout, heartbeat, lease, maxBans } = this.options;
    for (const channel of ['all', 'ctl', `n:${this.id}`]) this.#subscribe(channel);
    await Promise.all([
      this.bus.start({
        timeout,
        receive: (channel, message) => this.#receive(channel, message),
        onChange: () => this.#busChanged(),
      }),
      this.store.start({
        id: this.id,
        timeout,
        heartbeat,
        lease,
        maxBans,
        about: () => JSON.stringify(this.options.about()).slice(0, 1024),
        onChange: () => this.#storeChanged(),
        onBans: (saved, removed) => {
          for (const ban of saved) this.host.banned(ban);
          for (const id of removed) this.host.unbanned(id);
        },
        onBansLost: () => void this.#saveAll(this.host.bans()),
      }),
    ]);
    this.#tick = setInterval(() => setImmediate(() => this.#beat()), heartbeat).unref();
    // Its own message comes back soon, or there is something to report.
    const isHeard = new Promise<void>((resolve) => {
      this.#whenAlive = resolve;
      setTimeout(resolve, 10 * timeout).unref();
    });
    this.#beat();
    if (await this.#say('ctl', 'hello', '')) await isHeard;
    this.#hasStarted = true;
    this.#report();
  }

  /** Leaves: the others take over at once. */
  async stop(): Promise<void> {
    if (this.#isStopped) return;
    this.#isStopped = true;
    clearInterval(this.#tick);
    clearTimeout(this.#settling);
    clearTimeout(this.#roomTimer);
    this.#requests.close();
    this.#sendCasts();
    await this.#say('ctl', 'bye', '');
    await this.store.stop();
    await this.bus.stop();
  }

  get state(): ClusterState {
    const { nodes, leaseUntil, breaker, failures, lastError } = this.store.status;
    return {
      id: this.id,
      status: this.#isUp ? 'up' : 'degraded',
      nodes,
      leaseUntil,
      breaker,
      isBusAlive: this.#isBusAlive,
      fallbacks: this.#fallbacks,
      failures,
      lastError,
      messages: { ...this.#codec.counts, unsent: this.#unsent },
      refusals: this.#refusals.size,
    };
  }

  /** Some refusal of all processes is remembered here. */
  get hasRefusals(): boolean {
    return this.#refusals.size > 0;
  }

  /** A refusal of all processes that is remembered here: asked without waiting for anybody. */
  remembered(claims: readonly { readonly name: string }[]): ClusterRefusal | undefined {
    if (this.#refusals.size === 0) return undefined;
    for (let claim = 0; claim < claims.length; claim++) {
      const refusal = this.#refusals.of(claims[claim]!.name);
      if (refusal !== undefined) return { claim, kind: refusal.kind, wait: refusal.until - this.store.now() };
    }
    return undefined;
  }

  /** Judges an attempt. Where nothing refuses it holds what it claims, until `release` is called with the same claims. */
  async admit(claims: readonly LocalClaim[]): Promise<ClusterRefusal | undefined> {
    const known = this.remembered(claims);
    if (known !== undefined) return known;
    const answer = await this.store.admit(claims);
    if (answer.outcome === 'admitted') return undefined;
    if (answer.outcome === 'unavailable') return this.#withoutOthers(claims);
    const { claim, wait } = answer;
    const kind = wait === undefined ? 'room' : 'rate';
    const { name } = claims[claim]!;
    const until = this.store.now() + (wait ?? ROOM_WAIT);
    if (this.#refusals.add({ name, kind, until }))
      void this.#say('ctl', 'refused', JSON.stringify({ name, kind, until }));
    return { claim, kind, wait: wait ?? ROOM_WAIT };
  }

  release(claims: readonly LocalClaim[]): void {
    this.store.release(claims);
    if (this.#refusals.size === 0) return;
    for (const { name } of claims) if (this.#refusals.of(name)?.kind === 'room') this.#room.add(name);
    if (this.#room.size > 0) this.#roomTimer ??= setTimeout(() => this.#tellRoom(), ROOM_AFTER).unref();
  }

  /** Judges a connection of a user, and closes those that it displaces, wherever they are. */
  async admitUser(claims: readonly UserClaim[], id: string): Promise<ClusterRefusal | undefined> {
    const answer: UserAnswer = await this.store.admitUser(claims, id);
    if (answer.outcome === 'refused') return { claim: answer.claim, kind: 'room', wait: ROOM_WAIT };
    if (answer.outcome === 'unavailable') {
      this.#fallbacks++;
      if (this.options.onFailure !== 'closed') return undefined;
      this.store.releaseUser(claims, id);
      return UNAVAILABLE;
    }
    for (const { node, id: displaced } of answer.displaced) {
      if (node === this.id) this.host.displace(displaced);
      else void this.#say(`n:${node}`, 'displace', displaced);
    }
    return undefined;
  }

  releaseUser(claims: readonly UserClaim[], id: string): void {
    this.store.releaseUser(claims, id);
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
    if (before !== undefined && before.length + part.length > MAX_BATCH) void this.#say(name, 'cast', before);
    const together = before === undefined || before.length + part.length > MAX_BATCH ? part : before + part;
    this.#casts.set(name, together);
  }

  readonly #sendCasts = (): void => {
    for (const [name, parts] of this.#casts) void this.#say(name, 'cast', parts);
    this.#casts.clear();
  };

  /** A room has its first member here, of whichever gateway. */
  roomOpened(room: string): void {
    this.#partitions.opened(room);
  }

  roomClosed(room: string): void {
    this.#partitions.closed(room);
  }

  /** Connections of other processes that are closed by this; of those that answer in time. */
  async disconnectUser(userKey: string, code: number, reason: string): Promise<number> {
    return sum(await this.#ask('disconnect-user', { key: userKey, code, reason }));
  }

  async disconnectSocket(id: string, code: number, reason: string): Promise<number> {
    return sum(await this.#ask('disconnect-socket', { key: id, code, reason }, (answer) => answer === 1));
  }

  /** Whether a user has a connection in another process that answers in time. */
  async isOnline(userKey: string): Promise<boolean> {
    const isThere = (answer: unknown): boolean => typeof answer === 'number' && answer > 0;
    return (await this.#ask('online', { key: userKey }, isThere)).some(isThere);
  }

  /** Connections of other processes that answer in time. */
  async count(scope: CastScope): Promise<number> {
    return sum(await this.#ask('count', scope));
  }

  async members(scope: CastScope): Promise<RoomMember[]> {
    return (await this.#ask('members', scope)).flatMap((answer) =>
      Array.isArray(answer) ? answer.flatMap(member) : [],
    );
  }

  /** A ban of this process: the others hear of it at once, and those that come later find it. */
  ban(ban: StoredBan): void {
    void this.#say('ctl', 'ban', JSON.stringify(ban));
    void this.#save(ban.id, ban);
  }

  unban(id: string): void {
    void this.#say('ctl', 'unban', JSON.stringify({ id }));
    void this.#save(id, undefined);
  }

  /** Values to be taken once, such as tickets. */
  put(name: string, value: string, ttl: number): Promise<boolean> {
    return this.store.put(name, value, ttl);
  }

  take(name: string): Promise<string | null | undefined> {
    return this.store.take(name);
  }

  get #isUp(): boolean {
    return this.store.status.isAvailable && this.#isBusAlive;
  }

  get #others(): string[] {
    return this.store.status.nodes.flatMap(({ id }) => (id === this.id ? [] : [id]));
  }

  #withoutOthers(claims: readonly LocalClaim[]): ClusterRefusal | undefined {
    this.#fallbacks++;
    const { onFailure } = this.options;
    if (onFailure === 'local') return undefined;
    const nodes = Math.max(1, this.store.status.nodes.length);
    const claim = onFailure === 'closed' ? -1 : this.#share.judge(claims, nodes);
    if (onFailure === 'share' && claim < 0) return undefined;
    this.store.release(claims);
    if (claim < 0) return UNAVAILABLE;
    const { held, max } = claims[claim]!;
    const isFull = max !== undefined && held > Math.ceil(max / nodes);
    return { claim, kind: isFull ? 'room' : 'rate', wait: isFull ? ROOM_WAIT : 1000 };
  }

  #tellRoom(): void {
    this.#roomTimer = undefined;
    for (const name of this.#room) this.#refusals.clear(name);
    void this.#say('ctl', 'room', JSON.stringify([...this.#room].slice(0, 1000)));
    this.#room.clear();
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

  async #say(name: string, kind: string, payload: string): Promise<boolean> {
    const channel = this.#channel(name);
    const isSent = await this.bus.publish(channel, this.#codec.encode(channel, kind, payload));
    if (!isSent) this.#unsent++;
    return isSent;
  }

  async #ask(kind: string, data: unknown, isEnough?: (answer: unknown) => boolean): Promise<unknown[]> {
    return this.#requests.ask(kind, data, this.#others, isEnough);
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
      this.#hear(received);
    } catch {
      // A payload that is not what its kind says: of another version, or of somebody without a secret.
      this.#codec.counts.malformed++;
    }
  }

  #hear({ from, kind, payload }: Received): void {
    switch (kind) {
      case 'cast':
        return this.#deliver(payload);
      case 'ask': {
        const { id, kind: what, data } = JSON.parse(payload) as Record<string, unknown>;
        const answer = this.#answer(String(what), data as Record<string, unknown>);
        void this.#say(`n:${from}`, 'answer', JSON.stringify({ id, answer }));
        return;
      }
      case 'answer': {
        const { id, answer } = JSON.parse(payload) as Record<string, unknown>;
        return this.#requests.answered(String(id), from, answer);
      }
      case 'displace':
        return this.host.displace(payload);
      case 'refused': {
        const { name, kind: why, until } = JSON.parse(payload) as Record<string, unknown>;
        const latest = this.store.now() + (why === 'rate' ? DAY : ROOM_WAIT);
        this.#refusals.add({
          name: text(name),
          kind: why === 'rate' ? 'rate' : 'room',
          until: Math.min(number(until), latest),
        });
        return;
      }
      case 'room':
        for (const name of JSON.parse(payload) as unknown[]) this.#refusals.clear(text(name));
        return;
      case 'ban': {
        const { id, until, value } = JSON.parse(payload) as Record<string, unknown>;
        return this.host.banned({ id: text(id), until: number(until), value: text(value) });
      }
      case 'unban':
        return this.host.unbanned(text((JSON.parse(payload) as Record<string, unknown>)['id']));
      case 'hello':
        return this.store.refresh();
      case 'bye':
        // When the store has heard of it too.
        setTimeout(() => this.store.refresh(), ROOM_AFTER).unref();
        return;
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
      this.host.deliver(scope, payload.slice(head, at));
    }
  }

  #answer(kind: string, data: Record<string, unknown>): unknown {
    const { host } = this;
    switch (kind) {
      case 'disconnect-user':
        return host.disconnectUser(text(data['key']), code(data['code']), reason(data['reason']));
      case 'disconnect-socket':
        return host.disconnectSocket(text(data['key']), code(data['code']), reason(data['reason']));
      case 'online':
        return host.connectionsOf(text(data['key']));
      case 'count':
        return host.count(scopeOf(data));
      case 'members':
        return host.members(scopeOf(data)).slice(0, MOST_MEMBERS);
      default:
        return null;
    }
  }

  /** Once each heartbeat: is our own channel alive, are there rooms that nobody is in any more. */
  #beat(): void {
    if (this.#isStopped) return;
    if (this.#probedAt !== undefined && performance.now() - this.#probedAt >= this.options.timeout) {
      this.#setBus(false);
      this.bus.reset();
    }
    this.#partitions.sweep();
    this.#sendProbe();
  }

  #sendProbe(): void {
    const probe = ++this.#probe;
    this.#probedAt ??= performance.now();
    void this.#say(`n:${this.id}`, 'probe', String(probe)).then((isSent) => {
      // Nothing was sent: nothing can come back.
      if (!isSent && this.#probe === probe) this.#probedAt = undefined;
    });
  }

  #probed(probe: number): void {
    if (probe === this.#probe) this.#probedAt = undefined;
    this.#setBus(true);
  }

  #busChanged(): void {
    if (this.#isStopped) return;
    if (!this.bus.isAvailable) return this.#setBus(false);
    // Numbers of messages go on: what was sent while there was no connection is a gap.
    this.#sendProbe();
  }

  #setBus(isAlive: boolean): void {
    if (this.#isBusAlive === isAlive) return;
    this.#isBusAlive = isAlive;
    if (isAlive) this.#whenAlive();
    this.#report();
  }

  #storeChanged(): void {
    if (this.#isStopped) return;
    const { isAvailable, nodes } = this.store.status;
    const ids = nodes.map(({ id }) => id);
    // What a process that has gone held is free.
    if (this.#nodes.some((id) => !ids.includes(id))) this.#refusals.clearRoom();
    this.#nodes = ids;
    if (isAvailable) {
      this.#share.clear();
      void this.#saveUnsaved();
      if (!this.#isBusAlive) this.#sendProbe();
    }
    this.#report();
  }

  /** What is shared now: everything, limits alone, or nothing. */
  get #reach(): Reach {
    if (!this.store.status.isAvailable) return 'nothing';
    return this.#isBusAlive ? 'everything' : 'limits';
  }

  /**
   * One line for each change of state. One for the worse is told a moment later: connections to the same Redis do not
   * break in the same moment.
   */
  #report(): void {
    if (!this.#hasStarted || this.#isStopped || this.#reach === this.#told) return;
    if (this.#reach === 'everything' || this.#told === undefined) return this.#tellReach();
    this.#settling ??= setTimeout(() => {
      this.#settling = undefined;
      if (!this.#isStopped && this.#reach !== this.#told) this.#tellReach();
    }, this.options.timeout).unref();
  }

  #tellReach(): void {
    const isFirst = this.#told === undefined;
    const reach = this.#reach;
    this.#told = reach;
    const { nodes, lastError } = this.store.status;
    if (reach === 'everything') {
      const verb = isFirst ? 'joined' : 'is back';
      const processes = nodes.length === 1 ? 'process' : 'processes';
      return this.host.notice(`cluster: ${verb}, ${nodes.length} ${processes}`, 'up');
    }
    const fallback = {
      local: "this process's limits hold alone",
      share: 'this process takes its share of every limit',
      closed: 'new connections get 503',
    }[this.options.onFailure];
    this.host.notice(
      reach === 'limits'
        ? 'cluster: messages of other processes do not arrive; limits are still shared'
        : `cluster: the store does not answer (${lastError ?? 'not connected'}); ${fallback} (cluster.onFailure) until it does`,
      'degraded',
    );
  }

  async #save(id: string, ban: StoredBan | undefined): Promise<void> {
    const isSaved = await (ban === undefined ? this.store.removeBan(id) : this.store.saveBan(ban));
    if (isSaved) this.#unsaved.delete(id);
    else if (this.#unsaved.size < this.options.maxBans) this.#unsaved.set(id, ban);
  }

  async #saveUnsaved(): Promise<void> {
    if (this.#unsaved.size === 0) return;
    const unsaved = [...this.#unsaved];
    this.#unsaved.clear();
    for (const [id, ban] of unsaved) await this.#save(id, ban);
  }

  async #saveAll(bans: Iterable<StoredBan>): Promise<void> {
    for (const ban of [...bans]) await this.#save(ban.id, ban);
  }
}

const UNAVAILABLE: ClusterRefusal = Object.freeze({ claim: -1, kind: 'unavailable', wait: 1000 });
const DAY = 86_400_000;

const sum = (answers: readonly unknown[]): number =>
  answers.reduce(
    (total: number, answer) => total + (Number.isSafeInteger(answer) ? Math.max(0, answer as number) : 0),
    0,
  );

function text(value: unknown): string {
  if (typeof value !== 'string') throw new TypeError('not a text');
  return value;
}

function number(value: unknown): number {
  if (typeof value !== 'number' || !Number.isFinite(value)) throw new TypeError('not a number');
  return value;
}

const code = (value: unknown): number => {
  const given = number(value);
  return Number.isInteger(given) && given >= 1000 && given <= 4999 ? given : 1008;
};

const reason = (value: unknown): string => {
  let cut = text(value).slice(0, MAX_REASON);
  while (Buffer.byteLength(cut) > MAX_REASON) cut = cut.slice(0, -1);
  return cut;
};

function scopeOf(value: unknown): CastScope {
  const { gateway, room, userKey } = value as Record<string, unknown>;
  return {
    ...(gateway === undefined ? {} : { gateway: text(gateway) }),
    ...(room === undefined ? {} : { room: text(room) }),
    ...(userKey === undefined ? {} : { userKey: text(userKey) }),
  };
}

const member = (value: unknown): RoomMember[] => {
  const { id, userKey } = (value ?? {}) as Record<string, unknown>;
  return typeof id === 'string' ? [{ id, userKey: typeof userKey === 'string' ? userKey : undefined }] : [];
};
