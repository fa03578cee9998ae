/** An item of a {@link Fifo}. */
export interface Waiting {
  /** Bytes. */
  size: number;
  /** @internal */ next: this | undefined;
}

/** A linked queue: adding and removing take constant time, whatever its length. */
export class Fifo<T extends Waiting> {
  /** Bytes of all items. */
  bytes = 0;
  length = 0;
  first: T | undefined = undefined;
  last: T | undefined = undefined;

  push(item: T): void {
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
