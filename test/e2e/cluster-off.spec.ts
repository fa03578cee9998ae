import { createHook } from 'node:async_hooks';
import { connect } from 'node:net';
import { afterEach, expect, it } from '@jest/globals';
import { SubscribeMessage } from '@nestjs/websockets';
import { SecureGateway, type SecureWsOptions } from 'nest-secure-ws';
import { MemoryCluster } from 'nest-secure-ws/testing';
import { startApp, type TestApp } from '../support/app.js';
import { upgradeHead } from '../support/raw-client.js';

@SecureGateway()
class Gateway {
  @SubscribeMessage('x') x() {}
}

let app: TestApp | undefined;
afterEach(() => app?.close());

/** Promises that are made in the whole process from the request to its 101, by a client that makes none. */
async function promisesOfUpgrade(options: SecureWsOptions): Promise<number> {
  app = await startApp({ gateways: [Gateway], options });
  const { port } = app;
  const head = upgradeHead(port);
  return new Promise((resolve, reject) => {
    let promises = 0;
    const hook = createHook({
      init(_, type) {
        if (type === 'PROMISE') promises++;
      },
    });
    const socket = connect(port, '127.0.0.1');
    socket.on('error', reject);
    socket.on('connect', () => {
      // What the start has left over is done by then.
      setTimeout(() => {
        hook.enable();
        socket.write(head);
      }, 50);
    });
    socket.on('data', (chunk) => {
      hook.disable();
      socket.destroy();
      if (chunk.includes(' 101 ')) resolve(promises);
      else reject(new Error(chunk.toString()));
    });
  });
}

it('without a cluster an upgrade waits for nobody: no promise is made', async () => {
  expect(await promisesOfUpgrade({ connections: { maxPerIp: 10 } })).toBe(0);
});

it('which would be seen: with one, some are', async () => {
  const cluster = new MemoryCluster();
  const options = { cluster: { store: cluster.store(), bus: cluster.bus(), heartbeat: '1h', lease: '10h' } };
  expect(await promisesOfUpgrade(options)).toBeGreaterThan(0);
});
