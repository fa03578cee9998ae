import { Controller, Get, Module } from '@nestjs/common';
import { SecureWsModule } from 'nest-secure-ws';
import { jwtGuard } from 'nest-secure-ws/guards';
import { GraphqlServer } from './graphql.server.js';

@Controller()
class PageController {
  @Get()
  page(): string {
    return 'An ordinary page beside subscriptions.\n';
  }
}

const secret = process.env['TOKEN_SECRET'];
if (secret === undefined) throw new Error('TOKEN_SECRET is not set: the secret of at least 32 bytes that signs tokens');

/** graphql-ws answers upgrades of /graphql, which are checked before they reach it. */
@Module({
  imports: [
    SecureWsModule.forRoot({
      foreign: [
        {
          path: '/graphql',
          guards: [jwtGuard({ secret, algorithms: ['HS256'], from: ['cookie:session', 'header'] })],
          connections: { maxPerUser: 3 },
        },
      ],
    }),
  ],
  controllers: [PageController],
  providers: [GraphqlServer],
})
export class AppModule {}
