import { Server as HttpServer } from 'node:http';
import { Server as HttpsServer } from 'node:https';
import { Inject, Injectable, Logger, Optional } from '@nestjs/common';
import { ApplicationConfig, HttpAdapterHost, ModuleRef, ModulesContainer } from '@nestjs/core';
import { WebSocketServer } from 'ws';
import { type BanContext, BanList, SecureWsBans } from '../admission/bans.js';
import type { UserConnection } from '../admission/shared-slot.js';
import { SecureWsConnector } from '../client/connector.js';
import type { ClusterNode } from '../cluster/node.js';
import { ClusterTicketStore } from '../cluster/tickets.js';
import { hasScopedGateways, type NestModule } from '../compat/nest.js';
import type { WebServer } from '../compat/node-http.js';
import { probeNode } from '../compat/probes.js';
import { ConfigurationError } from '../config/problems.js';
import { memoryWarning, reportLines, type SettingsReport } from '../config/report.js';
import { normalisePath } from '../config/resolve.js';
import type { SecureWsOptions, Settings } from '../config/settings.js';
import type { SecureConnection as Connection } from '../connection/secure-socket.js';
import { SecureWsBroadcaster } from '../dispatch/broadcaster.js';
import type { Audiences } from '../dispatch/local-broadcaster.js';
import { MemoryTicketStore, type TicketStore } from '../guards/tickets.js';
import { systemClock } from '../net/timer-wheel.js';
import { DedicatedListener } from '../server/dedicated-listener.js';
import { drain } from '../server/drain.js';
import { Endpoint } from '../server/endpoint.js';
import { ForeignEndpoint, ForeignUpgrade } from '../server/foreign-endpoint.js';
import type { Listener } from '../server/listener.js';
import { ServerContext } from '../server/server-context.js';
import { SharedListener } from '../server/shared-listener.js';
import { type Subscriber, Telemetry } from '../telemetry/events.js';
import { line, SampledLog } from '../telemetry/log.js';
import { SecureWsStats } from '../telemetry/stats.js';
import { ApplicationPlan } from './application-plan.js';
import { createClusterNode, isClustered, sharedBansOf } from './cluster.js';
import { wrapFilters } from './filters.js';
import {
  addForeign,
  type EndpointPlan,
  type ForeignPlan,
  type Gateway,
  guardsOf,
  type ListenerPlan,
} from './gateways.js';
import { GuardResolver } from './guard-resolver.js';
import { hasConnectionHook, wrapHooks } from './hooks.js';
import { MODULE_OPTIONS_TOKEN } from './module-definition.js';
import { protectedServer } from './required-module.js';

/**
 * The state of this library in one application: settings, listeners and connections. It is created when it is first
 * needed.
 */
@Injectable()
export class SecureWsRuntime implements Audiences, BanContext {
  /** Answers the dashboards of other processes, if the application has one. */
  dashboard: ((question: Readonly<Record<string, unknown>>) => unknown) | undefined = undefined;
  private readonly logger = new Logger('SecureWs');
  private readonly telemetry = new Telemetry();
  private readonly guards = new GuardResolver();
  private readonly listeners = new Map<number, Listener>();
  private readonly gatewaysOf = new Map<Endpoint, readonly Gateway[]>();
  private readonly foreign = new Map<ForeignEndpoint, ForeignPlan>();
  /** @internal */ readonly plan: ApplicationPlan;
  private plans: ListenerPlan[] | undefined;
  private context: ServerContext | undefined;
  private banList: BanList | undefined;
  private node: ClusterNode | undefined;
  private broadcasterInstance: SecureWsBroadcaster | undefined;
  private readonly memoryTickets = new MemoryTicketStore();
  private clusterTickets: ClusterTicketStore | undefined;
  private drained: Promise<void> | undefined;

  constructor(
    private readonly modules: ModulesContainer,
    config: ApplicationConfig,
    moduleRef: ModuleRef,
    private readonly stats: SecureWsStats,
    @Optional() @Inject(MODULE_OPTIONS_TOKEN) options: SecureWsOptions,
    @Optional() private readonly host?: HttpAdapterHost,
  ) {
    if (typeof options !== 'object' || options === null)
      throw new Error(
        'SecureWsModule has no options: import SecureWsModule.forRoot() or SecureWsModule.forRootAsync()',
      );
    this.plan = new ApplicationPlan(modules, config, moduleRef, options, host);
    this.telemetry.subscribe(new SampledLog(this.logger, systemClock.now));
    this.telemetry.subscribe(stats);
    stats.report = () => this.plan.report(this.plans ?? []);
  }

  private readonly listenerFailed = (error: unknown): void => this.telemetry.fault('socket', error);

  /** All settings. Throws a `ConfigurationError` with all problems. */
  get settings(): Settings {
    return this.plan.settings;
  }

  /** Subscribes to events. */
  subscribe(subscriber: Partial<Subscriber>): void {
    this.telemetry.subscribe(subscriber);
  }

  /** The context that the listeners of this application share. */
  get server(): ServerContext {
    return this.serverContext();
  }

  /** All endpoints. */
  get endpoints(): Endpoint[] {
    return [...this.listeners.values()].flatMap((listener) => [...listener.endpoints.values()]);
  }

  /** The bans of this process. */
  get bans(): BanList {
    this.banList ??= new BanList(this.settings.bans.max);
    return this.banList;
  }

  /** The cluster, if there is one. */
  get others(): ClusterNode | undefined {
    return this.node;
  }

  /** Publishes bans to the other processes. */
  get shared(): BanContext['shared'] {
    return this.node && sharedBansOf(this.node);
  }

  get broadcaster(): SecureWsBroadcaster {
    this.broadcasterInstance ??= new SecureWsBroadcaster(this);
    return this.broadcasterInstance;
  }

  /** The tickets of this process, or of the cluster. */
  get tickets(): TicketStore {
    const store = (): TicketStore => {
      if (this.node === undefined) return this.memoryTickets;
      this.clusterTickets ??= new ClusterTicketStore(this.node);
      return this.clusterTickets;
    };
    return {
      put: (key, text, ttl, owner) => store().put(key, text, ttl, owner),
      take: (key) => store().take(key),
    };
  }

  get connections(): Iterable<Connection> {
    return this.context?.connections ?? [];
  }

  connectionsOf(userKey: string): readonly UserConnection[] {
    return this.context?.users.of(userKey) ?? [];
  }

  /** Checks the settings and the gateways, and wraps the gateways' hooks and filters. Idempotent. */
  prepare(): ListenerPlan[] {
    if (this.plans !== undefined) return this.plans;
    const { gateways, plans, problems, warnings } = this.plan.check();
    if (problems.length > 0) throw new ConfigurationError(problems);
    for (const warning of warnings) this.logger.warn(warning);
    for (const { type, wrapper, module } of gateways) {
      if (!hasScopedGateways && !wrapper.isDependencyTreeStatic()) this.telemetry.notice(scopedGateway(type.name));
      wrapHooks(wrapper, this.telemetry);
      wrapFilters(type, module);
    }
    this.plans = plans;
    probeNode(this.settings.nativeAccept);
    if (gateways.length > 0) this.logReport(this.plan.report(plans));
    return plans;
  }

  /** The server of a path of a port, which gateways with the same port and path share. It does not listen yet. */
  serverFor(number: number, path: string | undefined): WebSocketServer {
    const plan = this.prepare().find(({ port }) => port === number);
    const name = normalisePath(path);
    const endpointPlan = plan?.endpoints.get(name);
    if (plan === undefined || endpointPlan === undefined)
      throw new Error(`no gateway is known at port ${number}, path ${name}`);
    const listener = this.listenerFor(plan);
    // An application without HTTP, such as a microservice, gets no connections.
    if (listener === undefined) return protectedServer(this.listenerFailed);
    let endpoint = listener.endpoints.get(name);
    if (endpoint === undefined)
      listener.add(name, (endpoint = this.endpointFor(endpointPlan)), endpointPlan.isCatchAll);
    return endpoint.server;
  }

  endpointOf(server: WebSocketServer): Endpoint | undefined {
    return this.endpoints.find((endpoint) => endpoint.server === server);
  }

  /** Resolves guards, then listens. Rejects if a port cannot be opened. */
  async start(): Promise<void> {
    this.prepare();
    const common = this.settings.guards ?? [];
    for (const [endpoint, gateways] of this.gatewaysOf) {
      const resolved = [];
      for (const [index, gateway] of gateways.entries()) {
        const guards = index === 0 ? [...common, ...guardsOf(gateway)] : guardsOf(gateway);
        resolved.push(await this.guards.resolve(guards, gateway.module, gateway.type));
      }
      endpoint.earlyGuards = resolved.flatMap(({ early }) => early);
      endpoint.guards = resolved.flatMap(({ guards }) => guards);
    }
    await this.startForeign();
    await this.joinCluster();
    for (const listener of this.listeners.values()) if (listener instanceof DedicatedListener) await listener.listen();
  }

  /** Joins the cluster if the settings configure one. Rejects if ioredis is needed and missing. */
  private async joinCluster(): Promise<void> {
    if (this.node !== undefined || !isClustered(this.settings)) return;
    this.node = await createClusterNode({
      settings: this.settings,
      context: this.serverContext(),
      broadcaster: this.broadcaster,
      bans: new SecureWsBans(this),
      view: (question) => this.dashboard?.(question) ?? null,
      log: (sentence, status) => (status === 'up' ? this.logger.log(line(sentence)) : this.telemetry.notice(sentence)),
    });
    const { node } = this;
    for (const { rooms } of this.endpoints) rooms.observe(node.messenger);
    this.stats.cluster = () => node.state;
    await node.start();
  }

  /** Creates the endpoints of `foreign`, and resolves their guards. */
  private async startForeign(): Promise<void> {
    const plan = this.prepare().find(({ foreign }) => foreign.length > 0);
    const listener = plan && this.listenerFor(plan);
    if (plan === undefined || !(listener instanceof SharedListener) || this.foreign.size > 0) return;
    const common = this.settings.guards ?? [];
    for (const each of plan.foreign) {
      const endpoint = new ForeignEndpoint(
        this.serverContext(),
        each.settings,
        `foreign${each.settings.path}`,
        (upgrade, bytes, connection) => listener.handOverUpgrade(upgrade, bytes, connection),
      );
      const guards = [...common, ...each.guards];
      const resolved = await this.guards.resolve(guards, this.importingModule(), ForeignUpgrade);
      endpoint.earlyGuards = resolved.early;
      endpoint.guards = resolved.guards;
      addForeign(listener.router, each, endpoint);
      listener.addForeign(each.path, each.isPrefix);
      this.foreign.set(endpoint, each);
    }
  }

  /** The module that provides the dependencies of guards without a gateway: the one that imports this library. */
  private importingModule(): NestModule {
    const modules = [...this.modules.values()] as NestModule[];
    const own = modules.find(({ providers }) => providers.has(SecureWsRuntime));
    return modules.find(({ imports }) => own !== undefined && imports.has(own as never)) ?? own!;
  }

  /** The outbound client with these settings; it logs reconnects. */
  connector(): SecureWsConnector {
    return new SecureWsConnector(
      () => this.settings,
      ({ url, delay, error }) =>
        this.logger.log(
          line(
            `${url} is disconnected (${(error as Error | undefined)?.message ?? 'closed'}), reconnecting in ${Math.round(delay)} ms`,
          ),
        ),
    );
  }

  /** The earliest step of a shutdown. */
  drain(): Promise<void> {
    this.drained ??= this.context === undefined ? Promise.resolve() : drain(this.context, [...this.listeners.values()]);
    return this.drained;
  }

  async close(): Promise<void> {
    await this.drain();
    for (const listener of this.listeners.values()) await listener.close();
    await this.node?.stop();
  }

  private logReport(report: SettingsReport): void {
    for (const text of reportLines(report)) this.logger.log(text);
    const ways = Object.entries(report.compatibility ?? {}).map(([part, way]) => `${part}: ${way}`);
    this.logger.debug(line(`compatibility: ${ways.join('; ')}`));
    const warning = memoryWarning(report);
    if (warning !== undefined) this.logger.warn(warning);
  }

  private listenerFor(plan: ListenerPlan): Listener | undefined {
    let listener = this.listeners.get(plan.port);
    if (listener !== undefined) return listener;
    listener =
      plan.port === 0
        ? this.sharedListener(plan)
        : new DedicatedListener(this.serverContext(), plan.settings, plan.port);
    if (listener !== undefined) this.listeners.set(plan.port, listener);
    return listener;
  }

  private sharedListener({ settings }: ListenerPlan): SharedListener | undefined {
    const server = this.httpServer();
    if (server === undefined) return undefined;
    const listener = new SharedListener(this.serverContext(), settings, server);
    listener.attachSecondaryServers(this.host!.httpAdapter);
    return listener;
  }

  private httpServer(): WebServer | undefined {
    const server: unknown = this.host?.httpAdapter?.getHttpServer();
    if (server === undefined || server === null) return undefined;
    if (server instanceof HttpServer || server instanceof HttpsServer) return server;
    throw new Error(
      'nest-secure-ws serves HTTP/1.1 only: this application has an HTTP/2 server (or one of its own kind), over which WebSockets cannot be upgraded',
    );
  }

  private endpointFor({ gateways, settings, traits }: EndpointPlan): Endpoint {
    const server = protectedServer(this.listenerFailed);
    const hooks = gateways.filter(({ wrapper }) => hasConnectionHook(wrapper)).length;
    const endpoint = new Endpoint(
      this.serverContext(),
      settings,
      server,
      gateways.map(({ type }) => type),
      hooks,
      traits,
      `${gateways[0]!.type.name}${settings.path}`,
    );
    this.gatewaysOf.set(endpoint, gateways);
    return endpoint;
  }

  private serverContext(): ServerContext {
    if (this.context === undefined) {
      const context = new ServerContext(
        this.settings,
        systemClock,
        this.telemetry,
        this.bans,
        (target, options) => new SecureWsBans(this).ban(target, options),
        this.stats.collector,
      );
      this.stats.gauges = () => context.gauges();
      this.stats.queues = () => context.queues();
      this.stats.gatewayGauges = () =>
        this.endpoints.map(({ path, server, counters }) => ({ path, connections: server.clients.size, counters }));
      this.context = context;
    }
    return this.context;
  }
}

const scopedGateway = (name: string): string =>
  `${name} is request-scoped, or depends on a provider that is: Nest 11 calls its handlers without its dependencies. Make it a singleton, or update to Nest 12`;
