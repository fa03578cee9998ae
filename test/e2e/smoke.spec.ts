import { afterEach, describe, expect, it } from '@jest/globals';
import { MessageBody, SubscribeMessage } from '@nestjs/websockets';
import { SecureGateway } from 'nest-secure-ws';
import { PLATFORMS, startApp, type TestApp } from '../support/app.js';
import { RawClient } from '../support/raw-client.js';

@SecureGateway()
class EchoGateway {
  @SubscribeMessage('echo')
  echo(@MessageBody() data: unknown) {
    return { event: 'echo', data };
  }
}

let running: TestApp | undefined;
afterEach(async () => {
  await running?.close();
  running = undefined;
});

describe.each(PLATFORMS)('a gateway on %s', (platform) => {
  it('answers over the application’s port', async () => {
    running = await startApp({ platform, gateways: [EchoGateway] });
    const client = await RawClient.open({ port: running.port });
    client.send('echo', { a: 1 });
    expect(await client.json()).toEqual({ event: 'echo', data: { a: 1 } });
    client.destroy();
  });

  it('protects every server that the platform opens by default', async () => {
    running = await startApp({ platform, gateways: [EchoGateway], host: null });
    for (const host of ['127.0.0.1', '::1']) {
      const client = await RawClient.open({ port: running.port, host });
      client.send('echo', host);
      expect(await client.json()).toEqual({ event: 'echo', data: host });
      client.destroy();
    }
  });
});
