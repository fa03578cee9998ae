// An echo peer for the Autobahn test suite (crossbario/autobahn-testsuite, which is not part of this project). Needs
// `npm run build`.
//
//     node scripts/autobahn-peer.mjs server                          for `wstest -m fuzzingclient`
//     node scripts/autobahn-peer.mjs client ws://127.0.0.1:9001      for `wstest -m fuzzingserver`; `… shared`: one mode
//
// The server listens on two ports until it gets SIGTERM: 9011, shared with HTTP, with `compression.mode` `shared`, and
// 9012, dedicated, with `dedicated`. The client runs all cases in either mode, as separate agents. Both raise the limits
// for cases 9.* and 12.*: 16 MiB per message, 65 536 fragments, thousands of messages per second.
import 'reflect-metadata';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { connect, SecureGateway, SecureWsModule } from 'nest-secure-ws';

const SHARED_PORT = 9011;
const DEDICATED_PORT = 9012;
const messages = { maxSize: '16mb', maxQueueBytes: '64mb', maxFragments: 70_000, assemblyTimeout: '2m' };
const buffers = { maxBuffered: '64mb', writeLimit: '1mb' };
/** No pings: the suite answers them in the middle of its own frames, so that case 6.4.3 would fail at random. */
const keepalive = { pingInterval: null };
const rates = { rate: '1000000/1s', byteRate: '1gb/1s', controlRate: '1000/1s' };
/** Compresses every message, and allows the windows that cases 13.* request. */
const compression = { threshold: 0, windowBits: 15 };
const MODES = ['shared', 'dedicated'];

/** A gateway that reads messages itself. */
function echoGateway(mode, ...port) {
  class EchoGateway {
    handleConnection(socket) {
      socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
    }
  }
  SecureGateway(...port, { path: '/', compression: { mode }, messages: { ...messages, ...rates }, buffers, keepalive })(
    EchoGateway,
  );
  return EchoGateway;
}

async function serve() {
  class AppModule {}
  const options = {
    listen: { host: '127.0.0.1' },
    compression,
    connections: { rate: '100000/1s' },
    messages: { byteRatePerIp: '1gb/1s' },
    buffers: { maxPerIp: '256mb' },
  };
  Module({
    imports: [SecureWsModule.forRoot(options)],
    providers: [echoGateway('shared'), echoGateway('dedicated', DEDICATED_PORT)],
  })(AppModule);
  const app = await NestFactory.create(AppModule, { logger: ['warn', 'error'] });
  app.enableShutdownHooks();
  await app.listen(SHARED_PORT, '127.0.0.1');
  console.log(`shared: ws://127.0.0.1:${SHARED_PORT}/ dedicated: ws://127.0.0.1:${DEDICATED_PORT}/`);
}

/** The text that a path of the test suite's server returns. */
async function ask(url) {
  const socket = await connect(url);
  for await (const answer of socket) return answer;
}

async function runCases(base, modes) {
  const count = Number(await ask(`${base}/getCaseCount`));
  for (const mode of modes) {
    const agent = `nest-secure-ws-${mode}`;
    for (let number = 1; number <= count; number++) {
      const url = `${base}/runCase?case=${number}&agent=${agent}`;
      // One message waits for the listener below, together with what follows it: cases 3.* to 5.* expect the echo before the
      // close frame that answers an invalid frame.
      const socket = await connect(url, {
        messages: { ...messages, maxQueue: 1 },
        buffers,
        keepalive,
        compression: { ...compression, mode },
      });
      socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
      await socket.closed;
    }
    for await (const _ of await connect(`${base}/updateReports?agent=${agent}`));
    console.log(`${agent}: ${count} cases`);
  }
}

const [role, url, ...modes] = process.argv.slice(2);
if (role === 'server') await serve();
else if (role === 'client' && url) await runCases(url.replace(/\/$/, ''), modes.length > 0 ? modes : MODES);
else throw new Error('say which: server, or client and the URL of the test suite');
