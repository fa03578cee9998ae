import { Module } from '@nestjs/common';
import { ConditionalModule, ConfigModule } from '@nestjs/config';
import { SecureWsDashboardModule, SecureWsMetricsModule, SecureWsModule } from 'nest-secure-ws';
import { EchoGateway } from './echo.gateway.js';
import { PageController } from './page.controller.js';

/** `WEBSOCKETS_DASHBOARD_TOKEN=… npm start` adds the operators' page at /ws-admin and the metrics at /metrics. */
const withToken = (env: NodeJS.ProcessEnv): boolean => Boolean(env['WEBSOCKETS_DASHBOARD_TOKEN']);

@Module({
  imports: [
    ConfigModule.forRoot(),
    SecureWsModule.forRoot(),
    ConditionalModule.registerWhen(SecureWsDashboardModule.forRoot(), withToken, { debug: false }),
    ConditionalModule.registerWhen(SecureWsMetricsModule.forRoot(), withToken, { debug: false }),
  ],
  controllers: [PageController],
  providers: [EchoGateway],
})
export class AppModule {}
