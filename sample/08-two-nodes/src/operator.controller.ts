import { Controller, Get, Param, Post } from '@nestjs/common';
import { SecureWsBans, SecureWsBroadcaster, SecureWsStats } from 'nest-secure-ws';

/** Routes for the operator. A real application protects them with a guard. */
@Controller()
export class OperatorController {
  constructor(
    private readonly broadcaster: SecureWsBroadcaster,
    private readonly bans: SecureWsBans,
    private readonly stats: SecureWsStats,
  ) {}

  @Get('cluster')
  cluster() {
    return { process: process.pid, ...this.stats.snapshot().cluster };
  }

  @Post('disconnect/:name')
  async disconnect(@Param('name') name: string) {
    return { disconnected: await this.broadcaster.disconnectUser(name) };
  }

  @Post('ban/:name')
  ban(@Param('name') name: string) {
    return this.bans.ban({ userKey: name }, { for: '10m', reason: 'by an operator' });
  }
}
