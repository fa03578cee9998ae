import 'reflect-metadata';
import { ConfigService } from '@nestjs/config';
import { NestFactory } from '@nestjs/core';
import { AppModule } from './app.module.js';
import { portOf } from './port.js';

try {
  // Browsers keep idle connections open; the application must not wait for them when it closes.
  const app = await NestFactory.create(AppModule, {
    logger: ['error', 'warn'],
    abortOnError: false,
    forceCloseConnections: true,
  });
  app.enableShutdownHooks(undefined, { useProcessExit: true });
  const port = portOf(app.get(ConfigService).get('PORT'));
  const server = await app.listen(port);
  console.log(`Listening on http://localhost:${server.address().port}/`);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exit(1);
}
