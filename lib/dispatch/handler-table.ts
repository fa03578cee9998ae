import type { ResolvedRate } from '../config/kinds.js';
import type { SecureConnection as Connection } from '../connection/secure-socket.js';
import type { Clock } from '../net/timer-wheel.js';
import { fits, spend } from '../net/token-bucket.js';

/** The facts about a handler that come from the decorators of its class. */
export interface HandlerTraits {
  /** `@MessageRate`. */
  readonly rate: ResolvedRate | undefined;
  /**
   * The handler has interceptors: it runs inside its observable, which keeps the place of the message until its first
   * value.
   */
  readonly intercepted: boolean;
}

export type TraitsOf = (event: unknown) => HandlerTraits | undefined;

/** The handlers of each event: determined for the first connection, and the same for all others. */
export class HandlerTable {
  /** Indices of an event's handlers in the handler list of a connection. */
  private readonly events = new Map<unknown, number[]>();
  private readonly traits: (HandlerTraits | undefined)[] = [];

  get size(): number {
    return this.traits.length;
  }

  /**
   * Adds the handlers of one gateway, whose list starts at index `from`. Of two handlers for one event the last counts,
   * as in Nest.
   */
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

  /** Counts one message for each handler with a rate of its own. Returns false if a rate is exceeded. */
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
