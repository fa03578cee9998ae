// Bound when this module is loaded: fake timers of a test runner replace the global functions, but waits must end.
import { setTimeout as startTimer, clearTimeout as stopTimer } from 'node:timers';
import type { ClientSocket, Closed, Message } from '../client/index.js';

/** An event as Nest gateways send it: `{ event, data }`. */
export interface ReceivedEvent {
  readonly event: string | number;
  readonly data: unknown;
}

/** Options of one wait. */
export interface WaitOptions {
  /** Milliseconds. Default: the client's `timeout`. */
  readonly timeout?: number;
}

export interface TestClientOptions {
  /** Maximum milliseconds of each wait. Default: 3000, less than the 5 s that Jest and Vitest allow for a test. */
  readonly timeout?: number;
  /**
   * Parses messages of gateways with another format; `undefined`: the message is not an event. Default: JSON `{ event,
   * data }`.
   */
  readonly parse?: (message: Message) => ReceivedEvent | undefined;
}

/** A message that the test has not taken yet. */
interface Arrival {
  readonly message: Message;
  readonly event: ReceivedEvent | undefined;
}

interface Waiter {
  accepts(arrival: Arrival): boolean;
  settle(arrival: Arrival | undefined): void;
}

const TIMEOUT = 3000;
/** Maximum number of messages in an error, and of characters of each. */
const MAX_LISTED = 10;
const MAX_LENGTH = 200;

/**
 * A client of a gateway under test, which `connectTo` opens. Messages that arrive are kept until the test takes them.
 * Every wait is bounded, and fails with a list of the messages that arrived instead. It uses no functions of a test
 * runner.
 *
 * `Received` and `Sent` map the names of events to the types of their data.
 */
export class TestClient<
  Received extends object = Record<string, unknown>,
  Sent extends object = Record<string, unknown>,
> {
  private readonly arrivals: Arrival[] = [];
  private readonly waiters: Waiter[] = [];
  private readonly timeout: number;
  private readonly parse: (message: Message) => ReceivedEvent | undefined;
  private ending: Closed | undefined;

  /** @hidden */
  constructor(
    /** The connection: `protocol`, `ping()`, binary messages, and all members of a `ws` `WebSocket`. */
    readonly socket: ClientSocket,
    { timeout = TIMEOUT, parse = parseEvent }: TestClientOptions = {},
  ) {
    this.timeout = timeout;
    this.parse = parse;
    void this.receive();
  }

  /** The events that have arrived and were not taken, oldest first: `expect(client.waiting).toEqual([])`. */
  get waiting(): readonly ReceivedEvent[] {
    return this.arrivals.flatMap(({ event }) => event ?? []);
  }

  /** Sends `{ event, data }` as JSON text. */
  send<Name extends keyof Sent & (string | number)>(event: Name, data?: Sent[Name]): void {
    this.socket.send(JSON.stringify({ event, data }));
  }

  /**
   * Waits for the next event of this name, and resolves to its data. Events with other names stay for later calls.
   * Rejects with an `Error` that lists the messages that arrived instead: after the timeout, or as soon as the
   * connection has ended without the event.
   */
  async nextEvent<Name extends keyof Received & (string | number)>(
    name: Name,
    options: WaitOptions = {},
  ): Promise<Received[Name]> {
    const { event } = await this.next(
      `event ${quoted(name)}`,
      (arrival) => arrival.event?.event === name,
      options,
      this.nextEvent,
    );
    return event?.data as Received[Name];
  }

  /** The next message as it arrived, text as a string, binary as a `Buffer`, whether it is an event or not. */
  async nextMessage(options: WaitOptions = {}): Promise<Message> {
    return (await this.next('message', () => true, options, this.nextMessage)).message;
  }

  /** Waits for the end of the connection. Rejects if it is still open after the timeout of a wait. */
  async closed({ timeout = this.timeout }: WaitOptions = {}): Promise<Closed> {
    const place = placeOf(this.closed);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = startTimer(() => reject(place(`the connection did not end within ${timeout} ms${this.told()}`)), timeout);
    });
    return Promise.race([this.socket.closed, late]).finally(() => stopTimer(timer));
  }

  /**
   * Closes the connection, and resolves when TCP has ended. If the server does not answer the close frame, the
   * connection is terminated after `keepalive.closeTimeout`. Has no effect if the connection has already ended.
   */
  async close(code = 1000, reason = ''): Promise<Closed> {
    this.socket.close(code, reason);
    return this.socket.closed;
  }

  /** `await using client = await connectTo(url)` closes the connection at the end of the block. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  private async receive(): Promise<void> {
    for await (const message of this.socket) {
      const arrival = { message, event: this.parse(message) };
      const waiter = this.waiters.find((each) => each.accepts(arrival));
      if (waiter === undefined) this.arrivals.push(arrival);
      else waiter.settle(arrival);
    }
    this.ending = await this.socket.closed;
    for (const waiter of [...this.waiters]) waiter.settle(undefined);
  }

  private next(
    what: string,
    accepts: (arrival: Arrival) => boolean,
    { timeout = this.timeout }: WaitOptions,
    caller: NamedFunction,
  ): Promise<Arrival> {
    const at = this.arrivals.findIndex(accepts);
    if (at >= 0) return Promise.resolve(this.arrivals.splice(at, 1)[0]!);
    const place = placeOf(caller);
    if (this.ending !== undefined) return Promise.reject(place(`no ${what}${this.told()}`));
    return new Promise((resolve, reject) => {
      const settle = (arrival: Arrival | undefined): void => {
        stopTimer(timer);
        this.waiters.splice(this.waiters.indexOf(waiter), 1);
        if (arrival !== undefined) resolve(arrival);
        else reject(place(`no ${what}${this.ending === undefined ? ` within ${timeout} ms` : ''}${this.told()}`));
      };
      const waiter: Waiter = { accepts, settle };
      const timer = startTimer(() => settle(undefined), timeout);
      this.waiters.push(waiter);
    });
  }

  /** The state of the connection and the messages that were not taken, for an error. */
  private told(): string {
    const { ending, arrivals } = this;
    const listed = arrivals.slice(0, MAX_LISTED).map(describe);
    if (arrivals.length > MAX_LISTED) listed.push(`and ${arrivals.length - MAX_LISTED} more`);
    const cause = ending?.cause === undefined ? '' : ` (${ending.cause})`;
    const state = ending === undefined ? 'is open' : `ended with ${ending.code} ${quoted(ending.reason)}${cause}`;
    return `; the connection ${state}; received and not taken: ${listed.length === 0 ? 'nothing' : listed.join(', ')}`;
  }
}

type NamedFunction = (...args: never[]) => unknown;

/** JSON text `{ event, data }`, as Nest gateways send it. */
function parseEvent(message: Message): ReceivedEvent | undefined {
  if (typeof message !== 'string') return undefined;
  try {
    const parsed: unknown = JSON.parse(message);
    const isEvent = typeof parsed === 'object' && parsed !== null && 'event' in parsed;
    return isEvent ? { event: parsed.event as string, data: 'data' in parsed ? parsed.data : undefined } : undefined;
  } catch {
    return undefined;
  }
}

const quoted = (text: string | number): string => (typeof text === 'number' ? String(text) : `'${text}'`);

function describe({ message, event }: Arrival): string {
  if (event !== undefined) return cut(`${quoted(event.event)} ${JSON.stringify(event.data)}`);
  return typeof message === 'string' ? cut(`text ${JSON.stringify(message)}`) : `${message.length} bytes`;
}

const cut = (text: string): string => (text.length > MAX_LENGTH ? `${text.slice(0, MAX_LENGTH)}…` : text);

/** Creates errors that point to the waiting line of the test, because a timer has no caller. */
function placeOf(caller: NamedFunction): (message: string) => Error {
  const holder: { stack?: string } = {};
  Error.captureStackTrace(holder, caller);
  const frames = holder.stack?.slice(holder.stack.indexOf('\n')) ?? '';
  return (message) => {
    const error = new Error(message);
    error.stack = `Error: ${message}${frames}`;
    return error;
  };
}
