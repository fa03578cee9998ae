import { createHash, randomBytes } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import type { UpgradeAttempt } from '../admission/attempt.js';
import type { Awaitable } from '../admission/awaitable.js';
import { type Admission, type AdmissionGuard, allow } from '../admission/guard.js';
import { checkExpiry } from '../admission/guard-answer.js';
import { type Duration, duration } from '../config/kinds.js';
import { parseAddress } from '../net/address.js';
import { AMBIGUOUS, CredentialReader, unauthorized, unavailable } from './credential.js';

/** Whom a ticket is for, and where it counts. */
export interface TicketOptions {
  /** Becomes `attempt.principal` and `socket.principal`: a value that JSON can carry, as another process may read it. */
  readonly principal?: unknown;
  /** What `connections.maxPerUser` and `disconnectUser` know the user by. Default: as for `allow()`. */
  readonly userKey?: string | number;
  /** The only path that it opens, as it is asked for (`/rooms/5`, not `/rooms/:id`). Default: any with a `ticketGuard()`. */
  readonly path?: string;
  /** The only address that it opens for. Default: any; browsers may use IPv4 for one connection and IPv6 for the next. */
  readonly ip?: string;
  /** A `Date`, or milliseconds since 1970, at which the session ends (4401). Default: it does not. */
  readonly expiresAt?: Date | number;
}

/** Where tickets are kept until they are used: by a key that does not reveal them. */
export interface TicketStore {
  /** Keeps a text for `ttl` milliseconds. `owner`: the user it is for, where that is known. Throws without room. */
  put(key: string, text: string, ttl: number, owner: string | undefined): Awaitable<void>;
  /** The text, which is gone in the same step: of two that ask at once one gets it. Rejects where it cannot be known. */
  take(key: string): Awaitable<string | undefined>;
}

/** There is no room for another ticket: answer 503. */
export class TicketsFullError extends Error {
  override readonly name = 'TicketsFullError';
}

/** Characters of what a ticket carries, as JSON. */
const MAX_TEXT = 8192;
const TTL = duration({ min: 1000, max: 15 * 60_000 });
/** 256 bits. */
const TICKET_BYTES = 32;
const TICKET = /^[\w-]{43}$/;

/** Its fields are short: there may be many. */
interface Ticket {
  readonly principal?: unknown;
  readonly userKey?: string | number | undefined;
  readonly path?: string | undefined;
  readonly ip?: string | undefined;
  readonly expiresAt?: number | undefined;
}

/**
 * Tickets with which a browser opens one WebSocket: an HTTP route that has authenticated the user issues one, the page puts
 * it into the URL's query, and `ticketGuard()` takes it. A ticket counts once, for a short time. Injectable everywhere.
 * @example
 * const ticket = await this.tickets.issue({ principal: user, userKey: user.id, path: '/chat' }, '30s');
 */
@Injectable()
export class SecureWsTickets {
  /** @hidden */
  constructor(private readonly store: TicketStore) {}

  /**
   * A new ticket of 43 characters that are safe in URLs and cookies; it is valid for `ttl`, 1s to 15m. Rejects with a
   * `TypeError` for options that are none, with `TicketsFullError` without room for more.
   */
  async issue(options: TicketOptions, ttl: Duration = '30s'): Promise<string> {
    const milliseconds = TTL.parse(ttl);
    if (milliseconds === undefined) throw new TypeError(`ttl is not ${TTL.expected}`);
    const { userKey } = options;
    const text = JSON.stringify(checked(options));
    if (text.length > MAX_TEXT) throw new TypeError(`the ticket carries more than ${MAX_TEXT} characters`);
    const ticket = randomBytes(TICKET_BYTES).toString('base64url');
    await this.store.put(keyOf(ticket), text, milliseconds, userKey === undefined ? undefined : String(userKey));
    return ticket;
  }

  /** @hidden For `ticketGuard()`: whom a ticket is for, once. */
  take(ticket: string): Awaitable<string | undefined> {
    return this.store.take(keyOf(ticket));
  }
}

/** Whoever reads the store cannot use what is in it; and how long a comparison takes says nothing. */
const keyOf = (ticket: string): string => createHash('sha256').update(ticket).digest('base64url');

function checked({ principal, userKey, path, ip, expiresAt }: TicketOptions): Ticket {
  if (userKey !== undefined && userKey !== null && !isKey(userKey))
    throw new TypeError('userKey is neither a number nor a string that is not empty');
  if (path !== undefined && !(typeof path === 'string' && path.startsWith('/')))
    throw new TypeError('path does not begin with a slash');
  const address = ip === undefined ? undefined : parseAddress(ip)?.text;
  if (ip !== undefined && address === undefined) throw new TypeError('ip is not an address');
  const end = checkExpiry(expiresAt);
  return { principal, userKey, path, ip: address, expiresAt: end === Infinity ? undefined : end };
}

const isKey = (key: unknown): boolean => Number.isFinite(key) || (typeof key === 'string' && key !== '');

/** Options of {@link ticketGuard}. */
export interface TicketGuardOptions {
  /**
   * Where the ticket is; the first place that has one counts. `query:<name>` and `cookie:<name>` are by name, `protocol` is
   * a subprotocol `ticket.<ticket>`. Default `query:ticket`.
   */
  readonly from?: readonly (`query:${string}` | `cookie:${string}` | 'protocol')[];
  /** The subprotocol that the 101 names. Default: the gateway's choice, else the first offered that is no ticket. */
  readonly subprotocol?: string;
}

export type TicketGuardClass = new (tickets: SecureWsTickets) => AdmissionGuard;

/**
 * A guard, as a class for `@UseAdmissionGuards()` or `forRoot({ guards })`, that admits who has a ticket of
 * `SecureWsTickets`, once. Others get 401, and 503 as long as it cannot be known whether a ticket is good.
 * @example
 * @UseAdmissionGuards(ticketGuard())
 */
export function ticketGuard(options: TicketGuardOptions = {}): TicketGuardClass {
  const { from = ['query:ticket'], subprotocol } = options;
  const credentials = new CredentialReader(from, 'ticket', ['query', 'cookie', 'protocol']);

  @Injectable()
  class TicketGuard implements AdmissionGuard {
    constructor(private readonly tickets: SecureWsTickets) {}

    admit(attempt: UpgradeAttempt): Admission | Promise<Admission> {
      const ticket = credentials.read(attempt);
      if (ticket === undefined) return NO_TICKET;
      // What cannot be one costs no look-up.
      if (ticket === AMBIGUOUS || !TICKET.test(ticket)) return MALFORMED;
      try {
        const taken = this.tickets.take(ticket);
        if (!(taken instanceof Promise)) return this.judge(attempt, taken);
        return taken.then((text) => this.judge(attempt, text), unknowable);
      } catch {
        return UNKNOWABLE;
      }
    }

    private judge(attempt: UpgradeAttempt, text: string | undefined): Admission {
      if (text === undefined) return NOT_GOOD;
      const { principal, userKey, path, ip, expiresAt } = JSON.parse(text) as Ticket;
      // protection: a ticket counts for its path
      if (path !== undefined && path !== attempt.path) return OTHER_PATH;
      // end protection
      // protection: a ticket counts for its address
      if (ip !== undefined && ip !== attempt.ip) return OTHER_ADDRESS;
      // end protection
      return allow({ principal, userKey, expiresAt, subprotocol: credentials.subprotocol(attempt, subprotocol) });
    }
  }
  return TicketGuard;
}

const NO_TICKET = unauthorized('no ticket came');
const MALFORMED = unauthorized('the ticket is malformed, or one of several');
const NOT_GOOD = unauthorized('the ticket is unknown, used or too old');
const OTHER_PATH = unauthorized('the ticket is for another path');
const OTHER_ADDRESS = unauthorized('the ticket is for another address');
const UNKNOWABLE = unavailable('it cannot be known whether the ticket is good');
const unknowable = (): Admission => UNKNOWABLE;

/** Tickets of one process. */
export class MemoryTicketStore implements TicketStore {
  /** In the order in which they were issued. */
  private readonly tickets = new Map<
    string,
    { readonly text: string; readonly until: number; readonly owner: string | undefined }
  >();
  /** Keys by user, oldest first. */
  private readonly owners = new Map<string, Set<string>>();
  private sweptAt = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly now: () => number = () => performance.now(),
    private readonly max = 100_000,
    /** One user's: more take the place of the oldest. */
    private readonly maxPerOwner = 16,
  ) {}

  get size(): number {
    return this.tickets.size;
  }

  put(key: string, text: string, ttl: number, owner: string | undefined): void {
    this.dropFirst();
    // protection: tickets of a user are bounded
    if (owner !== undefined) this.crowdOut(owner);
    // end protection
    if (this.tickets.size >= this.max) this.sweep();
    // protection: tickets are bounded
    if (this.tickets.size >= this.max)
      throw new TicketsFullError(`there are ${this.max} tickets that were not used yet`);
    // end protection
    this.tickets.set(key, { text, until: this.now() + ttl, owner });
    if (owner === undefined) return;
    const keys = this.owners.get(owner);
    if (keys === undefined) this.owners.set(owner, new Set([key]));
    else keys.add(key);
  }

  take(key: string): string | undefined {
    const ticket = this.tickets.get(key);
    if (ticket === undefined) return undefined;
    // protection: a ticket counts once
    this.drop(key, ticket.owner);
    // end protection
    return ticket.until > this.now() ? ticket.text : undefined;
  }

  private drop(key: string, owner: string | undefined): void {
    this.tickets.delete(key);
    const keys = owner === undefined ? undefined : this.owners.get(owner);
    keys?.delete(key);
    if (keys?.size === 0) this.owners.delete(owner!);
  }

  private crowdOut(owner: string): void {
    const keys = this.owners.get(owner);
    if (keys === undefined || keys.size < this.maxPerOwner) return;
    const [oldest] = keys;
    this.drop(oldest!, owner);
  }

  /** The oldest that are over: most have the same time to live, so that little else is. */
  private dropFirst(): void {
    const now = this.now();
    for (const [key, { until, owner }] of this.tickets) {
      if (until > now) return;
      this.drop(key, owner);
    }
  }

  /** All that are over; at most once a second, as it looks at each. */
  private sweep(): void {
    const now = this.now();
    if (now - this.sweptAt < 1000) return;
    this.sweptAt = now;
    for (const [key, { until, owner }] of this.tickets) if (until <= now) this.drop(key, owner);
  }
}
