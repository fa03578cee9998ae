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

/** Promises created in the process from the request to its 101; the client creates none. */
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
    // Promises left over from the start have settled once several turns have created none.
    const whenQuiet = (turns: number): void => {
      if (turns === 0) return void socket.write(head);
      promises = 0;
      setTimeout(() => whenQuiet(promises === 0 ? turns - 1 : 10), 5);
    };
    socket.on('connect', () => {
      hook.enable();
      whenQuiet(10);
    });
    socket.on('data', (chunk) => {
      hook.disable();
      socket.destroy();
      if (chunk.includes(' 101 ')) resolve(promises);
      else reject(new Error(chunk.toString()));
    });
  });
}

it('an upgrade without a cluster creates no promise', async () => {
  expect(await promisesOfUpgrade({ connections: { maxPerIp: 10 } })).toBe(0);
});

it('an upgrade in a cluster creates promises, which shows that they are counted', async () => {
  const cluster = new MemoryCluster();
  const options = { cluster: { store: cluster.store(), bus: cluster.bus(), heartbeat: '1h', lease: '10h' } };
  expect(await promisesOfUpgrade(options)).toBeGreaterThan(0);
});
