// Peers of one address that send expensive messages as fast as they are read. Its own process, controlled over IPC.
import { deflateRawSync } from 'node:zlib';
import { answer } from '../support/rpc.mjs';
import { frame } from './frames.mjs';
import { Peer, source, upgradeRequest } from './peer.mjs';

const GREEDY = source(0, { net: 3 });
const MEGABYTE = 2 ** 20 - 1024;
/** Values and keys of a message, at most: the default of `messages.maxNodes`. */
const NODES = 10_000;
/** How long a closed peer waits before it reconnects (ms): the connection rate of its address is limited. */
const AGAIN = 1000;
let peers = [];
let sent = 0;

answer({ start, sent: () => sent, stop });

const call = (data) => Buffer.from(`{"event":"echo","data":${data}}`);
const keys = (count) => `{${Array.from({ length: count }, (_, at) => `"key${at}":${at}`)}}`;
const chains = () => `[${Array(39).fill(`${'['.repeat(250)}${']'.repeat(250)}`)}]`;
/** White space up to a megabyte, which the parser must skip. */
const padded = (data) => call(data.padEnd(MEGABYTE));
/** For example, a megabyte of JSON that compresses to a kilobyte. */
const deflated = (message) => deflateRawSync(message, { finishFlush: 2, level: 9 }).subarray(0, -4);

/** The message of each kind. */
const KINDS = {
  keys: () => frame(call(keys(60_000))),
  'as many keys as a message may have': () => frame(call(keys((NODES - 10) / 2))),
  'strings of 1 MB': () => frame(call(`"${'x'.repeat(MEGABYTE)}"`)),
  'deep arrays': () => frame(padded(chains())),
  'arrays deeper than allowed': () => frame(call('['.repeat(MEGABYTE))),
  'objects in a list, 1 MB': () => frame(padded(`[${Array(NODES - 10).fill('{}')}]`)),
  'compressed megabytes': () => frame(deflated(call(`"${'x'.repeat(MEGABYTE)}"`)), { compressed: true }),
  'compressed structures': () => frame(deflated(padded(`[${Array(NODES - 10).fill('{}')}]`)), { compressed: true }),
  'compressed input that yields nothing': async () => {
    const { slowDeflate } = await import('../../test/support/slow-deflate.ts');
    return frame(slowDeflate(60_000), { compressed: true });
  },
};

/** `count` peers that send messages of a kind. Resolves with the size of one. */
async function start({ port, count, kind }) {
  const bytes = await KINDS[kind]();
  const request = upgradeRequest(port, { deflate: kind.startsWith('compressed') });
  peers = Array.from({ length: count }, () => ({ peer: undefined }));
  await Promise.all(peers.map((each) => connect(each, { port, from: GREEDY, request }, bytes)));
  return bytes.length;
}

async function connect(each, options, bytes) {
  const peer = new Peer(options);
  each.peer = peer;
  const again = () => peers.includes(each) && setTimeout(connect, AGAIN, each, options, bytes);
  peer.socket.on('close', again);
  await peer.ready.then(
    () => pour(peer.socket, bytes),
    () => undefined,
  );
}

function pour(socket, bytes) {
  const more = () => {
    if (socket.destroyed) return;
    sent++;
    // A turn of the loop between writes: small writes finish at once, and nothing else would run.
    socket.write(bytes, () => setImmediate(more));
  };
  more();
}

function stop() {
  const all = peers;
  peers = [];
  for (const { peer } of all) peer?.end();
}
