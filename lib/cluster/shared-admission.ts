import { createHash } from 'node:crypto';
import { type AddressEntry, SITE_FACTOR } from '../admission/address-table.js';
import { rateRefusal } from '../admission/attempt-rate.js';
import { CAPACITY_REFUSALS, type CapacityLimits, type GatewayCapacity } from '../admission/capacity.js';
import { type SharedSlot, type UserConnection, type UserLimits } from '../admission/shared-slot.js';
import { TOO_MANY_CONNECTIONS } from '../admission/users.js';
import { REFUSALS, type Refusal } from '../http/refusal.js';
import type { ClientAddress } from '../net/address.js';
import { CloseCode } from '../protocol/close-codes.js';
import type { UserClaim } from './contract.js';
import type { ClusterNode, ClusterRefusal } from './node.js';
import type { LocalClaim } from './shared-refusals.js';

export interface SharedLimits extends CapacityLimits {
  /** `connections.rate` */
  readonly rate: { readonly limit: number; readonly window: number };
}

interface AttemptClaim extends LocalClaim {
  readonly full: Refusal;
}

/** Maximum number of refused attempts that are being charged; beyond it they are counted in this process only. */
const MOST_CHARGES = 256;

/** The limits over all processes, as the stages of a handshake check them, after this process's own. */
export class SharedAdmission {
  readonly #limits: SharedLimits;
  readonly #siteRate: SharedLimits['rate'];
  #charges = 0;
  #next = 0;
  /** Connections of users with a cap, by the ids under which other processes know them. */
  readonly #connections = new Map<string, SharedConnection>();

  constructor(
    readonly node: ClusterNode,
    limits: SharedLimits,
    /** Called with the seconds that each attempt has waited. */
    private readonly times?: { observe(seconds: number): void },
  ) {
    this.#limits = limits;
    this.#siteRate = { limit: limits.rate.limit * SITE_FACTOR, window: limits.rate.window };
  }

  /** Stage 2: a cached refusal because of too many attempts of an address over all processes. */
  rateRefusal(entry: AddressEntry): Refusal | undefined {
    if (entry.isExempt || !this.node.hasRefusals) return undefined;
    const refusal = this.node.remembered(addressNames(entry.key, entry.site?.key));
    return refusal?.kind === 'rate' ? rateRefusal(refusal.wait) : undefined;
  }

  /**
   * Stage 0: a cached refusal because of too many connections over all processes that applies to every attempt of an
   * address.
   */
  roomRefusal(peer: ClientAddress): Refusal | undefined {
    if (!this.node.hasRefusals) return undefined;
    if (this.node.remembered(addressNames(peer.key, peer.site))?.kind === 'room') return CAPACITY_REFUSALS.address;
    return this.node.remembered(TOTAL_NAMES) === undefined ? undefined : CAPACITY_REFUSALS.total;
  }

  /** Charges an attempt that stages 3 to 5 have refused, in the background. */
  charge(entry: AddressEntry): void {
    if (entry.isExempt || this.#charges >= MOST_CHARGES) return;
    this.#charges++;
    const { rate } = this.#limits;
    const claims: LocalClaim[] = [{ name: addressName(entry.key, entry.site?.key), rate, held: 0 }];
    if (entry.site !== undefined) claims.push({ name: siteName(entry.site.key), rate: this.#siteRate, held: 0 });
    void this.node.admit(claims).then(() => {
      this.#charges--;
    });
  }

  /** Stage 6: checks rate and connections over all processes in one round trip; without one if a refusal is cached. */
  reserve(
    entry: AddressEntry,
    gateway: GatewayCapacity,
    used: number,
  ): Refusal | SharedConnection | Promise<Refusal | SharedConnection> {
    const claims = this.#claims(entry, gateway, used);
    const known = this.node.remembered(claims);
    if (known !== undefined) return refusalOf(known, claims);
    const begun = this.times === undefined ? 0 : performance.now();
    return this.node.admit(claims).then((refusal) => {
      this.times?.observe((performance.now() - begun) / 1000);
      if (refusal !== undefined && refusal !== 'alone') return refusalOf(refusal, claims);
      return new SharedConnection(this, entry, gateway, refusal === 'alone');
    });
  }

  /** @internal For `SharedConnection` only. */
  release(entry: AddressEntry, gateway: GatewayCapacity): void {
    this.node.release(this.#claims(entry, gateway, 0));
  }

  /** @internal */
  nextId(connection: SharedConnection): string {
    const id = (this.#next++).toString(36);
    this.#connections.set(id, connection);
    return id;
  }

  /** @internal */
  forget(id: string): void {
    this.#connections.delete(id);
  }

  /** Closes a connection, because a newer connection of the user in any process has displaced it. */
  displace(id: string): void {
    this.#connections.get(id)?.displaced();
  }

  #claims(entry: AddressEntry, gateway: GatewayCapacity, used: number): AttemptClaim[] {
    const { max, maxPerIp, rate } = this.#limits;
    const { limits, id } = gateway;
    const { site } = entry;
    const claims: AttemptClaim[] = [];
    if (!entry.isExempt) {
      const name = addressName(entry.key, site?.key);
      const full = CAPACITY_REFUSALS.address;
      claims.push({ name, max: maxPerIp, rate, held: entry.connections, full });
      const own = limits.maxPerIp;
      if (own !== undefined) claims.push({ name: `${name}:${id}`, max: own, held: gateway.countOf(entry), full });
      if (site !== undefined) {
        const around = siteName(site.key);
        const most = maxPerIp * SITE_FACTOR;
        claims.push({ name: around, max: most, rate: this.#siteRate, held: site.connections, full });
        if (own !== undefined)
          claims.push({ name: `${around}:${id}`, max: own * SITE_FACTOR, held: gateway.countOf(site), full });
      }
    }
    claims.push({ name: TOTAL, max, held: used, full: CAPACITY_REFUSALS.total });
    if (limits.max !== undefined)
      claims.push({ name: `t:{t}:${id}`, max: limits.max, held: gateway.used, full: CAPACITY_REFUSALS.gateway });
    return claims;
  }
}

/** The slot of one connection over all processes: its count for address, gateway and application, and for its user. */
export class SharedConnection implements SharedSlot {
  /** The user for whom the connection is counted, or whose limits are being checked. */
  #user: { readonly claims: readonly UserClaim[]; readonly id: string; isTaken: boolean } | undefined = undefined;
  #connection: UserConnection | undefined = undefined;
  #isReleased = false;
  #isDisplaced = false;

  /** Created only by `SharedAdmission.reserve()`. */
  constructor(
    private readonly admission: SharedAdmission,
    private readonly entry: AddressEntry,
    private readonly gateway: GatewayCapacity,
    /** The store did not answer when the connection was counted. */
    private readonly isAlone: boolean,
  ) {}

  /**
   * Stage 8: counts the connection for its user. A handshake waits for a store that does not answer only once: if it has
   * waited in stage 6, the answer for the user comes later, and closes the connection if it is a refusal.
   */
  takeUser(userKey: string, limits: UserLimits): Promise<Refusal | undefined> {
    if (!this.isAlone) return this.#askFor(userKey, limits);
    this.moveUser(userKey, limits);
    return ADMITTED;
  }

  async #askFor(userKey: string, limits: UserLimits): Promise<Refusal | undefined> {
    const user = {
      claims: userClaims(userKey, limits, this.gateway.id),
      id: this.admission.nextId(this),
      isTaken: false,
    };
    this.#user = user;
    const { node } = this.admission;
    const refusal = await node.admitUser(user.claims, user.id);
    const isCurrent = this.#user === user;
    if (refusal === undefined && isCurrent && !this.#isReleased) {
      user.isTaken = true;
      return undefined;
    }
    this.admission.forget(user.id);
    if (isCurrent) this.#user = undefined;
    if (refusal === undefined) {
      // The connection has ended, or was reassigned to another user.
      node.releaseUser(user.claims, user.id);
      return undefined;
    }
    if (!isCurrent) return undefined;
    return refusal.kind === 'unavailable' ? REFUSALS.clusterUnavailable : CAPACITY_REFUSALS.user;
  }

  opened(connection: UserConnection): void {
    this.#connection = connection;
    if (this.#isDisplaced) this.displaced();
  }

  /**
   * Reassigns the connection to another user. It is closed if that user has too many connections in other processes.
   */
  moveUser(userKey: string | undefined, limits: UserLimits): void {
    this.#releaseUser();
    if (userKey === undefined || this.#isReleased) return;
    void this.#askFor(userKey, limits).then((refusal) => {
      if (refusal !== undefined) this.displaced();
    });
  }

  /** Called when a newer connection has displaced this one, or the user has too many. */
  displaced(): void {
    this.#isDisplaced = true;
    this.#connection?.end(CloseCode.POLICY_VIOLATION, TOO_MANY_CONNECTIONS);
  }

  release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    this.admission.release(this.entry, this.gateway);
    this.#releaseUser();
  }

  #releaseUser(): void {
    if (this.#user === undefined) return;
    const { claims, id, isTaken } = this.#user;
    this.#user = undefined;
    this.admission.forget(id);
    // One that is being checked is released when the store has answered.
    if (isTaken) this.admission.node.releaseUser(claims, id);
  }
}

const ADMITTED: Promise<undefined> = Promise.resolve(undefined);
const TOTAL = 't:{t}:all';
const TOTAL_NAMES = Object.freeze([Object.freeze({ name: TOTAL })]);

/** An address and its /48 belong to one shard. */
const addressName = (key: string, site: string | undefined): string =>
  site === undefined ? `a:{${key}}:n` : `a:{${site}}:${key}`;
const siteName = (site: string): string => `a:{${site}}:n`;

const addressNames = (key: string, site: string | undefined): readonly { readonly name: string }[] =>
  site === undefined
    ? [{ name: addressName(key, site) }]
    : [{ name: addressName(key, site) }, { name: siteName(site) }];

function userClaims(userKey: string, { own, application, onLimit }: UserLimits, gateway: string): UserClaim[] {
  // The user's key is hashed, so that Redis does not contain it.
  const hash = createHash('sha256').update(userKey).digest('base64url').slice(0, 22);
  const claims: UserClaim[] = [];
  // The gateway's cap comes first: a connection that it displaces also makes room in the application's cap.
  if (own !== undefined) claims.push({ name: `u:{${hash}}:${gateway}`, max: own, onLimit });
  if (application !== undefined) claims.push({ name: `u:{${hash}}:all`, max: application, onLimit });
  return claims;
}

function refusalOf({ claim, kind, wait }: ClusterRefusal, claims: readonly AttemptClaim[]): Refusal {
  if (kind === 'unavailable') return REFUSALS.clusterUnavailable;
  return kind === 'rate' ? rateRefusal(wait) : claims[claim]!.full;
}
