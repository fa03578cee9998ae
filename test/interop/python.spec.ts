import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { MessageBody, SubscribeMessage } from '@nestjs/websockets';
import { SecureGateway } from 'nest-secure-ws';
import { startApp, type TestApp } from '../support/app.js';

@SecureGateway()
class EchoGateway {
  @SubscribeMessage('echo')
  echo(@MessageBody() data: unknown) {
    return { event: 'echo', data };
  }
}

/** Sends texts of several sizes, one in fragments; prints the negotiated extension and whether all were echoed. */
const CLIENT = `
import asyncio, json, sys, websockets

async def main(port, compression):
    async with websockets.connect(f"ws://127.0.0.1:{port}/", compression=compression) as ws:
        print(",".join(extension.name for extension in ws.extensions) or "plain", ws.response_headers["Server"])
        for size in [0, 10, 300, 5000, 200000]:
            text = json.dumps({"event": "echo", "data": "ab" * (size // 2)})
            await ws.send(text)
            assert json.loads(await ws.recv()) == json.loads(text)
        text = json.dumps({"event": "echo", "data": "part" * 500})
        await ws.send([text[:7], text[7:900], text[900:]])
        assert json.loads(await ws.recv()) == json.loads(text)
    print("closed", ws.close_code)

asyncio.run(main(sys.argv[1], None if sys.argv[2] == "none" else sys.argv[2]))
`;

import { hasPythonWebSockets, PYTHON } from '../support/programs.js';

(hasPythonWebSockets() ? describe : describe.skip)('the client of Python’s websockets', () => {
  let running: TestApp;
  beforeAll(async () => {
    running = await startApp({ gateways: [EchoGateway], options: { serverHeader: 'ours' } });
  });
  afterAll(() => running.close());

  it.each([
    ['deflate', 'permessage-deflate'],
    ['none', 'plain'],
  ])('talks to a gateway, compression %s', async (compression, negotiated) => {
    const run = promisify(execFile);
    const { stdout } = await run(PYTHON, ['-c', CLIENT, String(running.port), compression], { timeout: 20_000 });
    expect(stdout.trim().split('\n')).toEqual([`${negotiated} ours`, 'closed 1000']);
  });
});
