/** Something that waits in a {@link Fifo}. */
export interface Waiting {
  /** Bytes. */
  size: number;
  /** @internal */ next: this | undefined;
}

/** First in, first out, at the same cost however long it is. */
export class Fifo<T extends Waiting> {
  /** Bytes of all that wait. */
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

  /** Something that waits is larger than it was. */
  grow(item: T, bytes: number): void {
    item.size += bytes;
    this.bytes += bytes;
  }

  /** Empties it; answers the first, to which the others hang on. */
  clear(): T | undefined {
    const { first } = this;
    this.first = this.last = undefined;
    this.length = this.bytes = 0;
    return first;
  }
}
