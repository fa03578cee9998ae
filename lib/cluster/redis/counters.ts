import type { Claim, UserClaim } from '../contract.js';
import { type RedisLink, UNAVAILABLE } from './link.js';
import { ASSERT, ASSERT_USER } from './scripts.js';

/** Milliseconds for which a key outlives its last change, so that keys of a crashed process disappear. */
const TTL = 3_600_000;
/** All keys are written again once within this time, so that they do not expire. */
const SWEEP_WITHIN = TTL / 3;
/** Milliseconds for which a release may wait, to be written together with others. */
const FLUSH_AFTER = 10;
/** Maximum number of keys of one script. */
const CHUNK = 64;
/**
 * Maximum number of names whose changes could not be written; beyond it all counts are written again, under a new
 * incarnation.
 */
const MOST_UNTOLD = 65_536;
const MOST = Number.MAX_SAFE_INTEGER;
const UNBOUNDED = String(MOST);

/** The connections of this process with one name. */
interface Counter {
  readonly name: string;
  count: number;
  /** Number of attempts among them that Redis has not answered yet. */
  underWay: number;
  /** The count was written while attempts were unanswered: if one is refused, it must be written again. */
  wasTold: boolean;
}

/**
 * The first arguments of every script: the incarnation of this process, the time of the last list of processes, that
 * list, and the lifetime of keys.
 */
type Identity = readonly [own: string, since: string, live: string, ttl: number];

/** The claims that one script checks: those of one shard. */
export interface Shard {
  /** What the names of the shard have between braces; '' if names are not distributed. */
  readonly tag: string;
  readonly keys: string[];
  /** Indices into the claims. */
  readonly indexes: number[];
}

export interface Held {
  readonly claims: readonly Claim[];
  readonly shards: Shard[];
  readonly counters: readonly (Counter | undefined)[];
}

/**
 * The counts of this process by name, and the changes that must still be written to Redis. Absolute counts are written,
 * not increments, so that writing one twice, or late, does no harm.
 */
export class RedisCounters {
  #identity: Identity = ['', '0', '', TTL];
  /** The beginning of the argument of ADMIT. */
  #identityJson = '';
  readonly #counters = new Map<string, Counter>();
  /** By name: the connections of a user by id, with the time when each was opened. */
  readonly #users = new Map<string, Map<string, number | ''>>();
  /**
   * Names whose last connection was released since the last renewal, and in the time before it: a Redis that has lost its
   * last writes may still count them.
   */
  #left = new Set<string>();
  #leftBefore = new Set<string>();
  #leftUsers = new Set<string>();
  #leftUsersBefore = new Set<string>();
  readonly #untold = new Set<string>();
  readonly #untoldUsers = new Set<string>();
  #flush: NodeJS.Timeout | undefined;
  #sweepAt: Iterator<string> | undefined;
  #sweepUsersAt: Iterator<string> | undefined;
  #hasForgotten = false;

  constructor(
    private readonly link: RedisLink,
    private readonly prefix: string,
    /** For Redis Cluster: names of different shards are on different nodes. */
    private readonly isSharded: boolean,
  ) {}

  get identity(): Identity {
    return this.#identity;
  }

  identify(own: string, since: string, live: readonly string[]): void {
    this.#identity = [own, since, live.join(' '), TTL];
    this.#identityJson = JSON.stringify([own, Number(since), live.join(' '), TTL]).slice(0, -1);
  }

  /** Some changes were dropped before they could be written. */
  get hasForgotten(): boolean {
    return this.#hasForgotten;
  }

  /** Called when all counts are written under a new incarnation. */
  remembered(): void {
    this.#hasForgotten = false;
  }

  /** Counts an attempt, before Redis is asked. */
  hold(claims: readonly Claim[]): Held {
    const shards: Shard[] = [];
    const counters = claims.map((claim, index) => {
      const { name, max } = claim;
      const tag = this.isSharded ? shardOf(name) : '';
      let shard = shards.find((each) => each.tag === tag);
      if (shard === undefined) shards.push((shard = { tag, keys: [], indexes: [] }));
      shard.keys.push(`${this.prefix}:${name}`);
      shard.indexes.push(index);
      const counter = max === undefined ? undefined : this.#counter(name);
      if (counter !== undefined) {
        counter.count++;
        counter.underWay++;
      }
      return counter;
    });
    return { claims, shards, counters };
  }

  /** The current argument of the script ADMIT. */
  argsOf({ claims, counters }: Held, { indexes }: Shard): readonly [string] {
    let json = this.#identityJson;
    for (const index of indexes) {
      const { max = 0, rate } = claims[index]!;
      const counter = counters[index];
      if (counter === undefined) json += ',0,0,-1';
      else {
        const bound = this.#untold.has(counter.name) ? counter.count : UNBOUNDED;
        json += `,${counter.count - counter.underWay + 1},${bound},${Math.min(max, MOST)}`;
      }
      json += rate === undefined ? ',0,0' : `,${(rate.window * 1000) / rate.limit},${rate.window * 1000}`;
    }
    return [`${json}]`];
  }

  admitted({ counters }: Held, isUncertain: boolean): void {
    for (const counter of counters) {
      if (counter === undefined) continue;
      this.#answered(counter);
      if (isUncertain) this.#tell(counter.name);
    }
  }

  refused({ counters, shards }: Held, answers: readonly unknown[]): void {
    // The shards that admitted the attempt have counted it.
    const counted = new Set(shards.flatMap(({ indexes }, at) => (typeof answers[at] === 'string' ? [] : indexes)));
    counters.forEach((counter, index) => {
      if (counter === undefined) return;
      counter.count--;
      const mustTell = counter.wasTold || counted.has(index);
      this.#answered(counter);
      if (mustTell) this.#tell(counter.name);
      else this.#forget(counter);
    });
  }

  release(claims: readonly Claim[]): void {
    for (const { name, max } of claims) {
      const counter = max === undefined ? undefined : this.#counters.get(name);
      if (counter === undefined || counter.count === 0) continue;
      counter.count--;
      this.#tell(name);
    }
  }

  /** `opened`: `''` while Redis has not answered. */
  holdUser(claims: readonly UserClaim[], id: string, opened: number | ''): void {
    for (const { name } of claims) {
      const connections = this.#users.get(name);
      if (connections === undefined) this.#users.set(name, new Map([[id, opened]]));
      else if (opened === '' || connections.has(id)) connections.set(id, opened);
    }
  }

  releaseUser(claims: readonly UserClaim[], id: string, mustTell: boolean): void {
    for (const { name } of claims) {
      const connections = this.#users.get(name);
      if (!connections?.delete(id)) continue;
      if (mustTell) this.#tellUser(name);
      else if (connections.size === 0) this.#users.delete(name);
    }
  }

  touchUsers(claims: readonly UserClaim[]): void {
    for (const { name } of claims) this.#tellUser(name);
  }

  /** Called when Redis has confirmed a renewal, and after counts that were lost have been written. */
  renewed(): void {
    this.#leftBefore = this.#left;
    this.#leftUsersBefore = this.#leftUsers;
    this.#left = new Set();
    this.#leftUsers = new Set();
  }

  /** Writes all counts. Resolves to whether Redis has received them. */
  async assertAll(): Promise<boolean> {
    const names = new Set([...this.#counters.keys(), ...this.#left, ...this.#leftBefore]);
    const users = new Set([...this.#users.keys(), ...this.#leftUsers, ...this.#leftUsersBefore]);
    for (const chunk of chunks([...names])) if (!(await this.#assert(chunk))) return false;
    for (const chunk of chunks([...users])) if (!(await this.#assertUsers(chunk))) return false;
    return true;
  }

  /** Writes a part of all counts, so that each is written again long before keys expire, and after keys were lost. */
  sweep(interval: number): void {
    const part = (size: number): number => Math.min(1024, Math.ceil((size * interval) / SWEEP_WITHIN));
    const names: string[] = [];
    for (let left = part(this.#counters.size); left > 0; left--) {
      const next = (this.#sweepAt ??= this.#counters.keys()).next();
      if (next.done) this.#sweepAt = undefined;
      else names.push(next.value);
    }
    const users: string[] = [];
    for (let left = part(this.#users.size); left > 0; left--) {
      const next = (this.#sweepUsersAt ??= this.#users.keys()).next();
      if (next.done) this.#sweepUsersAt = undefined;
      else users.push(next.value);
    }
    for (const chunk of chunks(names)) void this.#assert(chunk);
    for (const chunk of chunks(users)) void this.#assertUsers(chunk);
  }

  stop(): void {
    clearTimeout(this.#flush);
    this.#flush = undefined;
    this.#untold.clear();
    this.#untoldUsers.clear();
  }

  #counter(name: string): Counter {
    let counter = this.#counters.get(name);
    if (counter === undefined) this.#counters.set(name, (counter = { name, count: 0, underWay: 0, wasTold: false }));
    return counter;
  }

  #answered(counter: Counter): void {
    counter.underWay--;
    if (counter.underWay === 0) counter.wasTold = false;
  }

  #forget(counter: Counter): void {
    if (counter.count === 0 && counter.underWay === 0 && !this.#untold.has(counter.name))
      this.#counters.delete(counter.name);
  }

  #tell(name: string): void {
    this.#untold.add(name);
    this.#planFlush();
  }

  #tellUser(name: string): void {
    this.#untoldUsers.add(name);
    this.#planFlush();
  }

  #planFlush(): void {
    if (this.#untold.size + this.#untoldUsers.size > MOST_UNTOLD) this.#forgetUntold();
    if (this.link.breaker.state === 'closed') this.#flush ??= setTimeout(this.#tellAll, FLUSH_AFTER).unref();
  }

  /** Redis was unreachable for long: all counts are written under a new incarnation, so that older ones are ignored. */
  #forgetUntold(): void {
    this.#hasForgotten = true;
    for (const name of this.#untold) if (this.#counters.get(name)?.count === 0) this.#counters.delete(name);
    for (const name of this.#untoldUsers) if (this.#users.get(name)?.size === 0) this.#users.delete(name);
    this.#untold.clear();
    this.#untoldUsers.clear();
  }

  readonly #tellAll = (): void => {
    this.#flush = undefined;
    if (this.#identity[0] === '') return;
    const names = [...this.#untold];
    const users = [...this.#untoldUsers];
    this.#untold.clear();
    this.#untoldUsers.clear();
    for (const chunk of chunks(names)) void this.#assert(chunk);
    for (const chunk of chunks(users)) void this.#assertUsers(chunk);
  };

  async #assert(names: readonly string[]): Promise<boolean> {
    const groups = this.isSharded ? names.map((name) => [name]) : [names];
    for (const name of names) this.#untold.delete(name);
    const answers = await Promise.all(
      groups.map((group) => {
        const keys = group.map((name) => `${this.prefix}:${name}`);
        return this.link.run(ASSERT, keys, () => [...this.#identity, ...group.flatMap((name) => this.#told(name))]);
      }),
    );
    const isTold = !answers.includes(UNAVAILABLE);
    for (const name of names) {
      if (!isTold) this.#untold.add(name);
      const counter = this.#counters.get(name);
      if (!isTold || counter === undefined) continue;
      this.#forget(counter);
      if (!this.#counters.has(name) && this.#left.size < MOST_UNTOLD) this.#left.add(name);
    }
    if (!isTold) this.#planFlush();
    return isTold;
  }

  /** The confirmed count, and the count including attempts that Redis has not answered. */
  #told(name: string): readonly [number, number] {
    const counter = this.#counters.get(name);
    if (counter === undefined) return [0, 0];
    counter.wasTold = counter.underWay > 0;
    return [counter.count - counter.underWay, counter.count];
  }

  async #assertUsers(names: readonly string[]): Promise<boolean> {
    for (const name of names) this.#untoldUsers.delete(name);
    const answers = await Promise.all(
      names.map((name) =>
        this.link.run(ASSERT_USER, [`${this.prefix}:${name}`], () => [
          ...this.#identity,
          ...[...(this.#users.get(name) ?? [])].flatMap(([id, opened]) => [opened, id]),
        ]),
      ),
    );
    // A key of another program is not asked for again and again.
    const isTold = !answers.includes(UNAVAILABLE);
    for (const name of names) {
      if (!isTold) this.#untoldUsers.add(name);
      else if (this.#users.get(name)?.size === 0) {
        this.#users.delete(name);
        if (this.#leftUsers.size < MOST_UNTOLD) this.#leftUsers.add(name);
      }
    }
    if (!isTold) this.#planFlush();
    return isTold;
  }
}

/** The text between the first braces, as in Redis Cluster; without braces, the whole name. */
function shardOf(name: string): string {
  const start = name.indexOf('{');
  const end = name.indexOf('}', start + 1);
  return start < 0 || end <= start + 1 ? name : name.slice(start + 1, end);
}

function* chunks(names: readonly string[]): Generator<readonly string[]> {
  for (let at = 0; at < names.length; at += CHUNK) yield names.slice(at, at + CHUNK);
}
