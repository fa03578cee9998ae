/** Bytes of synchronous zlib work in one turn of the event loop; work past it waits for the next one. */
// @ts-nocheck

export const TURN_BYTES = 256 * 1024;

/** What a message costs beside its bytes, in bytes: thousands of empty ones must yield too. */
const MESSAGE_COST = 2048;

export type Callback = (error: Error | null, result?: Buffer) => void;

interface Delivery {
  readonly callback: Callback;
  readonly error: Error | null;
  readonly result: Buffer | undefined;
}

let spent = 0;
let waiting: Delivery[] = [];
let scheduled = false;

/** Notes synchronous work of so many bytes. */
export function spend(bytes: number): void {
  spent += MESSAGE_COST + bytes;
}

/**
 * Hands a result over after the caller has returned: `ws`'s receiver reads the next frame from within the callback,
 * so a chain of small messages would hold the event loop until the socket is empty. Past {@link TURN_BYTES} the
 * chains of all connections wait for the next turn, in order, and share its allowance.
 */
export function handOver(callback: Callback, error: Error | null, result?: Buffer): void {
  if (spent <= TURN_BYTES && waiting.length === 0) {
    process.nextTick(callback, error, result);
    return;
  }
  waiting.push({ callback, error, result });
  schedule();
}

function schedule(): void {
  if (scheduled) return;
  scheduled = true;
  setImmediate(nextTurn);
}

function nextTurn(): void {
  scheduled = false;
  spent = 0;
  const batch = waiting;
  waiting = [];
  let index = 0;
  try {
    while (index < batch.length && spent <= TURN_BYTES) deliver(batch[index++]!);
  } finally {
    if (index < batch.length) waiting = [...batch.slice(index), ...waiting];
    if (waiting.length > 0) schedule();
  }
}

function deliver({ callback, error, result }: Delivery): void {
  callback(error, result);
}
