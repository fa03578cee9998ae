import type { ResolvedRate } from '../config/kinds.js';
import type { SecureConnection as Connection } from '../connection/secure-socket.js';
import type { Clock } from '../net/timer-wheel.js';
import { fits, spend } from '../net/token-bucket.js';

/** What a gateway's class says of one of its handlers. */
export interface HandlerTraits {
  /** `@MessageRate`. */
  readonly rate: ResolvedRate | undefined;
  /** It has interceptors: its observable is how it runs, and keeps its place until it speaks. */
  readonly intercepted: boolean;
}

export type TraitsOf = (event: unknown) => HandlerTraits | undefined;

/** Which handlers an event has: learned from the first connection, the same for all that follow. */
export class HandlerTable {
  /** Places of the handlers of an event in a connection's list. */
  private readonly events = new Map<unknown, number[]>();
  private readonly traits: (HandlerTraits | undefined)[] = [];

  get size(): number {
    return this.traits.length;
  }

  /** The handlers of one more gateway, from the place `from` of its list on. Of two for one event the last counts, as in Nest. */
  add(handlers: readonly { readonly message: unknown }[], traits: TraitsOf, from: number): void {
    const first = this.traits.length;
    for (const { message: event } of handlers.slice(from)) {
      const place = this.traits.length;
      this.traits.push(traits(event));
      const places = this.events.get(event) ?? [];
      this.events.set(event, [...places.filter((other) => other < first), place]);
    }
  }

  placesOf(event: unknown): readonly number[] | undefined {
    return this.events.get(event);
  }

  isIntercepted(event: unknown): boolean {
    return this.events.get(event)?.some((place) => this.traits[place]?.intercepted) ?? false;
  }

  /** Counts one message of the connection's for each handler with a rate of its own; false where there were too many. */
  isWithinRates({ dispatch }: Connection, places: readonly number[], clock: Clock): boolean {
    for (const place of places) {
      const rate = this.traits[place]?.rate;
      if (rate === undefined) continue;
      const now = clock.now();
      const buckets = (dispatch.rates ??= new Map());
      const next = spend(buckets.get(place) ?? 0, now, 1, rate);
      // protection: rate of one handler
      if (!fits(next, now, rate)) return false;
      // end protection
      buckets.set(place, next);
    }
    return true;
  }
}
