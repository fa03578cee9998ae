/** An item of a {@link Fifo}. */
export interface Waiting {
  /** Bytes. */
  size: number;
  /** @internal */ next: this | undefined;
}

/**
 * A linked queue: adding and removing take constant time, whatever its length. Most connections never queue anything:
 * they start with {@link emptyFifo}, and add the first item with {@link pushed}.
 */
export class Fifo<T extends Waiting> {
  /** Bytes of all items. */
  bytes = 0;
  length = 0;
  first: T | undefined = undefined;
  last: T | undefined = undefined;

  push(item: T): void {
    if ((this as unknown) === EMPTY) throw new Error('an item was added to the shared empty queue');
    if (this.last === undefined) this.first = item;
    else this.last.next = item;
    this.last = item;
    this.length++;
    this.bytes += item.size;
  }

  shift(): T | undefined {
    const { first } = this;
    if (first === undefined) return undefined;
    this.first = first.next;
    if (this.first === undefined) this.last = undefined;
    this.length--;
    this.bytes -= first.size;
    return first;
  }

  /** Records that an item has grown. */
  grow(item: T, bytes: number): void {
    item.size += bytes;
    this.bytes += bytes;
  }

  /** Empties the queue. Returns the first item, to which the others are linked. */
  clear(): T | undefined {
    const { first } = this;
    this.first = this.last = undefined;
    this.length = this.bytes = 0;
    return first;
  }
}

const EMPTY = new Fifo<never>();

/** An empty queue that all callers share. Items are added with {@link pushed} only. */
export const emptyFifo = <T extends Waiting>(): Fifo<T> => EMPTY as unknown as Fifo<T>;

/** Adds an item. Returns the queue that has it: a new one if `queue` is the shared empty queue. */
export function pushed<T extends Waiting>(queue: Fifo<T>, item: T): Fifo<T> {
  const own = queue === (EMPTY as unknown as Fifo<T>) ? new Fifo<T>() : queue;
  own.push(item);
  return own;
}
