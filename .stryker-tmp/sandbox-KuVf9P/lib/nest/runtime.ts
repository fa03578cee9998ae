// @ts-nocheck
import { Server as HttpServer } from 'node:http';
import { Server as HttpsServer } from 'node:https';
import { Inject, Injectable, Logger, Optional } from '@nestjs/common';
import { ConfigModule, ConfigService } from '@nestjs/config';
import { ApplicationConfig, HttpAdapterHost, ModuleRef, ModulesContainer } from '@nestjs/core';
import { WebSocketServer } from 'ws';
import { SecureWsConnector } from '../client/connector.js';
import { defaultEnvironment, type Environment, environmentOf, unknownVariables } from '../config/environment.js';
import { ConfigurationError } from '../config/problems.js';
import { memoryWarning, reportLine, reportSettings, type SettingsReport } from '../config/report.js';
import { normalisePath, readSettings } from '../config/resolve.js';
import type { SecureWsOptions, Settings } from '../config/settings.js';
import type { Connection } from '../connection/connection.js';
import type { Audiences } from '../dispatch/broadcaster.js';
import { systemClock } from '../net/timer-wheel.js';
import { DedicatedListener } from '../server/dedicated-listener.js';
import { drain } from '../server/drain.js';
import { Endpoint } from '../server/endpoint.js';
import type { Listener } from '../server/listener.js';
import { attachSecondaryServers } from '../server/secondary-servers.js';
import { ServerContext } from '../server/server-context.js';
import { SharedListener, type WebServer } from '../server/shared-listener.js';
import { Telemetry } from '../telemetry/events.js';
import { line, SampledLog } from '../telemetry/log.js';
import { SecureWsStats } from '../telemetry/stats.js';
import {
  type EndpointPlan,
  findGateways,
  type Gateway,
  guardsOf,
  type ListenerPlan,
  planListeners,
} from './gateways.js';
import { GuardResolver } from './guard-resolver.js';
import { hasConnectionHook, wrapFilters, wrapHooks } from './hooks.js';
import { MODULE_OPTIONS_TOKEN } from './module-definition.js';

/** What one application has of this library, made when it is first needed: the settings, the ports, the connections. */
@Injectable()
export class SecureWsRuntime implements Audiences {
  private readonly logger = new Logger('SecureWs');
  private readonly telemetry = new Telemetry();
  private readonly guards = new GuardResolver();
  private readonly ports = new Map<number, Listener>();
  private readonly gatewaysOf = new Map<Endpoint, readonly Gateway[]>();
  private resolved: ReturnType<typeof readSettings> | undefined;
  private plans: ListenerPlan[] | undefined;
  private engine: ServerContext | undefined;
  private drained: Promise<void> | undefined;

  constructor(
    private readonly modules: ModulesContainer,
    private readonly config: ApplicationConfig,
    private readonly moduleRef: ModuleRef,
    private readonly stats: SecureWsStats,
    @Optional() @Inject(MODULE_OPTIONS_TOKEN) private readonly options: SecureWsOptions,
    @Optional() private readonly host?: HttpAdapterHost,
  ) {
    if (typeof options !== 'object' || options === null)
      throw new Error(
        'SecureWsModule has no options: import SecureWsModule.forRoot() or SecureWsModule.forRootAsync()',
      );
    this.telemetry.subscribe(new SampledLog(this.logger, systemClock.now));
    this.telemetry.subscribe(stats);
    stats.report = () => this.report();
  }

  /** All settings. Throws `ConfigurationError` with everything that is wrong. */
  get settings(): Settings {
    const { settings, problems } = this.read();
    if (problems.length > 0) throw new ConfigurationError(problems);
    return settings;
  }

  /** Every endpoint that there is. */
  get endpoints(): Endpoint[] {
    return [...this.ports.values()].flatMap((port) => [...port.endpoints.values()]);
  }

  get connections(): Iterable<Connection> {
    return this.engine?.connections ?? [];
  }

  connectionsOf(userKey: string): readonly Connection[] {
    return this.engine?.users.of(userKey) ?? [];
  }

  /** Checks the settings and the gateways, and makes the gateways' hooks and filters known to us. Idempotent. */
  prepare(): ListenerPlan[] {
    if (this.plans !== undefined) return this.plans;
    const { settings, sources, problems: found } = this.read();
    const gateways = findGateways(this.modules);
    const problems = [...found];
    const plans = planListeners(gateways, settings, this.config, problems);
    if (sources.get('proxy.requireTls') === 'default') problems.push(...this.tlsChoice(settings, plans));
    if (problems.length > 0) throw new ConfigurationError(problems);
    for (const { type, wrapper, module } of gateways) {
      wrapHooks(wrapper);
      wrapFilters(type, module);
    }
    this.plans = plans;
    if (gateways.length > 0) this.tell(this.report());
    return plans;
  }

  /** Every setting with where it came from, and the memory that they allow. */
  report(): SettingsReport {
    const { settings, sources } = this.read();
    const parts = (this.plans ?? []).flatMap(({ port, endpoints }) =>
      [...endpoints].map(([path, plan]) => ({ ...plan, name: port === 0 ? path : `${path} at port ${port}` })),
    );
    return reportSettings(settings, sources, parts);
  }

  /** The server of a path of a port; gateways that name both alike share it. Listens to nothing yet. */
  serverFor(number: number, path: string | undefined): WebSocketServer {
    const plan = this.prepare().find(({ port }) => port === number);
    const name = normalisePath(path);
    const endpointPlan = plan?.endpoints.get(name);
    if (plan === undefined || endpointPlan === undefined)
      throw new Error(`no gateway is known at port ${number}, path ${name}`);
    const port = this.portFor(plan);
    // An application without HTTP, such as a microservice: nobody will ever come.
    if (port === undefined) return new WebSocketServer({ noServer: true });
    let endpoint = port.endpoints.get(name);
    if (endpoint === undefined) port.endpoints.set(name, (endpoint = this.endpointFor(endpointPlan)));
    return endpoint.server;
  }

  endpointOf(server: WebSocketServer): Endpoint | undefined {
    return this.endpoints.find((endpoint) => endpoint.server === server);
  }

  /** Resolves guards, then listens. Rejects when a port cannot be listened on. */
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
    for (const port of this.ports.values()) if (port instanceof DedicatedListener) await port.listen();
  }

  /** The outbound client with these settings; it tells the log when it tries again. */
  connector(): SecureWsConnector {
    return new SecureWsConnector(
      () => this.settings,
      ({ url, delay, error }) =>
        this.logger.log(
          line(
            `${url} is gone (${(error as Error | undefined)?.message ?? 'closed'}), trying again in ${Math.round(delay)} ms`,
          ),
        ),
    );
  }

  /** The earliest moment of a shutdown. */
  drain(): Promise<void> {
    this.drained ??= this.engine === undefined ? Promise.resolve() : drain(this.engine, [...this.ports.values()]);
    return this.drained;
  }

  async close(): Promise<void> {
    await this.drain();
    for (const port of this.ports.values()) await port.close();
  }

  private tell(report: SettingsReport): void {
    this.logger.debug(reportLine(report));
    const warning = memoryWarning(report);
    if (warning !== undefined) this.logger.warn(warning);
  }

  private read(): ReturnType<typeof readSettings> {
    if (this.resolved === undefined) {
      const environment = this.environment();
      this.resolved = readSettings(this.options, environment);
      for (const warning of unknownVariables(environment)) this.logger.warn(warning);
    }
    return this.resolved;
  }

  /** The application's own ConfigModule, where it has one; else the process's environment and `.env`. */
  private environment(): Environment {
    const configured = [...this.modules.values()].some(({ metatype }) => metatype === ConfigModule);
    return configured ? environmentOf(this.moduleRef.get(ConfigService, { strict: false })) : defaultEnvironment();
  }

  private tlsChoice({ proxy, tls }: Settings, plans: readonly ListenerPlan[]): string[] {
    const isProduction = this.environment().get('NODE_ENV') === 'production';
    const hasTls = [tls, ...plans.map(({ settings }) => settings.tls)].some(
      ({ cert, certFile }) => (cert ?? certFile) !== undefined,
    );
    if (
      !isProduction ||
      plans.length === 0 ||
      proxy.trusted.length > 0 ||
      hasTls ||
      this.host?.httpAdapter?.getHttpServer() instanceof HttpsServer
    )
      return [];
    return [
      'proxy.requireTls (WEBSOCKETS_REQUIRE_TLS) must be chosen under NODE_ENV=production: there is neither TLS nor a trusted proxy. Configure tls.* or proxy.trusted, or set it to true, or to false to serve plaintext',
    ];
  }

  private portFor(plan: ListenerPlan): Listener | undefined {
    let port = this.ports.get(plan.port);
    if (port !== undefined) return port;
    port = plan.port === 0 ? this.sharedPort(plan) : new DedicatedListener(this.engineOf(), plan.settings, plan.port);
    if (port !== undefined) this.ports.set(plan.port, port);
    return port;
  }

  private sharedPort({ settings }: ListenerPlan): SharedListener | undefined {
    const server = this.httpServer();
    if (server === undefined) return undefined;
    const port = new SharedListener(this.engineOf(), settings, server);
    attachSecondaryServers(this.host!.httpAdapter, port);
    return port;
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
    const server = new WebSocketServer({ noServer: true, clientTracking: true });
    const hooks = gateways.filter(({ wrapper }) => hasConnectionHook(wrapper)).length;
    const endpoint = new Endpoint(
      this.engineOf(),
      settings,
      server,
      gateways.map(({ type }) => type),
      hooks,
      traits,
    );
    this.gatewaysOf.set(endpoint, gateways);
    return endpoint;
  }

  private engineOf(): ServerContext {
    if (this.engine === undefined) {
      const engine = new ServerContext(this.settings, systemClock, this.telemetry);
      this.stats.gauges = () => engine.gauges();
      this.engine = engine;
    }
    return this.engine;
  }
}
