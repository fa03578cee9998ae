import { debt, fits, spend } from '../net/token-bucket.js';
import type {
  Claim,
  ClaimAnswer,
  ClusterBus,
  ClusterBusOptions,
  ClusterStore,
  ClusterStoreOptions,
  ClusterStoreStatus,
  StoredBan,
  UserAnswer,
  UserClaim,
  UserConnection,
} from './contract.js';

interface Joined {
  readonly id: string;
  readonly options: ClusterStoreOptions;
}

/**
 * A store and a bus for several applications in one process, without a database: for tests of applications, and as the
 * reference for other implementations. `isDown` makes both unavailable.
 */
export class MemoryCluster {
  isDown = false;
  /** Number of connections by name and process. */
  readonly counts = new Map<string, Map<string, number>>();
  /** Connections of users by name, oldest first. */
  readonly users = new Map<string, UserConnection[]>();
  readonly #rates = new Map<string, number>();
  readonly #bans = new Map<string, StoredBan>();
  readonly #values = new Map<string, { value: string; until: number }>();
  readonly #joined = new Set<Joined>();
  readonly #buses = new Set<MemoryBus>();

  constructor(private readonly now: () => number = Date.now) {}

  store(): ClusterStore {
    return new MemoryClusterStore(this, this.now);
  }

  bus(): ClusterBus {
    return new MemoryBus(this);
  }

  /** @internal */ get buses(): Set<MemoryBus> {
    return this.#buses;
  }

  /** @internal */ get nodes(): readonly Joined[] {
    return [...this.#joined];
  }

  /** @internal */ join(joined: Joined): void {
    this.#joined.add(joined);
    this.#changed();
    if (this.#bans.size > 0) joined.options.onBans([...this.#bans.values()], []);
  }

  /** @internal Removes a process and its counts. */
  leave(joined: Joined): void {
    if (!this.#joined.delete(joined)) return;
    for (const counts of this.counts.values()) counts.delete(joined.id);
    for (const [name, connections] of this.users)
      this.users.set(
        name,
        connections.filter(({ node }) => node !== joined.id),
      );
    this.#changed();
  }

  /** @internal */ admit(id: string, claims: readonly Claim[]): ClaimAnswer {
    const now = this.now();
    const spent: [string, number][] = [];
    let late = { claim: -1, wait: 0 };
    for (const [claim, { name, rate }] of claims.entries()) {
      if (rate === undefined) continue;
      const full = spend(this.#rates.get(name) ?? 0, now, 1, rate);
      const wait = debt(full, now, rate);
      if (!fits(full, now, rate) && wait > late.wait) late = { claim, wait };
      spent.push([name, full]);
    }
    if (late.claim >= 0) return { outcome: 'refused', ...late };
    for (const [name, full] of spent) this.#rates.set(name, full);
    const full = claims.findIndex(({ name, max }) => max !== undefined && this.#total(name) >= max);
    if (full >= 0) return { outcome: 'refused', claim: full, wait: undefined };
    for (const { name, max } of claims) if (max !== undefined) this.add(id, name, 1);
    return { outcome: 'admitted' };
  }

  /** @internal */ add(id: string, name: string, change: number): void {
    let counts = this.counts.get(name);
    if (counts === undefined) this.counts.set(name, (counts = new Map()));
    const count = (counts.get(id) ?? 0) + change;
    if (count > 0) counts.set(id, count);
    else counts.delete(id);
    if (counts.size === 0) this.counts.delete(name);
  }

  /** @internal */ admitUser(node: string, claims: readonly UserClaim[], id: string): UserAnswer {
    const of = (name: string): UserConnection[] => this.users.get(name) ?? [];
    const full = claims.findIndex(
      ({ name, max, onLimit }) => of(name).length >= max && (onLimit === 'refuse' || max < 1),
    );
    if (full >= 0) return { outcome: 'refused', claim: full };
    const displaced: UserConnection[] = [];
    for (const { name, max } of claims) {
      const excess = of(name).length + 1 - max;
      const oldest = excess > 0 ? of(name).slice(0, excess) : [];
      displaced.push(...oldest);
      for (const each of claims)
        this.users.set(
          each.name,
          of(each.name).filter((connection) => !oldest.some((old) => isSame(old, connection))),
        );
    }
    for (const { name } of claims) this.users.set(name, [...of(name), { node, id }]);
    return { outcome: 'admitted', displaced };
  }

  /** @internal */ releaseUser(node: string, claims: readonly UserClaim[], id: string): void {
    for (const { name } of claims) {
      const left = (this.users.get(name) ?? []).filter((connection) => !isSame(connection, { node, id }));
      if (left.length > 0) this.users.set(name, left);
      else this.users.delete(name);
    }
  }

  /** @internal */ changeBan(by: string, id: string, ban: StoredBan | undefined, max: number): void {
    this.#bans.delete(id);
    if (ban !== undefined) this.#bans.set(id, ban);
    if (this.#bans.size > max) this.#bans.delete(this.#bans.keys().next().value!);
    for (const each of this.#joined)
      if (each.id !== by) each.options.onBans(ban === undefined ? [] : [ban], ban === undefined ? [id] : []);
  }

  /** @internal */ put(name: string, value: string, ttl: number): boolean {
    const known = this.#values.get(name);
    if (known !== undefined && known.until > this.now()) return false;
    this.#values.set(name, { value, until: this.now() + ttl });
    return true;
  }

  /** @internal */ take(name: string): string | null {
    const known = this.#values.get(name);
    this.#values.delete(name);
    return known !== undefined && known.until > this.now() ? known.value : null;
  }

  /** @internal */ publish(channel: string, message: string): void {
    // Asynchronous, as over a network: a message is never delivered before the publisher's call has returned.
    for (const bus of this.#buses) setImmediate(() => bus.hear(channel, message));
  }

  #total(name: string): number {
    return [...(this.counts.get(name)?.values() ?? [])].reduce((sum, count) => sum + count, 0);
  }

  #changed(): void {
    for (const { options } of this.#joined) options.onChange();
  }
}

const isSame = (a: UserConnection, b: UserConnection): boolean => a.node === b.node && a.id === b.id;

class MemoryClusterStore implements ClusterStore {
  #joined: Joined | undefined;
  #failures = 0;

  constructor(
    private readonly cluster: MemoryCluster,
    readonly now: () => number,
  ) {}

  get status(): ClusterStoreStatus {
    return {
      isAvailable: this.#isThere,
      nodes: this.cluster.nodes.map(({ id, options }) => ({ id, about: options.about() })),
      leaseUntil: this.#joined === undefined ? 0 : this.now() + this.#joined.options.lease,
      breaker: 'closed',
      failures: this.#failures,
      lastError: this.#isThere ? undefined : 'down',
    };
  }

  async start(options: ClusterStoreOptions): Promise<void> {
    this.#joined = { id: options.id, options };
    this.cluster.join(this.#joined);
  }

  async stop(): Promise<void> {
    if (this.#joined !== undefined) this.cluster.leave(this.#joined);
    this.#joined = undefined;
  }

  async admit(claims: readonly Claim[]): Promise<ClaimAnswer> {
    if (this.#isThere) return this.cluster.admit(this.#joined!.id, claims);
    for (const { name, max } of claims) if (max !== undefined) this.cluster.add(this.#id, name, 1);
    return this.#unavailable();
  }

  release(claims: readonly Claim[]): void {
    for (const { name, max } of claims) if (max !== undefined) this.cluster.add(this.#id, name, -1);
  }

  async admitUser(claims: readonly UserClaim[], id: string): Promise<UserAnswer> {
    if (this.#isThere) return this.cluster.admitUser(this.#id, claims, id);
    for (const { name } of claims)
      this.cluster.users.set(name, [...(this.cluster.users.get(name) ?? []), { node: this.#id, id }]);
    return this.#unavailable();
  }

  releaseUser(claims: readonly UserClaim[], id: string): void {
    this.cluster.releaseUser(this.#id, claims, id);
  }

  refresh(): void {}

  async saveBan(ban: StoredBan): Promise<boolean> {
    if (this.#isThere) this.cluster.changeBan(this.#id, ban.id, ban, this.#joined!.options.maxBans);
    return this.#isThere;
  }

  async removeBan(id: string): Promise<boolean> {
    if (this.#isThere) this.cluster.changeBan(this.#id, id, undefined, this.#joined!.options.maxBans);
    return this.#isThere;
  }

  async put(name: string, value: string, ttl: number): Promise<boolean> {
    return this.#isThere && this.cluster.put(name, value, ttl);
  }

  async take(name: string): Promise<string | null | undefined> {
    return this.#isThere ? this.cluster.take(name) : undefined;
  }

  get #isThere(): boolean {
    return this.#joined !== undefined && !this.cluster.isDown;
  }

  get #id(): string {
    return this.#joined?.id ?? '';
  }

  #unavailable(): { readonly outcome: 'unavailable' } {
    this.#failures++;
    return { outcome: 'unavailable' };
  }
}

class MemoryBus implements ClusterBus {
  #options: ClusterBusOptions | undefined;
  readonly #channels = new Set<string>();

  constructor(private readonly cluster: MemoryCluster) {}

  get isAvailable(): boolean {
    return this.#options !== undefined && !this.cluster.isDown;
  }

  async start(options: ClusterBusOptions): Promise<void> {
    this.#options = options;
    this.cluster.buses.add(this);
  }

  async stop(): Promise<void> {
    this.cluster.buses.delete(this);
    this.#options = undefined;
  }

  async publish(channel: string, message: string): Promise<boolean> {
    if (!this.isAvailable) return false;
    this.cluster.publish(channel, message);
    return true;
  }

  subscribe(channel: string): void {
    this.#channels.add(channel);
  }

  unsubscribe(channel: string): void {
    this.#channels.delete(channel);
  }

  reset(): void {}

  /** @internal */ hear(channel: string, message: string): void {
    if (this.#channels.has(channel)) this.#options?.receive(channel, message);
  }
}
