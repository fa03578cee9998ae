// Actions and failures of clients. Each runs one connection to its end and returns whether the server released it.
import { setTimeout as sleep } from 'node:timers/promises';
import { frame, OPCODE, Tape } from '../load/frames.mjs';
import { upgradeRequest } from '../load/peer.mjs';
import { FrameReader } from '../load/reader.mjs';
import { dial, endedByServer, firstBytes, onceOver, upgraded } from './wire.mjs';

/** The maximum duration of one connection (ms); a longer one counts as stuck. */
export const LIFETIME = 60_000;
/** How long the server may take to end a connection (ms); its own limits are at most five seconds. */
export const PATIENCE = 20_000;
/** How long a silent connection stays silent (ms): longer than the soak's `http.openTimeout`. */
const SILENCE = 5000;
const ECHOES = 5;
const SMALL = new Tape({ event: 'echo', bytes: 200 });
const LARGE = new Tape({ event: 'echo', bytes: 65_000 });
const PING = frame('p', { opcode: OPCODE.ping });
const BYE = frame(Buffer.from([0x03, 0xe8]), { opcode: OPCODE.close });

/** A correct client: some echoes, then the closing handshake. It must be served. */
export async function honest(target) {
  const socket = await upgraded(target);
  for (let at = 0; at < ECHOES; at++) {
    if (!(await echoed(socket, SMALL.cut(at, 1)))) throw new Error('an honest client was not answered');
  }
  socket.write(BYE);
  return endedByServer(socket, PATIENCE);
}

function echoed(socket, bytes) {
  return new Promise((resolve) => {
    const reader = new FrameReader({ onPing: (payload) => socket.write(frame(payload, { opcode: OPCODE.pong })) });
    const finish = (answer) => {
      socket.off('data', onData);
      resolve(answer);
    };
    const onData = (chunk) => reader.push(chunk) > 0 && finish(true);
    socket.on('data', onData);
    socket.write(bytes);
    onceOver(socket, () => finish(false));
  });
}

export const ABUSES = {
  async resetMidHandshake(target) {
    const socket = await dial(target);
    socket.write(upgradeRequest(target.port).subarray(0, 60));
    await sleep(20);
    socket.resetAndDestroy();
    return true;
  },
  async resetMidMessage(target) {
    const socket = await upgraded(target);
    socket.write(LARGE.cut(0, 1).subarray(0, 30_000));
    await sleep(20);
    socket.resetAndDestroy();
    return true;
  },
  async slowReader(target) {
    const socket = await upgraded(target);
    socket.pause();
    for (let at = 0; at < 120 && !socket.destroyed; at++) {
      socket.write(LARGE.cut(at, 1));
      await sleep(30);
    }
    return endedByServer(socket, PATIENCE);
  },
  async halfClose(target) {
    const socket = await upgraded(target);
    socket.end(SMALL.cut(0, 1));
    return endedByServer(socket, PATIENCE);
  },
  async endlessFragments(target) {
    const socket = await upgraded(target);
    socket.write(frame('{"event":', { fin: false }));
    for (let at = 0; at < 40 && !socket.destroyed; at++) {
      socket.write(frame(' ', { opcode: OPCODE.continuation, fin: false }));
      await sleep(50);
    }
    return endedByServer(socket, PATIENCE);
  },
  async refusedUpgrade(target, nth) {
    const wrong = [
      ['Version: 13', 'Version: 12'],
      ['GET / ', 'GET /nowhere '],
      ['User-Agent: bench', 'Origin: https://evil.example'],
      ['dGhlIHNhbXBsZSBub25jZQ==', 'short'],
    ][nth % 4];
    const socket = await dial(target);
    socket.write(
      upgradeRequest(target.port)
        .toString('latin1')
        .replace(...wrong),
    );
    if ((await firstBytes(socket)).startsWith('HTTP/1.1 101') && target.strict)
      throw new Error(`accepted: ${wrong[1]}`);
    return endedByServer(socket, PATIENCE);
  },
  /** On a shared port such a connection is Node's, which waits a minute for its first request; it is served when it sends one. */
  async silentFromAccept(target) {
    const socket = await dial(target);
    await sleep(SILENCE);
    if (socket.destroyed || socket.readableEnded) throw new Error('a silent connection was ended');
    socket.write(upgradeRequest(target.port));
    const answer = await firstBytes(socket);
    if (!answer.startsWith('HTTP/1.1 101')) throw new Error('a connection was not served after its silence');
    socket.write(BYE);
    return endedByServer(socket, PATIENCE);
  },
  async silentAfterUpgrade(target) {
    return endedByServer(await upgraded(target), PATIENCE);
  },
  async drippingHead(target) {
    const socket = await dial(target);
    for (const byte of upgradeRequest(target.port).subarray(0, 100)) {
      if (socket.destroyed || socket.readableEnded) break;
      socket.write(Buffer.from([byte]));
      await sleep(50);
    }
    return endedByServer(socket, PATIENCE);
  },
  async malformed(target, nth) {
    const socket = await upgraded(target);
    const bad = [frame('{"event":'), frame('x', { opcode: 3 }), Buffer.from([0x81, 0x01, 0x78]), frame('{"event":1}')];
    for (let at = 0; at < 15 && !socket.destroyed; at++) socket.write(bad[nth % bad.length]);
    return endedByServer(socket, PATIENCE);
  },
  async pingFlood(target) {
    const socket = await upgraded(target);
    socket.write(Buffer.concat(Array.from({ length: 200 }, () => PING)));
    return endedByServer(socket, PATIENCE);
  },
  async staysAfterClose(target) {
    const socket = await upgraded(target);
    socket.resume();
    socket.write(BYE);
    await sleep(3000);
    return endedByServer(socket, PATIENCE);
  },
};
