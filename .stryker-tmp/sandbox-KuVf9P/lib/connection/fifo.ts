/** Something that waits in a {@link Fifo}. */
// @ts-nocheck

export interface Waiting {
  /** Bytes. */
  readonly size: number;
  /** @internal */ next: this | undefined;
}

/** First in, first out, at the same cost however long it is. */
export class Fifo<T extends Waiting> {
  /** Bytes of all that wait. */
  bytes = 0;
  length = 0;
  private head: T | undefined = undefined;
  private tail: T | undefined = undefined;

  get first(): T | undefined {
    return this.head;
  }

  push(item: T): void {
    if (this.tail === undefined) this.head = item;
    else this.tail.next = item;
    this.tail = item;
    this.length++;
    this.bytes += item.size;
  }

  shift(): T | undefined {
    const { head } = this;
    if (head === undefined) return undefined;
    this.head = head.next;
    if (this.head === undefined) this.tail = undefined;
    this.length--;
    this.bytes -= head.size;
    return head;
  }

  /** Empties it; answers the first, to which the others hang on. */
  clear(): T | undefined {
    const { head } = this;
    this.head = this.tail = undefined;
    this.length = this.bytes = 0;
    return head;
  }
}
