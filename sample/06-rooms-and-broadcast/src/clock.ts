import { Injectable, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import { SecureWsBroadcaster } from 'nest-secure-ws';

/** Sends to a room from outside a gateway. */
@Injectable()
export class Clock implements OnApplicationBootstrap, OnModuleDestroy {
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly broadcaster: SecureWsBroadcaster) {}

  onApplicationBootstrap(): void {
    this.timer = setInterval(() => this.broadcaster.to('clock').emit('tick', new Date()), 1000);
  }

  onModuleDestroy(): void {
    clearInterval(this.timer);
  }
}
