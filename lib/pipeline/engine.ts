import { Capacity } from '../admission/capacity/capacity.js';
import { PendingRegistry } from '../admission/capacity/pending.js';
import { UserSlots } from '../admission/capacity/user-slots.js';
import { compiled } from '../admission/compiled.js';
import { type AllowedHosts, parseAllowedHosts } from '../admission/host/allowed-hosts.js';
import { type AddressList, parseAddressList } from '../admission/ip/address-list.js';
import type { AddressRules } from '../admission/ip/address-rules.js';
import type { ProxyRules } from '../admission/proxy/client-route.js';
import { ContextBudget } from '../compression/context-budget.js';
import type { Clock } from '../connection/clock.js';
import type { Connection } from '../connection/connection.js';
import { Ledger } from '../connection/ledger.js';
import { EventLoopTurns } from '../connection/turns.js';
import { Wheel } from '../connection/wheel.js';
import type { Settings } from '../options/settings.js';
import { AddressTable } from '../stores/address-table.js';
import { MemoryStore } from '../stores/memory-store.js';
import type { Telemetry } from '../telemetry/events.js';
import type { Gauges } from '../telemetry/stats.js';
import { HeldHeads } from './held-heads.js';
import type { Opening } from './opening.js';
import { ProxyHints } from './proxy-hints.js';

/** Heads, and what came behind them, hold at most this much together until the 101. */
export const MAX_HEAD_BYTES = 16 * 1024 * 1024;

/** What one application shares between its ports, gateways and connections. */
export class Engine {
  readonly wheel: Wheel;
  readonly turns = new EventLoopTurns();
  readonly ledger: Ledger;
  readonly heads: HeldHeads;
  readonly addresses: AddressTable;
  readonly store: MemoryStore;
  readonly capacity: Capacity;
  readonly pending: PendingRegistry<Opening>;
  readonly users = new UserSlots<Connection>();
  readonly connections = new Set<Connection>();
  readonly contexts: ContextBudget;
  readonly proxy: ProxyRules;
  readonly addressRules: AddressRules;
  readonly hosts: AllowedHosts | undefined;
  readonly hints: ProxyHints;
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
    this.wheel = new Wheel(clock);
    this.ledger = new Ledger(buffers.budget, buffers.maxPerIp);
    this.heads = new HeldHeads(MAX_HEAD_BYTES, (delta) => this.ledger.adjust(delta));
    this.addresses = new AddressTable({ now });
    this.store = new MemoryStore(connections.rate, now);
    this.capacity = new Capacity({ max: connections.max, maxPerIp: connections.maxPerIp }, this.store);
    this.pending = new PendingRegistry({ max: connections.maxPending, maxPerIp: connections.maxPendingPerIp });
    this.contexts = new ContextBudget(compression.budget);
    this.proxy = { trusted: addressList(proxy.trusted)!, header: proxy.header, ipv6Prefix: connections.ipv6Prefix };
    this.addressRules = { allowed: addressList(connections.allowedIps), denied: addressList(connections.deniedIps) };
    this.hosts = connections.allowedHosts && compiled(parseAllowedHosts(connections.allowedHosts));
    this.hints = new ProxyHints(telemetry);
  }

  gauges(): Gauges {
    return {
      connections: this.connections.size,
      pending: this.pending.size,
      slots: this.capacity.used,
      heldBytes: this.ledger.held,
      addresses: this.addresses.size,
      deadlines: this.wheel.size,
      contextBytes: this.contexts.used,
    };
  }
}

const addressList = (entries: readonly string[] | undefined): AddressList | undefined =>
  entries && compiled(parseAddressList(entries));
