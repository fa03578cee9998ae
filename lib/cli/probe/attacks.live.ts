import { deflateRawSync } from 'node:zlib';
import { safeText } from '../terminal.js';
import type { Arena } from './arena.js';
import type { Attack } from './attack.js';
import { type FrameOptions, frame, repeated } from './frames.js';
import { accepted, held, type Outcome, skipped } from './outcome.js';
import type { Peer } from './peer.js';

const MIB = 1024 * 1024;
const PATIENCE = 4000;

/** The verdict for a connection that was ended, as it should. */
const endedBy = (peer: Peer): Outcome => held(ending(peer), peer.closeFrame === undefined);

/** Describes how a server ended a connection. */
function ending(peer: Peer): string {
  const { closeFrame } = peer;
  if (closeFrame === undefined) return peer.end === 'reset' ? 'reset' : 'closed without a close frame';
  return `closed with ${closeFrame.code}${closeFrame.reason === '' ? '' : ` (${safeText(closeFrame.reason, 40)})`}`;
}

/**
 * Sends bytes and evaluates the reaction: the server must end the connection. `taken` describes the result if it
 * answers a following ping instead.
 */
async function mustEnd(peer: Peer, bytes: Buffer, patience: number, taken: string): Promise<Outcome> {
  const pongs = peer.pongs;
  peer.write(bytes);
  peer.write(frame('probe', { opcode: 9 }));
  await peer.until(() => !peer.isOpen || peer.closeFrame !== undefined || peer.pongs > pongs, patience);
  // A server that answers before it closes gets time to close.
  if (peer.pongs > pongs) await peer.untilEnded(300);
  const outcome =
    !peer.isOpen || peer.closeFrame !== undefined
      ? endedBy(peer)
      : accepted(peer.pongs > pongs ? taken : `no reaction within ${patience / 1000} s`);
  peer.destroy();
  return outcome;
}

/** An attack with one or several frames that RFC 6455 forbids. */
const forbidden = (
  id: string,
  title: string,
  ...frames: readonly (readonly [string | Buffer, FrameOptions])[]
): Attack => ({
  id,
  group: 'frames',
  title,
  severity: 'error',
  patience: PATIENCE,
  run: async (arena, patience) =>
    mustEnd(
      await arena.socket(),
      Buffer.concat(frames.map(([payload, options]) => frame(payload, options))),
      patience,
      'ignored: the connection is still open',
    ),
});

const FRAMES: readonly Attack[] = [
  forbidden('unmasked', 'an unmasked frame', ['x', { masked: false }]),
  forbidden('opcode', 'a reserved opcode', ['x', { opcode: 3 }]),
  forbidden('rsv', 'reserved bits', ['x', { rsv: 3 }]),
  forbidden('control-fragment', 'a fragmented ping', ['x', { opcode: 9, fin: false }]),
  forbidden('control-length', 'a ping of 126 bytes', ['x'.repeat(126), { opcode: 9 }]),
  forbidden('continuation', 'a continuation frame without a message', ['x', { opcode: 0 }]),
  forbidden('interleaved', 'a new message inside a fragmented one', ['a', { fin: false }], ['b', {}]),
  forbidden('utf-8', 'text that is not UTF-8', [Buffer.from([0xc3, 0x28, 0xff]), {}]),
  forbidden('close-code', 'the close code 1005', [Buffer.from([0x03, 0xed]), { opcode: 8 }]),
  forbidden('length-2-63', 'a declared length of 2^63', ['', { length: 1n << 63n }]),
];

/** Sends bytes as one message, as long as the server accepts them. */
async function sendAll(
  peer: Peer,
  chunks: Iterable<Buffer>,
  patience: number,
): Promise<'taken' | 'held back' | 'ended'> {
  for (const chunk of chunks) {
    if (!peer.isOpen || peer.closeFrame !== undefined) return 'ended';
    if (!peer.write(chunk)) break;
    if (peer.unsent > MIB && !(await peer.until(() => peer.unsent < MIB / 2 || !peer.isOpen, patience)))
      return 'held back';
    if (peer.unsent === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  if (!(await peer.until(() => peer.unsent === 0 || !peer.isOpen || peer.closeFrame !== undefined, patience)))
    return 'held back';
  return peer.isOpen && peer.closeFrame === undefined ? 'taken' : 'ended';
}

/** The payload of the ping after a flood. */
const LAST = 'nest-secure-ws probe: the last';

/** Sends a flood, and checks by a ping after it whether the server has read all of it. */
async function flood(peer: Peer, chunks: Iterable<Buffer>, patience: number, what: string): Promise<Outcome> {
  const sent = await sendAll(peer, chunks, patience);
  if (sent === 'taken') {
    peer.write(frame(LAST, { opcode: 9 }));
    await peer.until(() => peer.lastPong === LAST || !peer.isOpen || peer.closeFrame !== undefined, patience);
  }
  const { isOpen, closeFrame } = peer;
  peer.destroy();
  if (!isOpen || closeFrame !== undefined) return endedBy(peer);
  return sent === 'taken' && peer.lastPong === LAST
    ? accepted(`${what} were read`)
    : held(`the server stopped reading (within ${patience / 1000} s)`);
}

function* times(count: number, make: () => Buffer): Generator<Buffer> {
  for (let i = 0; i < count; i++) yield make();
}

const FRAGMENT = { opcode: 0, fin: false } as const;

/** One fragment after another, of a message that never ends. */
const fragments = (names: { readonly id: string; readonly title: string }, payload: string): Attack => ({
  ...names,
  group: 'messages',
  severity: 'warning',
  setting: 'messages.maxFragments',
  patience: PATIENCE,
  async run(arena, patience) {
    const peer = await arena.socket();
    peer.write(frame(payload, { fin: false }));
    const chunk = repeated(frame(payload, FRAGMENT), 500);
    return flood(
      peer,
      times(40, () => chunk),
      patience,
      '20000 fragments',
    );
  },
});

const MESSAGES: readonly Attack[] = [
  // This attack runs first, because memory that an earlier attack has freed could be reused without measurable growth.
  {
    id: 'slow-reader',
    group: 'messages',
    title: '48 MiB of requests from a peer that never reads',
    severity: 'error',
    setting: 'buffers.writeLimit',
    patience: 5000,
    run: slowReader,
  },
  {
    id: 'big-message',
    group: 'messages',
    title: 'a message of 16 MiB',
    severity: 'warning',
    setting: 'messages.maxSize',
    patience: 8000,
    async run(arena, patience) {
      const peer = await arena.socket();
      const whole = frame(Buffer.alloc(16 * MIB, 'a'));
      const pieces = times(64, () => whole.subarray(at, (at += Math.ceil(whole.length / 64))));
      let at = 0;
      return flood(peer, pieces, patience, '16 MiB');
    },
  },
  {
    id: 'declared-length',
    group: 'messages',
    title: 'a frame header that declares 64 MiB',
    severity: 'note',
    setting: 'messages.maxSize',
    patience: 1500,
    async run(arena, patience) {
      const peer = await arena.socket();
      peer.write(frame('begun', { length: BigInt(64 * MIB) }));
      await peer.untilEnded(patience);
      const outcome =
        peer.isOpen && peer.closeFrame === undefined ? accepted('the server waits for the rest') : endedBy(peer);
      peer.destroy();
      return outcome;
    },
  },
  fragments({ id: 'fragments', title: '20000 fragments of one byte, never completed' }, 'a'),
  fragments({ id: 'empty-fragments', title: '20000 empty fragments, never completed' }, ''),
  {
    id: 'bomb',
    group: 'messages',
    title: '4 compressed messages of 64 KiB that inflate to 64 MiB each',
    severity: 'error',
    setting: 'messages.maxSize',
    patience: 8000,
    async run(arena, patience) {
      const peer = await arena.socket({ 'Sec-WebSocket-Extensions': 'permessage-deflate; client_no_context_takeover' });
      const agreed = peer.response?.headers.get('sec-websocket-extensions') ?? '';
      if (!agreed.includes('permessage-deflate')) {
        peer.destroy();
        return skipped('no compression is agreed on');
      }
      const bomb = frame(deflateRawSync(Buffer.alloc(64 * MIB), { finishFlush: 2 }).subarray(0, -4), {
        rsv: 4,
        opcode: 2,
      });
      return flood(
        peer,
        times(4, () => bomb),
        patience,
        '4 messages that inflate to 64 MiB',
      );
    },
  },
  {
    id: 'nesting',
    group: 'messages',
    title: 'deeply nested JSON, and __proto__',
    severity: 'error',
    patience: PATIENCE,
    async run(arena, patience) {
      const peer = await arena.socket();
      peer.text('['.repeat(60 * 1024));
      peer.text(`{"event":${'{"a":'.repeat(9000)}1${'}'.repeat(9000)}}`);
      peer.text('{"event":"__proto__","data":{"__proto__":{"polluted":true},"constructor":null}}');
      const before = peer.pongs;
      peer.write(frame('still there', { opcode: 9 }));
      await peer.until(() => peer.pongs > before || !peer.isOpen || peer.closeFrame !== undefined, patience);
      const outcome =
        peer.pongs > before ? held('the server is still up') : peer.isOpen ? held('held back') : endedBy(peer);
      peer.destroy();
      return outcome;
    },
  },
];

const FLOODS: readonly Attack[] = [
  {
    id: 'message-flood',
    group: 'floods',
    title: '20000 small messages at once',
    severity: 'warning',
    setting: 'messages.rate',
    patience: 6000,
    async run(arena, patience) {
      const peer = await arena.socket();
      const chunk = repeated(frame(arena.message('flood')), 500);
      return flood(
        peer,
        times(40, () => chunk),
        patience,
        '20000 messages',
      );
    },
  },
  {
    id: 'garbage',
    group: 'floods',
    title: '500 malformed messages',
    severity: 'note',
    setting: 'messages.strikes',
    patience: PATIENCE,
    async run(arena, patience) {
      const peer = await arena.socket();
      return flood(peer, [repeated(frame('\u0001 nest-secure-ws probe: no message'), 500)], patience, '500 messages');
    },
  },
  {
    id: 'ping-flood',
    group: 'floods',
    title: '5000 pings at once',
    severity: 'warning',
    setting: 'messages.controlRate',
    patience: PATIENCE,
    async run(arena, patience) {
      const peer = await arena.socket();
      const chunk = repeated(frame('x'.repeat(100), { opcode: 9 }), 500);
      const outcome = await flood(
        peer,
        times(10, () => chunk),
        patience,
        '5000 pings',
      );
      return outcome.verdict === 'accepted' ? accepted(`${peer.pongs} of 5000 pings were answered`) : outcome;
    },
  },
  {
    id: 'pong-flood',
    group: 'floods',
    title: '20000 unsolicited pongs',
    severity: 'warning',
    setting: 'messages.controlRate',
    patience: PATIENCE,
    async run(arena, patience) {
      const peer = await arena.socket();
      const chunk = repeated(frame('x', { opcode: 10 }), 1000);
      return flood(
        peer,
        times(20, () => chunk),
        patience,
        '20000 pongs',
      );
    },
  },
  {
    id: 'connections',
    group: 'floods',
    title: '200 connections from one address',
    severity: 'warning',
    setting: 'connections.maxPerIp',
    patience: 5000,
    run: connections,
  },
];

/** Sends more requests than the kernel buffers of both sides can hold (10 MiB on Linux), and reads no answers. */
async function slowReader(arena: Arena, patience: number): Promise<Outcome> {
  const peer = await arena.socket();
  peer.stopReading();
  const one = arena.echoes ? frame(arena.message('x'.repeat(15 * 1024))) : frame('x'.repeat(125), { opcode: 9 });
  const chunk = repeated(one, Math.ceil((256 * 1024) / one.length));
  const total = 48 * MIB;
  const sent = await sendAll(
    peer,
    times(Math.ceil(total / chunk.length), () => chunk),
    patience,
  );
  if (sent === 'taken') await arena.pause(500);
  const outcome =
    sent === 'taken'
      ? accepted(`the server read 48 MiB of ${arena.echoes ? 'messages' : 'pings'} and buffers the answers`)
      : sent === 'ended'
        ? endedBy(peer)
        : held('the server stopped reading');
  peer.destroy();
  return outcome;
}

/** Opens idle connections until one is refused. */
async function connections(arena: Arena): Promise<Outcome> {
  const peers: Peer[] = [];
  let refused: string | undefined;
  try {
    while (peers.length < 200 && refused === undefined) {
      const peer = await arena.open().catch(() => undefined);
      if (peer === undefined) {
        refused = 'not accepted';
        break;
      }
      peers.push(peer);
      const response = await peer.ask(arena.head());
      if (response?.status !== 101)
        refused = response === undefined ? 'ended without an answer' : `${response.status} ${response.reason}`;
    }
  } finally {
    // Memory is sampled while the connections are open.
    if (refused === undefined) await arena.pause(300);
    for (const peer of peers) peer.destroy();
  }
  return refused === undefined
    ? accepted('200 connections are open')
    : held(`refused at connection ${peers.length + 1}: ${safeText(refused, 60)}`);
}

export const LIVE_ATTACKS: readonly Attack[] = [...FRAMES, ...MESSAGES, ...FLOODS];
