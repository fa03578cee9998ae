import { Server as HttpsServer } from 'node:https';
import type { ApplicationConfig, HttpAdapterHost, ModuleRef, ModulesContainer } from '@nestjs/core';
import { configServiceIn } from '../compat/config-service.js';
import { compatibilityReport } from '../compat/report.js';
import { findWs } from '../compat/ws-version.js';
import { inconsistencies, speaksTls } from '../config/consistency.js';
import { defaultEnvironment, type Environment, environmentOf } from '../config/environment.js';
import { ConfigurationError } from '../config/problems.js';
import { reportSettings, type SettingsReport } from '../config/report.js';
import { type Reading, readSettings } from '../config/resolve.js';
import type { SecureWsOptions, Settings } from '../config/settings.js';
import { SecureWsAdapter } from './adapter.js';
import { findGateways, type ListenerPlan, planListeners } from './gateways.js';

/**
 * The plan of an application: its settings, its gateways and the listeners that they need, checked together before
 * anything starts. Nothing is created or changed here.
 */
export class ApplicationPlan {
  private resolved: Reading | undefined;

  constructor(
    private readonly modules: ModulesContainer,
    private readonly config: ApplicationConfig,
    private readonly moduleRef: ModuleRef,
    private readonly options: SecureWsOptions,
    private readonly host: HttpAdapterHost | undefined,
    /** In preview mode the application's providers do not exist. */
    private readonly isPreview = false,
  ) {}

  /** All settings. Throws a `ConfigurationError` with all problems. */
  get settings(): Settings {
    const { settings, problems } = this.read();
    if (problems.length > 0) throw new ConfigurationError(problems);
    return settings;
  }

  /**
   * Reads the settings and the gateways, and collects all problems: it has no side effects and does not throw because
   * of them.
   */
  check() {
    const { settings, sources, problems: found, warnings } = this.read();
    const ws = findWs();
    const gateways = this.isAdapter ? findGateways(this.modules) : [];
    const problems = ws.problem === undefined ? [...found] : [...found, ws.problem];
    const plans = planListeners(gateways, settings, this.config, problems);
    if (sources.get('proxy.requireTls') === 'default' && !this.isPreview)
      problems.push(...this.tlsChoice(settings, plans));
    const parts = partsOf(plans);
    const findings = inconsistencies({ settings, sources, gateways: parts, httpsServer: this.httpsServer });
    problems.push(...findings.problems);
    return {
      settings,
      sources,
      gateways,
      plans,
      parts,
      problems,
      warnings: [...warnings, ...findings.warnings, ...ws.warnings],
    };
  }

  /** Every setting with its source, and the most memory that the settings allow peers to take. */
  report(plans: readonly ListenerPlan[]): SettingsReport {
    const { settings, sources } = this.read();
    return { ...reportSettings(settings, sources, partsOf(plans)), compatibility: compatibilityReport() };
  }

  /** Whether gateways use this library's adapter, and not another one. */
  private get isAdapter(): boolean {
    const adapter = this.config.getIoAdapter();
    return !adapter || adapter instanceof SecureWsAdapter;
  }

  private read(): Reading {
    this.resolved ??= readSettings(this.options, this.environment());
    return this.resolved;
  }

  /** The application's own ConfigModule, if it has one; else the environment of the process and `.env`. */
  private environment(): Environment {
    const service = configServiceIn(this.modules.values());
    if (service === undefined) return defaultEnvironment();
    return this.isPreview ? NO_ENVIRONMENT : environmentOf(this.moduleRef.get(service, { strict: false }));
  }

  /** Whether the application's own server uses TLS. */
  private get httpsServer(): boolean {
    return this.host?.httpAdapter?.getHttpServer() instanceof HttpsServer;
  }

  /** Under production, plaintext must be chosen explicitly. */
  private tlsChoice({ proxy }: Settings, plans: readonly ListenerPlan[]): string[] {
    if (this.environment().get('NODE_ENV') !== 'production' || proxy.trusted.length > 0) return [];
    if (plans.length === 0 || plans.some((plan) => speaksTls(plan, this.httpsServer))) return [];
    return [
      'proxy.requireTls (WEBSOCKETS_REQUIRE_TLS): must be set under NODE_ENV=production, because no port of a gateway has TLS and no proxy is trusted; list the proxy in proxy.trusted (WEBSOCKETS_TRUSTED_PROXIES), configure TLS, or set it to false to serve plaintext',
    ];
  }
}

const NO_ENVIRONMENT: Environment = { get: () => undefined, names: [] };

/** The gateways of a path, as reports name them. */
const partsOf = (plans: readonly ListenerPlan[]) =>
  plans.flatMap(({ port, endpoints }) =>
    [...endpoints].map(([path, plan]) => ({ ...plan, port, name: port === 0 ? path : `${path} at port ${port}` })),
  );
