// The load: a process of its own, told over IPC what to do. It ends with its parent.
import { once } from 'node:events';
import { connect } from 'node:net';
import { answer } from '../support/rpc.mjs';
import { Tape } from './frames.mjs';
import { Peer, source, upgradeRequest } from './peer.mjs';

const groups = new Map();

answer({ open, echo, broadcast, close, refused });

/**
 * Opens `count` connections, at most `concurrency` at once, and keeps them as `group`. Over TLS each has a full handshake,
 * or, with `resume`, resumes the session of a connection that was opened before. `stopped`: see {@link batched}.
 */
async function open({ group, count, concurrency = 32, net, sources, resume = false, stopped, ...how }) {
  const { port, protocol, deflate = false, tls = false } = how;
  const request = upgradeRequest(port, { protocol, deflate });
  const session = resume ? await sessionOf(port, request) : undefined;
  const peerOf = (index) =>
    new Peer({ port, from: source(index, { net, sources }), request, protocol, deflate, tls, session });
  const opened = async (peer) => {
    await peer.ready;
    if (resume && !peer.socket.isSessionReused()) throw new Error('the server did not resume the session');
    return peer;
  };
  const peers = stopped
    ? await batched(count, stopped, (index) => {
        const peer = peerOf(index);
        return { sent: connected(peer.socket), done: opened(peer) };
      })
    : await pooled(count, concurrency, (index) => opened(peerOf(index)));
  groups.set(group, { peers, protocol, deflate });
  return peers.length;
}

/** The TLS session of one connection, which has ended. */
async function sessionOf(port, request) {
  const peer = new Peer({ port, from: source(0), request, protocol: 'ws', tls: true });
  const [[session]] = await Promise.all([once(peer.socket, 'session'), peer.ready]);
  peer.end();
  return session;
}

/** `total` echoes over a group's connections, `inFlight` on each; a reply is answered by the next message. */
function echo({ group, bytes, inFlight = 1, total }) {
  const { peers, protocol, deflate } = groups.get(group);
  const tape = new Tape({ event: 'echo', bytes, protocol, deflate, burst: inFlight });
  const quota = Math.ceil(total / peers.length);
  return settled(peers, (peer, finish) => {
    let sent = Math.min(inFlight, quota);
    let received = 0;
    peer.onMessages = (count) => {
      received += count;
      if (received === quota) return finish();
      const next = Math.min(count, quota - sent);
      if (next === 0) return;
      peer.send(tape.cut(sent, next));
      sent += next;
    };
    peer.send(tape.cut(0, sent));
  });
}

/** `rounds` bursts of messages, each delivered to every connection of the group before the next is sent. */
async function broadcast({ group, bytes, rounds, burst = 1 }) {
  const { peers, protocol, deflate } = groups.get(group);
  const tape = new Tape({ event: 'shout', bytes, protocol, deflate, burst });
  for (let round = 0; round < rounds; round++) {
    await settled(peers, (peer, finish) => {
      let left = burst;
      peer.onMessages = (count) => {
        left -= count;
        if (left === 0) finish();
      };
      if (peer === peers[0]) peer.send(tape.cut(round, burst));
    });
  }
}

function close({ group }) {
  for (const peer of groups.get(group)?.peers ?? []) peer.end();
  groups.delete(group);
}

/**
 * `count` attempts that must all be refused; counts what each came to: a status, `reset` or `closed`. `stopped`: see
 * {@link batched}.
 */
async function refused({ port, count, concurrency = 32, net, sources, stopped }) {
  const request = upgradeRequest(port);
  const tried = (index) => attempt(port, source(index, { net, sources }), request);
  const outcomes = stopped
    ? await batched(count, stopped, tried)
    : await pooled(count, concurrency, (index) => tried(index).done);
  const counts = {};
  for (const outcome of outcomes) counts[outcome] = (counts[outcome] ?? 0) + 1;
  return counts;
}

function attempt(port, from, request) {
  const socket = connect({ port, host: '127.0.0.1', localAddress: from });
  const done = new Promise((resolve) => {
    let status;
    socket.on('connect', () => socket.write(request));
    socket.on('data', (chunk) => {
      status ??= chunk.latin1Slice(9, 12);
    });
    socket.on('error', () => {
      status ??= 'reset';
    });
    socket.on('close', () => resolve(status ?? 'closed'));
  });
  return { sent: connected(socket), done };
}

/** Resolves when a socket has connected, or has failed to. */
const connected = (socket) => new Promise((resolve) => socket.once('connect', resolve).once('close', resolve));

/** Resolves when `start` has called back for every peer; rejects when one of them is lost. */
function settled(peers, start) {
  return new Promise((resolve, reject) => {
    let left = peers.length;
    for (const peer of peers) {
      peer.onClose = (code) => reject(new Error(`the server closed a connection with ${code}`));
      start(peer, () => --left === 0 && resolve());
    }
  });
}

/** Attempts that arrive while the server's process is stopped; less than the accept queue of a listening socket holds. */
const BATCH = 128;

/**
 * `start(index)` for every index, in batches that arrive while the process `pid` is stopped: an attempt costs this process
 * more than a server, so otherwise a server would fall asleep and be woken between two attempts, the more often the
 * cheaper an attempt is for it, and be charged for that. `sent`: the request is in the kernel's buffers.
 */
async function batched(count, pid, start) {
  const results = [];
  while (results.length < count) {
    process.kill(pid, 'SIGSTOP');
    let batch;
    try {
      batch = Array.from({ length: Math.min(BATCH, count - results.length) }, (_, at) => start(results.length + at));
      await Promise.all(batch.map(({ sent }) => sent));
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    results.push(...(await Promise.all(batch.map(({ done }) => done))));
  }
  return results;
}

/** `task(index)` for every index, at most `width` at once, results in order. */
async function pooled(count, width, task) {
  const results = new Array(count);
  let next = 0;
  const lane = async () => {
    while (next < count) {
      const index = next++;
      results[index] = await task(index);
    }
  };
  await Promise.all(Array.from({ length: Math.min(width, count) }, lane));
  return results;
}
