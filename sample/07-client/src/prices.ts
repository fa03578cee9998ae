import { Injectable, Logger, type OnApplicationBootstrap } from '@nestjs/common';
import { ConfigService } from '@nestjs/config';
import { type ClientSocket, SecureWsConnector } from 'nest-secure-ws';

/** Follows a feed for as long as the application runs, across restarts of the feed. */
@Injectable()
export class Prices implements OnApplicationBootstrap {
  private readonly logger = new Logger(Prices.name);
  /** The last price received. */
  latest: number | undefined;

  constructor(
    private readonly connector: SecureWsConnector,
    private readonly config: ConfigService,
  ) {}

  onApplicationBootstrap(): void {
    // A permanent refusal (401, for example) ends the loop with its error.
    this.follow().catch((error: unknown) => this.logger.error(`Gave up on the feed: ${error}`));
  }

  private async follow(): Promise<void> {
    for await (const socket of this.connector.reconnecting(this.config.getOrThrow<string>('FEED_URL'))) {
      socket.sendEvent('subscribe');
      await this.listen(socket);
      const { code, reason } = await socket.closed;
      this.logger.log(`The feed has closed with ${code} ${reason}`);
    }
    this.logger.log('No longer following');
  }

  private async listen(socket: ClientSocket): Promise<void> {
    for await (const message of socket) {
      const { event, data } = JSON.parse(String(message)) as { event: string; data: number };
      if (event !== 'price') continue;
      if (data !== this.latest) this.logger.log(`price ${data}`);
      this.latest = data;
    }
  }
}
