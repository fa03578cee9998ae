import type { CanActivate } from '@nestjs/common';
import {
  Controller,
  type DynamicModule,
  Get,
  Inject,
  Injectable,
  Module,
  type OnApplicationBootstrap,
  type OnApplicationShutdown,
  Res,
  type Type,
  UseGuards,
} from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import { EventLoopDelay } from './event-loop-delay.js';
import { MetricsCollector } from './metrics.js';
import { registerOpenTelemetry } from './open-telemetry.js';
import { CONTENT_TYPE, prometheusText } from './prometheus.js';
import { SecureWsStats } from './stats.js';

export interface SecureWsMetricsOptions {
  /** Path of the scrape endpoint. Default: `/metrics`. `null`: no endpoint, only `SecureWsMetrics.text()`. */
  readonly path?: string | null;
  /** Nest guards of the endpoint. Without guards it answers everyone who can reach it. */
  readonly guards?: readonly (Type<CanActivate> | CanActivate)[];
}

/** The metrics of this process. Injectable if `SecureWsMetricsModule` is imported. */
@Injectable()
export class SecureWsMetrics implements OnApplicationBootstrap, OnApplicationShutdown {
  private readonly collector: MetricsCollector;
  private readonly delay = new EventLoopDelay();
  private unregister: (() => void) | undefined = undefined;

  constructor(stats: SecureWsStats) {
    this.collector = new MetricsCollector({
      gateways: () => stats.gateways(),
      figures: () => [...stats.figures(), ...this.delay.figures(performance.now())],
    });
    stats.collector = this.collector;
  }

  /** All metrics in Prometheus's text exposition format, version 0.0.4. At most 400 series. */
  text(): string {
    return prometheusText(this.collector.collect());
  }

  /** @hidden Also reports to OpenTelemetry, if the application has registered a meter provider before. */
  async onApplicationBootstrap(): Promise<void> {
    this.delay.start();
    this.unregister = await registerOpenTelemetry(this.collector);
  }

  /** @hidden */
  onApplicationShutdown(): void {
    this.delay.stop();
    this.unregister?.();
  }
}

/**
 * Serves the metrics for Prometheus, and reports them to OpenTelemetry. Needs `SecureWsModule`.
 *
 * @example
 * imports: [SecureWsModule.forRoot(), SecureWsMetricsModule.forRoot({ path: '/metrics' })]
 */
@Module({})
export class SecureWsMetricsModule {
  static forRoot({ path = '/metrics', guards = [] }: SecureWsMetricsOptions = {}): DynamicModule {
    return {
      module: SecureWsMetricsModule,
      providers: [SecureWsMetrics],
      controllers: path === null ? [] : [controllerAt(path, guards)],
      exports: [SecureWsMetrics],
    };
  }
}

function controllerAt(path: string, guards: readonly (Type<CanActivate> | CanActivate)[]): Type<unknown> {
  @Controller(path)
  @UseGuards(...guards)
  class SecureWsMetricsController {
    constructor(
      @Inject(SecureWsMetrics) private readonly metrics: SecureWsMetrics,
      @Inject(HttpAdapterHost) private readonly host: HttpAdapterHost,
    ) {}

    // The response is written by the adapter itself: an interceptor of the application that wraps all responses would
    // break the format.
    @Get()
    scrape(@Res() response: unknown): void {
      const { httpAdapter } = this.host;
      httpAdapter.setHeader(response, 'Content-Type', CONTENT_TYPE);
      httpAdapter.setHeader(response, 'Cache-Control', 'no-store');
      httpAdapter.reply(response, this.metrics.text(), 200);
    }
  }
  return SecureWsMetricsController;
}
