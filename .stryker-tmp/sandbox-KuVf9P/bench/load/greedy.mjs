// @ts-nocheck
// Peers of one address that send large messages of very many keys as fast as they are read. A process of its own, told over IPC.
import { answer } from '../support/rpc.mjs';
import { frame } from './frames.mjs';
import { Peer, source, upgradeRequest } from './peer.mjs';

const GREEDY = source(0, { net: 3 });
let peers = [];
let sent = 0;

answer({ start, sent: () => sent });

/** `event`: of the messages, each an object of `keys` keys. */
async function start({ port, count, event, keys }) {
  const data = Object.fromEntries(Array.from({ length: keys }, (_, i) => [`key${i}`, i]));
  const bytes = frame(JSON.stringify({ event, data }));
  const request = upgradeRequest(port);
  peers = Array.from({ length: count }, () => new Peer({ port, from: GREEDY, request }));
  await Promise.all(peers.map(({ ready }) => ready));
  for (const { socket } of peers) pour(socket, bytes);
  return bytes.length;
}

function pour(socket, bytes) {
  const more = () => {
    if (socket.destroyed) return;
    sent++;
    socket.write(bytes, more);
  };
  more();
}
