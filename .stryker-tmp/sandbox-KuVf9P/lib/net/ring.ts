/** Who can be in a ring: one of its kind at a time. */
// @ts-nocheck

export interface RingMember<T> {
  next: T;
  previous: T;
}

/** A list whose links are in its members: to come and to go costs a constant time, makes no object and hashes nothing. */
export class Ring<T extends RingMember<T>> {
  first: T | undefined = undefined;

  /** At the end. */
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

  remove(member: T): void {
    const { next, previous } = member;
    if (this.first === member) this.first = next === member ? undefined : next;
    previous.next = next;
    next.previous = previous;
    member.next = member.previous = member;
  }
}
