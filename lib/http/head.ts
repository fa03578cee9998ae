/** The head is not complete and nothing is wrong with it so far. */
export const MORE = 0;
/** The head is complete: see `head` and `rest`. */
export const COMPLETE = 1;
/** The head breaks a limit or the grammar: see `fault`. */
export const FAULT = 2;
/** Shared ports only: not a WebSocket upgrade, or not one that may be judged here: see `taken`. */
export const ORDINARY = 3;
export type HeadVerdict = typeof MORE | typeof COMPLETE | typeof FAULT | typeof ORDINARY;

/** A parsed request head (RFC 9112, sections 3 and 5), as it came: nothing merged, nothing dropped. */
export interface RequestHead {
  readonly method: string;
  /** The request target, byte for byte. */
  readonly target: string;
  /** `1.1`, `1.0`, … */
  readonly version: string;
  /** Names and values in turn, in the case and order in which they came, values without the white space around them. */
  readonly rawHeaders: readonly string[];
}

export interface HeadLimits {
  /** Bytes of the request (or status) line, and of each header line, CRLF included. */
  readonly maxLineLength: number;
  /** Header lines, each counted. */
  readonly maxNumHeaders: number;
}

/** What is wrong with a head; the server answers 414, 431, 431 and 400. */
export type HeadFault = 'start-line-too-long' | 'line-too-long' | 'too-many-lines' | 'malformed';

export type HeadKind = 'request' | 'response';

export interface HeadMeterOptions {
  /** Default `request`. */
  readonly kind?: HeadKind;
  /**
   * Set on a port that is shared with ordinary HTTP: limits and grammar take effect when the head has said
   * `Upgrade: websocket`; a head that has not within this many bytes is `ORDINARY`. Default: the port is our own and
   * they hold for every head.
   */
  readonly ordinaryLimit?: number;
  /** Shared ports: whether Node's parser takes the value of a `Connection` field to list `upgrade`. Default: as RFC 9110 says. */
  readonly namesUpgrade?: (connection: string) => boolean;
}
