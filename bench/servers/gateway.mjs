// The same gateway for every Nest server, in plain ESM, so decorators are applied by hand.
import 'reflect-metadata';
import { Module } from '@nestjs/common';
import { SubscribeMessage, WebSocketGateway, WebSocketServer } from '@nestjs/websockets';

/** A gateway class with `echo`, and `shout` done by `broadcast(gateway, data)`. */
export function gateway(broadcast, ...options) {
  class BenchGateway {
    echo(_client, data) {
      return { event: 'echo', data };
    }
    shout(_client, data) {
      broadcast(this, data);
    }
  }
  handler(BenchGateway, 'echo');
  handler(BenchGateway, 'shout');
  WebSocketServer()(BenchGateway.prototype, 'server');
  WebSocketGateway(...options)(BenchGateway);
  return BenchGateway;
}

function handler({ prototype }, name) {
  SubscribeMessage(name)(prototype, name, Object.getOwnPropertyDescriptor(prototype, name));
}

/** An application module that holds `providers`. */
export function moduleOf(providers, imports = []) {
  class AppModule {}
  Module({ imports, providers })(AppModule);
  return AppModule;
}
