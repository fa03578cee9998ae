import type { Arena } from './arena.js';
import type { Attack } from './attack.js';
import { MARGIN } from './budget.js';
import { frame } from './frames.js';
import { accepted, held, type Outcome, skipped } from './outcome.js';
import type { Peer } from './peer.js';

/** A silent connection to a port that serves ordinary HTTP too is watched for as long as the longest attack takes. */
const HTTP_PATIENCE = 48_000;

/** Waits for the server to end a connection, while bytes may be sent to it slowly. */
async function untilServerEnds(
  arena: Arena,
  peer: Peer,
  patience: number,
  drip: () => string | Buffer | undefined = () => undefined,
  every = 500,
): Promise<Outcome> {
  const begun = performance.now();
  const left = () => patience - (performance.now() - begun);
  const over = () =>
    !peer.isOpen || peer.closeFrame !== undefined || (peer.response !== undefined && peer.response.status !== 101);
  while (!over() && left() > 0 && arena.budget.left > 0) {
    const bytes = drip();
    if (bytes !== undefined) peer.write(bytes);
    await peer.until(over, Math.min(every, left()));
  }
  const isOver = over();
  const seconds = ((performance.now() - begun) / 1000).toFixed(0);
  const { response, closeFrame } = peer;
  peer.destroy();
  if (!isOver) return accepted(`still open after ${seconds} s`);
  const how =
    closeFrame !== undefined
      ? ` with ${closeFrame.code}`
      : response !== undefined && response.status !== 101
        ? ` with ${response.status}`
        : '';
  return held(`ended${how} after ${seconds} s`);
}

/**
 * Whether the port also serves ordinary HTTP requests: browsers open connections to such a port before they need them.
 */
async function servesHttp(arena: Arena): Promise<boolean> {
  const peer = await arena.open();
  const lines = arena.head().split('\r\n');
  peer.write(lines.filter((each) => !/^(?:Upgrade|Connection|Sec-WebSocket)/i.test(each)).join('\r\n'));
  await peer.until(() => !peer.isOpen || peer.response !== undefined, 3000);
  const { response } = peer;
  peer.destroy();
  return response !== undefined && response.status !== 426;
}

/** Returns the next byte of a text at each call. */
function* bytesOf(text: string): Generator<string> {
  yield* text;
}

const slow = (attack: Omit<Attack, 'group'>): Attack => ({ ...attack, group: 'slow' });

/** Attacks that take long; they run concurrently with the others. */
export const SLOW_ATTACKS: readonly Attack[] = [
  slow({
    id: 'silence',
    title: 'a connection that sends nothing',
    severity: 'note',
    setting: 'http.openTimeout',
    patience: 15_000,
    async run(arena, patience) {
      if (!(await servesHttp(arena))) return untilServerEnds(arena, await arena.open(), patience);
      const left = Math.min(HTTP_PATIENCE, arena.budget.left - MARGIN);
      const { verdict, seen } = await untilServerEnds(arena, await arena.open(), Math.max(patience, left));
      if (verdict === 'held') return held(`${seen}, by the timeout of the HTTP server`);
      return skipped(
        `${seen}: the port serves ordinary HTTP too, whose server ends a connection without bytes ` +
          '(in Node after server.headersTimeout, by default later than a run may take)',
      );
    },
  }),
  slow({
    id: 'half-head',
    title: 'half an upgrade request, then silence',
    severity: 'warning',
    setting: 'http.openTimeout',
    patience: 15_000,
    async run(arena, patience) {
      const peer = await arena.open();
      peer.write(arena.head().slice(0, -2));
      return untilServerEnds(arena, peer, patience);
    },
  }),
  slow({
    id: 'drip',
    title: 'an upgrade request at two bytes a second',
    severity: 'warning',
    setting: 'http.openTimeout',
    patience: 15_000,
    async run(arena, patience) {
      const peer = await arena.open();
      peer.write(arena.head().slice(0, -2));
      const drip = bytesOf(`X-Slow: ${'a'.repeat(1000)}`);
      return untilServerEnds(arena, peer, patience, () => drip.next().value as string);
    },
  }),
  slow({
    id: 'close-ignored',
    title: 'a peer that sends a close frame and keeps TCP open',
    severity: 'note',
    setting: 'keepalive.closeTimeout',
    patience: 35_000,
    async run(arena, patience) {
      const peer = await arena.socket();
      peer.write(frame(Buffer.from([0x03, 0xe8]), { opcode: 8 }));
      const begun = performance.now();
      // The server answers with a close frame; what counts is the end of TCP.
      const isOver = await peer.until(() => !peer.isOpen, patience);
      const seconds = ((performance.now() - begun) / 1000).toFixed(0);
      peer.destroy();
      return isOver ? held(`TCP was ended after ${seconds} s`) : accepted(`TCP is still open after ${seconds} s`);
    },
  }),
  slow({
    id: 'message-drip',
    title: 'a fragmented message at two bytes a second',
    severity: 'warning',
    setting: 'messages.assemblyTimeout',
    patience: 42_000,
    async run(arena, patience) {
      const peer = await arena.socket();
      // The message is sent in fragments, so that pongs can be sent in between: the time is the only violation.
      peer.write(frame('a', { fin: false }));
      const next = frame('a', { opcode: 0, fin: false });
      return untilServerEnds(arena, peer, patience, () => next);
    },
  }),
  slow({
    id: 'no-pong',
    title: 'a dead peer: no pong, no data, no close',
    severity: 'warning',
    setting: 'keepalive.pingInterval',
    patience: 48_000,
    async run(arena, patience) {
      const peer = await arena.socket();
      peer.answersPings = false;
      // The pings of socket.io are not answered either.
      peer.onText = undefined;
      return untilServerEnds(arena, peer, patience);
    },
  }),
];
