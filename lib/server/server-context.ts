import { AddressTable } from '../admission/address-table.js';
import { AttemptRate } from '../admission/attempt-rate.js';
import type { BanList } from '../admission/bans.js';
import { Capacity } from '../admission/capacity.js';
import { FailureBans, type FailureBansOptions } from '../admission/failure-bans.js';
import { type AllowedHosts, parseAllowedHosts } from '../admission/host.js';
import { PendingRegistry } from '../admission/pending-registry.js';
import { type UserConnection } from '../admission/shared-slot.js';
import { UntrustedProxyDetector } from '../admission/untrusted-proxy-detector.js';
import { UserSlots } from '../admission/users.js';
import type { SharedAdmission } from '../cluster/shared-admission.js';
import type { Settings } from '../config/settings.js';
import { MemoryBudget } from '../connection/memory-budget.js';
import type { SecureConnection as Connection } from '../connection/secure-socket.js';
import { HandshakeBudget } from '../handshake/handshake-budget.js';
import { EndScheduler, HeadScheduler } from '../handshake/head-scheduler.js';
import type { HandshakeContext } from '../handshake/upgrade-context.js';
import type { ProxyRules } from '../http/forwarding.js';
import { type AddressList, type AddressRules, compiled, parseAddressList } from '../net/address-list.js';
import { FairScheduler } from '../net/fair-scheduler.js';
import { type Clock, TimerWheel } from '../net/timer-wheel.js';
import { ContextBudget } from '../protocol/deflate/compression.js';
import type { Telemetry } from '../telemetry/events.js';
import type { MetricsCollector } from '../telemetry/metrics.js';
import type { Gauges, Queues } from '../telemetry/stats.js';

/** Maximum bytes of request heads, and of bytes after them, of all pending handshakes together. */
export const MAX_HEAD_BYTES = 16 * 1024 * 1024;

/** The state that one application shares between its ports, gateways and connections. */
export class ServerContext implements HandshakeContext {
  readonly wheel: TimerWheel;
  readonly scheduler = new FairScheduler();
  readonly budget: MemoryBudget;
  readonly headBudget: HandshakeBudget;
  readonly addresses: AddressTable;
  readonly attempts: AttemptRate;
  readonly headScheduler = new HeadScheduler();
  readonly endScheduler = new EndScheduler();
  readonly capacity: Capacity;
  readonly pending: PendingRegistry<{ evict(): void }>;
  readonly users = new UserSlots<UserConnection>();
  readonly connections = new Set<Connection>();
  readonly contexts: ContextBudget;
  readonly proxy: ProxyRules;
  readonly addressRules: AddressRules;
  readonly hosts: AllowedHosts | undefined;
  readonly proxyDetector: UntrustedProxyDetector;
  readonly failures: FailureBans;
  /** Limits over all processes of a cluster; set when the application starts, if there is a cluster. */
  cluster: SharedAdmission | undefined = undefined;
  /** The application is shutting down: every upgrade is refused. */
  draining = false;
  /** Number of handlers whose result is awaited. */
  runningTasks = 0;
  /** Called whenever a connection has ended or a handler has settled: the shutdown waits for both. */
  onIdle: (() => void) | undefined = undefined;

  constructor(
    readonly settings: Settings,
    readonly clock: Clock,
    readonly telemetry: Telemetry,
    readonly bans: BanList,
    /** Bans an address in this process, and in the other processes of a cluster. */
    ban: FailureBansOptions['ban'],
    /** Set if metrics are enabled. */
    readonly collector: MetricsCollector | undefined,
  ) {
    const { connections, proxy, buffers, compression } = settings;
    const now = () => clock.now();
    this.wheel = new TimerWheel(clock);
    this.budget = new MemoryBudget(buffers.budget, buffers.maxPerIp, connections.max);
    this.headBudget = new HandshakeBudget(MAX_HEAD_BYTES, (delta) => this.budget.adjust(delta));
    this.addresses = new AddressTable({ now });
    this.attempts = new AttemptRate(connections.rate, now);
    this.capacity = new Capacity({ max: connections.max, maxPerIp: connections.maxPerIp });
    this.pending = new PendingRegistry({ max: connections.maxPending, maxPerIp: connections.maxPendingPerIp });
    this.contexts = new ContextBudget(compression.budget);
    this.proxy = { trusted: addressList(proxy.trusted)!, header: proxy.header, ipv6Prefix: connections.ipv6Prefix };
    this.addressRules = { allowed: addressList(connections.allowedIps), denied: addressList(connections.deniedIps) };
    this.hosts = connections.allowedHosts && compiled(parseAllowedHosts(connections.allowedHosts));
    this.proxyDetector = new UntrustedProxyDetector(telemetry);
    const { failures: rate, time, max } = settings.bans;
    this.failures = new FailureBans({ rate, time, max, now, ban });
  }

  /** Iterates over all connections. */
  queues(): Queues {
    const sum = { messages: 0, bytes: 0, paused: 0, slow: 0, unsent: 0 };
    for (const { reader, writer } of this.connections) {
      if (reader !== undefined) {
        sum.messages += reader.waiting;
        sum.bytes += reader.waitingBytes;
        if (reader.knownGate?.closed) sum.paused++;
      }
      const unsent = writer?.pending ?? 0;
      if (unsent > 0) sum.slow++;
      sum.unsent += unsent;
    }
    return sum;
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
      budgets: [
        { kind: 'buffers', held: this.budget.held, limit: this.settings.buffers.budget },
        { kind: 'heads', held: this.headBudget.held, limit: MAX_HEAD_BYTES },
        { kind: 'compression', held: this.contexts.used, limit: this.settings.compression.budget },
      ],
      bans: this.bans.size,
      draining: this.draining,
      clusterUp: this.cluster && this.cluster.node.state.status === 'up',
    };
  }
}

const addressList = (entries: readonly string[] | undefined): AddressList | undefined =>
  entries && compiled(parseAddressList(entries));
