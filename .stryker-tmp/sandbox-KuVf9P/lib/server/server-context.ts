// @ts-nocheck
import { AddressTable } from '../admission/address-table.js';
import { MemoryStore } from '../admission/admission-store.js';
import { Capacity } from '../admission/capacity.js';
import { type AllowedHosts, parseAllowedHosts } from '../admission/host.js';
import { PendingRegistry } from '../admission/pending.js';
import { UserSlots } from '../admission/users.js';
import { ContextBudget } from '../compression/context-budget.js';
import type { Settings } from '../config/settings.js';
import type { Connection } from '../connection/connection.js';
import { MemoryBudget } from '../connection/memory-budget.js';
import { HandshakeBudget } from '../handshake/handshake-budget.js';
import type { PendingHandshake } from '../handshake/pending-handshake.js';
import { type AddressList, type AddressRules, compiled, parseAddressList } from '../net/address-list.js';
import { FairScheduler } from '../net/fair-scheduler.js';
import type { ProxyRules } from '../net/forwarding.js';
import { type Clock, TimerWheel } from '../net/timer-wheel.js';
import { UntrustedProxyDetector } from '../net/untrusted-proxy-detector.js';
import type { Telemetry } from '../telemetry/events.js';
import type { Gauges } from '../telemetry/stats.js';

/** Heads, and what came behind them, hold at most this much together until the 101. */
export const MAX_HEAD_BYTES = 16 * 1024 * 1024;

/** What one application shares between its ports, gateways and connections. */
export class ServerContext {
  readonly wheel: TimerWheel;
  readonly turns = new FairScheduler();
  readonly budget: MemoryBudget;
  readonly heads: HandshakeBudget;
  readonly addresses: AddressTable;
  readonly store: MemoryStore;
  readonly capacity: Capacity;
  readonly pending: PendingRegistry<PendingHandshake>;
  readonly users = new UserSlots<Connection>();
  readonly connections = new Set<Connection>();
  readonly contexts: ContextBudget;
  readonly proxy: ProxyRules;
  readonly addressRules: AddressRules;
  readonly hosts: AllowedHosts | undefined;
  readonly hints: UntrustedProxyDetector;
  /** Shutting down: nobody is let in any more. */
  draining = false;
  /** Handlers whose result is still to come. */
  runningTasks = 0;
  /** Asked whenever a connection has ended or a handler is done: the shutdown waits for both. */
  whenIdle: (() => void) | undefined = undefined;

  constructor(
    readonly settings: Settings,
    readonly clock: Clock,
    readonly telemetry: Telemetry,
  ) {
    const { connections, proxy, buffers, compression } = settings;
    const now = () => clock.now();
    this.wheel = new TimerWheel(clock);
    this.budget = new MemoryBudget(buffers.budget, buffers.maxPerIp);
    this.heads = new HandshakeBudget(MAX_HEAD_BYTES, (delta) => this.budget.adjust(delta));
    this.addresses = new AddressTable({ now });
    this.store = new MemoryStore(connections.rate, now);
    this.capacity = new Capacity({ max: connections.max, maxPerIp: connections.maxPerIp }, this.store);
    this.pending = new PendingRegistry({ max: connections.maxPending, maxPerIp: connections.maxPendingPerIp });
    this.contexts = new ContextBudget(compression.budget);
    this.proxy = { trusted: addressList(proxy.trusted)!, header: proxy.header, ipv6Prefix: connections.ipv6Prefix };
    this.addressRules = { allowed: addressList(connections.allowedIps), denied: addressList(connections.deniedIps) };
    this.hosts = connections.allowedHosts && compiled(parseAllowedHosts(connections.allowedHosts));
    this.hints = new UntrustedProxyDetector(telemetry);
  }

  gauges(): Gauges {
    return {
      connections: this.connections.size,
      pending: this.pending.size,
      slots: this.capacity.used,
      heldBytes: this.budget.held,
      addresses: this.addresses.size,
      deadlines: this.wheel.size,
      contextBytes: this.contexts.used,
    };
  }
}

const addressList = (entries: readonly string[] | undefined): AddressList | undefined =>
  entries && compiled(parseAddressList(entries));
