import { createHash, randomBytes } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import type { UpgradeAttempt } from '../admission/attempt.js';
import type { Awaitable } from '../admission/awaitable.js';
import { type Admission, type AdmissionGuard, allow } from '../admission/guard.js';
import { checkExpiry } from '../admission/guard-answer.js';
import { type Duration, duration } from '../config/kinds.js';
import { parseAddress } from '../net/address.js';
import { AMBIGUOUS, CredentialReader, unauthorized, unavailable } from './credential.js';

/** The user and the restrictions of a ticket. */
export interface TicketOptions {
  /**
   * The value of `attempt.principal` and `socket.principal`: it must be possible as JSON, because another process may
   * read it.
   */
  readonly principal?: unknown;
  /** The key by which `connections.maxPerUser` and `disconnectUser` identify the user. Default: as for `allow()`. */
  readonly userKey?: string | number;
  /**
   * The only path for which the ticket is valid, as it is requested (`/rooms/5`, not `/rooms/:id`). Default: any path
   * with a `ticketGuard()`.
   */
  readonly path?: string;
  /**
   * The only address for which the ticket is valid. Default: any, because browsers may use IPv4 for one connection and
   * IPv6 for the next.
   */
  readonly ip?: string;
  /** A `Date`, or milliseconds since the epoch, at which the session ends (4401). Default: never. */
  readonly expiresAt?: Date | number;
}

/** Stores tickets until they are used, by a key that does not reveal them. */
export interface TicketStore {
  /** Stores a text for `ttl` milliseconds. `owner`: the user, if known. Throws if there is no room. */
  put(key: string, text: string, ttl: number, owner: string | undefined): Awaitable<void>;
  /**
   * Returns and deletes a text atomically: of two concurrent calls, one gets it. Rejects if the store is unavailable.
   */
  take(key: string): Awaitable<string | undefined>;
}

/** There is no room for another ticket: answer with 503. */
export class TicketsFullError extends Error {
  override readonly name = 'TicketsFullError';
}

/** Maximum length of the data of a ticket, as JSON. */
const MAX_TEXT = 8192;
const TTL = duration({ min: 1000, max: 15 * 60_000 });
/** Tickets of one user that are not used yet; another one takes the place of the oldest. */
export const MAX_TICKETS_PER_OWNER = 16;
/** 256 bits. */
const TICKET_BYTES = 32;
const TICKET = /^[\w-]{43}$/;

/** The field names are short, because there can be many tickets. */
interface Ticket {
  readonly principal?: unknown;
  readonly userKey?: string | number | undefined;
  readonly path?: string | undefined;
  readonly ip?: string | undefined;
  readonly expiresAt?: number | undefined;
}

/**
 * Issues tickets with which a browser opens one WebSocket: an HTTP route that has authenticated the user issues a
 * ticket, the page puts it into the URL's query, and `ticketGuard()` redeems it. A ticket can be used once, for a short
 * time. Injectable everywhere.
 * @example
 * const ticket = await this.tickets.issue({ principal: user, userKey: user.id, path: '/chat' }, '30s');
 */
@Injectable()
export class SecureWsTickets {
  /** @hidden */
  constructor(private readonly store: TicketStore) {}

  /**
   * Returns a new ticket of 43 characters that are safe in URLs and cookies. It is valid for `ttl`, 1s to 15m. Rejects
   * with a `TypeError` for invalid options, and with `TicketsFullError` if there are too many tickets.
   */
  async issue(options: TicketOptions, ttl: Duration = '30s'): Promise<string> {
    const milliseconds = TTL.parse(ttl);
    if (milliseconds === undefined) throw new TypeError(`ttl is not ${TTL.expected}`);
    const { userKey } = options;
    const text = JSON.stringify(checked(options));
    if (text.length > MAX_TEXT) throw new TypeError(`the data of the ticket has more than ${MAX_TEXT} characters`);
    const ticket = randomBytes(TICKET_BYTES).toString('base64url');
    await this.store.put(keyOf(ticket), text, milliseconds, userKey === undefined ? undefined : String(userKey));
    return ticket;
  }

  /** @hidden For `ticketGuard()`: the data of a ticket, once. */
  take(ticket: string): Awaitable<string | undefined> {
    return this.store.take(keyOf(ticket));
  }
}

/**
 * The hash of a ticket, so that the store does not contain usable tickets, and lookups reveal nothing by their timing.
 */
const keyOf = (ticket: string): string => createHash('sha256').update(ticket).digest('base64url');

function checked({ principal, userKey, path, ip, expiresAt }: TicketOptions): Ticket {
  if (userKey !== undefined && userKey !== null && !isKey(userKey))
    throw new TypeError('userKey is neither a number nor a non-empty string');
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
   * The places in which the ticket is looked for, in order; the first one that has a ticket is used. `query:<name>` and
   * `cookie:<name>` are by name, `protocol` is a subprotocol `ticket.<ticket>`. Default: `query:ticket`.
   */
  readonly from?: readonly (`query:${string}` | `cookie:${string}` | 'protocol')[];
  /** The subprotocol of the 101. Default: the gateway's choice, else the first offered one that is not a ticket. */
  readonly subprotocol?: string;
}

export type TicketGuardClass = new (tickets: SecureWsTickets) => AdmissionGuard;

/**
 * Returns a guard class for `@UseAdmissionGuards()` or `forRoot({ guards })` that admits clients with a ticket of
 * `SecureWsTickets`, once. Others get 401, or 503 while the ticket store is unavailable.
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
      // A malformed ticket is refused without a lookup.
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

const NO_TICKET = unauthorized('no ticket was sent');
const MALFORMED = unauthorized('the ticket is malformed, or one of several');
const NOT_GOOD = unauthorized('the ticket is unknown, used or too old');
const OTHER_PATH = unauthorized('the ticket is for another path');
const OTHER_ADDRESS = unauthorized('the ticket is for another address');
const UNKNOWABLE = unavailable('the ticket store is unavailable');
const unknowable = (): Admission => UNKNOWABLE;

/** The ticket store of a single process. */
export class MemoryTicketStore implements TicketStore {
  /** In the order of issue. */
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
    /** Maximum number of unused tickets of a user; a new one replaces the oldest. */
    private readonly maxPerOwner = MAX_TICKETS_PER_OWNER,
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
    if (this.tickets.size >= this.max) throw new TicketsFullError(`there are already ${this.max} unused tickets`);
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

  /** Removes expired tickets from the beginning: most tickets have the same lifetime, so that few others remain. */
  private dropFirst(): void {
    const now = this.now();
    for (const [key, { until, owner }] of this.tickets) {
      if (until > now) return;
      this.drop(key, owner);
    }
  }

  /** Removes all expired tickets; at most once a second, because it looks at every ticket. */
  private sweep(): void {
    const now = this.now();
    if (now - this.sweptAt < 1000) return;
    this.sweptAt = now;
    for (const [key, { until, owner }] of this.tickets) if (until <= now) this.drop(key, owner);
  }
}
