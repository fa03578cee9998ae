import type { CodecMaker } from './codecs.js';
import { sum } from './corpus.js';

/** One row to measure. */
export interface Candidate {
  readonly make: CodecMaker;
  /** Minimum size in bytes of a message that is compressed. */
  readonly threshold: number;
}

/** The cost of a row. */
export interface Speed {
  /** Bytes on the wire, relative to the size of the messages. */
  readonly size: number;
  /** Microseconds of CPU to compress and inflate a message, of all threads of the process. */
  readonly cpu: number;
}

export interface SpeedOptions {
  readonly turns: number;
  /** Milliseconds after which no further round begins. At least one round is made. */
  readonly time: number;
  readonly signal?: AbortSignal;
  readonly onTurn?: (turn: number) => void;
}

/**
 * Measures the rows in rounds, so that other load on the machine affects all of them; for each row the fastest round
 * counts. Throws if a message is changed by the round trip.
 */
export async function measureSpeed(
  candidates: readonly Candidate[],
  messages: readonly Buffer[],
  { turns, time, signal, onTurn }: SpeedOptions,
): Promise<Speed[]> {
  const plain = sum(messages);
  const results = candidates.map(() => ({ size: 0, cpu: Number.POSITIVE_INFINITY }));
  const begun = performance.now();
  for (let turn = 0; turn < turns && (turn === 0 || performance.now() - begun < time); turn++) {
    onTurn?.(turn + 1);
    for (const [at, candidate] of candidates.entries()) {
      signal?.throwIfAborted();
      const { bytes, cpu } = await pass(candidate, messages);
      results[at] = { size: bytes / plain, cpu: Math.min(results[at]!.cpu, cpu) };
    }
  }
  return results;
}

/** Sends all messages through one connection, in both directions. */
async function pass(
  { make, threshold }: Candidate,
  messages: readonly Buffer[],
): Promise<{ bytes: number; cpu: number }> {
  const [sender, receiver] = [make(), make()];
  const before = process.cpuUsage();
  let bytes = 0;
  for (const message of messages) {
    if (message.length < threshold) {
      bytes += message.length;
      continue;
    }
    const wire = await sender.compress(message);
    const back = await receiver.decompress(wire);
    if (!back.equals(message)) throw new Error('a message was changed by compression');
    bytes += wire.length;
  }
  const { user, system } = process.cpuUsage(before);
  sender.close();
  receiver.close();
  return { bytes, cpu: (user + system) / messages.length };
}

/**
 * Bytes of resident memory that compression adds to a connection after one message in each direction. The process needs
 * `--expose-gc` and should not have done anything else.
 */
export async function measureMemory(make: CodecMaker, message: Buffer, connections: number): Promise<number> {
  const collect = (globalThis as { gc?: () => void }).gc;
  if (collect === undefined) throw new Error('memory is measured with --expose-gc only');
  const settle = async (): Promise<void> => {
    await new Promise((resolve) => setTimeout(resolve, 50));
    collect();
  };
  // Messages of the other side do not refer to earlier ones.
  const first = make();
  const wire = await first.compress(message);
  first.close();
  const used = async () => {
    const codec = make();
    await codec.compress(message);
    await codec.decompress(wire);
    return codec;
  };
  for (let i = 0; i < 20; i++) (await used()).close();
  await settle();
  const before = process.memoryUsage().rss;
  const kept = [];
  for (let i = 0; i < connections; i++) kept.push(await used());
  await settle();
  await settle();
  const grown = process.memoryUsage().rss - before;
  const perConnection = Math.max(0, grown) / kept.length;
  for (const codec of kept) codec.close();
  return perConnection;
}
