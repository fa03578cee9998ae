import type { Socket } from 'node:net';
import type { PeerCertificate, TLSSocket } from 'node:tls';
import type { AccessFacts, AccessRules } from '../admission/access-rules.js';
import type { AddressEntry, AddressTable } from '../admission/address-table.js';
import { abortAttempt, type GatewayType, type SocketEnds, UpgradeAttempt } from '../admission/attempt.js';
import type { AttemptRate } from '../admission/attempt-rate.js';
import type { BanList } from '../admission/bans.js';
import type { Capacity, GatewayCapacity, Reservation } from '../admission/capacity.js';
import type { FailureBans } from '../admission/failure-bans.js';
import type { AdmissionGuardFunction } from '../admission/guard.js';
import type { Admitted } from '../admission/guard-answer.js';
import { NO_ADMISSION } from '../admission/guard-runner.js';
import type { PendingRegistry } from '../admission/pending-registry.js';
import type { UntrustedProxyDetector } from '../admission/untrusted-proxy-detector.js';
import type { UserCaps } from '../admission/users.js';
import type { SharedAdmission } from '../cluster/shared-admission.js';
import { acceptingServer } from '../compat/node-sockets.js';
import type { ClientRoute, ProxyRules } from '../http/forwarding.js';
import type { HeadLimits, RequestHead } from '../http/head.js';
import type { HeadMeter } from '../http/head-meter.js';
import type { HostPort } from '../http/host.js';
import type { UpgradeRequest } from '../http/upgrade-request.js';
import { type ClientAddress, NO_ADDRESS, parseAddress, UNIX_PEER } from '../net/address.js';
import { type AsyncContext, runInFork } from '../net/async-context.js';
import type { Clock, TimerWheel } from '../net/timer-wheel.js';
import type { Transport } from '../net/transport.js';
import type { Telemetry } from '../telemetry/events.js';
import type { HandshakeBudget } from './handshake-budget.js';
import type { EndScheduler, HeadScheduler } from './head-scheduler.js';
import type { PathParams, Router } from './router.js';

/** State that an application shares between its handshakes; created by `server/server-context.ts`. */
export interface HandshakeContext {
  readonly clock: Clock;
  readonly wheel: TimerWheel;
  readonly telemetry: Telemetry;
  readonly addresses: AddressTable;
  readonly attempts: AttemptRate;
  readonly capacity: Capacity;
  readonly pending: PendingRegistry<{ evict(): void }>;
  readonly headBudget: HandshakeBudget;
  readonly headScheduler: HeadScheduler;
  readonly endScheduler: EndScheduler;
  readonly budget: { readonly full: boolean };
  readonly bans: BanList;
  readonly failures: FailureBans;
  readonly proxy: ProxyRules;
  readonly proxyDetector: UntrustedProxyDetector;
  readonly settings: { readonly probe: { readonly token: string | undefined } };
  readonly collector: { upgraded(path: string, age: number, guardTime: number): void } | undefined;
  /** Limits over all processes of a cluster; they are checked after this process's own. */
  readonly cluster: SharedAdmission | undefined;
  /** The application is shutting down: every upgrade is refused. */
  readonly draining: boolean;
}

/** The port of a connection; created by `server/`. */
export interface HandshakeListener {
  readonly context: HandshakeContext;
  /** A dedicated port: the limits apply to every request head. */
  readonly isDedicated: boolean;
  /** Other libraries listen for upgrades on the same server. */
  readonly hasOtherListeners: boolean;
  /** Whether an upgrade for a path that is neither a gateway's nor in `foreign` is passed to other libraries. */
  passesOn(path: string): boolean;
  readonly headLimits: HeadLimits;
  /** Milliseconds. */
  readonly openTimeout: number;
  readonly serverHeader: string | null;
  readonly router: Router<UpgradeTarget>;
  newMeter(): HeadMeter;
  /**
   * Hands a connection over to the HTTP server of this port, with the bytes read so far; `hasEnded`: the peer has
   * half-closed. A dedicated port has no HTTP server and destroys the connection.
   */
  handOver(transport: Transport, bytes: Buffer, hasEnded: boolean): void;
}

/** The target of a path, as the stages use it: its rules and its slots. */
export interface UpgradeTarget {
  /** A path, or a pattern of paths. */
  readonly path: string;
  /** The class that guards can read. */
  readonly gateway: GatewayType;
  readonly capacity: GatewayCapacity;
  readonly access: AccessRules;
  readonly users: UserCaps;
  /** Guards that run before stage 5, and guards of stage 7. */
  readonly earlyGuards: readonly AdmissionGuardFunction[];
  readonly guards: readonly AdmissionGuardFunction[];
  /** Milliseconds for all asynchronous guards of an attempt together. */
  readonly guardTimeout: number;
  readonly subprotocols: readonly string[];
  /** Another library answers, whose parser reads the head from the beginning. */
  readonly isForeign: boolean;
  /**
   * Stage 9. From here on the slot and the address entry belong to the connection. `bytes` arrived after the head; for
   * another library they include the head, unless Node's parser has read it. Returns false if the peer has left.
   */
  complete(upgrade: UpgradeContext, bytes: Buffer): boolean;
}

/** The pending handshake of an upgrade, as its stages use it. */
export interface UpgradeOwner {
  /** The attempt was counted in the rate of `entry` before the head was complete. */
  readonly isCharged: boolean;
  /** The state of the peer's own address. */
  readonly entry: AddressEntry;
  /** Milliseconds since the handshake began. */
  readonly age: number;
  /** Called when the client's address differs from the peer's: from here on the client's address is counted. */
  changeAddress(upgrade: UpgradeContext, route: ClientRoute): void;
}

/** One upgrade request and its results so far: each stage reads the results of earlier stages and adds its own. */
export class UpgradeContext implements AccessFacts {
  route!: ClientRoute;
  request!: UpgradeRequest;
  target!: UpgradeTarget;
  /** Parameters of the path. */
  params!: PathParams;
  attempt: UpgradeAttempt | undefined = undefined;
  admitted: Admitted = NO_ADMISSION;
  /** The async context that guards have entered. */
  asyncContext: AsyncContext = undefined;
  /** Milliseconds that asynchronous guards have taken. */
  guardTime = 0;
  reservation: Reservation | undefined = undefined;
  /** The attempt has ended: the peer has left, or it timed out. Later results of stages are ignored. */
  isOver = false;

  constructor(
    readonly listener: HandshakeListener,
    readonly transport: Transport,
    readonly head: RequestHead,
    readonly peer: ClientAddress,
    /** The state of the address that is counted; initially the peer's own. */
    public entry: AddressEntry,
    readonly handshake: UpgradeOwner,
    /** For a later request of a connection: emits 'upgrade' to other libraries, with the bytes after its head. */
    readonly emitUpgrade: ((rest: Buffer) => void) | undefined,
  ) {}

  get context(): HandshakeContext {
    return this.listener.context;
  }

  get tls(): boolean {
    return this.transport.tls !== undefined;
  }

  get address(): ClientAddress {
    return this.route.address;
  }

  get secure(): boolean | undefined {
    return this.route.secure;
  }

  get viaProxy(): boolean {
    return this.route.viaProxy;
  }

  get host(): HostPort {
    return this.request.host;
  }

  get origin(): string | undefined {
    return this.request.origin;
  }

  /** The attempt for guards, created when the first guard runs. */
  toAttempt(): UpgradeAttempt {
    const { request, transport } = this;
    this.attempt = new UpgradeAttempt({
      address: this.address,
      peer: this.peer,
      entry: this.entry,
      tls: this.tls,
      secure: this.secure,
      viaProxy: this.viaProxy,
      path: request.path,
      rawQuery: request.rawQuery,
      route: this.target.path,
      params: this.params,
      rawHeaders: this.head.rawHeaders,
      host: this.host,
      origin: this.origin,
      protocols: request.protocols,
      subprotocols: this.target.subprotocols,
      gateway: this.target.gateway,
      proxied: transport.proxied,
      certificate: () => verifiedCertificate(transport.tls),
      socketAddresses: () => this.socketAddresses(),
    });
    return this.attempt;
  }

  /** Addresses of the connection are unknown if its peer is not the client that is checked. */
  private socketAddresses(): SocketEnds | undefined {
    const ends = this.transport.socketAddresses();
    if (ends === undefined || parseAddress(ends.remoteAddress)?.text !== this.peer.text) return undefined;
    const { remotePort, localAddress, localPort, localFamily } = ends;
    return { remotePort, localAddress, localPort, localFamily };
  }

  /** Ends the attempt, even while a stage is running, and frees its slot. */
  abandon(reason: string): void {
    if (this.isOver) return;
    this.isOver = true;
    // protection: guards are told that the peer has left
    if (this.attempt !== undefined)
      runInFork(this.asyncContext, abortAttempt, undefined, this.attempt, new DOMException(reason, 'AbortError'));
    // end protection
    // protection: the slot of a failed upgrade is given back
    this.reservation?.release();
    // end protection
  }
}

function verifiedCertificate(tls: TLSSocket | undefined): PeerCertificate | undefined {
  if (tls?.authorized !== true) return undefined;
  const certificate = tls.getPeerCertificate();
  return Object.keys(certificate).length === 0 ? undefined : certificate;
}

/** The address of a socket's peer. A peer without an address uses a Unix domain socket, or has already left. */
export function peerAddress(socket: Socket, ipv6Prefix: number): ClientAddress {
  const { remoteAddress } = socket;
  if (remoteAddress !== undefined) return parseAddress(remoteAddress, ipv6Prefix) ?? NO_ADDRESS;
  // The server's address tells these apart: a peer that resets TCP early must not count as a local one.
  return typeof acceptingServer(socket)?.address() === 'string' ? UNIX_PEER : NO_ADDRESS;
}
