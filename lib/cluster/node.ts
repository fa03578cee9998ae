import { randomBytes } from 'node:crypto';
import type { RoomMember } from '../dispatch/broadcaster.js';
import type { BreakerState } from './breaker.js';
import type { ClusterBus, ClusterStore, StoredBan, UserAnswer, UserClaim } from './contract.js';
import type { MessageCounts, Received } from './messages.js';
import { Messenger } from './messenger.js';
import { answerTo, type CastScope, membersOf, number, Requests, type Respondent, sum, text } from './requests.js';
import { FallbackShare, type LocalClaim, SharedRefusals } from './shared-refusals.js';

/** The actions of a process that other processes request. None of them may throw. */
export interface ClusterHost extends Respondent {
  /** Delivers a broadcast of another process. */
  deliver(scope: CastScope, text: string): void;
  /** Closes a connection whose user has newer ones elsewhere; `id` is the one that was passed to `admitUser`. */
  displace(id: string): void;
  banned(ban: StoredBan): void;
  unbanned(id: string): void;
  bans(): Iterable<StoredBan>;
  /** Writes a line to the log, once for each change of state. */
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
  /** Returns the description of this process for the others: host, process id, connections. */
  about(): Readonly<Record<string, unknown>>;
}

type Reach = 'everything' | 'limits' | 'nothing';

/** The reason why an attempt is refused. */
export interface ClusterRefusal {
  /** Index of the claim; -1 if the store did not answer and `onFailure` is `closed`. */
  readonly claim: number;
  /** `rate`: too many attempts; `room`: too many connections. */
  readonly kind: 'rate' | 'room' | 'unavailable';
  /** Milliseconds until a retry is useful. */
  readonly wait: number;
}

/** The store did not answer in time, and this process admits the attempt by `onFailure`. */
export type Alone = 'alone';

/** The state of the cluster as this process knows it. */
export interface ClusterState {
  /** The id of this process. */
  readonly id: string;
  /** `up`: limits, messages and bans are shared; `degraded`: some of them are not, see the other properties. */
  readonly status: 'up' | 'degraded';
  readonly nodes: readonly { readonly id: string; readonly about: string }[];
  readonly leaseUntil: number;
  readonly breaker: BreakerState;
  /** The bus works: messages to the own channel come back. */
  readonly isBusAlive: boolean;
  /** Number of attempts that were decided without the store. */
  readonly fallbacks: number;
  readonly failures: number;
  readonly lastError: string | undefined;
  /** Messages of other processes that were lost or dropped, and messages of this process that could not be sent. */
  readonly messages: Readonly<MessageCounts> & { readonly unsent: number };
  /** Number of cached refusals. */
  readonly refusals: number;
}

/** Milliseconds for which a refusal because of too many connections is cached, unless a connection is closed. */
export const ROOM_WAIT = 5000;
/** Milliseconds after a release in which it is written to the store. */
const ROOM_AFTER = 25;

/**
 * This process as a member of the cluster: it checks attempts against the limits of the cluster, sends requests to
 * other processes, and answers theirs. No method throws or rejects because of a store, a bus or another process.
 */
export class ClusterNode {
  readonly id = randomBytes(6).toString('base64url');
  /** Sends messages to the other processes. */
  readonly messenger: Messenger;
  readonly #requests: Requests;
  readonly #refusals: SharedRefusals;
  readonly #share: FallbackShare;
  /** Names under which there is room again, to be announced to the other processes. */
  readonly #room = new Set<string>();
  #roomTimer: NodeJS.Timeout | undefined;
  #tick: NodeJS.Timeout | undefined;
  #hasStarted = false;
  #told: Reach | undefined;
  #settling: NodeJS.Timeout | undefined;
  #nodes: readonly string[] = [];
  #fallbacks = 0;
  /** Bans that have not been written to the store yet. */
  readonly #unsaved = new Map<string, StoredBan | undefined>();
  #isStopped = false;
  /** Senders whose `cluster.secret` differs; `undefined` when the log has a line about it. */
  #mismatched: Set<string> | undefined = new Set();

  constructor(
    private readonly store: ClusterStore,
    private readonly bus: ClusterBus,
    private readonly host: ClusterHost,
    private readonly options: ClusterNodeOptions,
  ) {
    const monotonic = () => performance.now();
    this.messenger = new Messenger(bus, this.id, {
      prefix: options.prefix,
      secret: options.secret,
      timeout: options.timeout,
      now: () => store.now(),
      isStoreUp: () => store.status.isAvailable,
      deliver: (scope, text) => host.deliver(scope, text),
      hear: (message) => this.#hear(message),
      onMismatch: (from) => {
        if (this.#mismatched === undefined || this.#mismatched.size >= MOST_MISMATCHED) return;
        this.#mismatched.add(from);
        this.#tellMismatch();
      },
      onChange: () => this.#report(),
    });
    this.#requests = new Requests(options.timeout, (id, kind, data, to) =>
      this.messenger.say(to === undefined ? 'ctl' : `n:${to}`, 'ask', JSON.stringify({ id, kind, data })),
    );
    this.#refusals = new SharedRefusals(monotonic);
    this.#share = new FallbackShare(monotonic);
  }

  /** Joins. Resolves after the first attempt, successful or not. */
  async start(): Promise<void> {
    const { prefix, timeout, heartbeat, lease, maxBans } = this.options;
    await Promise.all([
      this.messenger.start(),
      this.store.start({
        id: this.id,
        prefix,
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
    await this.messenger.greet();
    this.#hasStarted = true;
    this.#report();
  }

  /** Leaves: the connections of this process no longer count. */
  async stop(): Promise<void> {
    if (this.#isStopped) return;
    this.#isStopped = true;
    clearInterval(this.#tick);
    clearTimeout(this.#settling);
    clearTimeout(this.#roomTimer);
    this.#requests.close();
    await this.messenger.leave();
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
      isBusAlive: this.messenger.isAlive,
      fallbacks: this.#fallbacks,
      failures,
      lastError,
      messages: this.messenger.counts,
      refusals: this.#refusals.size,
    };
  }

  /** Whether a shared refusal is cached. */
  get hasRefusals(): boolean {
    return this.#refusals.size > 0;
  }

  /** Returns a cached refusal, without a call to the store. */
  remembered(claims: readonly { readonly name: string }[]): ClusterRefusal | undefined {
    if (this.#refusals.size === 0) return undefined;
    for (let claim = 0; claim < claims.length; claim++) {
      const refusal = this.#refusals.of(claims[claim]!.name);
      if (refusal !== undefined) return { claim, kind: refusal.kind, wait: refusal.until - performance.now() };
    }
    return undefined;
  }

  /**
   * Checks an attempt. If nothing refuses it, its claims are counted until `release` is called with the same claims.
   */
  admit(claims: readonly LocalClaim[]): Promise<ClusterRefusal | Alone | undefined> {
    const known = this.remembered(claims);
    if (known !== undefined) return Promise.resolve(known);
    return this.store.admit(claims).then((answer) => {
      if (answer.outcome === 'admitted') return undefined;
      if (answer.outcome === 'unavailable') return this.#withoutOthers(claims);
      const { claim } = answer;
      const kind = answer.wait === undefined ? 'room' : 'rate';
      const { name } = claims[claim]!;
      const wait = answer.wait ?? ROOM_WAIT;
      if (this.#refusals.add({ name, kind, until: performance.now() + wait }))
        void this.messenger.say('ctl', 'refused', JSON.stringify({ name, kind, wait }));
      return { claim, kind, wait };
    });
  }

  release(claims: readonly LocalClaim[]): void {
    this.store.release(claims);
    if (this.#refusals.size === 0) return;
    for (const { name } of claims) if (this.#refusals.of(name)?.kind === 'room') this.#room.add(name);
    if (this.#room.size > 0) this.#roomTimer ??= setTimeout(() => this.#tellRoom(), ROOM_AFTER).unref();
  }

  /** Checks a connection of a user, and closes those that it displaces, in any process. */
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
      else void this.messenger.say(`n:${node}`, 'displace', displaced);
    }
    return undefined;
  }

  releaseUser(claims: readonly UserClaim[], id: string): void {
    this.store.releaseUser(claims, id);
  }

  /** Throws a `RangeError` for a broadcast that is too large for other processes. */
  check(text: string): void {
    this.messenger.check(text);
  }

  cast(scope: CastScope, text: string): void {
    this.messenger.cast(scope, text);
  }

  /** Closes connections in other processes. Resolves to their number, in the processes that answer in time. */
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

  /** The connections in other processes that answer in time. */
  async count(scope: CastScope): Promise<number> {
    return sum(await this.#ask('count', scope));
  }

  async members(scope: CastScope): Promise<RoomMember[]> {
    return (await this.#ask('members', scope)).flatMap(membersOf);
  }

  /** What the dashboards of the other processes, or of one of them, answer in time, by the id of the process. */
  async view(question: Readonly<Record<string, unknown>>, node?: string): Promise<ReadonlyMap<string, unknown>> {
    const answers = new Map<string, unknown>();
    const others = this.#others.filter((id) => node === undefined || id === node);
    const keep = (answer: unknown, from: string): boolean => {
      answers.set(from, answer);
      return false;
    };
    await this.#requests.ask('view', question, others, keep, node);
    return answers;
  }

  /** Publishes a ban of this process: running processes receive it at once, and later ones read it from the store. */
  ban(ban: StoredBan): void {
    void this.messenger.say('ctl', 'ban', JSON.stringify(ban));
    void this.#save(ban.id, ban);
  }

  unban(id: string): void {
    void this.messenger.say('ctl', 'unban', JSON.stringify({ id }));
    void this.#save(id, undefined);
  }

  /** Values that can be taken once, such as tickets. */
  put(name: string, value: string, ttl: number): Promise<boolean> {
    return this.store.put(name, value, ttl);
  }

  take(name: string): Promise<string | null | undefined> {
    return this.store.take(name);
  }

  get #isUp(): boolean {
    return this.store.status.isAvailable && this.messenger.isAlive;
  }

  get #others(): string[] {
    return this.store.status.nodes.flatMap(({ id }) => (id === this.id ? [] : [id]));
  }

  #withoutOthers(claims: readonly LocalClaim[]): ClusterRefusal | Alone {
    this.#fallbacks++;
    const { onFailure } = this.options;
    if (onFailure === 'local') return 'alone';
    const nodes = Math.max(1, this.store.status.nodes.length);
    const claim = onFailure === 'closed' ? -1 : this.#share.judge(claims, nodes);
    if (onFailure === 'share' && claim < 0) return 'alone';
    this.store.release(claims);
    if (claim < 0) return UNAVAILABLE;
    const { held, max } = claims[claim]!;
    const isFull = max !== undefined && held > Math.ceil(max / nodes);
    return { claim, kind: isFull ? 'room' : 'rate', wait: isFull ? ROOM_WAIT : 1000 };
  }

  #tellRoom(): void {
    this.#roomTimer = undefined;
    for (const name of this.#room) this.#refusals.clear(name);
    void this.messenger.say('ctl', 'room', JSON.stringify([...this.#room].slice(0, 1000)));
    this.#room.clear();
  }

  async #ask(kind: string, data: unknown, isEnough?: (answer: unknown) => boolean): Promise<unknown[]> {
    return this.#requests.ask(kind, data, this.#others, isEnough);
  }

  #hear({ from, kind, payload }: Received): void {
    switch (kind) {
      case 'ask': {
        const { id, kind: what, data } = JSON.parse(payload) as Record<string, unknown>;
        const answer = answerTo(this.host, String(what), data as Record<string, unknown>);
        void this.messenger.say(`n:${from}`, 'answer', JSON.stringify({ id, answer }));
        return;
      }
      case 'answer': {
        const { id, answer } = JSON.parse(payload) as Record<string, unknown>;
        return this.#requests.answered(String(id), from, answer);
      }
      case 'displace':
        return this.host.displace(payload);
      case 'refused': {
        const { name, kind: why, wait } = JSON.parse(payload) as Record<string, unknown>;
        const kind = why === 'rate' ? 'rate' : 'room';
        const longest = kind === 'rate' ? DAY : ROOM_WAIT;
        this.#refusals.add({ name: text(name), kind, until: performance.now() + Math.min(number(wait), longest) });
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
        // After the store has processed the release, too.
        setTimeout(() => this.store.refresh(), ROOM_AFTER).unref();
        return;
    }
  }

  #beat(): void {
    if (!this.#isStopped) this.messenger.beat();
  }

  #storeChanged(): void {
    if (this.#isStopped) return;
    const { isAvailable, nodes } = this.store.status;
    const ids = nodes.map(({ id }) => id);
    // The connections of the process that has left no longer count.
    if (this.#nodes.some((id) => !ids.includes(id))) this.#refusals.clearRoom();
    this.#nodes = ids;
    this.#tellMismatch();
    if (isAvailable) {
      this.#share.clear();
      void this.#saveUnsaved();
      if (!this.messenger.isAlive) this.messenger.sendProbe();
    }
    this.#report();
  }

  /** What is shared now: everything, only limits, or nothing. */
  get #reach(): Reach {
    if (!this.store.status.isAvailable) return 'nothing';
    return this.messenger.isAlive ? 'everything' : 'limits';
  }

  /**
   * Logs one line for each change of state. A change for the worse is logged a moment later, because the connections to
   * one Redis do not fail at exactly the same time.
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
      local: 'each process applies the limits by itself',
      share: 'this process applies its share of every limit',
      closed: 'new connections get 503',
    }[this.options.onFailure];
    this.host.notice(
      reach === 'limits'
        ? 'cluster: messages of other processes do not arrive; limits are still shared'
        : `cluster: the store does not answer (${lastError ?? 'not connected'}); ${fallback} (cluster.onFailure) until it does`,
      'degraded',
    );
  }

  /** One line, if the sender is a process of this application and not a stranger. */
  #tellMismatch(): void {
    const from = this.#nodes.find((id) => this.#mismatched?.has(id));
    if (from === undefined) return;
    this.#mismatched = undefined;
    const what =
      this.options.secret === undefined
        ? `process ${from} signs its messages, and this process has no cluster.secret: it accepts unsigned messages, and the others drop its own`
        : `messages of process ${from} are dropped, because it has no cluster.secret or a different one`;
    this.host.notice(`cluster: ${what}; limits are shared; set the same cluster.secret for all processes`, 'degraded');
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
/** Maximum number of senders with another secret that are kept until the list of processes contains one of them. */
const MOST_MISMATCHED = 16;
