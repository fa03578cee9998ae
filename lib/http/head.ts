/** The head is incomplete, and valid so far. */
export const MORE = 0;
/** The head is complete: see `head` and `rest`. */
export const COMPLETE = 1;
/** The head exceeds a limit or is malformed: see `fault`. */
export const FAULT = 2;
/** Only on shared ports: the head is not that of a WebSocket upgrade, or cannot be decided here: see `bytesSoFar`. */
export const ORDINARY = 3;
export type HeadVerdict = typeof MORE | typeof COMPLETE | typeof FAULT | typeof ORDINARY;

/** A parsed request head (RFC 9112, sections 3 and 5), with all lines as received. */
export interface RequestHead {
  readonly method: string;
  /** The request target, byte for byte. */
  readonly target: string;
  /** `1.1`, `1.0`, … */
  readonly version: string;
  /** Alternating names and values, in their original case and order; values without surrounding white space. */
  readonly rawHeaders: readonly string[];
}

export interface HeadLimits {
  /** Maximum bytes of the request (or status) line, and of each header line, including CRLF. */
  readonly maxLineLength: number;
  /** Maximum number of header lines. */
  readonly maxNumHeaders: number;
}

/** The error in a head; the server answers with 414, 431, 431 and 400. */
export type HeadFault = 'start-line-too-long' | 'line-too-long' | 'too-many-lines' | 'malformed';

export type HeadKind = 'request' | 'response';

export interface HeadMeterOptions {
  /** Default: `request`. */
  readonly kind?: HeadKind;
  /**
   * Set on a port that is shared with ordinary HTTP: limits and grammar are applied once the head contains `Upgrade:
   * websocket`; a head that does not contain it within this many bytes is `ORDINARY`. Default: a dedicated port, on
   * which they are applied to every head.
   */
  readonly ordinaryLimit?: number;
  /**
   * On shared ports: whether Node's parser finds `upgrade` in the value of a `Connection` field. Default: as in RFC
   * 9110.
   */
  readonly namesUpgrade?: (connection: string) => boolean;
}
