import type {
  Claim,
  ClaimAnswer,
  ClusterStore,
  ClusterStoreOptions,
  ClusterStoreStatus,
  NodeInfo,
  StoredBan,
  UserAnswer,
  UserClaim,
} from '../contract.js';
import { RedisAdmissions } from './admissions.js';
import type { RedisClient } from './client.js';
import { RedisCounters } from './counters.js';
import { RedisLink, UNAVAILABLE } from './link.js';
import { ADMIT_USER, BANS_SINCE, RENEW, SAVE_BAN } from './scripts.js';

/** Number of digits of the time in an incarnation; the id of the process follows. */
const TIME_DIGITS = 11;
/** Maximum number of bans in one answer. */
const BAN_PAGE = 500;
/** Minimum milliseconds between two renewals outside of the heartbeat. */
const HURRY = 100;

const NOT_AVAILABLE = Object.freeze({ outcome: 'unavailable' as const });
const NOBODY = Object.freeze({ outcome: 'admitted' as const, displaced: Object.freeze([]) });

/** `ClusterStore` in Redis; docs/cluster.md describes the keys. */
export class RedisStore implements ClusterStore {
  readonly #link: RedisLink;
  readonly #counters: RedisCounters;
  readonly #admissions: RedisAdmissions;
  #options!: ClusterStoreOptions;
  #own = '';
  #nodes: readonly NodeInfo[] = [];
  #leaseUntil = 0;
  /** Milliseconds by which Redis's clock is ahead of the monotonic clock: the clock of this machine can be set. */
  #ahead: number;
  /** Number of renewals that Redis has confirmed. */
  #renewals = 0;
  #bansVersion = 0;
  #isLoadingBans = false;
  /** The connection was re-established after the counts were written: Redis may have older counts. */
  #isStale = false;
  #renewing: Promise<void> | undefined;
  #renewedAt = Number.NEGATIVE_INFINITY;
  #renewal: NodeJS.Timeout | undefined;
  #second: NodeJS.Timeout | undefined;
  #isStopped = false;
  #wasAvailable = false;

  constructor(
    private readonly client: RedisClient,
    private readonly prefix: string,
    private readonly monotonic: () => number = () => performance.now(),
  ) {
    this.#ahead = Date.now() - monotonic();
    this.#link = new RedisLink(client, () => this.#breakerMoved(), monotonic);
    const isSharded = client.isCluster === true;
    this.#counters = new RedisCounters(this.#link, prefix, isSharded);
    const lost = (): void => this.refresh();
    this.#admissions = new RedisAdmissions(this.#link, this.#counters, prefix, isSharded, monotonic, lost);
    client.on('ready', () => this.#connected());
    client.on('close', () => this.#tell());
    // Redis Cluster: a node was added, perhaps to replace another.
    client.on('+node', () => this.#connected());
  }

  get link(): RedisLink {
    return this.#link;
  }

  get status(): ClusterStoreStatus {
    const { breaker, failures, lastError } = this.#link;
    return {
      isAvailable: this.#isAvailable,
      nodes: this.#nodes,
      leaseUntil: this.#leaseUntil,
      breaker: breaker.state,
      failures,
      lastError,
    };
  }

  async start(options: ClusterStoreOptions): Promise<void> {
    this.#options = options;
    this.#link.timeout = options.timeout;
    await this.#link.connect(10 * options.timeout);
    await this.#renew();
    this.#plan();
  }

  async stop(): Promise<void> {
    if (this.#isStopped) return;
    this.#isStopped = true;
    clearTimeout(this.#renewal);
    clearTimeout(this.#second);
    this.#counters.stop();
    if (this.#own !== '') await this.#link.ask(() => this.client.zrem(this.#key('nodes'), this.#own), 'lease');
    this.#own = '';
    this.#link.close();
  }

  now(): number {
    return Math.floor(this.monotonic() + this.#ahead);
  }

  admit(claims: readonly Claim[]): Promise<ClaimAnswer> {
    return this.#isAvailable ? this.#admissions.ask(claims) : this.#admissions.count(claims);
  }

  release(claims: readonly Claim[]): void {
    this.#counters.release(claims);
  }

  async admitUser(claims: readonly UserClaim[], id: string): Promise<UserAnswer> {
    this.#counters.holdUser(claims, id, '');
    const args = () => [...this.#counters.identity, id, ...claims.flatMap(({ max, onLimit }) => [max, onLimit])];
    const answer = this.#isAvailable
      ? await this.#link.run(
          ADMIT_USER,
          claims.map(({ name }) => this.#key(name)),
          args,
        )
      : UNAVAILABLE;
    if (typeof answer === 'string') {
      this.#counters.releaseUser(claims, id, false);
      return { outcome: 'refused', claim: Number(answer.slice(2)) - 1 };
    }
    this.#counters.holdUser(claims, id, this.now());
    if (typeof answer === 'symbol') {
      this.#counters.touchUsers(claims);
      return NOT_AVAILABLE;
    }
    const members = answer as string[];
    if (members.length === 0) return NOBODY;
    const displaced = members.map((member) => ({
      node: member.slice(TIME_DIGITS, member.indexOf('/')),
      id: member.slice(member.indexOf('/') + 1),
    }));
    for (const each of displaced)
      if (each.node === this.#options.id) this.#counters.releaseUser(claims, each.id, false);
    return { outcome: 'admitted', displaced };
  }

  releaseUser(claims: readonly UserClaim[], id: string): void {
    this.#counters.releaseUser(claims, id, true);
  }

  refresh(): void {
    if (this.#isStopped || this.#options === undefined) return;
    clearTimeout(this.#renewal);
    const wait = Math.max(0, this.#renewedAt + HURRY - this.monotonic());
    this.#renewal = setTimeout(() => void this.#renew().then(() => this.#plan()), wait).unref();
  }

  async saveBan(ban: StoredBan): Promise<boolean> {
    return this.#changeBan(ban.id, ban.until, ban.value);
  }

  async removeBan(id: string): Promise<boolean> {
    return this.#changeBan(id, 0, '');
  }

  async put(name: string, value: string, ttl: number): Promise<boolean> {
    const answer = await this.#link.ask(() => this.client.set(this.#key(name), value, 'PX', Math.ceil(ttl), 'NX'));
    return answer === 'OK';
  }

  async take(name: string): Promise<string | null | undefined> {
    const answer = await this.#link.ask(() => this.client.getdel(this.#key(name)));
    return typeof answer === 'symbol' ? undefined : (answer as string | null);
  }

  get #isAvailable(): boolean {
    return this.#own !== '' && this.#link.breaker.state === 'closed' && this.#link.isReady;
  }

  #key(name: string): string {
    return `${this.prefix}:${name}`;
  }

  /** The key must be in one shard with `nodes`: the braces contain that key. */
  get #banKeys(): string[] {
    return ['version', 'ids', 'values'].map((part) => `{${this.prefix}:nodes}:bans:${part}`);
  }

  #plan(): void {
    if (this.#isStopped) return;
    clearTimeout(this.#renewal);
    const { breaker } = this.#link;
    const wait = breaker.state === 'open' ? breaker.remaining + 1 : this.#options.heartbeat;
    this.#renewal = setTimeout(() => void this.#renew().then(() => this.#plan()), wait).unref();
  }

  #breakerMoved(): void {
    // The first probe is made when the pause is over, which is before the next renewal.
    if (this.#options !== undefined && this.#renewing === undefined) this.#plan();
    this.#tell();
  }

  #connected(): void {
    this.#isStale = true;
    this.#link.breaker.hurry();
    this.refresh();
  }

  #renew(): Promise<void> {
    this.#renewing ??= this.#doRenew().finally(() => {
      this.#renewing = undefined;
    });
    return this.#renewing;
  }

  async #doRenew(): Promise<void> {
    this.#renewedAt = this.monotonic();
    if (this.#isStopped) return;
    this.#reviveConnection();
    const { id, lease, about } = this.#options;
    const wasAvailable = this.#isAvailable;
    const own = this.#counters.hasForgotten ? '' : this.#own;
    const keys = [this.#key('nodes'), `{${this.prefix}:nodes}:about`, this.#banKeys[0]!];
    const sent = this.monotonic();
    const answer = await this.#link.run(RENEW, keys, () => [own, id, lease, about(), this.#renewals], 'lease');
    if (typeof answer === 'symbol' || this.#isStopped) return this.#tell();
    const [incarnation, isNew, time, version, ...members] = answer as [string, number, string, string, ...string[]];
    this.#ahead = Number(time) - (sent + this.monotonic()) / 2;
    this.#leaseUntil = Number(time) + lease;
    this.#renewals++;
    this.#own = incarnation;
    const incarnations = members.filter((_, index) => index % 2 === 0);
    this.#nodes = incarnations.map((each, index) => ({ id: each.slice(TIME_DIGITS), about: members[2 * index + 1]! }));
    this.#counters.identify(incarnation, time, incarnations);
    if (isNew === 1 || this.#isStale || !wasAvailable) await this.#assert();
    else this.#counters.sweep(this.#options.heartbeat);
    if (!this.#isStale) this.#counters.renewed();
    this.#tell();
    await this.#loadBans(Number(version));
  }

  /** Writes all counts to Redis, and again when commands of an earlier connection can no longer arrive. */
  async #assert(): Promise<void> {
    this.#isStale = false;
    this.#counters.remembered();
    if (!(await this.#counters.assertAll())) this.#isStale = true;
    clearTimeout(this.#second);
    this.#second = setTimeout(() => void this.#counters.assertAll(), this.#options.lease).unref();
  }

  /** Reconnects if nothing comes back on a connection that TCP has not ended. */
  #reviveConnection(): void {
    if (this.#link.isReady && this.#link.breaker.state !== 'closed') {
      if (this.monotonic() - this.#link.lastAnswer > this.#options.lease) {
        this.#link.lastAnswer = this.monotonic();
        this.client.disconnect(true);
      }
    }
  }

  async #loadBans(version: number): Promise<void> {
    if (version === this.#bansVersion || this.#isLoadingBans) return;
    if (version < this.#bansVersion) {
      this.#bansVersion = 0;
      this.#options.onBansLost();
      if (version === 0) return;
    }
    this.#isLoadingBans = true;
    for (let seen = -1; seen !== this.#bansVersion && this.#bansVersion < version; ) {
      seen = this.#bansVersion;
      const answer = await this.#link.run(BANS_SINCE, this.#banKeys, () => [seen, BAN_PAGE], 'other');
      if (typeof answer === 'symbol') break;
      const [upTo, ...pairs] = answer as string[];
      this.#bansVersion = Number(upTo);
      this.#tellBans(pairs);
    }
    this.#isLoadingBans = false;
  }

  #tellBans(pairs: readonly string[]): void {
    const saved: StoredBan[] = [];
    const removed: string[] = [];
    for (let i = 0; i + 1 < pairs.length; i += 2) {
      const [id, stored] = [pairs[i]!, pairs[i + 1]!];
      const space = stored.indexOf(' ');
      if (space < 0) removed.push(id);
      else saved.push({ id, until: Number(stored.slice(0, space)), value: stored.slice(space + 1) });
    }
    this.#options.onBans(saved, removed);
  }

  async #changeBan(id: string, until: number, value: string): Promise<boolean> {
    const args = () => [id, Math.ceil(until), value, this.#options.maxBans, Math.floor(this.now())];
    const version = await this.#link.run(SAVE_BAN, this.#banKeys, args, 'other');
    if (typeof version === 'symbol') return false;
    // No other change was made in between, so there is nothing to load.
    if (version === this.#bansVersion + 1 && !this.#isLoadingBans) this.#bansVersion++;
    return true;
  }

  #tell(): void {
    if (this.#wasAvailable !== this.#isAvailable && this.#wasAvailable) this.#isStale = true;
    this.#wasAvailable = this.#isAvailable;
    this.#options?.onChange();
  }
}
