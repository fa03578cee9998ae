import type { Claim, ClaimAnswer, UserClaim } from '../contract.js';
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
const UNBOUNDED = Number.MAX_SAFE_INTEGER;

/** The connections of this process with one name. */
export interface Counter {
  readonly name: string;
  count: number;
  /** Number of attempts among them that Redis has not answered yet. */
  underWay: number;
  /** Number of attempts among those that have not been sent yet. */
  unsent: number;
  /** The count was written while attempts were unanswered: if one is refused, it must be written again. */
  wasTold: boolean;
}

/**
 * The first arguments of every script: the incarnation of this process, the time of the last list of processes, that
 * list, and the lifetime of keys.
 */
type Identity = readonly [own: string, since: string, live: string, ttl: number];

/** An attempt that is counted in this process until Redis has answered. */
export interface Attempt {
  readonly claims: readonly Claim[];
  /** One for each claim with a `max`. */
  readonly counters: readonly (Counter | undefined)[];
  /** One for each shard. */
  parts: readonly Part[];
  /** Number of parts without an answer. */
  unanswered: number;
  resolve(answer: ClaimAnswer): void;
}

/** The claims of an attempt that belong to one shard. */
export interface Part {
  readonly attempt: Attempt;
  /** What the names of the shard have between braces; '' if names are not distributed. */
  readonly tag: string;
  /** Indices into the claims. */
  readonly indexes: readonly number[];
  /** A text: the attempt is refused; a number: it is counted; a symbol: that is unknown. */
  answer: unknown;
}

/** How the attempts of one command use a key. */
export interface Use {
  readonly name: string;
  counter: Counter | undefined;
  /** Number of attempts with a `max` for it. */
  attempts: number;
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
  hold(claims: readonly Claim[], resolve: Attempt['resolve']): Attempt {
    const counters = claims.map(({ name, max }) => {
      if (max === undefined) return undefined;
      const counter = this.#counter(name);
      counter.count++;
      counter.underWay++;
      counter.unsent++;
      return counter;
    });
    return { claims, counters, parts: NO_PARTS, unanswered: 0, resolve };
  }

  /** Counts an attempt about which Redis is not asked: it is admitted, and written as soon as possible. */
  unasked(claims: readonly Claim[]): void {
    for (const { name, max } of claims) {
      if (max === undefined) continue;
      this.#counter(name).count++;
      this.#tell(name);
    }
  }

  /** The beginning of the argument of ADMIT. */
  argumentOf(uses: readonly Use[]): string {
    let json = this.#identityJson;
    for (const { counter, attempts } of uses) {
      if (counter === undefined) json += ',0,0';
      else {
        const { name, count, underWay, unsent } = counter;
        json += `,${count - underWay},${this.#untold.has(name) ? count - unsent - attempts : UNBOUNDED}`;
      }
    }
    return json;
  }

  admitted({ counters }: Attempt, isUncertain: boolean): void {
    for (const counter of counters) {
      if (counter === undefined) continue;
      this.#answered(counter);
      if (isUncertain) this.#tell(counter.name);
    }
  }

  refused({ counters, parts }: Attempt): void {
    for (const { indexes, answer } of parts) {
      // The shards that have not refused the attempt have counted it.
      const isCounted = typeof answer !== 'string';
      for (const index of indexes) {
        const counter = counters[index];
        if (counter === undefined) continue;
        counter.count--;
        const mustTell = counter.wasTold || isCounted;
        this.#answered(counter);
        if (mustTell) this.#tell(counter.name);
        else this.#forget(counter);
      }
    }
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
    if (counter === undefined) {
      counter = { name, count: 0, underWay: 0, unsent: 0, wasTold: false };
      this.#counters.set(name, counter);
    }
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

  /** The confirmed count, and the count including attempts that were sent and that Redis has not answered. */
  #told(name: string): readonly [number, number] {
    const counter = this.#counters.get(name);
    if (counter === undefined) return [0, 0];
    counter.wasTold = counter.underWay > 0;
    return [counter.count - counter.underWay, counter.count - counter.unsent];
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

const NO_PARTS: readonly Part[] = Object.freeze([]);

function* chunks(names: readonly string[]): Generator<readonly string[]> {
  for (let at = 0; at < names.length; at += CHUNK) yield names.slice(at, at + CHUNK);
}
