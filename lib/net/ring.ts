/** A member of a ring; it can be in only one ring at a time. */
export interface RingMember<T> {
  next: T;
  previous: T;
}

/** A list whose links are stored in its members: adding and removing take constant time and allocate nothing. */
export class Ring<T extends RingMember<T>> {
  first: T | undefined = undefined;

  /** Adds a member at the end. */
  add(member: T): void {
    const { first } = this;
    if (first === undefined) {
      this.first = member.next = member.previous = member;
      return;
    }
    member.next = first;
    member.previous = first.previous;
    first.previous = member.previous.next = member;
  }

  /** The members in order; none may be added or removed meanwhile. */
  *[Symbol.iterator](): Generator<T, void> {
    const { first } = this;
    if (first === undefined) return;
    let member = first;
    do {
      yield member;
      member = member.next;
    } while (member !== first);
  }

  remove(member: T): void {
    const { next, previous } = member;
    if (this.first === member) this.first = next === member ? undefined : next;
    previous.next = next;
    next.previous = previous;
    member.next = member.previous = member;
  }
}
