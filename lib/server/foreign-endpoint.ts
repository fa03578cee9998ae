import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { GatewayType } from '../admission/attempt.js';
import type { UserConnection } from '../admission/shared-slot.js';
import type { GatewaySettings } from '../config/settings.js';
import type { UpgradeContext } from '../handshake/upgrade-context.js';
import { reset } from '../net/reset.js';
import { Timed, type TimerWheel } from '../net/timer-wheel.js';
import { PathTarget } from './path-target.js';
import type { ServerContext } from './server-context.js';

/** The class that represents another library in an attempt whose upgrade it answers. */
export class ForeignUpgrade {}

/** Hands an admitted upgrade over to the library that answers it; it reads `bytes` first. */
export type HandOverUpgrade = (upgrade: UpgradeContext, bytes: Buffer, connection: ForeignConnection) => void;

/**
 * The endpoint for upgrades that another library on the same server answers. They pass the same stages as those of
 * gateways.
 */
export class ForeignEndpoint extends PathTarget {
  readonly isForeign = true;

  constructor(
    context: ServerContext,
    settings: GatewaySettings,
    id: string,
    private readonly handOverUpgrade: HandOverUpgrade,
  ) {
    super(context, settings, id);
  }

  get gateway(): GatewayType {
    return ForeignUpgrade;
  }

  complete(upgrade: UpgradeContext, bytes: Buffer): boolean {
    this.handOverUpgrade(upgrade, bytes, new ForeignConnection(upgrade, this));
    return true;
  }
}

/** The result of admission for a peer whose upgrade another library has answered. */
export interface ForeignAdmission {
  /** The client's address, as reported by trusted proxies. */
  readonly ip: string;
  readonly principal: unknown;
  readonly userKey: string | undefined;
  /** Parameters of the path. */
  readonly params: Readonly<Record<string, string>>;
}

/**
 * Milliseconds between two checks of a socket of another library, which may have removed our close listener
 * (`removeAllListeners()`).
 */
const LOOK_EVERY = 5000;

const admissions = new WeakMap<Socket, ForeignAdmission>();

/**
 * Returns the result of the admission guards for the upgrade request of another library's connection, such as
 * `socket.request` in socket.io or `context.extra.request` in graphql-ws. `undefined` if its path is not in `foreign`.
 */
export const foreignAdmission = (request: IncomingMessage): ForeignAdmission | undefined =>
  admissions.get(request.socket);

/**
 * The slot of a connection that belongs to another library. It is freed when the socket closes, whoever closes it. The
 * end of the session and `disconnectUser` reset the connection, because only the library could close it with its own
 * protocol.
 */
export class ForeignConnection implements UserConnection {
  private readonly userKey: string | undefined;
  private readonly admission: ForeignAdmission;
  private readonly entry: UpgradeContext['entry'];
  private readonly reservation: UpgradeContext['reservation'];
  private readonly expiresAt: number;
  private socket: Socket | undefined = undefined;
  private timer: Timed | undefined = undefined;
  /** The end of the session, by the clock. */
  private expiry = Number.POSITIVE_INFINITY;
  private isReleased = false;

  constructor(
    { admitted, address, params, entry, reservation }: UpgradeContext,
    /** The target for which it was admitted. */
    readonly context: ForeignEndpoint,
  ) {
    this.userKey = admitted.userKey;
    this.admission = Object.freeze({
      ip: address.text,
      principal: admitted.principal,
      userKey: admitted.userKey,
      params,
    });
    this.entry = entry;
    this.reservation = reservation;
    this.expiresAt = admitted.expiresAt;
  }

  /** Sets the socket whose end frees the slot, before the library receives the upgrade. */
  follow(socket: Socket): void {
    this.socket = socket;
    const { context, users } = this.context;
    admissions.set(socket, this.admission);
    // protection: users of another library are counted
    if (this.userKey !== undefined) users.add(this.userKey, this);
    // end protection
    this.reservation?.shared?.opened(this);
    this.expiry = context.clock.now() + this.expiresAt - Date.now();
    this.timer = context.wheel.timer(() => this.look(), Math.min(this.expiry, context.clock.now() + LOOK_EVERY));
    // protection: the slot of another library is given back
    socket.once('close', () => this.release());
    // end protection
    if (socket.destroyed) this.release();
  }

  /** Checks whether the session has ended, and whether the socket was closed without an event. */
  private look(): void {
    const { wheel, clock } = this.context.context;
    const now = clock.now();
    // protection: sessions of another library expire
    if (now >= this.expiry) return this.end();
    // end protection
    // protection: the slot of another library is given back
    if (this.socket!.destroyed) return this.release();
    // end protection
    this.timer = wheel.timer(() => this.look(), Math.min(this.expiry, now + LOOK_EVERY));
  }

  /** Frees the slot if there is no socket. */
  abandon(): void {
    if (this.socket === undefined) this.release();
  }

  end(): void {
    if (this.socket !== undefined && !this.socket.destroyed) reset(this.socket);
  }

  private release(): void {
    if (this.isReleased) return;
    this.isReleased = true;
    const { context, users } = this.context;
    if (this.timer !== undefined) context.wheel.cancel(this.timer);
    if (this.userKey !== undefined) users.remove(this.userKey, this);
    this.reservation?.release();
    context.addresses.release(this.entry);
  }
}

/** Milliseconds that a library has for the first byte of its answer to an upgrade. */
export class AwaitedAnswer extends Timed {
  private readonly bytesWritten: number;

  constructor(
    private readonly socket: Socket,
    wheel: TimerWheel,
    private deadline: number,
    private readonly onNone: () => void,
  ) {
    super();
    this.bytesWritten = socket.bytesWritten;
    wheel.schedule(this, deadline);
    socket.once('close', () => wheel.cancel(this));
  }

  /** The time in which the event loop was blocked does not count for the libraries. */
  override onStall(silence: number): void {
    this.deadline += silence;
  }

  override onDue(now: number): number {
    if (this.socket.destroyed || this.socket.bytesWritten > this.bytesWritten) return Number.POSITIVE_INFINITY;
    if (now < this.deadline) return this.deadline;
    this.onNone();
    return Number.POSITIVE_INFINITY;
  }
}
